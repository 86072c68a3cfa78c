"""The pairs (place, way there) that running episodes have seen, and the least distance from all of them."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

TINY = 1e-6  # added to the distance of the ways, as in the release of DEIR
CHUNK = 256  # steps that are compared with the whole history at a time


class PairMemory:
    """The last pairs of every environment's running episode; without any for another number of environments."""

    def __init__(self, width: int, capacity: int, device: str) -> None:
        self.width, self.capacity, self.device = width, capacity, device
        self.places = torch.empty(0, 0, width, device=device)
        self.ways = torch.empty(0, 0, width, device=device)
        self.filled = torch.empty(0, 0, dtype=torch.bool, device=device)

    def _history(
        self,
        before: Float[Tensor, "t b w"],
        after: Float[Tensor, "t b w"],
        begins: Bool[Tensor, "t b"],
        valid: Bool[Tensor, "t b"],
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Returns places and ways `(b, h, w)`, which of them are filled, their episodes and when they came `(b, h)`.

        Every step has two: the first observation of an episode, where it begins one, and its successor.
        """
        t, b, _ = before.shape
        known = len(self.filled) == b
        places = self.places if known else before.new_empty(b, 0, self.width)
        ways = self.ways if known else places
        filled = self.filled if known else torch.empty(b, 0, dtype=torch.bool, device=self.device)
        # an episode may begin with a step that is none (an autoreset): the next one is then its first
        count = valid.long().cumsum(0)
        since = count - torch.where(begins, count - valid.long(), 0).cummax(0).values
        opened = (begins.long().cumsum(0) > 0) | ~filled.any(1)
        first = valid & opened & (since == 1)
        new_places = torch.stack([before, after], 1).flatten(0, 1).transpose(0, 1)
        new_ways = torch.stack([torch.zeros_like(before), before], 1).flatten(0, 1).transpose(0, 1)
        new_filled = torch.stack([first, valid], 1).flatten(0, 1).T
        episode = begins.long().cumsum(0).repeat_interleave(2, 0).T
        remembered = filled.shape[1]
        when = torch.arange(-remembered, 2 * t, device=self.device)
        return (
            torch.cat([places, new_places], 1),
            torch.cat([ways, new_ways], 1),
            torch.cat([filled, new_filled], 1),
            torch.cat([torch.zeros_like(filled, dtype=torch.int64), episode], 1),
            when,
        )

    def ask(
        self,
        before: Float[Tensor, "t b w"],
        after: Float[Tensor, "t b w"],
        begins: Bool[Tensor, "t b"],
        valid: Bool[Tensor, "t b"],
        *,
        conditional: bool,
    ) -> Float[Tensor, "t b"]:
        """Returns for every step the least distance of `after` from the places of its episode so far.

        Where `conditional`, the squared distance over that of `before` from the ways that led to those places.
        """
        begins, valid = begins.to(self.device), valid.to(self.device)
        places, ways, filled, episode, when = self._history(before, after, begins, valid)
        own = begins.long().cumsum(0).T
        least = []
        for start in range(0, len(before), CHUNK):
            part = slice(start, start + CHUNK)
            steps = torch.arange(start, min(start + CHUNK, len(before)), device=self.device)
            seen = filled.unsqueeze(1) & (episode.unsqueeze(1) == own[:, part, None])
            seen = seen & (when[None, None] <= 2 * steps[None, :, None])
            gap = torch.cdist(after[part].transpose(0, 1), places, compute_mode="donot_use_mm_for_euclid_dist")
            if conditional:
                way = torch.cdist(before[part].transpose(0, 1), ways, compute_mode="donot_use_mm_for_euclid_dist")
                gap = gap.square() / (way + TINY)
            least.append(gap.masked_fill(~seen, torch.inf).amin(2).T)
        novelty = torch.cat(least)
        return torch.where(torch.isfinite(novelty), novelty, 0.0)

    def advance(
        self,
        before: Float[Tensor, "t b w"],
        after: Float[Tensor, "t b w"],
        begins: Bool[Tensor, "t b"],
        valid: Bool[Tensor, "t b"],
        ends: Bool[Tensor, " b"],
    ) -> None:
        """Takes the steps in; keeps the last pairs of the episodes that run on."""
        begins, valid, ends = begins.to(self.device), valid.to(self.device), ends.to(self.device)
        places, ways, filled, episode, _ = self._history(before, after, begins, valid)
        kept = filled & (episode == episode[:, -1:]) & ~ends.unsqueeze(1)
        order = torch.argsort(kept.long(), dim=1, stable=True)  # the kept ones last, in their order
        size = min(int(kept.sum(1).max()), self.capacity)
        order = order[:, order.shape[1] - size :]
        pick = order.unsqueeze(2).expand(-1, -1, self.width)
        self.places, self.ways, self.filled = places.gather(1, pick), ways.gather(1, pick), kept.gather(1, order)

    def state_dict(self) -> dict[str, Any]:
        """The pairs."""
        return {"places": self.places.clone(), "ways": self.ways.clone(), "filled": self.filled.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        if state["places"].shape[2] != self.width:
            raise ValueError(
                f"the memory's features have width {self.width}, the saved ones {state['places'].shape[2]}"
            )
        self.places, self.ways, self.filled = (
            state[name].to(self.device).clone() for name in ("places", "ways", "filled")
        )
