"""A cart on a rail whose pole hangs and is to be swung up: dense, sparse, and sparse with a weak motor."""

from functools import partial
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces

from envs.classic import ClassicEnv, State, force, motor_space
from envs.vector import ClassicVectorEnv

GRAVITY = 10.0
"""m/s^2"""
CART_MASS = 1.0
"""kg"""
POLE_MASS = 0.1
"""kg, spread evenly along the pole"""
POLE_LENGTH = 1.0
"""m"""
TIME_STEP = 0.05
"""s"""
RAIL = 3.0
"""m to either side; beyond it the episode ends"""
UPRIGHT_COSINE = 0.8
"""The sparse tasks pay where the cosine of the pole's angle exceeds this."""
FALL_REWARD = -100.0
"""What the dense task pays for leaving the rail."""

_MASS = CART_MASS + POLE_MASS
_HALF = 0.5 * POLE_LENGTH
_LEVER = POLE_MASS * _HALF
_INERTIA = 4 / 3 * _HALF
_SHARE = _LEVER / _MASS


def accelerations(angle: Any, spin: Any, push: Any) -> tuple[Any, Any]:
    r"""Accelerations of the cart (m/s^2) and of the angle (rad/s^2) under a horizontal force `push` (N) on the cart.

    With total mass :math:`M`, pole mass :math:`m`, half length :math:`l`, and the angle from upright to the right:

    .. math::
        p = \frac{F + m l \dot\theta^2 \sin\theta}{M}, \quad
        \ddot\theta = \frac{g \sin\theta - p \cos\theta}{l (4/3 - m \cos^2\theta / M)}, \quad
        \ddot x = p - \frac{m l}{M} \ddot\theta \cos\theta
    """
    sine, cosine = np.sin(angle), np.cos(angle)
    pushed = (push + _LEVER * spin * spin * sine) / _MASS
    turned = (GRAVITY * sine - cosine * pushed) / (_INERTIA - _SHARE * cosine * cosine)
    return pushed - _SHARE * turned * cosine, turned


def integrate(state: State, push: Any, dt: float) -> State:
    """Returns (x, velocity, angle, spin) `dt` seconds later, by one fourth-order Runge-Kutta step."""
    x, velocity, angle, spin = state
    half, sixth = 0.5 * dt, dt / 6
    cart_1, pole_1 = accelerations(angle, spin, push)
    cart_2, pole_2 = accelerations(angle + half * spin, spin + half * pole_1, push)
    cart_3, pole_3 = accelerations(angle + half * (spin + half * pole_1), spin + half * pole_2, push)
    cart_4, pole_4 = accelerations(angle + dt * (spin + half * pole_2), spin + dt * pole_3, push)
    cart, pole = cart_2 + cart_3, pole_2 + pole_3
    return (
        x + dt * (velocity + sixth * (cart_1 + cart)),
        velocity + sixth * (cart_1 + 2 * cart + cart_4),
        angle + dt * (spin + sixth * (pole_1 + pole)),
        spin + sixth * (pole_1 + 2 * pole + pole_4),
    )


def energy(x: Any, velocity: Any, angle: Any, spin: Any) -> Any:
    """Kinetic and potential energy, in J; the potential is zero where the pole is level."""
    cosine = np.cos(angle)
    moving = 0.5 * _MASS * velocity * velocity + _LEVER * velocity * spin * cosine
    return moving + 0.5 * _LEVER * _INERTIA * spin * spin + _LEVER * GRAVITY * cosine


class CartPoleSwingup(ClassicEnv[np.ndarray]):
    """A pole hangs from a cart; swing it up and hold it there, paid by its height at every step.

    | observation      | range     | unit  |   | action | range | unit | effect             |
    |------------------|-----------|-------|   |--------|-------|------|--------------------|
    | cart position    | -inf..inf | m     |   | force  | -1..1 | 10 N | pushes the cart    |
    | cart velocity    | -inf..inf | m/s   |   |        |       |      | (cut to the range) |
    | cosine of angle  | -1..1     | -     |   |        |       |      |                    |
    | sine of angle    | -1..1     | -     |   |        |       |      |                    |
    | angular velocity | -inf..inf | rad/s |   |        |       |      |                    |

    The angle is 0 upright and grows to the right. A step is 0.05 s.

    Reward: the cosine of the angle; -100 on the step that leaves the rail.
    Start: position U(-1, 1), velocity U(-2, 2), angle U(pi - 1, pi + 1), angular velocity U(-3, 3).
    Ends where the cart is more than 3 m from the middle; cut after 500 steps.

    Versions: v0, the first.
    References: Houthooft et al. 2016 (arXiv 1605.09674); rllab's CartpoleSwingupEnv.
    Differs from the paper: an equation of motion and a fourth-order rule instead of Box2D; cosine and sine of the angle
    are observed instead of the unwrapped angle; the pole leans right where the angle grows (there: left).
    """

    TASK: ClassVar[str] = "vime/CartPoleSwingup-v0"
    FIELDS = ("x", "velocity", "angle", "spin")
    MOTOR: ClassVar[float] = 10.0
    """N"""
    observation_space = spaces.Box(
        np.array([-np.inf, -np.inf, -1, -1, -np.inf], np.float32), np.array([np.inf, np.inf, 1, 1, np.inf], np.float32)
    )
    action_space = motor_space()

    def start(self, rng: np.random.Generator, shape: tuple[int, ...] = ()) -> State:
        """Returns the state of new episodes: anywhere near hanging, and moving."""
        return (
            rng.uniform(-1, 1, shape),
            rng.uniform(-2, 2, shape),
            rng.uniform(np.pi - 1, np.pi + 1, shape),
            rng.uniform(-3, 3, shape),
        )

    def control(self, actions: Any) -> Any:
        """Returns the motor's force, in N."""
        return force(actions, self.MOTOR)

    def advance(self, state: State, control: Any, rng: np.random.Generator) -> State:
        """Returns the state 0.05 s later."""
        return integrate(state, control, TIME_STEP)

    def outcome(self, state: State) -> tuple[Any, Any]:
        """Returns (the cosine of the angle, or -100 off the rail; whether the cart is off the rail)."""
        off = abs(state[0]) > RAIL
        return np.where(off, FALL_REWARD, np.cos(state[2])), off

    def observe(self, state: State) -> np.ndarray:
        """Returns position, velocity, cosine and sine of the angle, angular velocity."""
        x, velocity, angle, spin = state
        return np.array((x, velocity, np.cos(angle), np.sin(angle), spin), np.float32).T


class SparseCartPoleSwingup(CartPoleSwingup):
    """As `CartPoleSwingup`, but paid only while the pole stands.

    | observation      | range     | unit  |   | action | range | unit | effect             |
    |------------------|-----------|-------|   |--------|-------|------|--------------------|
    | cart position    | -inf..inf | m     |   | force  | -1..1 | 10 N | pushes the cart    |
    | cart velocity    | -inf..inf | m/s   |   |        |       |      | (cut to the range) |
    | cosine of angle  | -1..1     | -     |   |        |       |      |                    |
    | sine of angle    | -1..1     | -     |   |        |       |      |                    |
    | angular velocity | -inf..inf | rad/s |   |        |       |      |                    |

    Reward: 1 on every step that arrives with the cosine of the angle above 0.8 and the cart on the rail, else 0.
    Start: position U(-1, 1), velocity U(-2, 2), angle U(pi - 1, pi + 1), angular velocity U(-3, 3).
    Ends where the cart is more than 3 m from the middle; cut after 500 steps.

    Versions: v0, the first.
    References: Houthooft et al. 2016 (arXiv 1605.09674), the second sparse task.
    Differs from the paper: as `CartPoleSwingup` does, and its actions are shares of the force here too; the paper's
    sparse scripts took newtons, so that a policy of deviation 1 had a tenth of the motor.
    """

    TASK: ClassVar[str] = "vime/SparseCartPoleSwingup-v0"

    def outcome(self, state: State) -> tuple[Any, Any]:
        """Returns (1 while the pole stands, else 0; whether the cart is off the rail)."""
        off = abs(state[0]) > RAIL
        return (np.cos(state[2]) > UPRIGHT_COSINE) & ~np.asarray(off), off


class SparseCartPoleSwingupWeak(SparseCartPoleSwingup):
    """As `SparseCartPoleSwingup`, but hanging at rest, and with a motor of 2 N: random actions never find it.

    | observation      | range     | unit  |   | action | range | unit | effect             |
    |------------------|-----------|-------|   |--------|-------|------|--------------------|
    | cart position    | -inf..inf | m     |   | force  | -1..1 | 2 N  | pushes the cart    |
    | cart velocity    | -inf..inf | m/s   |   |        |       |      | (cut to the range) |
    | cosine of angle  | -1..1     | -     |   |        |       |      |                    |
    | sine of angle    | -1..1     | -     |   |        |       |      |                    |
    | angular velocity | -inf..inf | rad/s |   |        |       |      |                    |

    Reward: 1 on every step that arrives with the cosine of the angle above 0.8 and the cart on the rail, else 0.
    Start: each of the four numbers of the state within 0.01 of hanging at rest in the middle, uniformly.
    Ends where the cart is more than 3 m from the middle; cut after 500 steps.

    Versions: v0, the first.
    References: none; a harder start of the paper's cart-pole (Houthooft et al. 2016, arXiv 1605.09674).
    Differs from the paper: as `CartPoleSwingup` does, and by its start and its motor.
    """

    TASK: ClassVar[str] = "vime/SparseCartPoleSwingupWeak-v0"
    MOTOR: ClassVar[float] = 2.0
    REST_NOISE: ClassVar[float] = 0.01
    """m, m/s, rad, rad/s"""

    def start(self, rng: np.random.Generator, shape: tuple[int, ...] = ()) -> State:
        """Returns the state of new episodes: hanging at rest, but for a little noise."""
        noise = self.REST_NOISE
        x, velocity, lean, spin = (rng.uniform(-noise, noise, shape) for _ in range(4))
        return x, velocity, np.pi + lean, spin


CartPoleSwingupVector = partial(ClassicVectorEnv, CartPoleSwingup)
SparseCartPoleSwingupVector = partial(ClassicVectorEnv, SparseCartPoleSwingup)
SparseCartPoleSwingupWeakVector = partial(ClassicVectorEnv, SparseCartPoleSwingupWeak)
