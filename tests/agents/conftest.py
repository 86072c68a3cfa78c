"""A bonus and a task so simple that every number of theirs is known beforehand."""

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from vime import Scaling, Transitions


class Plain:
    """Pays the sum of |next observation|, once more after every update."""

    scaling = Scaling(rule="none", squash=False, unit=1.0)

    def __init__(self) -> None:
        self.observed: list[Transitions] = []
        self.learnt: list[Transitions] = []
        self.updates = 0

    def reward(self, batch: Transitions) -> torch.Tensor:
        parts = batch.next_obs.values() if isinstance(batch.next_obs, dict) else [batch.next_obs]
        size = sum(part.float().abs().reshape(*batch.shape, -1).sum(2) for part in parts)
        return (1 + self.updates) * size

    def observe(self, batch: Transitions) -> None:
        self.observed.append(batch)

    def learn(self, batch: Transitions) -> dict[str, float]:
        self.learnt.append(batch)
        self.updates += 1
        return {"model_error": 1 / self.updates}

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.updates = state["updates"]


class Walk(gymnasium.Env):
    """Shows (steps of this episode, episodes so far); pays 1 a step; ends after `length` steps by `end`."""

    observation_space = spaces.Box(-1000, 1000, (2,), np.float32)
    action_space: spaces.Space = spaces.Box(-2, 2, (1,), np.float32)

    def __init__(self, length: int = 5, end: str = "terminated", discrete: bool = False, broken: str = "") -> None:
        self.length, self.end, self.broken = length, end, broken
        if discrete:
            self.action_space = spaces.Discrete(3)
        self.steps, self.episodes, self.total, self.resets = 0, -1, 0, 0

    def _obs(self) -> np.ndarray:
        return np.array([self.steps, self.episodes], np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.steps, self.episodes, self.resets = 0, self.episodes + 1, self.resets + 1
        return self._obs(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        obs, reward = self._obs(), 1.0
        self.steps += 1
        self.total += 1
        done, obs = self.steps >= self.length, self._obs()
        if self.broken and self.total == 7:  # the step of index 6
            reward = float("inf") if self.broken == "reward" else reward
            obs[0] = np.nan if self.broken == "observation" else obs[0]
        if self.broken == "last observation" and done:
            obs[0] = np.nan
        return obs, reward, done and self.end == "terminated", done and self.end == "truncated", {}


class Sampler(gymnasium.Env):
    """Draws observations from any space; episodes of seven steps."""

    def __init__(self, observation_space: spaces.Space, action_space: spaces.Space) -> None:
        self.observation_space, self.action_space = observation_space, action_space
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        assert self.action_space.contains(action)
        self.steps += 1
        return self.observation_space.sample(), 0.5, self.steps == 7, False, {}


@pytest.fixture
def plain_bonus() -> Plain:
    return Plain()


@pytest.fixture
def walk() -> type[Walk]:
    return Walk


@pytest.fixture
def sampler() -> type[Sampler]:
    return Sampler
