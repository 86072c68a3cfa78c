from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest

from envs.mazes import MAZES, WALL
from envs.point_maze import PointMaze

NEAR, SCATTER = PointMaze.NEAR, PointMaze.SCATTER


def put(env: PointMaze, x: float, y: float) -> PointMaze:
    env.reset(seed=0)
    env.data.qpos[:] = x, y
    return env


def theirs(name: str) -> tuple[gym.Env, dict[str, tuple[int, int]]]:
    robotics = pytest.importorskip("gymnasium_robotics", reason="gymnasium-robotics is not installed")
    gym.register_envs(robotics)
    maze = MAZES[name]
    env = gym.make(f"PointMaze_{name}-v3").unwrapped
    env.position_noise_range = 0.0
    return env, {"reset_cell": maze.start, "goal_cell": maze.goal}


@pytest.mark.parametrize("name", MAZES)
def test_ball_and_walls_are_those_of_gymnasium_robotics(name: str) -> None:
    other, cells = theirs(name)
    ours = PointMaze(maze=name)
    ours.reset(seed=0)
    seen, _ = other.reset(seed=0, options=cells)
    put(ours, *seen["achieved_goal"])
    np.testing.assert_allclose(ours.goal, seen["desired_goal"])
    assert [[cell == WALL for cell in row] for row in MAZES[name].cells] == [
        [cell == 1 for cell in row] for row in other.maze.maze_map
    ]
    rng = np.random.default_rng(1)
    touched = False
    for step in range(250):
        if step % 10 == 0:
            action = rng.uniform(-1, 1, 2).astype(np.float32)
        obs, reward, *_ = ours.step(action)
        touched |= ours.data.ncon > 0
        seen, paid, *_ = other.step(action)
        np.testing.assert_allclose(obs, seen["observation"], atol=1e-6)
        assert reward == paid
    assert touched


def test_free_flight_by_hand() -> None:
    env = put(PointMaze(maze="UMaze"), 0.0, -1.0)
    mass = 1000 * 4 / 3 * np.pi * 0.1**3
    obs = env.step(np.array([1, 0]))[0]
    speed = 0.01 * 100 / (mass + 0.01)  # the damping of 1 kg/s is implicit in the step
    np.testing.assert_allclose(obs, [0.01 * speed, -1, speed, 0], atol=1e-9)


@pytest.mark.parametrize(("distance", "paid"), [(NEAR - 0.01, True), (NEAR + 0.01, False)])
def test_only_the_goal_pays_and_ends(distance: float, paid: bool) -> None:
    env = PointMaze()
    put(env, env.goal[0] + distance, env.goal[1])
    _, reward, terminated, *_ = env.step(np.zeros(2))
    assert (reward, terminated) == (float(paid), paid)


@pytest.mark.parametrize("name", MAZES)
def test_the_ball_starts_at_rest_near_the_middle_of_its_cell(name: str) -> None:
    env = PointMaze(maze=name)
    starts = np.array([env.reset(seed=seed)[0] for seed in range(200)])
    offset = starts[:, :2] - env.maze.middle(env.maze.start)
    assert (np.abs(offset) <= SCATTER).all()
    np.testing.assert_allclose(offset.std(0), SCATTER / 3**0.5, rtol=0.15)
    assert not starts[:, 2:].any()


@pytest.mark.parametrize("name", MAZES)
def test_a_way_leads_from_start_to_goal_and_is_long(name: str) -> None:
    way = shortest_way(name)
    assert way[0] == MAZES[name].start
    assert way[-1] == MAZES[name].goal
    assert len(way) - 1 == {"UMaze": 6, "Medium": 10, "Large": 15}[name]


@pytest.mark.parametrize("name", MAZES)
def test_driving_from_cell_to_cell_arrives_in_time(name: str) -> None:
    env = gym.make(f"vime/PointMaze{name}-v0")
    way = shortest_way(name)
    obs, _ = env.reset(seed=0)
    for _, cell in pairwise(way):
        for _ in range(60):
            target = np.array(env.unwrapped.maze.middle(cell))
            push = 2 * (target - obs[:2]) - 0.5 * obs[2:]
            obs, reward, terminated, truncated, _ = env.step(np.clip(push, -1, 1).astype(np.float32))
            assert not truncated
            if terminated or np.linalg.norm(target - obs[:2]) < 0.2:
                break
    assert terminated
    assert reward == 1


def test_no_push_goes_through_a_wall() -> None:
    env = PointMaze()
    env.reset(seed=0)
    for _ in range(300):
        obs = env.step(np.array([0, 1]))[0]
    assert -1.5 < obs[1] < -0.5


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="UMaze, Medium, Large"):
        PointMaze(maze="Small")


def shortest_way(name: str) -> list[tuple[int, int]]:
    maze = MAZES[name]
    before: dict[tuple[int, int], tuple[int, int] | None] = {maze.start: None}
    queue = [maze.start]
    for i, j in queue:
        for cell in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
            if cell not in before and maze.cells[cell[0]][cell[1]] != WALL:
                before[cell] = i, j
                queue.append(cell)
    way = [maze.goal]
    while (last := before[way[-1]]) is not None:
        way.append(last)
    return way[::-1]
