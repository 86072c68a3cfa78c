# The functions of `mujoco` are compiled and carry no types:
# pyright: reportAttributeAccessIssue=false

"""A ball in a maze, paid at the far end alone."""

import math
from typing import Any, ClassVar

import mujoco
import numpy as np
from gymnasium import error, spaces

from envs.mazes import MAZES, WALL, Maze
from envs.physics import PhysicsEnv

RADIUS = 0.1
"""m, of the ball"""
FASTEST = 5.0
"""m/s along each axis, to which speeds are cut before a step"""
NEAR = 0.45
"""m, from the middle of the goal"""
SCATTER = 0.25
"""m, the largest deviation of the start from the middle of its cell, along each axis"""


def model_of(maze: Maze) -> str:
    """Returns MuJoCo's description of a ball of 4.2 kg, pushed with up to 100 N along each axis, in `maze`."""
    walls = "".join(
        f'<geom type="box" size=".5 .5 .2" pos="{x} {y} .2"/>' for x, y in map(maze.middle, maze.find(WALL))
    )
    return f"""<mujoco>
      <option timestep="0.01" gravity="0 0 0" iterations="20" integrator="Euler"/>
      <default>
        <joint type="slide" damping="1"/>
        <motor ctrlrange="-1 1" ctrllimited="true" gear="100"/>
        <geom friction=".5 .1 .1" density="1000" margin=".002" condim="1"/>
      </default>
      <worldbody>
        <body><joint name="x" axis="1 0 0"/><joint name="y" axis="0 1 0"/><geom type="sphere" size="{RADIUS}"/></body>
        {walls}
      </worldbody>
      <actuator><motor joint="x"/><motor joint="y"/></actuator>
    </mujoco>"""


class PointMaze(PhysicsEnv):
    """Push a ball through a maze to a goal at its far end, which alone pays.

    | observation | what                  | range     | unit |   | action | what                       | range | unit  |
    |-------------|-----------------------|-----------|------|---|--------|----------------------------|-------|-------|
    | 0, 1        | position of the ball  | -inf..inf | m    |   | 0, 1   | force to the right and up  | -1..1 | 100 N |
    | 2, 3        | its velocity          | -inf..inf | m/s  |   |        |                            |       |       |

    Actions are cut to their range. A step is 0.01 s; cells are 1 m, and the origin is the middle of the maze. The maps
    are in `envs.mazes`: `UMaze` from the lower left cell (3, 1) around the bar to the upper left one (1, 1); `Medium`
    from the upper left cell (1, 1) to the lower right one (6, 6); `Large` from (1, 1) to (7, 10), likewise.

    Reward: 1 on the step that ends within 0.45 m of the goal's middle, else 0; the return is the success.
    Start: at rest, within 0.25 m of the middle of the start's cell, along each axis: U(-0.25, 0.25).
    Ends at the goal; cut after 300 steps (UMaze), 600 (Medium) or 800 (Large).

    Versions: v0, the first.
    References: Fu et al. 2020 (arXiv 2004.07219), maze2d; Gymnasium-Robotics' PointMaze-v3, whose maps, ball and time
    limits these are.
    Differs from the paper: start and goal are fixed and far from each other, and the goal is no part of the
    observation, for it never moves; the episode ends there.

    Raises:
        ValueError: there is no such `maze`, or `horizon` is not a positive whole number.
        gymnasium.error.UnsupportedMode: `render_mode` is neither None nor "rgb_array".
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 100}  # noqa: RUF012 - as Gymnasium has it
    TASK: ClassVar[str] = "vime/PointMazeUMaze-v0"

    def __init__(self, *, maze: str = "UMaze", horizon: int | None = None, render_mode: str | None = None) -> None:
        if maze not in MAZES:
            raise ValueError(f"`maze` must be one of {', '.join(MAZES)}; got {maze!r}.")
        if render_mode not in (None, "rgb_array"):
            raise error.UnsupportedMode(f'`render_mode` must be None or "rgb_array"; got {render_mode!r}.')
        self.maze = MAZES[maze]
        self.horizon = self.maze.horizon if horizon is None else horizon
        if isinstance(self.horizon, bool) or not isinstance(self.horizon, int) or self.horizon < 1:
            raise ValueError(f"`horizon` must be a positive whole number of steps; got {horizon!r}.")
        self.TASK = f"vime/PointMaze{maze}-v0"  # type: ignore[misc]  # each maze is a task
        self.render_mode = render_mode
        self.model = mujoco.MjModel.from_xml_string(model_of(self.maze))
        self.data = mujoco.MjData(self.model)
        self.observation_space = spaces.Box(-np.inf, np.inf, (4,), np.float64)
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.goal = np.array(self.maze.middle(self.maze.goal))
        """x and y, in m."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts an episode; returns its first observation and an empty dictionary."""
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:] = self.maze.middle(self.maze.start) + self.np_random.uniform(-SCATTER, SCATTER, 2)
        mujoco.mj_forward(self.model, self.data)
        self._elapsed, self._started = 0, True
        return self._observe(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Advances by one step; returns observation, reward, terminated, truncated and an empty dictionary.

        Raises:
            gymnasium.error.ResetNeeded: `reset` was not called first.
            gymnasium.error.InvalidAction: the action is NaN, infinite or of another shape.
        """
        if not self._started:
            raise error.ResetNeeded("Call `reset` before the first `step`.")
        action = np.asarray(action, np.float64)
        if action.shape != (2,) or not (math.isfinite(action[0]) and math.isfinite(action[1])):
            raise error.InvalidAction(f"An action is 2 finite numbers; got {action}.")
        data = self.data
        data.qvel[:] = np.clip(data.qvel, -FASTEST, FASTEST)
        data.ctrl[:] = np.clip(action, -1.0, 1.0)
        mujoco.mj_step(self.model, data)
        self._elapsed += 1
        arrived = math.dist(data.qpos, self.goal) <= NEAR
        return self._observe(), float(arrived), arrived, self._elapsed >= self.horizon, {}

    def _observe(self) -> np.ndarray:
        return np.concatenate([self.data.qpos, self.data.qvel])

    def render(self) -> np.ndarray | None:
        """Returns the picture of the present state, uint8 `(h, w, 3)`; None without `render_mode="rgb_array"`."""
        if self.render_mode is None:
            return None
        if not self._started:
            raise error.ResetNeeded("Call `reset` before the first `render`.")
        from envs.drawing import frame

        return frame(self.TASK, self._observe())
