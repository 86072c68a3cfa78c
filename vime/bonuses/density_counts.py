"""Pseudo-counts from a density: what became much more likely by being seen was hardly ever seen."""

from dataclasses import dataclass
from typing import ClassVar

import gymnasium
import torch
from jaxtyping import Float
from torch import Tensor

from vime.density import Density, FlowDensity, FlowSettings, pseudo_counts
from vime.episodic import flat_successors
from vime.errors import InvalidSettings
from vime.normalise import Scaling
from vime.saved import Saved
from vime.spaces import make_action_encoder
from vime.transitions import Transitions

MOST_NATS = 30.0  # of a gain, so that no count is zero to the last bit


class DensityCounts(Saved):
    r"""One over the root of a pseudo-count, from the gain in log-likelihood of a density that learns as the agent goes.

    .. math:: r_t = \hat N_n^{-1/2}, \qquad \hat N_n = \big(e^{c\, n^{-1/2}\, \max(G, 0)} - 1\big)^{-1}

    over the gain :math:`G` of the successor and all `n` observations so far: the rate at which the density is taken to
    learn decays with their root.

    References: Bellemare et al. 2016, "Unifying count-based exploration and intrinsic motivation", arXiv:1606.01868;
        Ostrovski et al. 2017, "Count-based exploration with neural density models", arXiv:1703.01310, section 3.

    Differs from the papers: unless a `density` is handed in, a flow over features (see `FlowDensity`) with the gain of
        an infinitely small step, so that nobody need step and restore it for each observation; batches are learned from
        whole; successors count, in the step that leads to them.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings(FlowSettings):
        """Settings of the flow, and of what its gains are taken for."""

        rate: float = 0.1
        """The constant c: step size of the density at the first observation."""
        density: Density | None = None
        """How likely observations are; by default a flow over features that fit the space."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not self.rate > 0:
                raise InvalidSettings(f"`rate` must be positive; got {self.rate}.")

    scaling: ClassVar[Scaling] = Scaling(squash=False)
    parts = ("density", "seen")

    def __init__(
        self, observation_space: gymnasium.Space, action_space: gymnasium.Space, settings: Settings | None = None
    ) -> None:
        self.settings = s = settings or self.Settings()
        make_action_encoder(action_space)  # refuses what no bonus serves
        self.density = FlowDensity(observation_space, s) if s.density is None else s.density
        self.seen = 0

    @torch.no_grad()
    def reward(self, batch: Transitions) -> Float[Tensor, "t b"]:
        """Returns one over the root of the pseudo-count at the successor of every transition."""
        gains = self.density.gains(flat_successors(batch, self.settings.device)).cpu()
        rate = self.settings.rate * max(self.seen, 1) ** -0.5
        reward = pseudo_counts((rate * gains).clamp(max=MOST_NATS)).rsqrt()
        return torch.where(batch.valid, reward.view(batch.shape), 0.0)

    def observe(self, batch: Transitions) -> None:
        """Counts the observations, and advances the statistics of the density."""
        if batch.valid.any():
            self.seen += int(batch.valid.sum())
            self.density.observe(flat_successors(batch.flat(), self.settings.device))

    def learn(self, batch: Transitions) -> dict[str, float]:
        """Fits the density to the successors; returns its metrics."""
        return self.density.learn(flat_successors(batch.flat(), self.settings.device))
