"""A plane without a task, for those who learn without a reward."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Plane(gymnasium.Env):
    """A point that is moved in the plane for 20 steps, from the middle."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(-9, 9, (2,), np.float32)
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)
        self.place, self.time = np.zeros(2, np.float32), 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.place, self.time = np.zeros(2, np.float32), 0
        return self.place.copy(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.place = (self.place + 0.1 * np.clip(action, -1, 1)).astype(np.float32)
        self.time += 1
        return self.place.copy(), 1.0, False, self.time == 20, {}
