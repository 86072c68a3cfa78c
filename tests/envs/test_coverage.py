import gymnasium as gym
import numpy as np
import pytest

import envs
from envs.coverage import Projection, projection


def square(**changes: object) -> Projection:
    settings = {"labels": ("a", "b"), "low": (0, -1), "high": (1, 1), "bins": (2, 4)}
    return Projection(**{**settings, "coordinates": lambda obs: (obs[:, 0], obs[:, 1]), **changes})


@pytest.mark.parametrize("task", envs.TASKS)
def test_every_task_has_a_plane_and_is_found_on_it(task: str) -> None:
    plane = projection(task)
    assert plane is not None
    env = gym.make(task)
    env.action_space.seed(0)
    obs = [env.reset(seed=0)[0]]
    while len(obs) < 51:
        seen, _, terminated, *_ = env.step(env.action_space.sample())
        if terminated:  # the end of a dive is no place
            break
        obs.append(seen)
    points = plane.project(np.array(obs))
    assert points.shape == (len(obs), 2)
    cells = plane.cells(np.array(obs))
    assert cells.shape == (len(obs),)
    assert cells.min() >= 0
    assert cells.max() < plane.bins[0] * plane.bins[1]
    assert len(set(cells.tolist())) > 1


def test_foreign_tasks_have_none() -> None:
    assert projection("CartPole-v1") is None


def test_cells_are_counted_row_by_row_with_the_upper_edge_in_the_last() -> None:
    points = np.array([[0, -1], [0.49, 0.99], [0.5, -1], [1, 1], [0.75, 0.0]])
    assert square().cells(points).tolist() == [0, 3, 4, 7, 6]


def test_what_lies_outside_is_in_no_cell() -> None:
    points = np.array([[-0.01, 0], [0.5, 1.01], [np.nan, 0], [np.inf, 0]])
    assert square().cells(points).tolist() == [-1] * 4


def test_entries_that_a_noisy_tv_appends_change_nothing() -> None:
    plane = projection("vime/MountainCar-v0")
    obs = np.array([[0.1, 0.2], [0.3, -1.0]])
    np.testing.assert_array_equal(plane.cells(np.hstack([obs, np.ones((2, 3))])), plane.cells(obs))


def test_the_pole_is_placed_by_its_angle_whatever_the_turns() -> None:
    plane = projection("vime/SparseCartPoleSwingup-v0")
    angles = np.array([0.0, 2.0, -2.0, 3.1])
    obs = np.stack([0 * angles, 0 * angles, np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    np.testing.assert_allclose(plane.project(obs)[:, 0], angles)


def test_the_chain_has_a_cell_per_state() -> None:
    plane = projection("vime/StochasticChain-v0")
    assert plane.cells(np.arange(50)).tolist() == list(range(50))


def test_the_sea_has_a_cell_per_cell_and_none_for_the_end() -> None:
    plane = projection("vime/DeepSea10-v0")
    np.testing.assert_array_equal(plane.project(np.array([0, 9, 10, 57])), [[0, 0], [9, 0], [0, 1], [7, 5]])
    assert sorted(plane.cells(np.arange(100)).tolist()) == list(range(100))
    assert plane.cells(np.array([100])).tolist() == [-1]


def test_the_plane_of_a_maze_holds_all_of_it() -> None:
    plane = projection("vime/PointMazeLarge-v0")
    corners = np.array([[-6, -4.5, 0, 0], [6, 4.5, 0, 0], [0, 0, 5, 5]])
    assert plane.cells(corners).tolist() == [0, 60 * 45 - 1, 30 * 45 + 22]


def test_a_television_changes_nothing_of_the_plane() -> None:
    for noisy, quiet in envs.NOISY.items():
        assert projection(noisy) is projection(quiet)


def test_impossible_planes_are_refused() -> None:
    with pytest.raises(ValueError, match="low"):
        square(low=(1, -1))
    with pytest.raises(ValueError, match="bins"):
        square(bins=(0, 4))
