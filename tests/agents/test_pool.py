from pathlib import Path

import gymnasium
import numpy as np
import pytest
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

import envs
from agents.factory import make_task
from agents.pool import Pool
from agents.tasks import backend
from agents.train import train
from tests.agents.runs import assert_same_run, small
from vime.errors import InvalidSettings

GRID = "vime/MiniGrid-DoorKey-5x5-v0"
EMPTY = "vime/MiniGrid-Empty-8x8-v0"  # always the same room and start
ROOMS = "vime/MiniGrid-MultiRoom-N2-S4-v0"
POOLED = pytest.mark.skipif(not envs.pooled(GRID), reason="envpool is not installed: pip install '.[envpool]'")


def pool(task: str = "vime/SparseMountainCar-v0", copies: int = 3, mode: str = "SameStep", **settings: object) -> Pool:
    return Pool(gymnasium.make_vec(task, num_envs=copies, autoreset_mode=mode, **settings))


@POOLED
def test_it_tells_what_sb3_would_of_copies_side_by_side() -> None:
    pytest.importorskip("minigrid", reason="minigrid is not installed: pip install '.[suite]'")
    mine, theirs = pool(EMPTY), DummyVecEnv([lambda: Monitor(gymnasium.make(EMPTY)) for _ in range(3)])
    assert mine.observation_space == theirs.observation_space
    assert mine.action_space == theirs.action_space
    mine.seed(0)
    np.testing.assert_array_equal(mine.reset(), theirs.reset())
    rng, ends = np.random.default_rng(0), 0
    for _ in range(300):
        actions = rng.choice(3, size=3, p=[0.1, 0.15, 0.75])
        (obs, rewards, dones, infos), expected = mine.step(actions), theirs.step(actions)
        np.testing.assert_array_equal(obs, expected[0])
        np.testing.assert_allclose(rewards, expected[1], atol=1e-6)
        assert rewards.dtype == expected[1].dtype
        np.testing.assert_array_equal(dones, expected[2])
        for i in np.flatnonzero(dones):
            ends += 1
            told, wanted = infos[i], expected[3][i]
            np.testing.assert_array_equal(told["terminal_observation"], wanted["terminal_observation"])
            assert told["TimeLimit.truncated"] == wanted["TimeLimit.truncated"]
            assert told["episode"]["l"] == wanted["episode"]["l"]
            assert told["episode"]["r"] == pytest.approx(wanted["episode"]["r"], abs=1e-5)
    assert ends > 5


def test_the_seed_counts_for_the_next_reset_alone() -> None:
    one, two = pool(), pool()
    for venv in (one, two):
        assert venv.seed(4) == [4] * 3
    np.testing.assert_array_equal(one.reset(), two.reset())
    assert (one.reset() == two.reset()).all()  # both go on from the same generator
    fresh = pool()
    fresh.seed(4)
    assert (one.reset() != fresh.reset()).any()


def test_a_saved_pool_continues_with_the_returns_of_its_episodes() -> None:
    one, two = (pool("vime/MountainCar-v0", horizon=30) for _ in range(2))
    one.seed(1)
    one.reset()
    actions = np.random.default_rng(0).uniform(-1, 1, (100, 3, 1)).astype(np.float32)
    for row in actions[:40]:
        one.step(row)
    two.reset()
    two.set_state(one.get_state())
    for row in actions[40:]:
        for mine, other in zip(one.step(row)[:3], two.step(row)[:3], strict=True):
            np.testing.assert_array_equal(mine, other)
    np.testing.assert_equal(one.get_state(), two.get_state())


def test_other_moments_of_starting_anew_are_refused() -> None:
    with pytest.raises(InvalidSettings, match="SameStep"):
        pool(mode="NextStep")


def test_copies_share_one_object() -> None:
    venv = pool()
    assert venv.get_attr("num_envs", [0, 1]) == [3, 3]
    assert venv.env_is_wrapped(Monitor) == [False] * 3
    for call in (lambda: venv.set_attr("horizon", 3), lambda: venv.env_method("reset")):
        with pytest.raises(AttributeError, match="share one object"):
            call()
    venv.close()


def test_the_grids_come_from_envpool_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for found in (None, object()):
        monkeypatch.setattr(envs.grids, "find_spec", lambda _, found=found: found)
        assert backend("CartPole-v1") == backend(ROOMS) == "gymnasium"
        assert backend(GRID) == ("gymnasium" if found is None else "envpool")


@pytest.mark.slow
@pytest.mark.parametrize("kind", [pytest.param("envpool", marks=POOLED), "gymnasium"])
def test_a_stopped_run_on_a_grid_ends_like_one_that_was_not(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("minigrid", reason="minigrid is not installed: pip install '.[suite]'")
    monkeypatch.setattr(envs, "pooled", lambda _: kind == "envpool")
    config = small("ppo", task=GRID, bonus="noveld")
    venv = make_task(config)
    assert isinstance(venv.unwrapped, Pool) == (kind == "envpool")
    venv.close()
    result = train(config, tmp_path / "whole")
    for steps in (config.steps // 3, config.steps // 2):
        train(config, tmp_path / "parts", stop_after=steps)
    again = train(config, tmp_path / "parts")
    assert again["resumed"] == 2
    assert again["exact_resume"]
    assert again["backend"] == kind
    assert_same_run(tmp_path / "whole", tmp_path / "parts", result, again)
