import math
from collections.abc import Callable

import gymnasium as gym
import numpy as np
import pytest

import envs
from envs import mountain_car


def put(env: gym.Env, x: float, speed: float) -> gym.Env:
    env.reset(seed=0)
    state = env.unwrapped.get_state()
    env.unwrapped.set_state({**state, "state": {"x": x, "speed": speed}})
    return env


def lagrange(state: np.ndarray, force: float) -> np.ndarray:
    """The car in the coordinates (x, dx/dt), from the Lagrangian: written without arc length, unlike the task."""
    x, v = state
    wave = math.pi / 2
    slope, bend = wave * math.sin(wave * x), wave**2 * math.cos(wave * x)
    along = force / mountain_car.MASS * math.sqrt(1 + slope**2)
    return np.array([v, (along - mountain_car.GRAVITY * slope - slope * bend * v**2) / (1 + slope**2)])


def fine(slopes: Callable[[np.ndarray, float], np.ndarray], state: np.ndarray, force: float) -> np.ndarray:
    """The state 0.05 s later by a thousand midpoint steps."""
    dt = 0.05 / 1000
    for _ in range(1000):
        state = state + dt * slopes(state + 0.5 * dt * slopes(state, force), force)
    return state


def test_steps_follow_the_equation_of_motion_in_other_coordinates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mountain_car, "FRICTION", 0.0)
    env = put(envs.MountainCar(), 0.0, 0.8)
    exact = np.array([0.0, 0.8])
    for step in range(20):
        force = math.sin(step)
        exact = fine(lagrange, exact, force)
        obs = env.step(np.array([force], np.float32))[0]
    np.testing.assert_allclose(obs, exact, atol=2e-3)


def test_one_step_from_rest_in_the_valley_by_hand() -> None:
    env = put(envs.MountainCar(), 0.0, 0.0)
    x, v = env.step(np.array([1.0], np.float32))[0]
    # F/m = 2.5 m/s^2 for 0.05 s, less friction 0.01 * 10 * 0.05; gravity has hardly begun to pull
    assert v == pytest.approx(0.125 - 0.005, abs=2e-3)
    assert x == pytest.approx(0.5 * 2.5 * 0.05**2, rel=0.02)


def test_energy_is_kept_without_motor_and_friction() -> None:
    state = (0.0, 2.8)
    start = mountain_car.energy(*state)
    for _ in range(500):
        state = mountain_car.integrate(state, 0.0, mountain_car.TIME_STEP)
    assert mountain_car.energy(*state) == pytest.approx(start, rel=5e-3)
    for _ in range(500):
        state = mountain_car.integrate(state, 0.0, mountain_car.TIME_STEP / 10)
    assert mountain_car.energy(*state) == pytest.approx(start, rel=5e-3)


def test_friction_takes_its_work_from_the_energy_and_never_turns_the_car() -> None:
    assert mountain_car.rub(0.0, 1.0) == pytest.approx(1.0 - 0.01 * 10 * 0.05)
    assert mountain_car.rub(0.0, -1.0) == pytest.approx(-0.995)
    assert mountain_car.rub(0.3, 0.001) == 0.0
    env = put(envs.MountainCar(), 0.0, 0.5)
    for _ in range(400):
        env.step(np.zeros(1, np.float32))
    assert mountain_car.energy(*env.get_state()["state"].values()) < 1e-3 * 0.5 * 0.4 * 0.25


def test_full_force_alone_never_gets_out_but_pumping_does() -> None:
    cars = envs.ClassicVectorEnv(envs.SparseMountainCar, 200, autoreset_mode="SameStep")
    cars.reset(seed=0)
    for _ in range(500):
        assert not cars.step(np.ones((200, 1), np.float32))[2].any()
    obs = cars.reset(seed=0)[0]
    arrived = np.zeros(200, bool)
    for _ in range(120):
        obs, _, terminated, _, _ = cars.step(np.where(obs[:, 1:] >= 0, 1, -1))
        arrived |= terminated
    assert arrived.all()


def test_random_actions_hardly_ever_find_the_flag() -> None:
    cars = envs.ClassicVectorEnv(envs.SparseMountainCar, 500, autoreset_mode="SameStep")
    cars.reset(seed=0)
    rng = np.random.default_rng(0)
    found = sum(cars.step(rng.uniform(-1, 1, (500, 1)))[1].sum() for _ in range(500))
    assert found <= 10


@pytest.mark.parametrize(
    ("x", "speed", "reward", "ends"), [(0.59, 1.0, 1, True), (0.5, 0.2, 0, False), (-1.99, -3.0, 0, True)]
)
def test_the_sparse_task_pays_at_the_flag_alone(x: float, speed: float, reward: float, ends: bool) -> None:
    _, got, terminated, _, _ = put(envs.SparseMountainCar(), x, speed).step(np.zeros(1, np.float32))
    assert (got, terminated) == (reward, ends)


def test_the_dense_task_pays_the_height_of_the_track_less_one() -> None:
    env = put(envs.MountainCar(), 0.3, 0.5)
    obs, reward, *_ = env.step(np.ones(1, np.float32))
    assert reward == pytest.approx(-1 + 1 - math.cos(math.pi * obs[0] / 2), abs=1e-6)


def test_it_starts_in_the_valley_with_some_speed() -> None:
    x, v = envs.ClassicVectorEnv(envs.MountainCar, 4000).reset(seed=0)[0].T
    assert (x == 0).all()
    assert -1 <= v.min() < -0.99
    assert 0.99 < v.max() <= 1
