"""Discrepancy between what one episode visits and what the one before did."""

from dataclasses import dataclass
from typing import ClassVar

import gymnasium
import torch
from jaxtyping import Float
from torch import Tensor

from vime.bonuses.pseudo_counts import NeighbourSettings
from vime.episodic import (
    PREVIOUS,
    RUNNING,
    EpisodicMemory,
    RandomEncoder,
    flat_successors,
    nearest,
    nearest_others,
)
from vime.errors import InvalidSettings
from vime.normalise import Scaling
from vime.saved import Saved
from vime.spaces import make_action_encoder
from vime.transitions import Transitions

CLOSEST = 1e-3  # distances below this count as this: a place seen again must not be infinitely rewarding


class Revd(Saved):
    r"""Far from the last episode, near to one's own: the share of a step in a Rényi divergence between the two.

    .. math:: r_t = \ell_t \left(\frac{\tilde\rho_k(y_t)}{\rho_k(y_t)}\right)^{1 - \alpha}

    :math:`\rho_k` is the distance of the random features of the successor to the k-th nearest earlier one of the same
    episode, :math:`\tilde\rho_k` to that of the episode before, :math:`\ell_t` to the very nearest of the same episode.
    Where there are fewer than `k`, the farthest of them counts. Nothing is paid in the first episode of an environment
    and on the first step of any. The transitions of a minibatch sampled from a replay buffer have lost their episodes;
    each is measured against the running episodes of all environments, itself left out, and against those before; where
    no episode is under way, against the last ones alone.

    References: Yuan et al. 2023, "Rewarding episodic visitation discrepancy for exploration in reinforcement learning",
        arXiv:2209.08842.

    Differs from the paper: only earlier steps of the episode count, so that a reward does not depend on the future;
        hence the nearest distance of the step itself, where the authors' code takes the mean over the episode.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings(NeighbourSettings):
        """Settings of encoder, search and order."""

        alpha: float = 0.5
        """Order of the divergence, between 0 and 1."""
        capacity: int = 2048
        """Steps remembered of each environment, over the running episode and the one before."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not 0 < self.alpha < 1:
                raise InvalidSettings(f"`alpha` must lie between 0 and 1; got {self.alpha}.")

    scaling: ClassVar[Scaling] = Scaling()
    parts = ("encoder", "memory")

    def __init__(
        self, observation_space: gymnasium.Space, action_space: gymnasium.Space, settings: Settings | None = None
    ) -> None:
        self.settings = s = settings or self.Settings()
        make_action_encoder(action_space)  # refuses what no bonus serves
        self.encoder = RandomEncoder(observation_space, s.width, s.hidden, s.seed, s.encoder).to(s.device)
        self.memory = EpisodicMemory(s.width, s.capacity, s.device, previous=True)

    def _marked(self, batch: Transitions) -> tuple[Tensor, Tensor, Tensor]:
        device = self.settings.device
        features = self.encoder(flat_successors(batch, device)).view(*batch.shape, -1)
        return features, batch.begins.to(device), batch.valid.to(device)

    def _anywhere(self, features: Float[Tensor, "t b w"], tag: int) -> Float[Tensor, "t b k"]:
        """Distances to the nearest remembered steps with this tag in any environment, but for the step itself."""
        own, k = self.memory.episode == tag, self.settings.k
        itself = tag == RUNNING
        if itself and not own.any():
            own = self.memory.episode == PREVIOUS
        rows, queries = self.memory.rows[own], features.flatten(0, 1)
        found = nearest_others(queries, rows, k) if itself else nearest(queries, rows, None, k)
        return found.view(*features.shape[:2], -1)

    @torch.no_grad()
    def reward(self, batch: Transitions) -> Float[Tensor, "t b"]:
        """Returns the weighed ratio of distances of every transition."""
        marked = self._marked(batch)
        if batch.sampled and len(self.memory.rows):
            own, before = (self._anywhere(marked[0], tag) for tag in (RUNNING, PREVIOUS))
        else:
            own, before = (self.memory.distances(*marked, self.settings.k, back) for back in (0, 1))
        known = own[..., 0].isfinite() & before[..., 0].isfinite()
        far, away = (torch.where(d.isfinite(), d, 0.0).amax(2).clamp_min(CLOSEST) for d in (own, before))
        earned = torch.where(known, own[..., 0], 0.0) * (away / far) ** (1 - self.settings.alpha)
        return torch.where(batch.valid, earned.cpu(), 0.0)

    @torch.no_grad()
    def observe(self, batch: Transitions) -> None:
        """Remembers the successors; an episode that has ended becomes the one before."""
        self.memory.advance(*self._marked(batch), batch.done[-1].to(self.settings.device))
        if batch.valid.any():
            self.encoder.update(flat_successors(batch.flat(), self.settings.device))

    def learn(self, batch: Transitions) -> dict[str, float]:
        """Does nothing: the encoder is fixed; returns no metrics."""
        return {}
