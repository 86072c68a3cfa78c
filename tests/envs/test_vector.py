import json

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, VectorEnv

import envs

VECTOR = [task for task in envs.TASKS if gym.spec(task).vector_entry_point is not None]
CLASSIC = [task for task in VECTOR if "DeepSea" not in task or "DeepSea10" in task]  # its sizes differ in nothing else
MODES = ["NextStep", "SameStep", "Disabled"]
SHORT = 23


def single(task: str) -> gym.Env:
    return gym.make(task, horizon=SHORT).unwrapped


def many(task: str, copies: int, mode: str = "NextStep", **settings: object) -> VectorEnv:
    return gym.make_vec(
        task, copies, vectorization_mode="vector_entry_point", autoreset_mode=mode, **{"horizon": SHORT, **settings}
    )


def copy_state(one: gym.Env, all_: VectorEnv, index: int) -> None:
    """Puts the single environment where the copy is."""
    saved = all_.get_state()
    state = {name: row[index] for name, row in saved["state"].items()}
    one.set_state({**one.get_state(), "state": state, "elapsed": saved["elapsed"][index]})


def test_every_classic_task_has_one() -> None:
    assert len(CLASSIC) == 10
    assert len(VECTOR) == 14
    for task in VECTOR:
        env = gym.make_vec(task, num_envs=3)
        assert isinstance(env, envs.ClassicVectorEnv)
        assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
        assert env.observation_space.contains(env.reset(seed=0)[0])
        assert env.spec.id == task


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("task", CLASSIC)
def test_copies_walk_exactly_as_single_environments_do(task: str, mode: str) -> None:
    copies = 5
    settings = {"trap": False} if "Chain" in task else {}  # the trap draws: see the test of one copy
    vector = many(task, copies, mode, **settings)
    singles = [gym.make(task, horizon=SHORT, **settings).unwrapped for _ in range(copies)]
    vector.action_space.seed(0)
    obs, _ = vector.reset(seed=0)
    for i, one in enumerate(singles):
        one.reset(seed=0)
        copy_state(one, vector, i)
    ended = np.zeros(copies, bool)
    for _ in range(3 * SHORT):
        actions = vector.action_space.sample()
        if mode == "Disabled" and ended.any():
            obs, _ = vector.reset(options={"reset_mask": ended})
            for i in np.flatnonzero(ended):
                copy_state(singles[i], vector, i)
            ended = np.zeros(copies, bool)
        before = ended
        obs, reward, terminated, truncated, infos = vector.step(actions)
        ended = terminated | truncated
        for i, one in enumerate(singles):
            if mode == "NextStep" and before[i]:
                assert (reward[i], terminated[i], truncated[i]) == (0, False, False)
                copy_state(one, vector, i)
                continue
            expected = one.step(actions[i])
            seen = infos["final_obs"][i] if mode == "SameStep" and ended[i] else obs[i]
            np.testing.assert_array_equal(seen, expected[0])
            assert (reward[i], terminated[i], truncated[i]) == expected[1:4]
            if mode == "SameStep" and ended[i]:
                assert infos["_final_obs"][i]
                copy_state(one, vector, i)
                np.testing.assert_array_equal(obs[i], one.observe(one._state))


@pytest.mark.parametrize("mode", ["SameStep", "Disabled"])
@pytest.mark.parametrize("task", CLASSIC)
def test_one_copy_is_the_single_environment_of_the_same_seed(task: str, mode: str) -> None:
    vector, one = many(task, 1, mode), single(task)
    vector.action_space.seed(0)
    np.testing.assert_array_equal(vector.reset(seed=4)[0][0], one.reset(seed=4)[0])
    for _ in range(4 * SHORT):
        action = vector.action_space.sample()
        obs, reward, terminated, truncated, infos = vector.step(action)
        expected = one.step(action[0])
        over = terminated[0] or truncated[0]
        np.testing.assert_array_equal(infos["final_obs"][0] if over and mode == "SameStep" else obs[0], expected[0])
        assert (reward[0], terminated[0], truncated[0]) == expected[1:4]
        if over:
            start = one.reset()[0]
            if mode == "Disabled":
                obs, _ = vector.reset(options={"reset_mask": np.ones(1, bool)})
            np.testing.assert_array_equal(obs[0], start)


@pytest.mark.parametrize("mode", MODES[:2])
@pytest.mark.parametrize("task", CLASSIC)
def test_it_speaks_like_gymnasiums_own_vector_environment(task: str, mode: str) -> None:
    ours = many(task, 2, mode, horizon=9)
    theirs = gym.vector.SyncVectorEnv([lambda: gym.make(task, horizon=9)] * 2, autoreset_mode=AutoresetMode(mode))
    ours.reset(seed=0)
    theirs.reset(seed=0)
    actions = 0 * ours.action_space.sample()
    for _ in range(21):
        left, right = ours.step(actions), theirs.step(actions)
        for mine, other in zip(left[:4], right[:4], strict=True):
            assert (mine.shape, mine.dtype) == (other.shape, other.dtype)
        np.testing.assert_array_equal(left[3], right[3])
        assert set(left[4]) == set(right[4])
        for key in left[4]:
            assert type(left[4][key]) is type(right[4][key])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("task", CLASSIC)
def test_a_saved_state_continues_bit_for_bit(task: str, mode: str) -> None:
    one, two = many(task, 6, mode, horizon=10), many(task, 6, mode, horizon=10)
    one.action_space.seed(0)
    actions = [one.action_space.sample() for _ in range(35)]

    def walk(env: VectorEnv, acts: list) -> list:
        seen = []
        for act in acts:
            obs, reward, terminated, truncated, _ = env.step(act)
            seen.append((obs.tolist(), reward.tolist(), terminated.tolist(), truncated.tolist()))
            if mode == "Disabled" and (ended := terminated | truncated).any():
                seen.append(env.reset(options={"reset_mask": ended})[0].tolist())
        return seen

    one.reset(seed=0)
    walk(one, actions[:10])  # in mode NextStep, the next step restarts: that must be remembered too
    saved = json.loads(json.dumps(one.get_state()))
    two.set_state(saved)
    assert walk(two, actions[10:]) == walk(one, actions[10:])


def test_answers_are_the_callers_to_keep() -> None:
    env = many("vime/MountainCar-v0", 4)
    first = env.reset(seed=0)[0]
    kept = first.copy()
    answers = env.step(env.action_space.sample())[:4]
    copies = [part.copy() for part in answers]
    for part in answers:
        part[:] = 0
    env.step(env.action_space.sample())
    np.testing.assert_array_equal(first, kept)
    other = many("vime/MountainCar-v0", 4)
    other.reset(seed=0)
    assert copies[0].any()


def test_the_shorter_of_time_limit_and_horizon_holds() -> None:
    env = gym.make_vec("vime/MountainCar-v0", 2, max_episode_steps=5)
    env.reset(seed=0)
    rest = np.zeros((2, 1), np.float32)
    assert [env.step(rest)[3].all() for _ in range(5)] == [False] * 4 + [True]
    assert gym.make_vec("vime/MountainCar-v0", 2)._horizon == 500


def test_wrong_use_is_explained() -> None:
    for wrong in ({"num_envs": 0}, {"num_envs": 2.0}, {"autoreset_mode": "sometimes"}, {"max_episode_steps": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            envs.ClassicVectorEnv(envs.MountainCar, **wrong)
    two = many("vime/MountainCar-v0", 2)
    two.reset(seed=0)
    env = many("vime/MountainCar-v0", 3, "Disabled", horizon=2)
    rest = np.zeros((3, 1), np.float32)
    with pytest.raises(gym.error.ResetNeeded, match="reset"):
        env.step(rest)
    with pytest.raises(gym.error.ResetNeeded, match="reset_mask"):
        env.reset(options={"reset_mask": np.ones(3, bool)})
    with pytest.raises(ValueError, match="seed"):
        env.reset(seed=[1, 2, 3])
    env.reset(seed=0)
    for mask in ([True] * 3, np.ones(2, bool), np.ones(3)):
        with pytest.raises(ValueError, match="reset_mask"):
            env.reset(options={"reset_mask": mask})
    with pytest.raises(gym.error.InvalidAction, match="copy 1"):
        env.step(np.array([[0], [np.nan], [0]]))
    with pytest.raises(gym.error.InvalidAction, match="3 copies"):
        env.step(np.zeros((4, 1)))
    env.step(rest)
    env.step(rest)
    with pytest.raises(gym.error.ResetNeeded, match="disabled"):
        env.step(rest)
    with pytest.raises(ValueError, match="3 copies"):
        env.set_state(two.get_state())
    with pytest.raises(ValueError, match="keys"):
        env.set_state({})


def test_pictures_come_one_per_copy() -> None:
    env = many("vime/CartPoleSwingup-v0", 2, render_mode="rgb_array")
    env.reset(seed=0)
    frames = env.render()
    assert len(frames) == 2
    assert (frames[0] != frames[1]).any()
    assert many("vime/CartPoleSwingup-v0", 2).render() is None


@pytest.mark.parametrize("mode", MODES)
def test_a_copy_that_ended_draws_nothing_while_it_waits(mode: str) -> None:
    """The trap of the chain draws at every step in it; the policy always goes left, into the trap."""
    settings = {"horizon": 6, "layout_seed": 3}
    vector, one = many("vime/StochasticChain-v0", 1, mode, **settings), gym.make("vime/StochasticChain-v0", **settings)
    left = int(one.unwrapped.moves[1, 1] < 0)
    seen: list[list[int]] = []
    (obs,), _ = vector.reset(seed=4)
    episode = [int(obs)]
    while len(seen) < 12:
        (obs,), _, _, (cut,), infos = vector.step(np.array([left]))
        if mode == "SameStep" and cut:
            seen.append([*episode, int(infos["final_obs"][0])])
            episode = [int(obs)]
            continue
        episode.append(int(obs))
        if cut:
            seen.append(episode)
            if mode == "NextStep":
                (obs,), *_ = vector.step(np.array([left]))
            else:
                (obs,), _ = vector.reset(options={"reset_mask": np.array([True])})
            episode = [int(obs)]
    expected = []
    for i in range(12):
        obs, _ = one.reset(seed=4 if i == 0 else None)
        episode, cut = [int(obs)], False
        while not cut:
            obs, _, _, cut, _ = one.step(left)
            episode.append(int(obs))
        expected.append(episode)
    assert seen == expected
