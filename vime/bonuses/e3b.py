"""Elliptical episodic bonus: counts for continuous features."""

from dataclasses import dataclass
from typing import ClassVar

import gymnasium
import torch
from jaxtyping import Float
from torch import Tensor

from vime.elliptical import EllipticalMemory, SecondMoment
from vime.errors import InvalidSettings
from vime.inverse import InverseFeatures, InverseSettings
from vime.normalise import Scaling
from vime.saved import Saved
from vime.transitions import Transitions

SHORTEST = 1e-6  # features shorter than this are taken as of this length


class E3b(Saved):
    r"""How far the new features lie outside what the episode has seen, in the metric of its second moment.

    .. math:: r_t = \phi(s_{t+1})^\top C_t^{-1} \phi(s_{t+1}), \quad
        C_t = \lambda I + \sum_{i \le t} \phi(s_i)\phi(s_i)^\top

    The features are those of an inverse model; the sum goes over the arrivals of the episode so far, or with
    `episodic=False` over all of the environment's. The transitions of a minibatch sampled from a replay buffer have
    lost their episodes: they are compared with all that any environment has seen.

    References: Henaff et al. 2022, "Exploration via elliptical episodic bonuses", arXiv:2210.05805, algorithm 1.

    Differs from the paper: features are divided by their root mean square length over the latest fit, so that lambda
        means the same for any features; the first observation of an episode is not taken in.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings(InverseSettings):
        """Settings of features and memory."""

        ridge: float = 0.1
        """lambda: visits, roughly, that every direction starts with."""
        episodic: bool = True
        """Forget at the end of every episode."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not self.ridge > 0:  # the matrix must have an inverse
                raise InvalidSettings(f"`ridge` must be positive; got {self.ridge}.")

    scaling: ClassVar[Scaling] = Scaling()
    parts = ("features", "memory", "seen", "length")

    def __init__(
        self, observation_space: gymnasium.Space, action_space: gymnasium.Space, settings: Settings | None = None
    ) -> None:
        self.settings = s = settings or self.Settings()
        self.features = InverseFeatures(observation_space, action_space, s, forward=False)
        self.memory = EllipticalMemory(s.width, s.ridge, s.device, s.episodic)
        self.seen = SecondMoment(s.width, s.ridge, s.device)
        self.length = 1.0
        """Root mean square length of the features over the latest fit; one before the first."""

    def _arrivals(self, batch: Transitions) -> Float[Tensor, "t b w"]:
        return self.features.arrivals(batch) / self.length

    @torch.no_grad()
    def reward(self, batch: Transitions) -> Float[Tensor, "t b"]:
        """Returns the novelty of every successor within its episode."""
        arrivals = self._arrivals(batch)
        if batch.sampled:
            novelty = self.seen.novelty(arrivals)
        else:
            novelty, _ = self.memory.ask(arrivals, batch.begins)
        return torch.where(batch.valid, novelty.clamp_min(0).cpu(), 0.0)

    @torch.no_grad()
    def observe(self, batch: Transitions) -> None:
        """Takes the batch into the memory of each environment, and of all."""
        arrivals = self._arrivals(batch)
        self.memory.advance(arrivals, batch.begins, batch.done[-1])
        self.seen.add(arrivals[batch.valid.to(self.settings.device)])

    def learn(self, batch: Transitions) -> dict[str, float]:
        """Fits the features to the batch; returns `inverse_loss`."""
        metrics = self.features.learn(batch)
        squares = self.features.arrivals(batch).square().sum(2)[batch.valid.to(self.settings.device)]
        self.length = max(float(squares.mean().sqrt()), SHORTEST)
        return metrics
