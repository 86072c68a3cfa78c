"""What every task promises, whichever it is."""

import json
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_sb3

import envs

pytestmark = pytest.mark.parametrize("task", [task for task in envs.TASKS if task not in envs.NOISY])
"""Those with a television are in `test_noisy_tv.py`: what is around the task makes them."""
ONE_START = ("vime/StochasticChain-v0", *(task for task in envs.TASKS if "DeepSea" in task or "Pixel" in task))
"""Those whose first observation is always the same; the pixel car's hides its velocity."""


def actions(env: gym.Env, count: int, seed: int = 0) -> list:
    env.action_space.seed(seed)
    return [env.action_space.sample() for _ in range(count)]


def trajectory(env: gym.Env, acts: list) -> list:
    steps = []
    for action in acts:
        obs, reward, terminated, truncated, _ = env.step(action)
        steps.append((obs.tolist(), reward, terminated, truncated))
        if terminated or truncated:
            steps.append(env.reset()[0].tolist())
    return steps


@pytest.mark.filterwarnings("ignore:.*observation space (min|max)imum value is -?infinity")
@pytest.mark.filterwarnings("ignore:.*symmetric and normalized")
@pytest.mark.filterwarnings("ignore:.*not within the Box action space")
def test_both_checkers_accept_it(task: str) -> None:
    check_env(gym.make(task).unwrapped, skip_render_check=True)
    check_sb3(gym.make(task), skip_render_check=True)


def test_the_seed_alone_decides(task: str) -> None:
    one, two, other = (gym.make(task) for _ in range(3))
    acts = actions(one, 80)
    assert one.reset(seed=3)[0].tolist() == two.reset(seed=3)[0].tolist()
    assert trajectory(one, acts) == trajectory(two, acts)
    if task not in ONE_START:
        assert one.reset(seed=3)[0].tolist() != other.reset(seed=4)[0].tolist()


def test_a_saved_state_continues_bit_for_bit_in_a_fresh_environment(task: str) -> None:
    one, two = gym.make(task), gym.make(task)
    acts = actions(one, 700)
    one.reset(seed=5)
    trajectory(one, acts[:77])
    saved = json.loads(json.dumps(one.get_wrapper_attr("get_state")()))
    rest = trajectory(one, acts[77:])  # past the end of the episode, so that the generator counts
    two.reset(seed=99)
    two.get_wrapper_attr("set_state")(saved)
    assert trajectory(two.unwrapped, acts[77:]) == rest


def test_saving_and_looking_change_nothing(task: str) -> None:
    one, two = gym.make(task), gym.make(task)
    acts = actions(one, 30)
    one.reset(seed=1)
    two.reset(seed=1)
    steps = []
    for action in acts:
        two.unwrapped.get_state()
        steps += trajectory(two, [action])
    assert trajectory(one, acts) == steps


def test_it_is_cut_at_the_horizon_also_without_the_wrapper(task: str) -> None:
    env = gym.make(task, horizon=7).unwrapped
    env.reset(seed=0)
    rest = actions(env, 1)[0] * 0
    ends = [env.step(rest)[3] for _ in range(7)]
    assert ends == [False] * 6 + [True]


def test_a_longer_time_limit_is_one_setting(task: str) -> None:
    horizon = gym.make(task).unwrapped.horizon
    env = gym.make(task, horizon=horizon + 10)
    env.reset(seed=0)
    steps = 0
    while True:
        steps += 1
        _, _, terminated, truncated, _ = env.step(env.action_space.sample() * 0)
        if terminated or truncated:
            break
    assert terminated or steps == horizon + 10


def test_steps_before_the_first_reset_are_refused(task: str) -> None:
    env = gym.make(task).unwrapped
    with pytest.raises(gym.error.ResetNeeded, match="reset"):
        env.step(env.action_space.sample())
    with pytest.raises(gym.error.ResetNeeded, match="reset"):
        env.get_state()


def test_actions_that_are_no_numbers_or_of_another_shape_are_refused(task: str) -> None:
    env = gym.make(task).unwrapped
    env.reset(seed=0)
    before = env.get_state()
    bad = (
        [int(env.action_space.n), -1, 0.5]
        if isinstance(env.action_space, spaces.Discrete)
        else [
            np.full(env.action_space.shape, np.nan, np.float32),
            np.full(env.action_space.shape, np.inf, np.float32),
            np.zeros(7, np.float32),
        ]
    )
    for action in bad:
        with pytest.raises(gym.error.InvalidAction, match="got"):
            env.step(action)
    assert env.get_state() == before


def test_actions_beyond_the_motors_are_cut(task: str) -> None:
    one, two = gym.make(task).unwrapped, gym.make(task).unwrapped
    if isinstance(one.action_space, spaces.Discrete):
        pytest.skip("its actions have no size")
    one.reset(seed=0)
    two.reset(seed=0)
    for action in (one.action_space.high, one.action_space.low):
        assert trajectory(one, [action]) == trajectory(two, [50 * action])


def test_states_of_another_kind_are_refused_and_change_nothing(task: str) -> None:
    env = gym.make(task).unwrapped
    env.reset(seed=0)
    saved = env.get_state()
    inner = next(key for key in ("state", "physics") if key in saved)
    broken = {key: value for key, value in saved.items() if key != "elapsed"}
    emptied = {**saved, inner: type(saved[inner])()}
    foreign = {**saved, "random": {"bit_generator": "MT19937"}}
    for state in (broken, emptied, foreign, {}, None):
        with pytest.raises(ValueError, match=r"saved"):
            env.set_state(state)
        assert env.get_state() == saved


def test_its_settings_are_checked(task: str) -> None:
    for horizon in (0, -3, 1.5, True):
        with pytest.raises(ValueError, match="horizon"):
            gym.make(task, horizon=horizon)


def test_its_docstring_has_the_fixed_form(task: str) -> None:
    text = type(gym.make(task).unwrapped).__doc__ or ""
    for part in ("| observation", "| range", "| unit", "action", "Reward:", "Start:", "cut after", "Versions: v0"):
        assert part in text, part
    assert "References:" in text
    assert "Differs from the paper:" in text


@pytest.mark.filterwarnings("ignore:.*not in the possible render_modes")
def test_it_can_be_pictured_where_it_says_so(task: str) -> None:
    if "HalfCheetah" in task:
        pytest.skip("MuJoCo draws it, where there is a display or EGL")
    env = gym.make(task, render_mode="rgb_array")
    env.reset(seed=0)
    picture = env.render()
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert picture.std() > 0
    with pytest.raises(gym.error.UnsupportedMode, match="rgb_array"):
        gym.make(task, render_mode="ascii")


def test_importing_the_package_loads_neither_torch_nor_mujoco(task: str) -> None:
    if task != envs.TASKS[0]:
        pytest.skip("once is enough")
    code = "import envs, sys; print([m for m in ('torch', 'mujoco', 'PIL') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
