# The functions of `mujoco` are compiled and carry no types:
# pyright: reportAttributeAccessIssue=false

"""What bodies in a maze have in common: where they start, what pays, how an episode ends."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import mujoco
import numpy as np
from gymnasium import error, spaces

from envs.classic import check_horizon, check_render_mode
from envs.mazes import MAZES
from envs.physics import PhysicsEnv


class MazeTask(PhysicsEnv):
    """A body is driven from the start of a maze to its goal, which alone pays; `qpos` begins with its x and y.

    Args:
        maze: the name of its map.
        horizon: steps of an episode; by default those of `MAPS`.
        render_mode: None or "rgb_array".

    Raises:
        ValueError: there is no such `maze`, or `horizon` is not a positive whole number.
        gymnasium.error.UnsupportedMode: `render_mode` is neither None nor "rgb_array".
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - as Gymnasium has it
    BODY: ClassVar[str]
    """What the names of the tasks begin with."""
    CELL: ClassVar[float] = 1.0
    """m, the side of a cell."""
    NEAR: ClassVar[float]
    """m, from the middle of the goal."""
    SCATTER: ClassVar[float]
    """m, the largest deviation of the start from the middle of its cell, along each axis."""
    MAPS: ClassVar[Mapping[str, int]]
    """The maps that there are, and the steps of an episode in each."""

    def __init__(self, *, maze: str = "UMaze", horizon: int | None = None, render_mode: str | None = None) -> None:
        if maze not in self.MAPS:
            raise ValueError(f"`maze` must be one of {', '.join(self.MAPS)}; got {maze!r}.")
        self.render_mode = check_render_mode(render_mode)
        self.maze = MAZES[maze]
        self.horizon = check_horizon(self.MAPS[maze] if horizon is None else horizon)
        self.task = f"vime/{self.BODY}{maze}-v0"
        self.model = self._build()
        self.data = mujoco.MjData(self.model)
        size = len(self._observe())
        self.observation_space = spaces.Box(-np.inf, np.inf, (size,), np.float64)
        self.action_space = spaces.Box(-1.0, 1.0, (self.model.nu,), np.float32)
        self.goal = self.CELL * np.array(self.maze.middle(self.maze.goal))
        """x and y, in m."""

    def _build(self) -> mujoco.MjModel:
        """Returns the body in the maze."""
        raise NotImplementedError

    def _place(self) -> None:
        """Brings the body, `data` being as the model has it, into its pose at the start, but for x and y."""

    def _push(self, action: np.ndarray) -> None:
        """Advances the physics by one step of the task."""
        raise NotImplementedError

    def _observe(self) -> np.ndarray:
        return np.concatenate([self.data.qpos, self.data.qvel])

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts an episode; returns its first observation and an empty dictionary."""
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        self._place()
        middle = self.CELL * np.array(self.maze.middle(self.maze.start))
        self.data.qpos[:2] = middle + self.np_random.uniform(-self.SCATTER, self.SCATTER, 2)
        mujoco.mj_forward(self.model, self.data)
        self._elapsed, self._started = 0, True
        return self._observe(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Advances by one step; returns observation, reward, terminated, truncated and an empty dictionary.

        Raises:
            gymnasium.error.ResetNeeded: `reset` was not called first.
            gymnasium.error.InvalidAction: the action is NaN, infinite or of another shape.
        """
        self._push(self._accept(action))
        self._elapsed += 1
        arrived = math.dist(self.data.qpos[:2], self.goal) <= self.NEAR
        return self._observe(), float(arrived), arrived, self._elapsed >= self.horizon, {}

    def render(self) -> np.ndarray | None:
        """Returns the picture of the present state, uint8 `(h, w, 3)`; None without `render_mode="rgb_array"`."""
        if self.render_mode is None:
            return None
        if not self._started:
            raise error.ResetNeeded("Call `reset` before the first `render`.")
        from envs.drawing import frame

        return frame(self.task, self._observe())
