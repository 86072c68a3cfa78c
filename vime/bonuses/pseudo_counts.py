"""Pseudo-counts of the running episode, by the nearest of where it has been."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import gymnasium
import torch
from jaxtyping import Float
from torch import Tensor

from vime.episodic import EpisodicMemory, RandomEncoder, flat_successors, nearest_others
from vime.errors import InvalidSettings
from vime.inverse import InverseEncoder, InverseSettings
from vime.normalise import TINY, RunningMoments, Scaling
from vime.replay import Pool
from vime.saved import Saved
from vime.spaces import Encoder, make_action_encoder
from vime.transitions import Transitions


@dataclass(frozen=True, kw_only=True)
class NeighbourSettings:
    """Settings of random features and of the search for the nearest of them."""

    k: int = 3
    """Which nearest neighbour, or how many."""
    width: int = 32
    """Length of the random features."""
    hidden: tuple[int, ...] = (64,)
    """Width of each hidden layer of the random encoder."""
    capacity: int = 4096
    """Feature vectors kept; the oldest go first."""
    seed: int = 0
    """Seed of the random encoder."""
    device: str = "cpu"
    """Where features are computed and compared."""
    encoder: Encoder | None = None
    """Turns observations into what the random layers start from; by default what fits the space."""

    def __post_init__(self) -> None:
        for name in ("k", "width", "capacity"):
            if getattr(self, name) < 1:
                raise InvalidSettings(f"`{name}` must be at least 1; got {getattr(self, name)}.")
        if any(width < 1 for width in self.hidden):
            raise InvalidSettings(f"Every entry of `hidden` must be at least 1; got {self.hidden}.")


class PseudoCounts(Saved):
    r"""One over the root of a soft count of how often the running episode was near the successor.

    .. math:: r_t = \Big(\sqrt{\sum_{i=1}^k K(d_i^2)} + c\Big)^{-1}, \qquad
        K(d^2) = \frac{\epsilon}{\max(d^2 / d_m^2 - \xi, 0) + \epsilon}

    over the distances :math:`d_i` to the `k` nearest earlier successors of the episode; :math:`d_m^2` is the running
    mean of their squares. It is zero where the root and `c` exceed `most`. The memory of an environment is empty after
    an episode ends. The steps of a minibatch sampled from a replay buffer have lost their episodes: they are compared
    with the latest successors of all episodes instead, themselves left out.

    References: Badia et al. 2020, "Never give up: learning directed exploration strategies", arXiv:2002.06038,
        equation 2 and algorithm 1.

    Differs from the paper: features are random and not those of an inverse model; a neighbour that does not exist yet
        counts as one at the mean distance, where the paper would pay 1/c (a thousand) at the start of every episode.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings(NeighbourSettings):
        """Settings of memory and kernel; those of the kernel are the paper's."""

        features: Literal["random", "inverse"] = "random"
        """Distances in fixed random features, or in those of an inverse model, which keep what the agent controls."""
        k: int = 10
        """How many neighbours are counted."""
        capacity: int = 1024
        """Steps of an episode that are remembered."""
        kernel: float = 1e-4
        """Epsilon of the kernel."""
        cluster: float = 0.008
        """Xi: share of the mean squared distance below which two observations are the same."""
        floor: float = 1e-3
        """The constant c added to the root of the count."""
        most: float = 8.0
        """Root of the count above which nothing is paid."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.features not in ("random", "inverse"):
                raise InvalidSettings(f"`features` must be random or inverse; got {self.features!r}.")
            for name in ("kernel", "floor", "most"):
                if not getattr(self, name) > 0:
                    raise InvalidSettings(f"`{name}` must be positive; got {getattr(self, name)}.")
            if self.cluster < 0:
                raise InvalidSettings(f"`cluster` must not be negative; got {self.cluster}.")

    scaling: ClassVar[Scaling] = Scaling(squash=False)
    parts = ("encoder", "memory", "recent", "squares")

    def __init__(
        self, observation_space: gymnasium.Space, action_space: gymnasium.Space, settings: Settings | None = None
    ) -> None:
        self.settings = s = settings or self.Settings()
        make_action_encoder(action_space)  # refuses what no bonus serves
        if s.features == "inverse":
            shared = {name: getattr(s, name) for name in ("width", "hidden", "seed", "device", "encoder")}
            self.encoder = InverseEncoder(observation_space, action_space, InverseSettings(**shared))
        else:
            self.encoder = RandomEncoder(observation_space, s.width, s.hidden, s.seed, s.encoder).to(s.device)
        self.memory = EpisodicMemory(s.width, s.capacity, s.device)
        self.recent = Pool(s.capacity, {"features": s.width}, s.device)
        self.squares = RunningMoments((), s.device)

    def _marked(self, batch: Transitions) -> tuple[Tensor, Tensor, Tensor]:
        device = self.settings.device
        features = self.encoder(flat_successors(batch, device)).view(*batch.shape, -1)
        return features, batch.begins.to(device), batch.valid.to(device)

    def _distances(self, features: Tensor, begins: Tensor, valid: Tensor) -> Float[Tensor, "t b k"]:
        return self.memory.distances(features, begins, valid, self.settings.k)

    @torch.no_grad()
    def reward(self, batch: Transitions) -> Float[Tensor, "t b"]:
        """Returns one over the root of the pseudo-count of every transition."""
        s = self.settings
        marked = self._marked(batch)
        if batch.sampled and len(self.recent):
            rows = self.recent.rows()["features"]
            distances = nearest_others(marked[0].flatten(0, 1), rows, s.k).view(*batch.shape, -1)
        else:
            distances = self._distances(*marked)
        squares = distances.square()
        mean = self.squares.mean if self.squares.count else squares[squares.isfinite()].double().mean().nan_to_num(1.0)
        share = torch.where(squares.isfinite(), squares / mean.clamp_min(TINY).float(), 1.0)
        root = (s.kernel / ((share - s.cluster).clamp_min(0) + s.kernel)).sum(2).sqrt() + s.floor
        earned = torch.where(root > s.most, 0.0, 1 / root).cpu()
        return torch.where(batch.valid, earned, 0.0)

    @torch.no_grad()
    def observe(self, batch: Transitions) -> None:
        """Remembers the successors, and forgets the episodes that have ended."""
        if batch.valid.any():
            features, begins, valid = marked = self._marked(batch)
            squares = self._distances(*marked)[valid].square()
            self.squares.update(squares[squares.isfinite()])
            self.recent.add({"features": features[valid]})
            self.encoder.update(flat_successors(batch.flat(), self.settings.device))
        else:
            features, begins, valid = self._marked(batch)
        self.memory.advance(features, begins, valid, batch.done[-1].to(self.settings.device))

    def learn(self, batch: Transitions) -> dict[str, float]:
        """Fits the features, where they are learned; returns `distance`, the mean one to a neighbour."""
        learned = self.encoder.learn(batch) if isinstance(self.encoder, InverseEncoder) else {}
        return {"distance": float(self.squares.mean.sqrt())} | learned
