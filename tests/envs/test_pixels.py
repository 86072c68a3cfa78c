"""The pixel tasks: pictures that show the state, and nothing else that differs from the tasks beneath."""

import gymnasium as gym
import numpy as np
import pytest

import envs
from envs import pixels
from envs.bench import steps_per_second
from envs.coverage import projection
from envs.mazes import ROOMS, WALL

CAR, MAZE = "vime/PixelMountainCar-v0", "vime/PixelMaze-v0"


def test_the_car_moves_as_without_pictures() -> None:
    seen, plain = gym.make(CAR).unwrapped, gym.make("vime/SparseMountainCar-v0").unwrapped
    seen.reset(seed=4)
    plain.reset(seed=4)
    seen.action_space.seed(0)
    for _ in range(400):
        action = seen.action_space.sample()
        assert seen.step(action)[1:] == plain.step(action)[1:]
        assert {k: seen.get_state()["state"][k] for k in ("x", "speed")} == plain.get_state()["state"]


def test_position_and_velocity_can_be_read_from_the_pictures() -> None:
    env, plane = gym.make(CAR).unwrapped, projection(CAR)
    assert plane is not None
    env.reset(seed=1)
    for step in range(200):
        before = env.get_state()["state"]["x"]
        obs, _, terminated, _, _ = env.step(np.sign(np.sin([0.18 * step])).astype(np.float32))
        if terminated:
            break
        x = env.get_state()["state"]["x"]
        place, speed = plane.project(obs[None])[0]
        assert place == pytest.approx(x, abs=0.004)
        assert speed == pytest.approx((x - before) / 0.05, abs=0.15)
    assert step > 30


def test_what_is_beyond_the_picture_is_drawn_at_its_edge() -> None:
    np.testing.assert_array_equal(pixels.car_frames(np.array([-9.0, 9.0])), pixels.cars()[[0, -1]])


def test_the_picture_of_the_valley_is_symmetric_and_the_car_is_the_brightest() -> None:
    np.testing.assert_array_equal(pixels.valley(), pixels.valley()[:, ::-1])
    frames = pixels.cars()
    np.testing.assert_array_equal(frames, frames[::-1, :, ::-1])
    assert (frames.reshape(len(frames), -1).max(1) == pixels.CAR).all()
    assert pixels.valley().max() < pixels.CAR


def test_a_walk_through_the_rooms_by_hand() -> None:
    env = gym.make(MAZE).unwrapped
    env.reset()
    up, right, down, left = range(4)
    way = [up, left] + [down] * 2 + [right] * 9 + [down] * 7 + [left] * 9 + [down] * 2  # the first two meet walls
    for step, action in enumerate(way):
        obs, reward, terminated, *_ = env.step(action)
        assert (reward, terminated) == ((1.0, True) if step == len(way) - 1 else (0.0, False))
        if step < 2:
            np.testing.assert_array_equal(obs[0], obs[1])
    assert (env.observe((env.goal, env.goal))[1] == obs[1]).all()


def test_every_cell_of_the_maze_is_found_on_the_plane() -> None:
    env, plane = gym.make(MAZE).unwrapped, projection(MAZE)
    assert plane is not None
    cells = [14 * i + j for i, row in enumerate(ROOMS.cells) for j, mark in enumerate(row) if mark != WALL]
    obs = np.stack([env.observe((cell, env.first)) for cell in cells])
    assert plane.cells(obs).tolist() == [14 * (cell % 14) + cell // 14 for cell in cells]
    steps = env._next[cells]
    assert set(steps.flatten().tolist()) == set(cells)
    assert ((np.abs(steps - np.array(cells)[:, None]) == [14, 1, 14, 1]) | (steps == np.array(cells)[:, None])).all()


@pytest.mark.parametrize("task", [CAR, MAZE])
def test_places_where_nothing_can_be_are_refused(task: str) -> None:
    env = gym.make(task).unwrapped
    env.reset(seed=0)
    saved = env.get_state()
    name = env.FIELDS[0]
    with pytest.raises(ValueError, match="outside of this task"):
        env.set_state({**saved, "state": {**saved["state"], name: 3}})
    assert env.get_state() == saved


@pytest.mark.parametrize("task", [CAR, MAZE])
def test_an_answer_is_nobody_elses(task: str) -> None:
    env = gym.make(task).unwrapped
    obs, _ = env.reset(seed=0)
    kept = obs.copy()
    obs[:] = 7
    np.testing.assert_array_equal(env.reset(seed=0)[0], kept)


@pytest.mark.parametrize("task", [CAR, MAZE])
def test_a_picture_enlarges_what_was_seen(task: str) -> None:
    env = gym.make(task, render_mode="rgb_array").unwrapped
    obs, _ = env.reset(seed=0)
    picture = env.render()
    assert picture.shape == (240, 400, 3)
    np.testing.assert_array_equal(picture[15:225:5, 95:305:5, 1], obs[-1])


@pytest.mark.parametrize("task", [CAR, MAZE])
def test_drawing_is_cheap(task: str) -> None:
    fastest = max(steps_per_second(task, copies=1, seconds=0.1) for _ in range(3))
    assert fastest > 5_000, "a step, two pictures included, takes more than 200 us"


def test_few_random_walks_find_anything() -> None:
    for task, copies in ((CAR, 200), (MAZE, 500)):
        many = gym.make_vec(task, num_envs=copies, autoreset_mode="SameStep")
        many.reset(seed=0)
        many.action_space.seed(0)
        assert sum(many.step(many.action_space.sample())[1].sum() for _ in range(150)) <= 0.01 * copies


def test_the_two_are_exported() -> None:
    assert envs.PixelMaze.TASK == MAZE
    assert envs.PixelMountainCar.TASK == CAR
