"""Entropy of the visited states, by nearest neighbours in random features."""

from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium
import torch
from jaxtyping import Float
from torch import Tensor

from vime.bonuses.pseudo_counts import NeighbourSettings
from vime.episodic import ROWS, RandomEncoder, flat_successors, nearest
from vime.normalise import Scaling
from vime.replay import Pool
from vime.saved import Saved
from vime.spaces import make_action_encoder
from vime.transitions import Transitions


class Re3(Saved):
    r"""Logarithm of the distance to the k-th nearest successor, in the features of a fixed random encoder.

    .. math:: r_t = \log(1 + \|y_t - y_t^{k\text{-NN}}\|_2), \qquad y_t = f_{\text{random}}(s_{t+1})

    Searched are the latest `capacity` successors of all environments and, unless they come from a replay buffer, the
    other steps of the batch. Where there are fewer than `k`, the farthest counts; where there is none, nothing is paid.

    References: Seo et al. 2021, "State entropy maximization with random encoders for efficient exploration",
        arXiv:2102.09430, equation 5.

    Differs from the paper: numbers are standardised before they are encoded; successors are scored, not states; the
        search covers the latest features and not the whole replay buffer.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings(NeighbourSettings):
        """Settings of encoder and search."""

    settings: Any
    scaling: ClassVar[Scaling] = Scaling(squash=False)
    parts = ("encoder", "recent")

    def __init__(self, observation_space: gymnasium.Space, action_space: gymnasium.Space, settings: Any = None) -> None:
        self.settings = s = settings or self.Settings()
        make_action_encoder(action_space)  # refuses what no bonus serves
        self.encoder = RandomEncoder(observation_space, s.width, s.hidden, s.seed, s.encoder).to(s.device)
        self.recent = Pool(s.capacity, {"features": s.width}, s.device)

    def distances(self, batch: Transitions) -> Float[Tensor, "t b"]:
        """Returns the distance from each successor to its k-th nearest; zero where there is no other."""
        device = self.settings.device
        features, valid = self.encoder(flat_successors(batch, device)), batch.valid.flatten().to(device)
        rows = self.recent.rows()["features"]
        old, n, k = len(rows), len(features), self.settings.k
        alone = batch.sampled and old > 0
        allowed = itself = None
        if not alone:
            rows = torch.cat([rows, features])
            itself = old + torch.arange(n, device=device)
            if not valid.all():
                allowed = torch.cat([valid.new_ones(old), valid]).unsqueeze(0)
        parts = []
        for first in range(0, n, ROWS):
            part = slice(first, first + ROWS)
            found = nearest(features[part], rows, allowed, k, None if itself is None else itself[part])
            parts.append(torch.where(found.isfinite(), found, 0.0).amax(1))
        return torch.cat(parts).cpu().view(batch.shape)

    def _pay(self, distances: Float[Tensor, "t b"]) -> Float[Tensor, "t b"]:
        return torch.log1p(distances)

    @torch.no_grad()
    def reward(self, batch: Transitions) -> Float[Tensor, "t b"]:
        """Returns what the distance of every transition is worth."""
        return torch.where(batch.valid, self._pay(self.distances(batch)), 0.0)

    @torch.no_grad()
    def observe(self, batch: Transitions) -> None:
        """Keeps the features of the successors."""
        if batch.valid.any():
            obs = flat_successors(batch.flat(), self.settings.device)
            self.recent.add({"features": self.encoder(obs)})
            self.encoder.update(obs)

    def learn(self, batch: Transitions) -> dict[str, float]:
        """Does nothing: the encoder is fixed; returns no metrics."""
        return {}
