"""A car too weak to drive out of its valley, dense and sparse, with the dynamics of the paper."""

from functools import partial
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces

from envs.classic import ClassicEnv, State, force, motor_space
from envs.vector import ClassicVectorEnv

GRAVITY = 10.0
"""m/s^2"""
MASS = 0.4
"""kg"""
FRICTION = 0.01
"""Coefficient of sliding friction: the mean sqrt(5e-4 * 0.2) that Box2D takes of the paper's car and of its track"""
TIME_STEP = 0.05
"""s"""
FLAG = 0.6
"""m"""
EDGE = 2.0
"""m to either side; the track's height is greatest there"""

_WAVE = 0.5 * np.pi


def height(x: Any) -> Any:
    """Height of the track at `x`, in m: 0 in the valley, 2 at the edges."""
    return 1 - np.cos(_WAVE * x)


def slopes(x: Any, speed: Any, pull: Any) -> State:
    r"""Time derivatives of (x, speed along the track), without friction; `pull` is the motor's acceleration, m/s^2.

    With the track's slope :math:`h' = \frac\pi2 \sin\frac{\pi x}{2}` and :math:`q = \sqrt{1 + h'^2}`:
    :math:`\dot x = w / q, \; \dot w = F/m - g h' / q`.
    """
    slope = _WAVE * np.sin(_WAVE * x)
    cosine = 1 / np.sqrt(1 + slope * slope)
    return speed * cosine, pull - GRAVITY * (slope * cosine)


def integrate(state: State, pull: Any, dt: float) -> State:
    """Returns (x, speed) `dt` seconds later, without friction, by one fourth-order Runge-Kutta step."""
    x, speed = state
    half, sixth = 0.5 * dt, dt / 6
    x_1, speed_1 = slopes(x, speed, pull)
    x_2, speed_2 = slopes(x + half * x_1, speed + half * speed_1, pull)
    x_3, speed_3 = slopes(x + half * x_2, speed + half * speed_2, pull)
    x_4, speed_4 = slopes(x + dt * x_3, speed + dt * speed_3, pull)
    return x + sixth * (x_1 + 2 * (x_2 + x_3) + x_4), speed + sixth * (speed_1 + 2 * (speed_2 + speed_3) + speed_4)


def energy(x: Any, speed: Any) -> Any:
    """Kinetic and potential energy, in J; zero at rest in the valley."""
    return MASS * (0.5 * speed * speed + GRAVITY * height(x))


def rub(x: Any, speed: Any) -> Any:
    """Speed (m/s) that sliding friction leaves of `speed` after one step; it stops the car but never turns it."""
    slope = _WAVE * np.sin(_WAVE * x)
    loss = (FRICTION * GRAVITY * TIME_STEP) / np.sqrt(1 + slope * slope)
    return speed - np.minimum(np.maximum(speed, -loss), loss)


class MountainCar(ClassicEnv[np.ndarray]):
    """A car in a valley swings back and forth until it reaches the flag on the right, paid by its height.

    | observation  | range     | unit |   | action | range | unit | effect                         |
    |--------------|-----------|------|   |--------|-------|------|--------------------------------|
    | position     | -2.5..2.5 | m    |   | force  | -1..1 | N    | along the track (cut to range) |
    | its velocity | -inf..inf | m/s  |   |        |       |      |                                |

    The track is 1 - cos(pi x / 2) high; the car weighs 0.4 kg under 10 m/s^2, so that the motor alone cannot hold it
    farther than 0.11 m from the middle. The velocity is the horizontal one. A step is 0.05 s.

    Reward: -1 plus the height of the track under the car (m), at every step.
    Start: in the valley (x = 0) with a velocity U(-1, 1).
    Ends at the flag (x >= 0.6) or off the track (x <= -2); cut after 500 steps.

    Versions: v0, the first.
    References: Houthooft et al. 2016 (arXiv 1605.09674); rllab's MountainCarEnv.
    Differs from the paper: a point that slides on the curve, by a fourth-order rule, instead of Box2D's box of 0.4 m by
    0.2 m, whose middle rides up to 0.1 m above the track (and is paid so much more); Box2D also loses some speed in
    its contacts. Friction is that of Box2D, which mixes the car's 5e-4 with its default of 0.2 for the track.
    """

    TASK: ClassVar[str] = "vime/MountainCar-v0"
    MOTOR: ClassVar[float] = 1.0
    """N, along the track"""
    FIELDS = ("x", "speed")
    observation_space = spaces.Box(np.array([-2.5, -np.inf], np.float32), np.array([2.5, np.inf], np.float32))
    action_space = motor_space()

    def start(self, rng: np.random.Generator, shape: tuple[int, ...] = ()) -> State:
        """Returns the state of new episodes: in the valley, moving."""
        speed = rng.uniform(-1, 1, shape)
        return 0.0 * speed, speed

    def control(self, actions: Any) -> Any:
        """Returns the motor's force, in N."""
        return force(actions, self.MOTOR)

    def advance(self, state: State, control: Any, rng: np.random.Generator) -> State:
        """Returns the state 0.05 s later."""
        x, speed = integrate(state, control / MASS, TIME_STEP)
        return x, rub(x, speed)

    def outcome(self, state: State) -> tuple[Any, Any]:
        """Returns (height less 1; whether the car is at the flag or off the track)."""
        x = state[0]
        return height(x) - 1, (x >= FLAG) | (x <= -EDGE)

    def observe(self, state: State) -> np.ndarray:
        """Returns position and horizontal velocity."""
        x, speed = state
        return np.array((x, slopes(x, speed, 0.0)[0]), np.float32).T


class SparseMountainCar(MountainCar):
    """As `MountainCar`, but paid for the flag alone.

    | observation  | range     | unit |   | action | range | unit | effect                         |
    |--------------|-----------|------|   |--------|-------|------|--------------------------------|
    | position     | -2.5..2.5 | m    |   | force  | -1..1 | N    | along the track (cut to range) |
    | its velocity | -inf..inf | m/s  |   |        |       |      |                                |

    Reward: 1 on the step that reaches the flag (x >= 0.6), else 0; the return of an episode is its success.
    Start: in the valley (x = 0) with a velocity U(-1, 1).
    Ends at the flag or off the track (x <= -2, unpaid); cut after 500 steps.

    Versions: v0, the first.
    References: Houthooft et al. 2016 (arXiv 1605.09674), the first sparse task.
    Differs from the paper: as `MountainCar` does; its code pays for leaving on the left too, 2 m up, where none gets.
    """

    TASK: ClassVar[str] = "vime/SparseMountainCar-v0"

    def outcome(self, state: State) -> tuple[Any, Any]:
        """Returns (1 at the flag, else 0; whether the car is there or off the track)."""
        arrived = state[0] >= FLAG
        return arrived, arrived | (state[0] <= -EDGE)


MountainCarVector = partial(ClassicVectorEnv, MountainCar)
SparseMountainCarVector = partial(ClassicVectorEnv, SparseMountainCar)
