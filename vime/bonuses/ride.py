"""Reward for impact: steps that change what the agent controls, in a place it has not yet been this episode."""

from dataclasses import dataclass
from typing import ClassVar

import gymnasium
import torch
from jaxtyping import Float
from torch import Tensor

from vime.counts import CountTable
from vime.errors import InvalidSettings
from vime.inverse import InverseFeatures, InverseSettings
from vime.normalise import Scaling
from vime.saved import Saved
from vime.transitions import Transitions, map_observation
from vime.visits import Keys, Visits


class Ride(Saved):
    r"""Change of inverse-model features, over the root of how often the episode has been there.

    .. math:: r_t = \frac{\|\phi(s_{t+1}) - \phi(s_t)\|_2}{\sqrt{N_{ep}(s_{t+1})}}

    Counts are exact for images and discrete values; other numbers are counted in cells of `cell` deviations, a grid
    that moves a little whenever the bonus learns, so that running episodes may meet a place anew then. The visit itself
    counts, the first observation of an episode does not. The transitions of a minibatch sampled from a replay buffer
    each count as the first of an episode. Without `episodic` the counts are those of all training, as of `Counts`.

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
        settle: int = 2000
        """Observations that the grid is laid by where counts are not `episodic`; then they begin, and it stays."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not self.cell > 0:
                raise InvalidSettings(f"`cell` must be positive; got {self.cell}.")
            if self.settle < 1:
                raise InvalidSettings(f"`settle` must be at least 1; got {self.settle}.")

    scaling: ClassVar[Scaling] = Scaling()
    parts = ("features", "keys", "visits", "laid")

    def __init__(
        self, observation_space: gymnasium.Space, action_space: gymnasium.Space, settings: Settings | None = None
    ) -> None:
        self.settings = s = settings or self.Settings()
        self.features = InverseFeatures(observation_space, action_space, s, forward=True)
        self.keys = Keys(observation_space, s.cell, s.seed, s.device)
        self.visits: Visits | CountTable = Visits(s.device) if s.episodic else CountTable()
        self.laid = 0

    def _visited(self, batch: Transitions) -> tuple[Tensor, Tensor, Tensor]:
        flat = map_observation(lambda part: part.flatten(0, 1), batch.next_obs)
        device = self.settings.device
        return self.keys(flat).view(batch.shape), batch.begins.to(device), batch.valid.to(device)

    @torch.no_grad()
    def reward(self, batch: Transitions) -> Float[Tensor, "t b"]:
        """Returns the impact of every transition over the root of its count, in units of the features."""
        keys, begins, valid = self._visited(batch)
        if isinstance(self.visits, Visits):
            counts = self.visits.count(keys, begins, valid)
        else:
            counts = self.visits.visits(keys, valid, counted=batch.sampled).to(self.settings.device)
        return torch.where(batch.valid, (self.features.impact(batch) / counts.sqrt()).cpu(), 0.0)

    @torch.no_grad()
    def observe(self, batch: Transitions) -> None:
        """Counts the successors of the batch."""
        keys, begins, valid = self._visited(batch)
        if isinstance(self.visits, Visits):
            self.visits.advance(keys, begins, valid, batch.done[-1].to(self.settings.device))
        else:
            self.visits.add(keys[valid])

    def learn(self, batch: Transitions) -> dict[str, float]:
        """Fits the features to the batch; returns `inverse_loss` and `forward_loss`."""
        obs = map_observation(lambda part: part.flatten(0, 1), batch.flat().next_obs)
        if isinstance(self.visits, Visits):
            self.keys.update(obs)
        elif self.keys.standardise and self.laid < self.settings.settle:
            self.keys.update(obs)
            self.laid += int(batch.valid.sum())
            self.visits.clear()  # they are of another grid
        return self.features.learn(batch)
