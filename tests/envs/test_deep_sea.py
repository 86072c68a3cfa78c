import gymnasium as gym
import numpy as np
import pytest

import envs


def dive(env: envs.DeepSea, moves: str) -> tuple[list[int], list[float], list[bool]]:
    """Returns cells, rewards and ends of a dive of moves `r` and `l`, whatever the actions that make them."""
    cell, _ = env.reset(seed=0)
    cells, rewards, ends = [int(cell)], [], []
    for move in moves:
        right = env.right[divmod(cells[-1], env.size)]
        obs, reward, terminated, truncated, _ = env.step(int(right if move == "r" else 1 - right))
        assert not truncated
        cells.append(int(obs))
        rewards.append(reward)
        ends.append(terminated)
    return cells, rewards, ends


def test_a_dive_by_hand() -> None:
    cells, rewards, ends = dive(envs.DeepSea(size=4), "rrlr")
    assert cells == [0, 4 * 1 + 1, 4 * 2 + 2, 4 * 3 + 1, 16]
    assert rewards == pytest.approx([-0.0025, -0.0025, 0, -0.0025])
    assert ends == [False, False, False, True]


def test_only_the_dive_to_the_right_finds_the_treasure() -> None:
    cells, rewards, ends = dive(envs.DeepSea(size=5), "rrrrr")
    assert cells == [0, 6, 12, 18, 24, 25]
    assert rewards == pytest.approx([-0.002] * 4 + [0.998])
    assert sum(rewards) == pytest.approx(0.99)
    assert ends == [False] * 4 + [True]
    assert sum(dive(envs.DeepSea(size=5), "rrrrl")[1]) == pytest.approx(-0.008)


def test_the_columns_end_on_the_left() -> None:
    cells, rewards, _ = dive(envs.DeepSea(size=3), "lll")
    assert cells == [0, 3, 6, 9]
    assert rewards == [0, 0, 0]


def test_every_dive_but_one_goes_without_for_every_size_registered() -> None:
    for task in (name for name in envs.TASKS if "DeepSea" in name):
        env = gym.make(task).unwrapped
        assert sum(dive(env, "r" * env.size)[1]) == pytest.approx(0.99)
        assert env.observation_space.n == env.size**2 + 1


def test_random_dives_find_it_once_in_two_to_the_size() -> None:
    seas = envs.ClassicVectorEnv(envs.DeepSea, 8192, size=5, autoreset_mode="SameStep")
    seas.reset(seed=0)
    rng = np.random.default_rng(0)
    found = sum((seas.step(rng.integers(2, size=8192))[1] > 0.5).sum() for _ in range(5))
    assert 150 < found < 370  # 256 expected


def test_the_actions_are_those_of_bsuite() -> None:
    """The first values of `RandomState(42).binomial(1, 0.5, [10, 10])`, as numpy has drawn them since 1.7."""
    assert envs.DeepSea().right[0].tolist() == [0, 1, 1, 1, 0, 0, 0, 1, 1, 1]
    assert (envs.DeepSea(layout_seed=1).right != envs.DeepSea().right).any()


def test_nothing_happens_after_the_end() -> None:
    env = envs.DeepSea(size=2)
    dive(env, "rr")
    assert env.step(0)[:3] == (4, 0.0, True)


def test_impossible_settings_are_refused() -> None:
    for size in (1, 2.5, True):
        with pytest.raises(ValueError, match="size"):
            envs.DeepSea(size=size)
    with pytest.raises(ValueError, match="layout_seed"):
        envs.DeepSea(layout_seed=-1)
    env = envs.DeepSea(size=3)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="saved state"):
        env.set_state({**env.get_state(), "state": {"cell": 10, "reward": 0.0}})
