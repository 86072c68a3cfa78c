"""Memories of where an episode has been, and distances to the nearest of it, batched over steps and environments."""

from collections.abc import Sequence
from typing import Any

import torch
from gymnasium import Space
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vime.errors import InvalidSettings
from vime.features import Standardiser, draw_seed, mlp
from vime.spaces import Encoder, make_encoder
from vime.transitions import Observation, Transitions, map_observation

SAME = 0.1  # a row is taken for the query itself if it is nearer than this share of the distance to the next one
ROWS = 128  # queries whose distances are held at a time, so that a long rollout needs no gigabytes
GROUP = 32  # numbers of which the least is taken first, in the search for the smallest
RUNNING, PREVIOUS, FORGOTTEN = 0, -1, -9  # tags of remembered rows: which episode they belong to


def flat_successors(batch: Transitions, device: str) -> Observation:
    """Returns the `t * b` observations that the steps led to."""
    return map_observation(lambda part: part.flatten(0, 1).to(device), batch.next_obs)


class RandomEncoder(nn.Module):
    """Frozen random features of any observation, standardised by all that `update` saw.

    Args:
        encoder: its features go into the random layers, in place of those that fit the space.

    References: Seo et al. 2021, "State entropy maximization with random encoders", arXiv:2102.09430, section 4.
    """

    def __init__(
        self,
        observation_space: Space,
        width: int,
        hidden: Sequence[int],
        seed: int,
        encoder: Encoder | None = None,
    ) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.encoder = make_encoder(observation_space, draw_seed(generator)) if encoder is None else encoder
        self.standardise = Standardiser(self.encoder.features)
        self.head = mlp((self.encoder.features, *hidden, width), generator).requires_grad_(False)

    @torch.no_grad()
    def forward(self, obs: Observation) -> Float[Tensor, "n w"]:
        """Returns the features of `n` observations."""
        return self.head(self.standardise(self.encoder.encode(obs)))

    def update(self, obs: Observation) -> None:
        """Advances the statistics by `n` observations."""
        self.standardise.update(self.encoder.encode(obs))


def smallest(values: Float[Tensor, "*c n m"], k: int) -> Int[Tensor, "*c n k"]:
    """Returns where each row has its `k` smallest numbers, in no order.

    Long rows are cut into groups first: the smallest numbers lie in the groups whose least ones are smallest.
    """
    groups = values.shape[-1] // GROUP
    if groups <= 4 * k:
        return values.topk(k, -1, largest=False, sorted=False).indices
    cut = groups * GROUP
    least = values[..., :cut].unflatten(-1, (GROUP, groups)).amin(-2)  # far apart: fast over what lies side by side
    chosen = least.topk(k, -1, largest=False, sorted=False).indices
    columns = (chosen.unsqueeze(-1) + groups * torch.arange(GROUP, device=values.device)).flatten(-2)
    if cut < values.shape[-1]:
        rest = torch.arange(cut, values.shape[-1], device=values.device)
        columns = torch.cat([columns, rest.expand(*columns.shape[:-1], -1)], -1)
    within = values.gather(-1, columns).topk(k, -1, largest=False, sorted=False).indices
    return columns.gather(-1, within)


def nearest(
    queries: Float[Tensor, "*c n w"],
    rows: Float[Tensor, "*c m w"],
    allowed: Bool[Tensor, "..."] | None,
    k: int,
    itself: Int[Tensor, "*c n"] | None = None,
) -> Float[Tensor, "*c n k"]:
    """Returns the distances from each query to its `k` nearest allowed rows, rising; infinite where there are fewer.

    Args:
        allowed: which rows count, for all queries `(*c, 1, m)` or for each `(*c, n, m)`; all of them where left out.
        itself: the row that is the query itself and does not count.
    """
    missing = k - rows.shape[-2]
    if missing > 0:
        rows = torch.cat([rows, rows.new_zeros(*rows.shape[:-2], missing, rows.shape[-1])], -2)
        if allowed is None:
            allowed = torch.ones(*rows.shape[:-2], 1, rows.shape[-2] - missing, dtype=torch.bool, device=rows.device)
        allowed = torch.cat([allowed, allowed.new_zeros(*allowed.shape[:-1], missing)], -1)
    # found by a matrix product, which is fast, then measured by differences: equal vectors are at distance zero
    half = (-queries @ rows.mT).add_(0.5 * rows.square().sum(-1).unsqueeze(-2))
    if allowed is not None:
        half = half.masked_fill_(~allowed, torch.inf)
    if itself is not None:
        half = half.scatter_(-1, itself.unsqueeze(-1), torch.inf)
    found = smallest(half, k)
    near = torch.take_along_dim(rows.unsqueeze(-3), found.unsqueeze(-1), -2)
    gaps = (near - queries.unsqueeze(-2)).square().sum(-1).sqrt()
    return gaps.masked_fill(half.gather(-1, found).isposinf(), torch.inf).sort(-1).values


def nearest_others(queries: Float[Tensor, "n w"], rows: Float[Tensor, "m w"], k: int) -> Float[Tensor, "n k"]:
    """Returns the distances from each query to its `k` nearest rows, one that seems to be the query itself left out.

    For steps from a replay buffer, of which some are among the rows and some are not. A row that is the query is not at
    distance zero, for features move with their statistics; but it is far nearer than any other. Of points that lie
    anyhow in `d` dimensions one in 10^d loses a true neighbour.
    """
    found = nearest(queries, rows, None, k + 1)
    return torch.where(found[:, :1] < SAME * found[:, 1:2], found[:, 1:], found[:, :-1])


class EpisodicMemory:
    """Feature vectors of the running episode of every environment, and of the one before where `previous` is set.

    At most the last `capacity` steps are kept. A batch of another number of environments meets an empty memory.

    Raises:
        InvalidSettings: `capacity` is not positive.
    """

    def __init__(self, width: int, capacity: int, device: str, previous: bool = False) -> None:
        if capacity < 1:
            raise InvalidSettings(f"An episodic memory needs a `capacity` of at least 1 step; got {capacity}.")
        self.width, self.capacity, self.device, self.previous = width, capacity, device, previous
        self.rows = torch.empty(0, 0, width, device=device)
        self.episode = torch.empty(0, 0, dtype=torch.int64, device=device)

    def _joined(
        self, features: Float[Tensor, "t b w"], begins: Bool[Tensor, "t b"], valid: Bool[Tensor, "t b"]
    ) -> tuple[Tensor, Tensor, Int[Tensor, "t b"]]:
        """All rows, remembered and new; their episodes, forgotten where not valid; the episode of each step."""
        known = self.rows.shape[1] == features.shape[1]
        if known:  # an episode that has ended was counted when it did; only a running one is cut by the first step
            begins = begins.clone()
            begins[0] &= (self.episode == RUNNING).any(0)
        own = begins.long().cumsum(0)
        fresh = torch.where(valid, own, FORGOTTEN)
        if not known:
            return features, fresh, own
        return torch.cat([self.rows, features]), torch.cat([self.episode, fresh]), own

    def distances(
        self,
        features: Float[Tensor, "t b w"],
        begins: Bool[Tensor, "t b"],
        valid: Bool[Tensor, "t b"],
        k: int,
        back: int = 0,
    ) -> Float[Tensor, "t b k"]:
        """Returns the distances from each step to the `k` nearest earlier ones of its episode, rising.

        They are infinite where there are fewer. With `back` = 1 it is the episode before that is searched.
        """
        rows, episode, own = self._joined(features, begins, valid)
        old = len(rows) - len(features)
        rows, episode = rows.transpose(0, 1), episode.T
        place = torch.arange(len(episode[0]), device=rows.device)
        parts = []
        for first in range(0, len(features), ROWS):
            step = slice(first, first + ROWS)
            allowed = episode[:, None] == (own[step].T - back)[:, :, None]
            now = old + torch.arange(len(features), device=rows.device)[step]
            parts.append(nearest(features[step].transpose(0, 1), rows, allowed & (place < now[:, None]), k))
        return torch.cat(parts, 1).transpose(0, 1)

    def advance(
        self,
        features: Float[Tensor, "t b w"],
        begins: Bool[Tensor, "t b"],
        valid: Bool[Tensor, "t b"],
        ends: Bool[Tensor, " b"],
    ) -> None:
        """Takes the steps in; where an episode `ends` with the last of them, the next one starts empty."""
        rows, episode, own = self._joined(features, begins, valid)
        # unlike a stored tag, which is not below -1, a forgotten one must not come back by the shift
        episode = torch.where(episode == FORGOTTEN, FORGOTTEN, episode - own[-1] - ends.long())
        kept = (episode == RUNNING) | ((episode == PREVIOUS) & self.previous)
        episode = torch.where(kept, episode, FORGOTTEN)
        used = kept.any(1).nonzero()
        first = max(int(used[0]) if len(used) else len(rows), len(rows) - self.capacity)
        self.rows, self.episode = rows[first:].clone(), episode[first:].clone()

    def state_dict(self) -> dict[str, Any]:
        """The rows, and the episode of each."""
        return {"rows": self.rows.clone(), "episode": self.episode.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        if state["rows"].shape[-1] != self.width:
            raise ValueError(f"the memory holds vectors of {self.width} numbers, the saved {state['rows'].shape[-1]}")
        self.rows, self.episode = (state[name].to(self.device).clone() for name in ("rows", "episode"))
