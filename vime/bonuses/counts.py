"""Counts: the older a place, the less it earns."""

from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vime.counts import CountTable
from vime.episodic import flat_successors
from vime.errors import InvalidSettings
from vime.normalise import Scaling
from vime.saved import Saved
from vime.spaces import make_action_encoder
from vime.transitions import Observation, Transitions
from vime.visits import Keys, Visits


class Counts(Saved):
    r"""One over the root of how often the successor was seen, this visit included: in all of training, or the episode.

    .. math:: r_t = 1 / \sqrt{N(s_{t+1})}

    Images and discrete values are told apart exactly. Other numbers are counted in cells of `cell` deviations, which
    are measured over the first `settle` observations; then counting starts anew, on a grid that stays. In more than a
    few dimensions hardly a cell is seen twice: take `simhash` there. With `episodic` the first observation of an
    episode is no visit. A minibatch sampled from a replay buffer holds visits that were counted before, and has lost
    its episodes: its steps do not count again, and the counts are those of all training.

    References: Strehl and Littman 2008, "An analysis of model-based interval estimation for Markov decision
        processes"; Bellemare et al. 2016, arXiv:1606.01868.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Settings of the grid."""

        cell: float = 0.5
        """Side of a cell in which continuous observations count as one, in deviations of the observation."""
        settle: int = 2000
        """Observations that the grid is laid by."""
        episodic: bool = False
        """Count anew in every episode."""
        seed: int = 0
        """Seed of the hash; without effect on the counts but for collisions."""
        device: str = "cpu"
        """Where observations are hashed."""

        def __post_init__(self) -> None:
            if not self.cell > 0:
                raise InvalidSettings(f"`cell` must be positive; got {self.cell}.")
            if self.settle < 1:
                raise InvalidSettings(f"`settle` must be at least 1; got {self.settle}.")

    settings: Any
    scaling: ClassVar[Scaling] = Scaling(squash=False)
    parts: ClassVar[tuple[str, ...]] = ("table", "visits", "hash", "seen")

    def __init__(self, observation_space: gymnasium.Space, action_space: gymnasium.Space, settings: Any = None) -> None:
        self.settings = settings or self.Settings()
        make_action_encoder(action_space)  # refuses what no bonus serves
        self.table, self.visits = CountTable(), Visits(self.settings.device)
        self.seen = 0
        self._build(observation_space)

    def _build(self, observation_space: gymnasium.Space) -> None:
        s = self.settings
        self.hash = Keys(observation_space, s.cell, s.seed, s.device)
        self.exact = not self.hash.standardise

    def _keys(self, obs: Observation) -> Int[Tensor, " n"]:
        return self.hash(obs).cpu()

    def _update(self, obs: Observation) -> None:
        self.hash.update(obs)

    def reward(self, batch: Transitions) -> Float[Tensor, "t b"]:
        """Returns one over the root of the count at the successor of every transition."""
        if self.settings.episodic and not batch.sampled:
            visits = self.visits.count(*self._visited(batch)).cpu()
        else:
            keys = self._keys(flat_successors(batch, self.settings.device)).view(batch.shape)
            visits = self.table.visits(keys, batch.valid, counted=batch.sampled)
        return torch.where(batch.valid, visits.float().rsqrt(), 0.0)

    def _visited(self, batch: Transitions) -> tuple[Int[Tensor, "t b"], Bool[Tensor, "t b"], Bool[Tensor, "t b"]]:
        device = self.settings.device
        keys = self._keys(flat_successors(batch, device)).view(batch.shape)
        return keys.to(device), batch.begins.to(device), batch.valid.to(device)

    def observe(self, batch: Transitions) -> None:
        """Counts the successors; while the grid is being laid, moves it too."""
        if not batch.valid.any():
            return
        obs = flat_successors(batch.flat(), self.settings.device)
        before, self.seen = self.seen, self.seen + int(batch.valid.sum())
        if not self.exact and before < self.settings.settle:
            self._update(obs)
            if self.seen >= self.settings.settle:
                self.table.clear()
                self.visits = Visits(self.settings.device)  # the places of running episodes are of another grid
        self.table.add(self._keys(obs))
        if self.settings.episodic:
            self.visits.advance(*self._visited(batch), batch.done[-1].to(self.settings.device))

    def learn(self, batch: Transitions) -> dict[str, float]:
        """Does nothing: counts advance as they are observed; returns `places`, how many keys are known."""
        return {"places": float(len(self.table.counts))}
