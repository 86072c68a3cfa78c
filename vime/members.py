"""Several networks that predict the same environment, fixed, and run as one: what imagination is made with."""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

LARGEST = math.log(100.0)  # of the logarithm of a standardised variance
CLIP = 10.0  # standardised inputs beyond this many deviations are cut: one wild number must not shake the model

Activation = Literal["relu", "silu"]


def bounded_log(raw: Float[Tensor, "*n"], noise_floor: float) -> Float[Tensor, "*n"]:
    """Returns the logarithm of a variance: softly kept above that of the floor, and cut at `LARGEST`.

    References: Chua et al. 2018, "Deep reinforcement learning in a handful of trials", arXiv:1805.12114, appendix A.1.
    """
    floor = 2 * math.log(noise_floor)
    return (F.softplus(raw - floor) + floor).clamp_max(LARGEST)


class Prediction(NamedTuple):
    """What `m` networks say of the next features of `n` rows: mean and noise variance, in feature units."""

    mean: Float[Tensor, "m n d"]
    variance: Float[Tensor, "#m n d"]


@dataclass(frozen=True, eq=False)
class Members:
    """`m` networks from features and encoded action to the next features, their weights stacked layer by layer.

    An ensemble is one as it is; a Bayesian network gives one by drawing its weights `m` times. A layer that all share
    may have a stack of one. Nothing is learned here and nothing is drawn: the same input gives the same answer.
    """

    weights: tuple[Float[Tensor, "_ _ _"], ...]
    biases: tuple[Float[Tensor, "_ 1 _"], ...]
    activation: Activation
    input_centre: Float[Tensor, " i"]
    input_spread: Float[Tensor, " i"]
    target_centre: Float[Tensor, " d"]
    target_spread: Float[Tensor, " d"]
    noise: Float[Tensor, " d"] | None
    """Variance of the standardised target; where None, the second half of the outputs tells its logarithm."""
    noise_floor: float
    """Deviation below which no predicted noise of the standardised target falls."""
    change: bool
    """The target is the change of the features, and not the next features themselves."""

    @property
    def count(self) -> int:
        """How many networks there are."""
        return max(len(weight) for weight in self.weights)

    @property
    def features(self) -> int:
        """Numbers in a state."""
        return len(self.target_centre)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.target_centre.device

    def state_dict(self) -> dict[str, Any]:
        """Every field, as tensors and plain Python values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Members":
        """Returns the networks that `state_dict` told of."""
        parts: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in state.items()}
        return cls(**parts)

    def to(self, dtype: torch.dtype) -> "Members":
        """Returns the same networks with weights and activations of another precision; states stay float32."""
        weights, biases = (tuple(part.to(dtype) for part in parts) for parts in (self.weights, self.biases))
        return replace(self, weights=weights, biases=biases)

    def predict(self, state: Float[Tensor, "*m n d"], action: Float[Tensor, "*m n a"]) -> Prediction:
        """Returns what every network predicts: of the same `n` rows `(n, d)`, or of its own rows `(m, n, d)`."""
        x = torch.cat([state, action], -1).sub_(self.input_centre).div_(self.input_spread).clamp_(-CLIP, CLIP)
        hidden = x.to(self.weights[0].dtype)
        if hidden.ndim == 2:
            hidden = hidden.expand(len(self.weights[0]), *hidden.shape)
        last = len(self.weights) - 1
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            # `baddbmm` does the sum in the same pass, but knows no shared stacks
            same = len(hidden) == len(weight)
            hidden = torch.baddbmm(bias, hidden, weight) if same else torch.matmul(hidden, weight).add_(bias)
            if i < last:
                hidden = F.silu(hidden, inplace=True) if self.activation == "silu" else hidden.relu_()
        output = hidden.float()
        if self.noise is not None:
            mean, variance = output, (self.noise * self.target_spread.square()).expand(1, *output.shape[1:])
        else:
            mean, raw = output.split(self.features, -1)
            variance = bounded_log(raw, self.noise_floor).exp_().mul_(self.target_spread.square())
        mean = mean * self.target_spread + self.target_centre
        return Prediction(mean + state if self.change else mean, variance)
