# The functions of `mujoco` are compiled and carry no types:
# pyright: reportAttributeAccessIssue=false

"""A ball in a maze, paid at the far end alone."""

from collections.abc import Mapping
from typing import Any, ClassVar

import mujoco
import numpy as np

from envs.maze_task import MazeTask
from envs.mazes import MAZES, WALL, Maze

RADIUS = 0.1
"""m, of the ball"""
FASTEST = 5.0
"""m/s along each axis, to which speeds are cut before a step"""


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


class PointMaze(MazeTask):
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
    """

    metadata: dict[str, Any] = MazeTask.metadata | {"render_fps": 100}
    BODY, NEAR, SCATTER = "PointMaze", 0.45, 0.25
    MAPS: ClassVar[Mapping[str, int]] = {name: maze.horizon for name, maze in MAZES.items()}

    def _build(self) -> mujoco.MjModel:
        return mujoco.MjModel.from_xml_string(model_of(self.maze))

    def _push(self, action: np.ndarray) -> None:
        data = self.data
        data.qvel[:] = np.clip(data.qvel, -FASTEST, FASTEST)
        data.ctrl[:] = action
        mujoco.mj_step(self.model, data)
