"""Reward for impact: steps that change what the agent controls, in a place it has not yet been this episode."""

from dataclasses import dataclass
from typing import ClassVar

import gymnasium
import torch
from jaxtyping import Float
from torch import Tensor

from vime.errors import InvalidSettings
from vime.inverse import InverseFeatures, InverseSettings
from vime.normalise import Scaling
from vime.saved import Saved
from vime.transitions import Transitions, map_observation
from vime.visits import Keys, Visits


class Ride(Saved):
    r"""Change of inverse-model features, over the root of how often the episode has been there.

    .. math:: r_t = \frac{\|\phi(s_{t+1}) - \phi(s_t)\|_2}{\sqrt{N_{ep}(s_{t+1})}}

    Counts are exact for images and discrete values; other numbers are counted in cells of `cell` deviations. The visit
    itself counts, the first observation of an episode does not. The transitions of a minibatch
    sampled from a replay buffer each count as the first of an episode, or as the mean count of all environments says.

    References: Raileanu and Rocktäschel 2020, "RIDE: Rewarding impact-driven exploration for procedurally-generated
        environments", arXiv:2002.12292, section 3.

    Differs from the paper: continuous observations have counts.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings(InverseSettings):
        """Settings of features and counts."""

        cell: float = 0.5
        """Side of a cell in which continuous observations count as one, in deviations of the observation."""
        episodic: bool = True
        """Count anew in every episode."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not self.cell > 0:
                raise InvalidSettings(f"`cell` must be positive; got {self.cell}.")

    scaling: ClassVar[Scaling] = Scaling()
    parts = ("features", "keys", "visits")

    def __init__(
        self, observation_space: gymnasium.Space, action_space: gymnasium.Space, settings: Settings | None = None
    ) -> None:
        self.settings = s = settings or self.Settings()
        self.features = InverseFeatures(observation_space, action_space, s, forward=True)
        self.keys = Keys(observation_space, s.cell, s.seed, s.device)
        self.visits = Visits(s.device, s.episodic)

    def _visited(self, batch: Transitions) -> tuple[Tensor, Tensor, Tensor]:
        flat = map_observation(lambda part: part.flatten(0, 1), batch.next_obs)
        device = self.settings.device
        return self.keys(flat).view(batch.shape), batch.begins.to(device), batch.valid.to(device)

    @torch.no_grad()
    def reward(self, batch: Transitions) -> Float[Tensor, "t b"]:
        """Returns the impact of every transition over the root of its count, in units of the features."""
        visited = self._visited(batch)
        counts = (
            self.visits.recall(visited[0])
            if batch.sampled and not self.settings.episodic
            else self.visits.count(*visited)
        )
        return torch.where(batch.valid, (self.features.impact(batch) / counts.sqrt()).cpu(), 0.0)

    @torch.no_grad()
    def observe(self, batch: Transitions) -> None:
        """Counts the successors of the batch."""
        self.visits.advance(*self._visited(batch), batch.done[-1].to(self.settings.device))

    def learn(self, batch: Transitions) -> dict[str, float]:
        """Fits the features to the batch; returns `inverse_loss` and `forward_loss`."""
        self.keys.update(map_observation(lambda part: part.flatten(0, 1), batch.flat().next_obs))
        return self.features.learn(batch)
