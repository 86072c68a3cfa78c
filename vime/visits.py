"""Exact episodic visit counts of keys, without a loop over steps."""

from copy import deepcopy
from math import prod
from typing import Any

import numpy as np
import torch
from gymnasium import Space
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn import functional as F

from vime.counts import ranks
from vime.features import Standardiser
from vime.spaces import FlatEncoder, is_image, make_encoder
from vime.transitions import Observation

LARGEST = 2**62  # weights of the hash
ROWS = 64  # observations hashed at a time: what is in between stays in the cache
PIXELS = 4  # bytes that are hashed as one word


class Keys:
    """Whole numbers that stand for observations: equal ones where the observations are, or lie in the same cell.

    Images and discrete values are told apart exactly. The other numbers are standardised by all that `update`
    saw and rounded to cells of `cell` deviations.
    """

    def __init__(self, space: Space, cell: float, seed: int, device: str) -> None:
        self.cell, self.device = cell, device
        parts = space.spaces if hasattr(space, "spaces") else {None: space}  # type: ignore[attr-defined]
        make_encoder(space)  # refuses what no bonus serves
        self.standardise: dict[Any, Standardiser] = {}
        self.weights: dict[Any, Tensor] = {}
        self.packed: set[Any] = set()
        generator = torch.Generator().manual_seed(seed)
        for key, part in parts.items():
            size = prod(part.shape or ())
            if is_image(part) and part.dtype == np.uint8:
                self.packed.add(key)
            words = -(-size // PIXELS) if key in self.packed else size
            self.weights[key] = torch.randint(-LARGEST, LARGEST, (words,), generator=generator).to(device)
            if not is_image(part) and isinstance(make_encoder(part), FlatEncoder):
                self.standardise[key] = Standardiser(size).to(device)

    def _parts(self, obs: Observation) -> dict[Any, Tensor]:
        parts = obs if isinstance(obs, dict) else {None: obs}
        return {key: parts[key].reshape(len(parts[key]), -1).to(self.device) for key in self.weights}  # type: ignore[index]

    def update(self, obs: Observation) -> None:
        """Advances the statistics by `n` observations."""
        for key, values in self._parts(obs).items():
            if key in self.standardise:
                self.standardise[key].update(values.float())

    def __call__(self, obs: Observation) -> Int[Tensor, " n"]:
        """Returns the keys of `n` observations."""
        total = torch.zeros((), dtype=torch.int64, device=self.device)
        for key, values in self._parts(obs).items():
            if key in self.standardise:
                values = (self.standardise[key](values.float()) / self.cell).round()
            elif key in self.packed:
                values = F.pad(values, (0, -values.shape[1] % PIXELS)).contiguous().view(torch.int32)
            elif values.is_floating_point():
                values = values.float().contiguous().view(torch.int32)
            parts = [(part.long() * self.weights[key]).sum(1) for part in values.split(ROWS)]
            total = total + torch.cat(parts)  # wraps around, as a hash may
        return total

    def state_dict(self) -> dict[str, Any]:
        """Statistics, the hash's weights, and the size of a cell."""
        return {
            "cell": self.cell,
            "weights": {str(key): weight.clone() for key, weight in self.weights.items()},
            "statistics": {str(key): deepcopy(dict(part.state_dict())) for key, part in self.standardise.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        if state["cell"] != self.cell:  # the counts of other cells mean nothing here
            raise ValueError(f"the cells are {self.cell} deviations wide, the saved ones {state['cell']}")
        for key, weight in self.weights.items():
            weight.copy_(state["weights"][str(key)])
        for key, part in self.standardise.items():
            part.load_state_dict(state["statistics"][str(key)])


class Visits:
    """The keys that the running episode of every environment has visited."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.environments = 0
        self.seen = torch.empty(0, 2, dtype=torch.int64, device=device)  # (environment, key)

    def _rows(self, keys: Int[Tensor, "t b"], begins: Bool[Tensor, "t b"]) -> tuple[Tensor, Tensor, Tensor]:
        t, b = keys.shape
        episode = begins.long().cumsum(0)
        env = torch.arange(b, device=self.device).expand(t, b)
        rows = torch.stack([episode, env, keys], 2).flatten(0, 1)
        seen = self.seen if b == self.environments else self.seen[:0]
        return torch.cat([torch.zeros_like(seen[:, :1]), seen], 1), rows, episode

    def count(
        self, keys: Int[Tensor, "t b"], begins: Bool[Tensor, "t b"], valid: Bool[Tensor, "t b"]
    ) -> Int[Tensor, "t b"]:
        """Returns how often its episode has visited the key of each step, this visit included; 1 where not valid."""
        seen, rows, _ = self._rows(keys, begins)
        counts = torch.ones(keys.shape, dtype=torch.int64, device=self.device).flatten()
        counts[valid.flatten()] = ranks(torch.cat([seen, rows[valid.flatten()]]))[len(seen) :]
        return counts.view(keys.shape)

    def advance(
        self,
        keys: Int[Tensor, "t b"],
        begins: Bool[Tensor, "t b"],
        valid: Bool[Tensor, "t b"],
        ends: Bool[Tensor, " b"],
    ) -> None:
        """Takes the steps in, and forgets all but the episodes that run on."""
        seen, rows, episode = self._rows(keys, begins)
        rows = torch.cat([seen, rows[valid.flatten()]])
        env = rows[:, 1]
        rows = rows[(rows[:, 0] == episode[-1][env]) & ~ends[env]]
        self.seen, self.environments = rows[:, 1:].contiguous(), keys.shape[1]

    def state_dict(self) -> dict[str, Any]:
        """The keys of the running episodes."""
        return {"seen": self.seen.clone(), "environments": self.environments}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        self.seen = state["seen"].to(self.device).clone()
        self.environments = int(state["environments"])
