"""The pool of transitions that a model is fitted to."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vime.errors import InvalidData, InvalidSettings


class Pool:
    """The last `capacity` rows of a few named columns, each row a vector; oldest out first.

    Raises:
        InvalidSettings: `capacity` is not positive.
    """

    def __init__(self, capacity: int, widths: Mapping[str, int], device: torch.device | str = "cpu") -> None:
        if capacity < 1:
            raise InvalidSettings(f"A pool needs room for at least 1 transition; got `capacity` = {capacity}.")
        self.capacity = capacity
        self.columns = {name: torch.empty(capacity, width, device=device) for name, width in widths.items()}
        self.size = 0
        self.next = 0

    def __len__(self) -> int:
        return self.size

    def add(self, rows: Mapping[str, Tensor]) -> None:
        """Stores `n` rows of every column, each `(n, width)`; only the last `capacity` of them where n is larger.

        Raises:
            InvalidData: a number is not finite; then nothing was stored.
        """
        for name, values in rows.items():
            if not torch.isfinite(values).all():
                raise InvalidData(f"The column {name!r} holds NaN or infinity; nothing of this batch was stored.")
        n = len(next(iter(rows.values())))
        kept = min(n, self.capacity)
        if kept == 0:
            return
        first = min(kept, self.capacity - self.next)
        for name, column in self.columns.items():
            values = rows[name][n - kept :].detach()
            column[self.next : self.next + first] = values[:first]
            column[: kept - first] = values[first:]
        self.next = (self.next + kept) % self.capacity
        self.size = min(self.size + kept, self.capacity)

    def sample(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Returns `n` rows drawn uniformly with replacement.

        Raises:
            InvalidData: the pool is empty.
        """
        if self.size == 0:
            raise InvalidData("The pool is empty: add transitions before fitting a model to it.")
        device = next(iter(self.columns.values())).device
        index = torch.randint(self.size, (n,), generator=generator, device=device)
        return {name: column[index] for name, column in self.columns.items()}

    def rows(self) -> dict[str, Tensor]:
        """Returns everything stored, in the order of storage (views, not copies)."""
        return {name: column[: self.size] for name, column in self.columns.items()}

    def state_dict(self) -> dict[str, Any]:
        """The filled part, and where the next row goes."""
        return {"columns": {k: v.clone() for k, v in self.rows().items()}, "next": self.next}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit; with less room than it had the latest rows stay."""
        if set(state["columns"]) != set(self.columns):
            raise ValueError(
                f"the pool's columns are {sorted(self.columns)}, the saved ones {sorted(state['columns'])}"
            )
        saved, place = len(next(iter(state["columns"].values()))), int(state["next"])
        full = place != saved  # else the rows lie in the order in which they came
        same = full and saved == self.capacity
        self.size = min(saved, self.capacity)
        for name, column in self.columns.items():
            rows = state["columns"][name]
            column[: self.size] = rows if same else (rows.roll(-place, 0) if full else rows)[saved - self.size :]
        self.next = place if same else self.size % self.capacity
