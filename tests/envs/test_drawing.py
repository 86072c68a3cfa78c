import gymnasium as gym
import numpy as np
import pytest

import envs
from envs.drawing import HEIGHT, PIXELS, WIDTH, frame

DRAWN = [task for task in envs.TASKS if "HalfCheetah" not in task and task not in PIXELS]


@pytest.mark.parametrize("task", DRAWN)
def test_a_picture_shows_the_state(task: str) -> None:
    one, two = ([3], [4]) if "Chain" in task or "Sea" in task else ([0, 0, -1, 0, 0], [0.3, 0, 1, 0, 0])
    one, two = (np.resize(obs, 29) for obs in (one, two)) if "Ant" in task else (one, two)
    pictures = [frame(task, np.array(obs)) for obs in (one, one, two)]
    assert all(p.shape == (HEIGHT, WIDTH, 3) and p.dtype == np.uint8 for p in pictures)
    np.testing.assert_array_equal(pictures[0], pictures[1])
    assert (pictures[0] != pictures[2]).any()


def test_an_ant_is_drawn_as_it_is_turned() -> None:
    env = gym.make("vime/AntMazeUMaze-v0")
    obs, _ = env.reset(seed=0)
    turned = obs.copy()
    turned[3:7] = np.cos(0.4), 0, 0, np.sin(0.4)
    assert (frame("vime/AntMazeUMaze-v0", obs) != frame("vime/AntMazeUMaze-v0", turned)).any()


def test_other_tasks_are_not_drawn() -> None:
    assert frame("vime/HalfCheetah-v0", np.zeros(20)) is None
    assert frame("CartPole-v1", np.zeros(4)) is None


def test_a_sea_of_any_size_is_drawn_and_mapped() -> None:
    env = gym.make("vime/DeepSea10-v0", size=15, render_mode="rgb_array")
    obs, _ = env.reset()
    assert env.render().shape == (HEIGHT, WIDTH, 3)
    plane = envs.projection(env.unwrapped.TASK)
    assert plane is not None
    assert plane.bins == (15, 15)
    cut = False
    while not cut:
        obs, _, cut, truncated, _ = env.step(0)
        assert not truncated
    assert obs == 15 * 15
