"""How often each key was seen, over the whole of training."""

from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def ranks(keys: Int[Tensor, "n k"]) -> Int[Tensor, " n"]:
    """Returns how many of the rows up to and including each one equal it."""
    _, group = torch.unique(keys, dim=0, return_inverse=True)
    order = torch.argsort(group, stable=True)
    place = torch.arange(len(group), device=group.device)
    first = torch.searchsorted(group[order], group[order])
    counts = torch.empty_like(group)
    counts[order] = place - first + 1
    return counts


class CountTable:
    """Counts of whole-number keys; memory grows with the number of different keys."""

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}

    def look_up(self, keys: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        """Returns how often each key was added."""
        return torch.tensor([self.counts.get(key, 0) for key in keys.tolist()], dtype=torch.int64)

    def visits(
        self, keys: Int[Tensor, "t b"], valid: Bool[Tensor, "t b"], *, counted: bool = False
    ) -> Int[Tensor, "t b"]:
        """Returns how often the key of each step was seen, this visit included, at least once; changes nothing.

        Args:
            valid: which steps are visits.
            counted: whether these visits were added before.
        """
        flat = keys.flatten().cpu()
        counts, real = self.look_up(flat), valid.flatten().cpu()
        if not counted:
            counts[real] += ranks(flat[real][:, None])
        return counts.clamp_min(1).view(keys.shape)

    def add(self, keys: Int[Tensor, " n"]) -> None:
        """Counts `n` more keys."""
        unique, times = keys.unique(return_counts=True)
        for key, n in zip(unique.tolist(), times.tolist(), strict=True):
            self.counts[key] = self.counts.get(key, 0) + n

    def clear(self) -> None:
        """Forgets everything."""
        self.counts.clear()

    def state_dict(self) -> dict[str, Any]:
        """Keys and counts, in the order in which the keys came."""
        keys, counts = list(self.counts), list(self.counts.values())
        return {
            "keys": torch.tensor(keys, dtype=torch.int64),
            "counts": torch.tensor(counts, dtype=torch.int64),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        self.counts = dict(zip(state["keys"].tolist(), state["counts"].tolist(), strict=True))
