# The functions of `mujoco` are compiled and carry no types:
# pyright: reportAttributeAccessIssue=false

"""A four-legged body in a maze, paid at the far end alone."""

from collections.abc import Mapping
from importlib.resources import as_file, files
from typing import Any, ClassVar

import mujoco
import numpy as np

from envs.maze_task import MazeTask
from envs.mazes import ANT_CELL, ANT_HORIZONS, WALL

GEAR = 30.0
"""N m, the most of each motor"""
FRAMES = 5
"""Steps of the physics, 0.01 s each, in one of the task"""
TALL = 2.0
"""m, of the walls"""
POSE = (0.55, 1, 0, 0, 0, 0, 1, 0, -1, 0, -1, 0, 1)
"""Height, orientation and joints at the start: upright on four legs"""
NOISE = 0.1
"""Deviation of the start's joints (rad) and speeds (m/s, rad/s)"""


class AntMaze(MazeTask):
    """Walk on four legs through a maze to a goal at its far end, which alone pays.

    | observation | what                                        | range     | unit       |
    |-------------|---------------------------------------------|-----------|------------|
    | 0..2        | position of the torso                       | -inf..inf | m          |
    | 3..6        | its orientation, a quaternion               | -1..1     |            |
    | 7..14       | hip and ankle of each of the four legs      | -inf..inf | rad        |
    | 15..17      | velocity of the torso                       | -inf..inf | m/s        |
    | 18..28      | its angular velocity, and that of the joints | -inf..inf | rad/s      |

    | action | what                                        | range | unit   |
    |--------|---------------------------------------------|-------|--------|
    | 0..7   | torque at hip and ankle of legs 4, 1, 2, 3  | -1..1 | 30 N m |

    Actions are cut to their range. A step is 0.05 s; cells are 3 m, and the origin is the middle of the maze. The map
    is `UMaze` of `envs.mazes`: seven cells from the lower left (3, 1) around the bar to the upper left (1, 1).

    Reward: 1 on the step that ends within 1.35 m of the goal's middle, else 0; the return is the success.
    Start: upright, within 0.3 m of the middle of the start's cell along each axis, U(-0.3, 0.3); joints + U(-0.1, 0.1)
    rad, speeds + N(0, 0.1^2).
    Ends at the goal; cut after 1,000 steps.

    Versions: v0, the first.
    References: Shyam et al. 2019 (arXiv 1810.12162), whose ant explores a U of seven blocks; Fu et al. 2020 (arXiv
    2004.07219), antmaze.
    Differs from the paper: Gymnasium's ant on the present MuJoCo; cells of 3 m, not of 4 or 8. As in antmaze the
    motors have 30 N m instead of 150, with which random torques throw the ant on its back.
    """

    metadata: dict[str, Any] = MazeTask.metadata | {"render_fps": 20}
    BODY, CELL, NEAR, SCATTER = "AntMaze", ANT_CELL, 1.35, 0.3
    MAPS: ClassVar[Mapping[str, int]] = ANT_HORIZONS

    def _build(self) -> mujoco.MjModel:
        with as_file(files("gymnasium.envs.mujoco") / "assets" / "ant.xml") as body:
            spec = mujoco.MjSpec.from_file(str(body))
        for motor in spec.actuators:
            motor.gear[0] = GEAR
        half = self.CELL / 2
        for cell in self.maze.find(WALL):
            x, y = self.maze.middle(cell)
            spec.worldbody.add_geom(
                type=mujoco.mjtGeom.mjGEOM_BOX,
                size=[half, half, TALL / 2],
                pos=[self.CELL * x, self.CELL * y, TALL / 2],
                contype=1,
                conaffinity=1,
            )
        return spec.compile()

    def _place(self) -> None:
        self.data.qpos[2:] = POSE
        self.data.qpos[7:] += self.np_random.uniform(-NOISE, NOISE, 8)
        self.data.qvel[:] = NOISE * self.np_random.standard_normal(self.model.nv)

    def _push(self, action: np.ndarray) -> None:
        self.data.ctrl[:] = action
        mujoco.mj_step(self.model, self.data, FRAMES)
