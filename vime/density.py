"""How likely observations are, and how much more likely one becomes by being seen: the ground of pseudo-counts."""

import math
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import gymnasium
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vime.errors import InvalidSettings
from vime.features import mlp
from vime.learned import Encoded, LearnedSettings, Trainer
from vime.saved import Saved
from vime.transitions import Observation

LARGEST_SCALE = 1.0  # of the logarithm by which one coupling may stretch an entry
CHUNK = 1024  # observations whose gains are asked for at a time


@runtime_checkable
class Density(Protocol):
    """A model of how likely observations are. Asking changes nothing; only `observe` and `learn` do."""

    def gains(self, obs: Observation) -> Float[Tensor, " n"]:
        """Returns by how many nats the log-likelihood of each observation rises in a small step on it."""
        ...

    def observe(self, obs: Observation) -> None:
        """Advances running statistics."""
        ...

    def learn(self, obs: Observation) -> dict[str, float]:
        """Fits the model to `n` observations; returns metrics."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that the future depends on, as tensors and plain Python values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        ...


class Couplings(nn.Module):
    r"""A flow of affine couplings: half of the entries decide how the other half is stretched and moved.

    .. math:: z_b = x_b \, e^{s(x_a)} + t(x_a), \qquad \log p(x) = \log N(z; 0, 1) + \sum s

    References: Dinh et al. 2017, "Density estimation using Real NVP", arXiv:1605.08803, equations 7 and 8.
    """

    masks: Tensor

    def __init__(self, size: int, steps: int, hidden: tuple[int, ...], generator: torch.Generator) -> None:
        super().__init__()
        self.nets = nn.ModuleList(mlp((size, *hidden, 2 * size), generator) for _ in range(steps))
        even = torch.arange(size) % 2 == 0
        self.register_buffer("masks", torch.stack([even if i % 2 else ~even for i in range(steps)]).float())

    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Returns the log-likelihood of each row, in nats."""
        return self.traced(x)[0]

    def traced(self, x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, " n"], list[Tensor], list[Tensor]]:
        """Returns the log-likelihoods, what goes into every linear map, and what comes out of it."""
        entering, leaving = [], []
        change = x.new_zeros(len(x))
        for net, mask in zip(self.nets, self.masks, strict=True):
            h = x * mask
            for layer in net:  # type: ignore[union-attr]
                if isinstance(layer, nn.Linear):
                    entering.append(h)
                    h = layer(h)
                    leaving.append(h)
                else:
                    h = layer(h)
            scale, shift = h.chunk(2, 1)
            scale = LARGEST_SCALE * torch.tanh(scale) * (1 - mask)
            x = x * scale.exp() + shift * (1 - mask)
            change = change + scale.sum(1)
        log_prob = change - 0.5 * (x.square() + math.log(2 * math.pi)).sum(1)
        return log_prob, entering, leaving

    def squared_slopes(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        r"""Returns the squared length of the slope of each row's log-likelihood for all weights.

        In closed form, from one pass back: of a linear map it is :math:`(\|a\|^2 + 1) \|\delta\|^2`, with what enters,
        a, and the slope for what leaves, delta.
        """
        with torch.enable_grad():
            log_prob, entering, leaving = self.traced(x)
            slopes = torch.autograd.grad(log_prob.sum(), leaving)
        parts = [
            (h.detach().square().sum(1) + 1) * slope.square().sum(1) for h, slope in zip(entering, slopes, strict=True)
        ]
        return torch.stack(parts).sum(0)


@dataclass(frozen=True, kw_only=True)
class FlowSettings(LearnedSettings):
    """Settings of a flow of couplings over standardised features."""

    hidden: tuple[int, ...] = (32,)
    """Width of each hidden layer of every coupling."""
    couplings: int = 4
    """Couplings one after another."""
    noise: float = 0.1
    """Deviation of noise on the features that the flow learns from: without, places would be infinitely likely."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.couplings < 2:  # with one, half of the entries would stay as they are
            raise InvalidSettings(f"`couplings` must be at least 2; got {self.couplings}.")
        if not self.noise > 0:
            raise InvalidSettings(f"`noise` must be positive; got {self.noise}.")


class FlowDensity(Saved):
    r"""The density of standardised features, by a flow; its gains are those of an infinitely small step.

    To first order a step of size :math:`\eta` along the slope g raises a log-likelihood by :math:`\eta \|g\|^2`. What
    is returned is :math:`\|g\|^2`, of each observation for its own slope.
    """

    parts = ("trainer",)

    def __init__(self, observation_space: gymnasium.Space, settings: FlowSettings) -> None:
        self.settings = s = settings
        self.encoded = Encoded(observation_space, s.seed, s.encoder)
        generator = torch.Generator().manual_seed(s.seed)
        self.flow = Couplings(self.encoded.features, s.couplings, s.hidden, generator)
        self.trainer = Trainer({"encoded": self.encoded, "flow": self.flow}, s)

    def gains(self, obs: Observation) -> Float[Tensor, " n"]:
        """Returns the squared slope of each observation's log-likelihood, in nats per unit of step size."""
        return torch.cat([self.flow.squared_slopes(part) for part in self.encoded(obs).split(CHUNK)])

    def observe(self, obs: Observation) -> None:
        """Advances the statistics by which features are standardised."""
        self.encoded.update(obs)

    def learn(self, obs: Observation) -> dict[str, float]:
        """Fits the flow to `n` observations; returns `density_loss`, nats per observation."""
        features = self.encoded(obs)

        def losses(index: Tensor) -> dict[str, Tensor]:
            rows = features[index]
            return {"density_loss": -self.flow(rows + self.settings.noise * self.trainer.noise(*rows.shape)).mean()}

        return self.trainer.fit(len(features), losses)


def pseudo_counts(gains: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    r"""Returns how often each observation was seen before, as far as its gain in log-likelihood tells.

    .. math:: \hat N = \frac{1}{e^{\log\rho'(x) - \log\rho(x)} - 1}

    exact, up to the share of the observation among all, where the density is that of relative frequencies; infinite
    where nothing was gained.

    References: Ostrovski et al. 2017, "Count-based exploration with neural density models", arXiv:1703.01310,
        equation 2.
    """
    return 1 / torch.expm1(F.relu(gains))
