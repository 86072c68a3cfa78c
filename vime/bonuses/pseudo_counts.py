"""Pseudo-counts of the running episode, by the nearest of where it has been."""

from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium
import torch
from jaxtyping import Float
from torch import Tensor

from vime.borders import done, starts
from vime.episodic import EpisodicMemory, RandomEncoder, flat_successors, nearest, scattered
from vime.errors import InvalidSettings
from vime.normalise import TINY, RunningMoments, Scaling
from vime.replay import Pool
from vime.spaces import make_action_encoder
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

    def __post_init__(self) -> None:
        for name in ("k", "width", "capacity"):
            if getattr(self, name) < 1:
                raise InvalidSettings(f"`{name}` must be at least 1; got {getattr(self, name)}.")
        if any(width < 1 for width in self.hidden):
            raise InvalidSettings(f"Every entry of `hidden` must be at least 1; got {self.hidden}.")


class PseudoCounts:
    r"""One over the root of a soft count of how often the running episode was near the successor.

    .. math:: r_t = \Big(\sqrt{\sum_{i=1}^k K(d_i^2)} + c\Big)^{-1}, \qquad
        K(d^2) = \frac{\epsilon}{\max(d^2 / d_m^2 - \xi, 0) + \epsilon}

    over the distances :math:`d_i` to the `k` nearest earlier successors of the episode; :math:`d_m^2` is the running
    mean of their squares. It is zero where the root and `c` exceed `most`. The memory of an environment is empty after
    an episode ends. The steps of a minibatch sampled from a replay buffer have lost their episodes: they are compared
    with the latest successors of all episodes instead.

    References: Badia et al. 2020, "Never give up: learning directed exploration strategies", arXiv:2002.06038,
        equation 2 and algorithm 1.

    Differs from the paper: features are random and not those of an inverse model; a neighbour that does not exist yet
        counts as one at the mean distance, where the paper would pay 1/c (a thousand) at the start of every episode.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings(NeighbourSettings):
        """Settings of memory and kernel; those of the kernel are the paper's."""

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
            for name in ("kernel", "floor", "most"):
                if not getattr(self, name) > 0:
                    raise InvalidSettings(f"`{name}` must be positive; got {getattr(self, name)}.")
            if self.cluster < 0:
                raise InvalidSettings(f"`cluster` must not be negative; got {self.cluster}.")

    scaling: ClassVar[Scaling] = Scaling()

    def __init__(
        self, observation_space: gymnasium.Space, action_space: gymnasium.Space, settings: Settings | None = None
    ) -> None:
        self.settings = s = settings or self.Settings()
        make_action_encoder(action_space)  # refuses what no bonus serves
        self.encoder = RandomEncoder(observation_space, s.width, s.hidden, s.seed).to(s.device)
        self.memory = EpisodicMemory(s.width, s.capacity, s.device)
        self.recent = Pool(s.capacity, {"features": s.width}, s.device)
        self.squares = RunningMoments((), s.device)

    def _marked(self, batch: Transitions) -> tuple[Tensor, Tensor, Tensor]:
        device = self.settings.device
        features = self.encoder(flat_successors(batch, device)).view(*batch.shape, -1)
        return features, starts(batch).to(device), batch.valid.to(device)

    def _distances(self, features: Tensor, begins: Tensor, valid: Tensor) -> Float[Tensor, "t b k"]:
        return self.memory.distances(features, begins, valid, self.settings.k)

    @torch.no_grad()
    def reward(self, batch: Transitions) -> Float[Tensor, "t b"]:
        """Returns one over the root of the pseudo-count of every transition."""
        s = self.settings
        marked = self._marked(batch)
        if scattered(batch) and len(self.recent):
            rows = self.recent.rows()["features"]
            allowed = torch.ones(batch.valid.numel(), len(rows), dtype=torch.bool, device=s.device)
            distances = nearest(marked[0].flatten(0, 1), rows, allowed, s.k).view(*batch.shape, -1)
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
        self.memory.advance(features, begins, valid, done(batch)[-1].to(self.settings.device))

    def learn(self, batch: Transitions) -> dict[str, float]:
        """Does nothing: the memory advances as it observes; returns `distance`, the mean one to a neighbour."""
        return {"distance": float(self.squares.mean.sqrt())}

    def state_dict(self) -> dict[str, Any]:
        """Encoder with its statistics, memories, and the mean distance."""
        return {
            "encoder": {name: value.clone() for name, value in self.encoder.state_dict().items()},
            "memory": self.memory.state_dict(),
            "recent": self.recent.state_dict(),
            "squares": self.squares.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        self.encoder.load_state_dict(state["encoder"])
        self.memory.load_state_dict(state["memory"])
        self.recent.load_state_dict(state["recent"])
        self.squares.load_state_dict(state["squares"])
