"""Several networks that predict the same environment, fixed, and run as one: what imagination is made with."""

import math
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vime.errors import InvalidData
from vime.normalise import CLIP

LARGEST = math.log(100.0)  # of the logarithm of a standardised variance
PIECE = 512  # rows of one network that a processor works on at a time: two layers of 200 units stay in its cache
HALVES = 2048  # the same in bfloat16, whose products are so quick that starting one costs more than the cache saves

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

    def check_finite(self) -> "Members":
        """Returns these networks.

        Raises:
            InvalidData: a weight is not finite: every future would diverge, and no plan could be told from another.
        """
        if all(bool(torch.isfinite(part).all()) for part in (*self.weights, *self.biases)):
            return self
        raise InvalidData(
            "The world model has weights that are not finite: its training diverged. Lower its `learning_rate`, or "
            "look for huge numbers in the observations."
        )

    def state_dict(self) -> dict[str, Any]:
        """Every field, as tensors and plain Python values."""
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in parts.items()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Members":
        """Returns the networks that `state_dict` told of."""
        parts: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in state.items()}
        return cls(**parts)

    def to(self, dtype: torch.dtype) -> "Members":
        """Returns the same networks with weights and activations of another precision; states stay float32."""
        weights, biases = (tuple(part.to(dtype) for part in parts) for parts in (self.weights, self.biases))
        return replace(self, weights=weights, biases=biases)

    @cached_property
    def scaled(self) -> tuple[list[Tensor], list[Tensor]]:
        """Weights and biases that take centred inputs to outputs in feature units: fewer passes over the rows."""
        weights, biases = list(self.weights), list(self.biases)
        dtype, spread = weights[0].dtype, self.target_spread
        weights[0] = (weights[0].float() / self.input_spread.unsqueeze(1)).to(dtype)
        scale = spread if self.noise is not None else torch.cat([spread, torch.ones_like(spread)])
        weights[-1], biases[-1] = ((part.float() * scale).to(dtype) for part in (weights[-1], biases[-1]))
        if self.noise is None:
            shift = torch.cat([torch.zeros_like(spread), 2 * spread.log()])
            biases[-1] = (biases[-1].float() + shift).to(dtype)
        return weights, biases

    @cached_property
    def bounds(self) -> tuple[Tensor, Tensor, Tensor]:
        """The largest centred input, and the smallest and the largest variance, in feature units."""
        square = self.target_spread.square()
        return CLIP * self.input_spread, self.noise_floor**2 * square, math.exp(LARGEST) * square

    def predict(self, state: Float[Tensor, "*m n d"], action: Float[Tensor, "*m n a"]) -> Prediction:
        """Returns what every network predicts: of the same `n` rows `(n, d)`, or of its own rows `(m, n, d)`."""
        n = state.shape[-2]
        if n > self._piece and state.device.type == "cpu" and not torch.is_grad_enabled():
            return self._by_pieces(state, action)
        hidden = self._centred(state, action)
        weights, biases = self.scaled
        if hidden.ndim == 2:
            hidden = hidden.expand(len(weights[0]), *hidden.shape)
        for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            if i:
                hidden = self._activate(hidden)
            # `baddbmm` does the sum in the same pass, but knows no shared stacks
            same = len(hidden) == len(weight)
            hidden = torch.baddbmm(bias, hidden, weight) if same else torch.matmul(hidden, weight).add_(bias)
        mean, variance = self._outcome(state, hidden.float())
        return Prediction(mean, variance if self.noise is None else variance.expand(1, *mean.shape[1:]))

    def _by_pieces(self, state: Tensor, action: Tensor) -> Prediction:
        """Predicts network by network and piece by piece: what is worked on stays in the processor's cache."""
        m, n = self.count, state.shape[-2]
        mean = state.new_empty(m, n, self.features)
        variance = state.new_empty(1 if self.noise is not None else m, n, self.features)
        weights, biases = self.scaled
        piece = self._piece
        rooms = [weight.new_empty(piece, weight.shape[2]) for weight in weights]
        for k in range(m):
            own = [(w[min(k, len(w) - 1)], b[min(k, len(b) - 1), 0]) for w, b in zip(weights, biases, strict=True)]
            for i in range(0, n, piece):
                rows = slice(i, min(i + piece, n))
                here, done = (part[k, rows] if part.ndim == 3 else part[rows] for part in (state, action))
                hidden = self._centred(here, done)
                for j, (weight, bias) in enumerate(own):
                    if j:
                        hidden = self._activate(hidden)
                    hidden = torch.addmm(bias, hidden, weight, out=rooms[j][: len(hidden)])
                mean[k, rows], found = self._outcome(here, hidden.float())
                if k < len(variance):
                    variance[k, rows] = found
        return Prediction(mean, variance)

    @property
    def _piece(self) -> int:
        return HALVES if self.weights[0].dtype == torch.bfloat16 else PIECE

    def _centred(self, state: Tensor, action: Tensor) -> Tensor:
        bound = self.bounds[0]
        x = torch.cat([state, action], -1).sub_(self.input_centre)
        return torch.minimum(torch.maximum(x, -bound), bound).to(self.weights[0].dtype)

    def _activate(self, hidden: Tensor) -> Tensor:
        return F.silu(hidden, inplace=True) if self.activation == "silu" else hidden.relu_()

    def _outcome(self, state: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and variance in feature units; a constant variance as one row."""
        d = self.features
        mean = output[..., :d] + self.target_centre
        if self.change:
            mean = mean.add_(state)
        if self.noise is not None:
            return mean, self.noise * self.target_spread.square()
        _, least, most = self.bounds
        # the exponential of `bounded_log`, in one piece: floor² + exp(raw)
        return mean, output[..., d:].exp().add_(least).minimum(most)
