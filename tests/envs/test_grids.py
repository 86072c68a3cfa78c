"""MiniGrid's tasks: one copy by `minigrid`, many by EnvPool."""

import json
from collections.abc import Iterator

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as check_sb3

import envs
import envs.pooled_grids
from envs.grids import AGENT, GRIDS, observation_space, poolable

pytest.importorskip("minigrid", reason="minigrid is not installed: pip install '.[suite]'")
POOLED = pytest.mark.skipif(
    not envs.pooled("vime/MiniGrid-DoorKey-5x5-v0"), reason="envpool is not installed: pip install '.[envpool]'"
)
EMPTY = "vime/MiniGrid-Empty-8x8-v0"  # always the same room and start
FEW = ("vime/MiniGrid-DoorKey-5x5-v0", "vime/MiniGrid-MultiRoom-N2-S4-v0", "vime/MiniGrid-KeyCorridorS3R3-v0")
LEFT, RIGHT, FORWARD = 0, 1, 2
TO_GOAL = [FORWARD] * 5 + [RIGHT] + [FORWARD] * 5


def walk(env: gym.Env, actions: list[int]) -> Iterator[tuple]:
    for action in actions:
        obs, reward, terminated, truncated, info = env.step(action)
        yield obs, reward, terminated, truncated, info["agent_pos"]
        if terminated or truncated:
            obs, info = env.reset()
            yield obs, info["agent_pos"]


def some_actions(count: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(7, size=count).tolist()


@pytest.mark.parametrize("task", GRIDS)
def test_every_task_starts_in_its_space_and_is_cut_at_minigrids_own_horizon(task: str) -> None:
    env = gym.make(task).unwrapped
    seen, _ = env.reset(seed=0)
    assert seen in env.observation_space
    assert env.observation_space == observation_space()
    steps, truncated = 0, False
    while not truncated:  # the action "done" does nothing
        seen, reward, terminated, truncated, _ = env.step(6)
        steps += 1
        assert seen in env.observation_space
        assert (reward, terminated) == (0, False)
    assert steps == env.game.max_steps


@pytest.mark.filterwarnings("ignore:.*observation space  is an image")
@pytest.mark.filterwarnings("ignore:The minimal resolution")
@pytest.mark.parametrize("task", FEW)
def test_both_checkers_accept_it(task: str) -> None:
    check_env(gym.make(task).unwrapped, skip_render_check=True)
    check_sb3(gym.make(task), skip_render_check=True)


@pytest.mark.parametrize("task", FEW)
def test_the_seed_alone_decides(task: str) -> None:
    one, two, other = (gym.make(task) for _ in range(3))
    actions = some_actions(60)
    np.testing.assert_equal(one.reset(seed=3), two.reset(seed=3))
    np.testing.assert_equal(list(walk(one, actions)), list(walk(two, actions)))
    views = [other.reset(seed=seed)[0].tolist() for seed in range(4, 12)]
    assert len({str(view) for view in views}) > 1


@pytest.mark.parametrize("task", FEW)
def test_a_saved_state_continues_bit_for_bit_in_a_fresh_environment(task: str) -> None:
    one, two = gym.make(task).unwrapped, gym.make(task).unwrapped
    actions = some_actions(450)
    one.reset(seed=5)
    list(walk(one, actions[:77]))
    saved = json.loads(json.dumps(one.get_state()))
    two.reset(seed=99)
    two.set_state(saved)
    assert two.get_state() == one.get_state()
    np.testing.assert_equal(list(walk(two, actions[77:])), list(walk(one, actions[77:])))  # past ends of episodes


def test_the_view_holds_the_direction_where_the_agent_stands() -> None:
    env = gym.make(EMPTY)
    seen, info = env.reset(seed=0)
    directions = [seen[*AGENT, 2]] + [env.step(RIGHT)[0][*AGENT, 2] for _ in range(4)]
    assert directions == [0, 1, 2, 3, 0]
    assert info["agent_pos"].tolist() == [1, 1]
    assert env.step(FORWARD)[4]["agent_pos"].tolist() == [2, 1]


def test_success_pays_the_more_the_sooner() -> None:
    env = gym.make(EMPTY)
    env.reset(seed=0)
    *_, (_, reward, terminated, truncated, _), _ = walk(env, TO_GOAL)
    assert (terminated, truncated) == (True, False)
    assert reward == pytest.approx(1 - 0.9 * len(TO_GOAL) / 256)


def test_a_horizon_can_be_set_and_a_picture_taken() -> None:
    env = gym.make(EMPTY, horizon=3, render_mode="rgb_array")
    env.reset(seed=0)
    assert [env.step(LEFT)[3] for _ in range(3)] == [False, False, True]
    picture = env.render()
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    env.close()


@pytest.mark.parametrize("horizon", [0, True, 2.5])
def test_an_impossible_horizon_is_refused(horizon: object) -> None:
    with pytest.raises(ValueError, match="horizon"):
        gym.make(EMPTY, horizon=horizon)


def test_wrong_calls_are_refused() -> None:
    env = gym.make(EMPTY).unwrapped
    for call in (env.get_state, lambda: env.step(0)):
        with pytest.raises(gym.error.ResetNeeded):
            call()
    env.reset(seed=0)
    with pytest.raises(gym.error.InvalidAction, match="0 to 6; got 7"):
        env.step(7)
    with pytest.raises(ValueError, match="actions of 0 to 6"):
        env.set_state({**env.get_state(), "actions": [9]})


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "minigrid", None)
    with pytest.raises(ImportError, match=r"\.\[suite\]"):
        gym.make(EMPTY)
    monkeypatch.setitem(__import__("sys").modules, "envpool", None)
    with pytest.raises(ImportError, match=r"\.\[envpool\]"):
        gym.make_vec(EMPTY, num_envs=2)


@POOLED
def test_a_pool_does_what_minigrid_does_over_the_ends_of_episodes() -> None:
    """The room of this task is always the same, so all numbers must be."""
    pool, copies = gym.make_vec(EMPTY, num_envs=3), [gym.make(EMPTY) for _ in range(3)]
    obs, infos = pool.reset(seed=0)
    first = [env.reset(seed=0) for env in copies]
    np.testing.assert_array_equal(obs, [seen for seen, _ in first])
    np.testing.assert_array_equal(infos["agent_pos"], [info["agent_pos"] for _, info in first])
    acts = np.array([some_actions(560, 1), (TO_GOAL * 60)[:560], some_actions(560, 2)]).T
    ends = 0
    for row in acts:
        obs, rewards, terminated, truncated, infos = pool.step(row)
        for i, env in enumerate(copies):
            seen, reward, *ended, info = env.step(row[i])
            assert [terminated[i], truncated[i]] == ended
            assert rewards[i] == pytest.approx(reward, abs=1e-6)
            if any(ended):
                ends += 1
                assert infos["_final_obs"][i]
                np.testing.assert_array_equal(infos["final_obs"][i], seen)
                np.testing.assert_array_equal(infos["final_info"]["agent_pos"][i], info["agent_pos"])
                seen, info = env.reset()
            np.testing.assert_array_equal(obs[i], seen)
            np.testing.assert_array_equal(infos["agent_pos"][i], info["agent_pos"])
    assert ends > 50


def reachable(start: tuple[int, int], walls: set[tuple[int, int]]) -> int:
    """How many cells there are a way to, if every door opens."""
    seen, edge = {start}, [start]
    while edge:
        x, y = edge.pop()
        new = {(x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)} - seen - walls
        seen |= new
        edge += new
    return len(seen)


@POOLED
@pytest.mark.parametrize("game", [game for game in GRIDS.values() if poolable(game)])
def test_a_pool_draws_rooms_as_open_as_minigrids(game: str) -> None:
    """EnvPool's MultiRoom would fail here, for which it is left out: half the cells are behind a door into a wall."""
    import envpool

    mine, his = [], []
    pool = envpool.make_gymnasium(f"MiniGrid-{game}-v0", num_envs=1, num_threads=1, seed=0, render_mode="rgb_array")
    env = gym.make(f"vime/MiniGrid-{game}-v0").unwrapped
    for seed in range(40):
        _, infos = pool.reset()
        picture = pool.render()[0]
        side = picture.shape[0] // env.game.height
        grey = (picture == (100, 100, 100)).all(-1)[side // 2 :: side, side // 2 :: side]
        corners = (picture == (100, 100, 100)).all(-1)[2::side, 2::side]  # a grey key or door is not so to the edge
        mine.append(
            reachable(tuple(infos["agent_pos"][0].tolist()), set(zip(*np.nonzero((grey & corners).T), strict=True)))
        )
        env.reset(seed=seed)
        cells = ((x, y) for x in range(env.game.width) for y in range(env.game.height))
        walls = {cell for cell in cells if getattr(env.game.grid.get(*cell), "type", None) == "wall"}
        his.append(reachable(tuple(int(number) for number in env.game.agent_pos), walls))
    assert np.mean(mine) == pytest.approx(np.mean(his), rel=0.08)


@pytest.mark.slow
@POOLED
@pytest.mark.parametrize("task", [task for task in GRIDS if poolable(GRIDS[task])])
def test_a_pool_has_minigrids_spaces_horizon_and_kind_of_rooms(task: str) -> None:
    pool, env = gym.make_vec(task, num_envs=400), gym.make(task)
    assert pool.single_observation_space == env.observation_space
    assert pool.single_action_space == env.action_space
    assert pool.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    views, _ = pool.reset(seed=0)
    assert pool.observation_space.contains(views)
    theirs = np.stack([env.reset(seed=seed)[0] for seed in range(200)])
    for channel in range(2):  # things and colours seen at the start, and how often
        mine, his = (np.bincount(v[..., channel].ravel(), minlength=11) / v[..., 0].size for v in (views, theirs))
        np.testing.assert_allclose(mine, his, atol=0.08)
        assert set(np.flatnonzero(mine > 0.005)) <= set(np.flatnonzero(his))
    for step in range(env.unwrapped.game.max_steps):
        *_, terminated, truncated, _ = pool.step(np.full(400, 6))
        assert not terminated.any()
        assert truncated.all() == (step == env.unwrapped.game.max_steps - 1)


@POOLED
def test_a_pool_continues_bit_for_bit_after_resets_too() -> None:
    def steps(pool: gym.vector.VectorEnv, rows: np.ndarray) -> list:
        return [pool.step(row)[:4] for row in rows]

    one, two = (gym.make_vec(FEW[0], num_envs=4) for _ in range(2))
    rows = np.random.default_rng(0).integers(7, size=(200, 4))
    one.reset(seed=3)
    steps(one, rows[:60])
    one.reset()
    steps(one, rows[60:100])
    two.set_state(one.get_state())
    np.testing.assert_equal(steps(two, rows[100:]), steps(one, rows[100:]))
    np.testing.assert_equal(two.get_state(), one.get_state())
    two.reset(seed=3)
    again = gym.make_vec(FEW[0], num_envs=4)
    np.testing.assert_equal(two.reset(seed=3)[0], again.reset(seed=3)[0])


@POOLED
def test_a_pool_that_has_run_too_long_says_that_it_cannot_be_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envs.pooled_grids, "LONGEST_RECORD", 8)
    pool = gym.make_vec(EMPTY, num_envs=4)
    pool.reset(seed=0)
    pool.step([LEFT] * 4)
    assert pool.get_state()["actions"].tolist() == [LEFT] * 4
    for _ in range(2):
        pool.step([LEFT] * 4)
    with pytest.raises(ValueError, match="too many"):
        pool.get_state()


@POOLED
def test_wrong_calls_of_a_pool_are_refused() -> None:
    pool = gym.make_vec(EMPTY, num_envs=2)
    for call in (pool.get_state, lambda: pool.step([0, 0])):
        with pytest.raises(gym.error.ResetNeeded):
            call()
    pool.reset(seed=0)
    for actions in ([0], [0, 7], [0.5, 1.0]):
        with pytest.raises(gym.error.InvalidAction, match="2 whole numbers of 0 to 6"):
            pool.step(actions)
    with pytest.raises(ValueError, match="2 copies"):
        pool.set_state({"seed": 0, "actions": np.zeros(3, np.uint8)})
    with pytest.raises(ValueError, match="cannot be reached"):
        envs.pooled_grids.PooledGrids("MultiRoom-N4-S5")
    for settings, says in (
        ({"num_envs": 0}, "num_envs"),
        ({"autoreset_mode": "Disabled"}, "same step"),
        ({"horizon": 0}, "horizon"),
    ):
        with pytest.raises(ValueError, match=says):
            envs.pooled_grids.PooledGrids("Empty-8x8", **settings)
