"""Episodes as one copy of a task saw them, and few arrays for many."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from jaxtyping import Float

from agents.vecenv import Parts


@dataclass(frozen=True)
class Episode:
    """What one copy saw and did from a reset on."""

    obs: Parts
    """Before each step, not normalised."""
    actions: np.ndarray
    """As the policy drew them; a box's are not clipped yet."""
    rewards: np.ndarray
    """Of the task."""

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def total(self) -> float:
        """Sum of the rewards."""
        return float(self.rewards.sum())

    def returns(self, gamma: float) -> Float[np.ndarray, " n"]:
        """Returns what every step had before it: the rewards from there on, discounted by `gamma` a step."""
        backwards = accumulate(self.rewards[::-1].tolist(), lambda later, reward: reward + gamma * later)
        return np.array(list(backwards)[::-1], np.float64)


class UnderWay:
    """The steps of one copy since its last reset, at most the last `room` of them."""

    def __init__(self, room: int, episode: Episode | None = None) -> None:
        self.room = room
        self.obs: dict[str, deque[np.ndarray]] = {}
        self.actions: deque[np.ndarray] = deque(maxlen=room)
        self.rewards: deque[float] = deque(maxlen=room)
        if episode is not None:
            self.obs = {key: deque(part, room) for key, part in episode.obs.items()}
            self.actions.extend(episode.actions)
            self.rewards.extend(episode.rewards.tolist())

    def add(self, copy: int, obs: Parts, actions: np.ndarray, rewards: np.ndarray) -> None:
        """Takes what the copy saw, did and earned."""
        for key, part in obs.items():
            self.obs.setdefault(key, deque(maxlen=self.room)).append(part[copy])
        self.actions.append(actions[copy])
        self.rewards.append(float(rewards[copy]))

    def episode(self) -> Episode:
        """Returns the steps so far."""
        obs = {key: np.stack(part) for key, part in self.obs.items()}
        return Episode(obs, np.array(self.actions), np.array(self.rewards, np.float64))


def joined(episodes: Sequence[Episode]) -> dict[str, Any]:
    """Returns the episodes as few arrays: thousands of small ones would make a checkpoint slow."""
    full = [one for one in episodes if len(one)]
    return {
        "lengths": [len(one) for one in episodes],
        "obs": {key: np.concatenate([one.obs[key] for one in full]) for key in full[0].obs} if full else {},
        "actions": np.concatenate([one.actions for one in full]) if full else np.zeros(0),
        "rewards": np.concatenate([one.rewards for one in full]) if full else np.zeros(0),
    }


def parted(state: Mapping[str, Any]) -> list[Episode]:
    """Returns the episodes that `joined` joined."""
    episodes, start = [], 0
    for length in state["lengths"]:
        rows = slice(start, start := start + length)
        obs = {key: part[rows] for key, part in state["obs"].items()}
        episodes.append(Episode(obs, state["actions"][rows], state["rewards"][rows]))
    return episodes
