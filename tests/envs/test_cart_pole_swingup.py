import math
from collections.abc import Callable

import gymnasium as gym
import numpy as np
import pytest

import envs
from envs import cart_pole_swingup as cart_pole

ALL = [envs.CartPoleSwingup, envs.SparseCartPoleSwingup, envs.SparseCartPoleSwingupWeak]


def put(env: gym.Env, **parts: float) -> gym.Env:
    env.reset(seed=0)
    state = env.unwrapped.get_state()
    env.unwrapped.set_state({**state, "state": {"x": 0.0, "velocity": 0.0, "angle": 0.0, "spin": 0.0, **parts}})
    return env


def mass_matrix(state: np.ndarray, force: float) -> np.ndarray:
    """The same mechanics as a linear system for both accelerations: mass matrix times accelerations = forces."""
    _, velocity, angle, spin = state
    m, half, total = cart_pole.POLE_MASS, cart_pole.POLE_LENGTH / 2, cart_pole.POLE_MASS + cart_pole.CART_MASS
    inertia = m * cart_pole.POLE_LENGTH**2 / 3  # of a rod about its end
    coupling = m * half * math.cos(angle)
    forces = [force + m * half * spin**2 * math.sin(angle), m * cart_pole.GRAVITY * half * math.sin(angle)]
    cart, pole = np.linalg.solve([[total, coupling], [coupling, inertia]], forces)
    return np.array([velocity, cart, spin, pole])


def fine(slopes: Callable[[np.ndarray, float], np.ndarray], state: np.ndarray, force: float) -> np.ndarray:
    """The state 0.05 s later by a thousand midpoint steps."""
    dt = 0.05 / 1000
    for _ in range(1000):
        state = state + dt * slopes(state + 0.5 * dt * slopes(state, force), force)
    return state


def test_steps_follow_the_mass_matrix_formulation() -> None:
    env = put(envs.CartPoleSwingup(), angle=2.0, velocity=0.5, spin=-1.0)
    exact = np.array([0.0, 0.5, 2.0, -1.0])
    for step in range(20):
        force = float(np.float32(4 * math.sin(step)))
        exact = fine(mass_matrix, exact, force)
        obs = env.step(np.array([force / 10], np.float32))[0]
    x, velocity, angle, spin = exact
    np.testing.assert_allclose(obs, [x, velocity, math.cos(angle), math.sin(angle), spin], atol=2e-3)


def test_accelerations_by_hand() -> None:
    # level pole at rest, no force: it falls as a rod about its end, 3 g / (2 L), and leaves the cart alone
    assert cart_pole.accelerations(math.pi / 2, 0.0, 0.0) == pytest.approx((0.0, 15.0))
    # hanging straight: the cart, with the part of the pole that moves with it, takes the force
    cart, pole = cart_pole.accelerations(math.pi, 0.0, 1.0)
    assert cart == pytest.approx(1 / (1.1 - 0.75 * 0.1))
    assert pole == pytest.approx(1.5 * cart)


@pytest.mark.parametrize("spin", [2.0, 6.0, 10.0])
def test_energy_is_kept_without_motor(spin: float) -> None:
    state = (0.0, 0.3, math.pi, spin)
    start = cart_pole.energy(*state)
    for _ in range(500):
        state = cart_pole.integrate(state, 0.0, cart_pole.TIME_STEP)
    assert cart_pole.energy(*state) == pytest.approx(start, abs=0.02)
    state = (0.0, 0.3, math.pi, spin)
    for _ in range(500):
        state = cart_pole.integrate(state, 0.0, cart_pole.TIME_STEP / 10)
    assert cart_pole.energy(*state) == pytest.approx(start, abs=1e-6)


def test_the_motor_puts_its_work_into_the_energy() -> None:
    state, work = (0.0, 0.0, math.pi, 0.0), 0.0
    for _ in range(400):
        following = cart_pole.integrate(state, 2.0, 0.005)
        work += 2.0 * (following[0] - state[0])
        state = following
    assert cart_pole.energy(*state) + 0.5 == pytest.approx(work, rel=1e-6)  # hanging at rest: -0.5 J


def pump(obs: np.ndarray, motor: float) -> np.ndarray:
    """Pushes so that the pole gains energy until it has enough; holds it near upright; keeps to the middle."""
    x, velocity, cosine, sine, spin = obs.T
    lacking = 0.5 - (0.5 * 0.1 / 3 * spin**2 + 0.5 * cosine)
    swing = -motor * np.sign(spin * cosine * lacking) * np.minimum(1, 5 * np.abs(lacking)) - 0.5 * (x + velocity)
    hold = 12 * np.arctan2(sine, cosine) + 2.5 * spin + x + 1.5 * velocity
    return np.clip(np.where(cosine > 0.9, hold, swing) / motor, -1, 1)[:, None]


def test_two_newtons_suffice_to_swing_up() -> None:
    carts = envs.ClassicVectorEnv(envs.SparseCartPoleSwingupWeak, 20)
    obs = carts.reset(seed=0)[0]
    total = np.zeros(20)
    for _ in range(499):
        obs, reward, terminated, _, _ = carts.step(pump(obs, 2.0))
        assert not terminated.any()
        total += reward
    assert total.min() > 100


def test_random_actions_never_swing_up_with_two_newtons() -> None:
    carts = envs.ClassicVectorEnv(envs.SparseCartPoleSwingupWeak, 1000)
    carts.reset(seed=0)
    rng = np.random.default_rng(0)
    assert not any(carts.step(rng.uniform(-1, 1, (1000, 1)))[1].any() for _ in range(500))


def test_the_sparse_tasks_pay_while_the_pole_stands_on_the_rail() -> None:
    limit = math.acos(0.8)
    for task in ALL[1:]:
        rest = np.zeros(1, np.float32)
        assert put(task(), angle=0.0).step(rest)[1:3] == (1.0, False)
        obs, reward, *_ = put(task(), angle=limit - 0.05).step(rest)
        assert reward == (obs[2] > 0.8) == 1.0
        obs, reward, *_ = put(task(), angle=limit + 0.05).step(rest)
        assert reward == (obs[2] > 0.8) == 0.0
        assert put(task(), angle=math.pi).step(rest)[1:3] == (0.0, False)
        assert put(task(), x=2.99, velocity=1.0).step(rest)[1:3] == (0.0, True)
        assert put(task(), x=-2.99, velocity=-1.0).step(rest)[1:3] == (0.0, True)


def test_the_dense_task_pays_the_cosine_and_punishes_leaving_the_rail() -> None:
    rest = np.zeros(1, np.float32)
    obs, reward, terminated, *_ = put(envs.CartPoleSwingup(), angle=1.0).step(rest)
    assert not terminated
    assert reward == pytest.approx(obs[2], abs=1e-6)
    assert put(envs.CartPoleSwingup(), x=2.99, velocity=1.0).step(rest)[1:3] == (-100.0, True)


def test_starts_are_those_of_the_paper_and_the_weak_one_hangs_at_rest() -> None:
    obs = envs.ClassicVectorEnv(envs.SparseCartPoleSwingup, 5000).reset(seed=0)[0]
    x, velocity, cosine, _, spin = np.abs(obs.T)
    assert 0.98 < x.max() <= 1
    assert 1.98 < velocity.max() <= 2
    assert math.cos(1) <= cosine.min() < math.cos(0.98)
    assert (obs[:, 2] < 0).all()
    assert 2.98 < spin.max() <= 3
    obs = envs.ClassicVectorEnv(envs.SparseCartPoleSwingupWeak, 5000).reset(seed=0)[0]
    np.testing.assert_allclose(obs, np.tile([0, 0, -1, 0, 0], (5000, 1)), atol=0.01)
    assert len(np.unique(obs, axis=0)) > 4000


def test_the_motors_are_ten_newtons_and_two() -> None:
    assert [task().control(np.ones(1)) for task in ALL] == [10, 10, 2]
    assert [task().control(np.full(1, -7.0)) for task in ALL] == [-10, -10, -2]


def test_copies_share_no_generator_of_actions() -> None:
    one, other = envs.SparseCartPoleSwingup(), envs.SparseCartPoleSwingup()
    one.action_space.seed(0)
    first = one.action_space.sample()
    one.action_space.seed(0)
    other.action_space.sample()
    assert one.action_space.sample() == first
