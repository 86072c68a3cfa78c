"""A world whose every transition is known beforehand, and a bonus that remembers what it was asked."""

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces

import vime

PLAIN = vime.Scaling(rule="none", squash=False, unit=1.0)
KINDS = ("float32", "float64", "dict", "discrete", "image")
SPACES: dict[str, spaces.Space] = {
    "float32": spaces.Box(0, 1e6, (2,), np.float32),
    "float64": spaces.Box(0, 1e6, (2,), np.float64),
    "dict": spaces.Dict(episode=spaces.Box(0, 1e6, (1,), np.float64), time=spaces.Discrete(1000)),
    "discrete": spaces.Discrete(1000),
    "image": spaces.Box(0, 255, (7, 7, 3), np.uint8),
}


class Script(gymnasium.Env):
    """Counts episodes and the time in them. Episode k takes `lengths[k % n]` steps, and every other one is cut short.

    The reward of a step is the time it leads to, plus 0.5; what is at `bad` comes out as NaN.
    """

    def __init__(
        self, kind: str = "float32", lengths: tuple[int, ...] = (3, 1, 4), bad: tuple[str, int] | None = None
    ) -> None:
        self.kind, self.lengths, self.bad = kind, lengths, bad
        self.observation_space = SPACES[kind]
        self.action_space = spaces.Discrete(3)
        self.episode, self.time = -1, 0
        self.steps, self.resets = 0, 0

    def _observe(self) -> Any:
        value = np.nan if self.bad == ("observation", self.steps) else self.time
        if self.kind == "dict":
            return {"episode": np.array([self.episode], np.float64), "time": np.int64(self.time)}
        if self.kind == "discrete":
            return np.int64(self.episode * 20 + self.time)
        if self.kind == "image":
            image = np.zeros((7, 7, 3), np.uint8)
            image[0, 0, :2] = self.episode, self.time
            return image
        return np.array([self.episode, value], self.observation_space.dtype)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.resets += 1
        self.episode, self.time = self.episode + 1, 0
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        self.time += 1
        over = self.time >= self.lengths[self.episode % len(self.lengths)]
        reward = np.nan if self.bad == ("reward", self.steps) else self.time + 0.5
        cut = self.episode % 2 == 1
        return self._observe(), reward, over and not cut, over and cut, {"time": self.time}


def decode(obs: Any) -> torch.Tensor:
    """Returns (episode, time) along a last axis, of observations of any kind with the axes `t b`."""
    if isinstance(obs, dict):
        return torch.stack([obs["episode"][..., 0], obs["time"].float()], -1)
    if obs.ndim == 2:
        return torch.stack([obs // 20, obs % 20], -1).float()
    if obs.dtype == torch.uint8:
        return obs[..., 0, 0, :2].float()
    return obs


class Recorder:
    """Pays the time that a transition leads to, and remembers every call."""

    scaling = PLAIN

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.observed: list[vime.Transitions] = []
        self.learnt: list[vime.Transitions] = []

    def reward(self, batch: vime.Transitions) -> torch.Tensor:
        self.calls.append("reward")
        return decode(batch.next_obs)[..., 1]

    def observe(self, batch: vime.Transitions) -> None:
        self.calls.append("observe")
        self.observed.append(batch)

    def learn(self, batch: vime.Transitions) -> dict[str, float]:
        self.calls.append("learn")
        self.learnt.append(batch)
        return {"updates": float(len(self.learnt))}

    def state_dict(self) -> dict[str, Any]:
        return {"updates": len(self.learnt)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.learnt = [None] * state["updates"]  # type: ignore[list-item]
