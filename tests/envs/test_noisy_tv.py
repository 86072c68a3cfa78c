import json

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_sb3

import envs
from envs import NoisyTV

ON, OFF = np.array([0.3, 0.5], np.float32), np.array([0.3, -0.5], np.float32)


def car(**settings: float) -> NoisyTV:
    return NoisyTV(gym.make("vime/MountainCar-v0"), **settings)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:.*observation space (min|max)imum value is -?infinity")
@pytest.mark.filterwarnings("ignore:.*different from the unwrapped version")
@pytest.mark.parametrize("task", ["vime/SparseMountainCar-v0", "CartPole-v1"])
def test_both_checkers_accept_it(task: str) -> None:
    check_env(NoisyTV(gym.make(task), entries=2), skip_render_check=True)
    check_sb3(NoisyTV(gym.make(task), entries=2), skip_render_check=True)


def test_the_screen_is_dark_while_off_and_gaussian_while_on() -> None:
    env = car(entries=3, std=2.0)
    obs, info = env.reset(seed=0)
    assert obs.shape == env.observation_space.shape == (5,)
    assert not obs[2:].any()
    assert info["noisy_tv"] is False
    shown = []
    for step in range(400):
        obs, *_, info = env.step(ON if step % 2 else OFF)
        assert info["noisy_tv"] == bool(step % 2)
        if step % 2:
            shown.append(obs[2:])
        else:
            assert not obs[2:].any()
    assert np.std(shown) == pytest.approx(2.0, rel=0.1)
    assert np.mean(shown) == pytest.approx(0.0, abs=0.3)


def test_the_task_itself_does_not_notice() -> None:
    plain, noisy = gym.make("vime/MountainCar-v0"), car()
    plain.reset(seed=7)
    noisy.reset(seed=7)
    for step in range(100):
        ours, theirs = noisy.step(ON if step % 3 else OFF), plain.step(ON[:1])
        np.testing.assert_array_equal(ours[0][:2], theirs[0])
        assert ours[1:4] == theirs[1:4]


def test_the_noise_is_seeded_and_not_the_tasks_own_stream() -> None:
    def screen(seed: int) -> list[float]:
        env = car()
        env.reset(seed=seed)
        return [float(env.step(ON)[0][2]) for _ in range(5)]

    assert screen(1) == screen(1) != screen(2)
    env = car()
    env.reset(seed=1)
    first = float(np.random.default_rng(1).standard_normal())
    assert float(env.step(ON)[0][2]) != pytest.approx(first)


def test_discrete_actions_come_twice_dark_then_bright() -> None:
    env, plain = NoisyTV(gym.make("CartPole-v1")), gym.make("CartPole-v1")
    assert env.action_space.n == 4
    env.reset(seed=0)
    plain.reset(seed=0)
    for action in (0, 3, 1, 2):
        obs, *_, info = env.step(action)
        np.testing.assert_array_equal(obs[:4], plain.step(action % 2)[0])
        assert info["noisy_tv"] == (action >= 2)
        assert (obs[4] != 0) == (action >= 2)
    with pytest.raises(gym.error.InvalidAction, match="0 to 3"):
        env.step(4)


def test_a_saved_state_continues_bit_for_bit() -> None:
    one, two = car(entries=2), car(entries=2)
    one.reset(seed=0)
    for _ in range(10):
        one.step(ON)
    saved = json.loads(json.dumps(one.get_state()))
    two.reset(seed=5)
    two.set_state(saved)
    for _ in range(10):
        np.testing.assert_array_equal(one.step(ON)[0], two.step(ON)[0])


def test_what_it_cannot_wrap_or_be_set_to_is_said() -> None:
    for settings in ({"entries": 0}, {"entries": 1.5}, {"std": 0.0}, {"std": float("nan")}):
        with pytest.raises(ValueError, match=next(iter(settings))):
            car(**settings)
    with pytest.raises(gym.error.Error, match="observations"):
        NoisyTV(gym.make("vime/StochasticChain-v0"))
    env = car()
    env.reset(seed=0)
    with pytest.raises(gym.error.InvalidAction, match="shape"):
        env.step(np.zeros(1, np.float32))
    foreign = NoisyTV(gym.make("CartPole-v1"))
    foreign.reset(seed=0)
    with pytest.raises(gym.error.Error, match="get_state"):
        foreign.get_state()


def test_copies_of_it_run_side_by_side() -> None:
    many = gym.make_vec("vime/MountainCar-v0", 3, vectorization_mode="sync", wrappers=[NoisyTV])
    assert many.reset(seed=0)[0].shape == (3, 3)
    shown = many.step(np.tile(ON, (3, 1)))[0][:, 2]
    assert len(set(shown.tolist())) == 3
    assert envs.NoisyTV is NoisyTV


@pytest.mark.filterwarnings("ignore:.*observation space (min|max)imum value is -?infinity")
@pytest.mark.filterwarnings("ignore:.*different from the unwrapped version")
@pytest.mark.parametrize("task", envs.NOISY)
def test_a_task_with_a_television_is_the_quiet_one_and_a_switch(task: str) -> None:
    noisy, quiet = gym.make(task), gym.make(envs.NOISY[task])
    assert noisy.unwrapped.horizon == quiet.unwrapped.horizon
    seen, _ = noisy.reset(seed=2)
    np.testing.assert_array_equal(seen, [*quiet.reset(seed=2)[0], 0])
    noisy.action_space.seed(0)
    shown = []
    for _ in range(60):
        action = noisy.action_space.sample()
        seen, reward, *_, info = noisy.step(action)
        expected = quiet.step(action[:-1])
        np.testing.assert_array_equal(seen[:-1], expected[0])
        assert reward == expected[1]
        assert info["noisy_tv"] == (action[-1] > 0) == (seen[-1] != 0)
        shown.append(seen[-1])
    assert len(set(shown)) > 20
    check_env(gym.make(task), skip_render_check=True)


@pytest.mark.parametrize("task", envs.NOISY)
def test_a_task_with_a_television_continues_bit_for_bit(task: str) -> None:
    one, two = gym.make(task), gym.make(task)
    one.action_space.seed(0)
    actions = [one.action_space.sample() for _ in range(40)]
    one.reset(seed=1)
    for action in actions[:20]:
        one.step(action)
    saved = json.loads(json.dumps(one.get_wrapper_attr("get_state")()))
    two.reset(seed=9)
    two.get_wrapper_attr("set_state")(saved)
    for action in actions[20:]:
        np.testing.assert_array_equal(one.step(action)[0], two.step(action)[0])
