import gymnasium as gym
import mujoco
import numpy as np
import pytest

from envs.ant_maze import AntMaze
from envs.mazes import ANT_CELL, WALL


def put(env: AntMaze, x: float, y: float) -> AntMaze:
    env.reset(seed=0)
    env.data.qpos[:2] = x, y
    mujoco.mj_forward(env.model, env.data)
    return env


def test_the_body_is_gymnasiums_with_weaker_motors() -> None:
    ours, theirs = AntMaze(), gym.make("Ant-v5").unwrapped
    ours.reset(seed=0)
    theirs.reset(seed=0)
    here = ours.data.qpos[:2].copy()
    place = ours.data.qpos.copy()
    place[:2] -= here
    theirs.set_state(place, ours.data.qvel.copy())
    rng = np.random.default_rng(0)
    for _ in range(12):  # until the legs might touch a wall
        action = rng.uniform(-1, 1, 8)
        obs = ours.step(action)[0]
        theirs.step(0.2 * action)  # 150 N m there
        np.testing.assert_allclose(obs[:2] - here, theirs.data.qpos[:2], atol=1e-6)
        np.testing.assert_allclose(obs[2:15], theirs.data.qpos[2:], atol=1e-6)
        np.testing.assert_allclose(obs[15:], theirs.data.qvel, atol=1e-5)


def test_a_step_is_a_twentieth_of_a_second() -> None:
    env = AntMaze()
    env.reset(seed=0)
    env.step(np.zeros(8))
    assert env.data.time == pytest.approx(0.05)


@pytest.mark.parametrize(("distance", "paid"), [(1.3, True), (1.45, False)])
def test_only_the_goal_pays_and_ends(distance: float, paid: bool) -> None:
    env = AntMaze()
    put(env, env.goal[0] + distance, env.goal[1])
    env.data.qvel[:] = 0
    _, reward, terminated, *_ = env.step(np.zeros(8))
    assert (reward, terminated) == (float(paid), paid)


def test_it_starts_upright_near_the_middle_of_its_cell() -> None:
    env = AntMaze()
    starts = np.array([env.reset(seed=seed)[0] for seed in range(200)])
    offset = starts[:, :2] - ANT_CELL * np.array(env.maze.middle(env.maze.start))
    assert (np.abs(offset) <= 0.3).all()
    np.testing.assert_allclose(offset.std(0), 0.3 / 3**0.5, rtol=0.15)
    np.testing.assert_array_equal(starts[:, 2:7], np.tile([0.55, 1, 0, 0, 0], (200, 1)))
    np.testing.assert_allclose(starts[:, 15:].std(0), 0.1, rtol=0.25)


@pytest.mark.slow
def test_random_torques_neither_throw_it_over_nor_lead_it_far() -> None:
    env = AntMaze()
    rng = np.random.default_rng(0)
    for seed in range(2):
        start = env.reset(seed=seed)[0]
        seen = np.array([env.step(rng.uniform(-1, 1, 8))[0] for _ in range(1000)])
        assert (1 - 2 * (seen[:, 4] ** 2 + seen[:, 5] ** 2) > 0).all()
        assert np.linalg.norm(seen[:, :2] - start[:2], axis=1).max() < 2 * ANT_CELL


@pytest.mark.parametrize("speed", [3.0, 8.0])
def test_no_leap_goes_through_a_wall(speed: float) -> None:
    env = AntMaze()
    env.reset(seed=0)
    env.data.qvel[:2] = 0, -speed
    for _ in range(60):
        obs = env.step(np.zeros(8))[0]
        i, j = int(2.5 - obs[1] / ANT_CELL), int(obs[0] / ANT_CELL + 2.5)
        assert env.maze.cells[i][j] != WALL


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="UMaze"):
        AntMaze(maze="Large")
    with pytest.raises(gym.error.InvalidAction, match="8 finite numbers"):
        put(AntMaze(), 0, 0).step(np.zeros(2))
