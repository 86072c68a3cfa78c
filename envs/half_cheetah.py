# The functions of `mujoco` are compiled and carry no types:
# pyright: reportAttributeAccessIssue=false

"""HalfCheetah at the paper's pace (100 steps a second): dense, and sparse beyond 5 m."""

from typing import Any, ClassVar

import mujoco
import numpy as np
from gymnasium import spaces
from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv

from envs.physics import PhysicsEnv

CONTROL_COST = 0.05
POSITION_NOISE = 0.01
"""Deviation of the start, m and rad"""
VELOCITY_NOISE = 0.1
"""Deviation of the start, m/s and rad/s"""
GOAL = 5.0
"""m, of the centre of mass"""
_TORSO = 1


class HalfCheetah(PhysicsEnv):
    """A two-legged body in the plane learns to run forward, paid by its speed.

    | observation | what                                               | range     | unit       |
    |-------------|----------------------------------------------------|-----------|------------|
    | 0..7        | height and pitch of the torso, six joint angles    | -inf..inf | m, rad     |
    | 8..16       | their velocities, that of the torso's x first      | -inf..inf | m/s, rad/s |
    | 17..19      | centre of mass of the whole body: x, y (0), z      | -inf..inf | m          |

    | action | what                                                         | range | unit               |
    |--------|--------------------------------------------------------------|-------|--------------------|
    | 0..5   | torques: back thigh, shin, foot, then front thigh, shin, foot | -1..1 | of each motor's most |

    Actions are cut to their range. A step is 0.01 s (times `frame_skip`).

    Reward: forward speed of the centre of mass over the step (m/s) less 0.05 times the sum of the squared actions.
    Start: standing, positions and angles + N(0, 0.01^2), velocities + N(0, 0.1^2).
    Never ends; cut after 500 steps (5 s).

    Versions: v0, the first.
    References: Houthooft et al. 2016 (arXiv 1605.09674); rllab's HalfCheetahEnv; Gymnasium's HalfCheetah-v5.
    Differs from the paper: the body of Gymnasium's HalfCheetah-v5 and the present MuJoCo instead of MuJoCo 1.31; the
    speed is the displacement over the step.
    Differs from Gymnasium: `frame_skip` is 1, not 5 (with 5, random actions pass 5 m at times); the observation holds
    the centre of mass; reward and start are the paper's.

    Raises:
        ValueError: `frame_skip` or `horizon` is not a positive whole number.
    """

    TASK: ClassVar[str] = "vime/HalfCheetah-v0"
    HORIZON: ClassVar[int] = 500
    metadata: dict[str, Any] = {  # noqa: RUF012 - declared so by Gymnasium
        "render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"],
        "render_fps": 100,
    }

    def __init__(
        self, *, frame_skip: int = 1, horizon: int = HORIZON, render_mode: str | None = None, **rendering: Any
    ) -> None:
        for name, value in (("frame_skip", frame_skip), ("horizon", horizon)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"`{name}` must be a positive whole number; got {value!r}.")
        self._body = HalfCheetahEnv(frame_skip=frame_skip, render_mode=render_mode, **rendering)
        self.metadata = {**self.metadata, "render_fps": self._body.metadata["render_fps"]}
        self.render_mode, self.horizon = render_mode, horizon
        self.model, self.data = self._body.model, self._body.data
        size = self.model.nq - 1 + self.model.nv + 3
        self.observation_space = spaces.Box(-np.inf, np.inf, (size,), np.float64)
        self.action_space = spaces.Box(-1.0, 1.0, (self.model.nu,), np.float32)

    @property
    def dt(self) -> float:
        """Duration of a step, in s."""
        return float(self._body.dt)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts an episode; `info["x_position"]` is the centre of mass's x (m)."""
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:] = self._body.init_qpos + POSITION_NOISE * self.np_random.standard_normal(self.model.nq)
        self.data.qvel[:] = self._body.init_qvel + VELOCITY_NOISE * self.np_random.standard_normal(self.model.nv)
        mujoco.mj_forward(self.model, self.data)
        self._elapsed, self._started = 0, True
        if self.render_mode == "human":
            self.render()
        return self._observe(), {"x_position": float(self._centre[0])}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Advances by one step; `info` holds the centre of mass's `x_position` (m) and `x_velocity` (m/s).

        Raises:
            gymnasium.error.ResetNeeded: `reset` was not called first.
            gymnasium.error.InvalidAction: the action is NaN, infinite or of another shape.
        """
        action = self._accept(action)
        before = float(self._centre[0])
        self._body.do_simulation(action, self._body.frame_skip)
        self._locate()
        x = float(self._centre[0])
        speed = (x - before) / self.dt
        self._elapsed += 1
        if self.render_mode == "human":
            self.render()
        info = {"x_position": x, "x_velocity": speed}
        return self._observe(), self._reward(x, speed, action), False, self._elapsed >= self.horizon, info

    def _reward(self, x: float, speed: float, action: np.ndarray) -> float:
        return speed - CONTROL_COST * float(np.dot(action, action))

    @property
    def _centre(self) -> np.ndarray:
        return self.data.subtree_com[_TORSO]

    def _locate(self) -> None:
        """Brings the centre of mass up to date with the positions, which `mj_step` leaves one step behind."""
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_comPos(self.model, self.data)

    def _observe(self) -> np.ndarray:
        return np.concatenate([self.data.qpos[1:], self.data.qvel, self._centre])

    def render(self) -> Any:
        """Returns what Gymnasium's MuJoCo renderer makes of the present state."""
        return self._body.render()

    def close(self) -> None:
        """Frees the window or the off-screen context."""
        self._body.close()


class SparseHalfCheetah(HalfCheetah):
    """As `HalfCheetah`, but paid only beyond 5 m, which takes a mean speed above 1 m/s to reach at all.

    | observation | what                                               | range     | unit       |
    |-------------|----------------------------------------------------|-----------|------------|
    | 0..7        | height and pitch of the torso, six joint angles    | -inf..inf | m, rad     |
    | 8..16       | their velocities, that of the torso's x first      | -inf..inf | m/s, rad/s |
    | 17..19      | centre of mass of the whole body: x, y (0), z      | -inf..inf | m          |

    | action | what                                                         | range | unit               |
    |--------|--------------------------------------------------------------|-------|--------------------|
    | 0..5   | torques: back thigh, shin, foot, then front thigh, shin, foot | -1..1 | of each motor's most |

    Reward: 1 on every step that ends with the centre of mass beyond x = 5 m, else 0.
    Start: standing, positions and angles + N(0, 0.01^2), velocities + N(0, 0.1^2).
    Never ends; cut after 500 steps (5 s).

    Versions: v0, the first.
    References: Houthooft et al. 2016 (arXiv 1605.09674), the third sparse task.
    Differs from the paper: as `HalfCheetah` does.
    """

    TASK: ClassVar[str] = "vime/SparseHalfCheetah-v0"

    def _reward(self, x: float, speed: float, action: np.ndarray) -> float:
        return float(x > GOAL)
