from enum import Flag, IntEnum
from typing import Any

import gymnasium
import numpy as np
import pytest
from stable_baselines3.common.monitor import Monitor

import envs
from agents.encoding import NotPlain, decode, encode
from agents.environment_state import NotSaveable, load_environment, save_environment

FOREIGN = ("CartPole-v1", "Pendulum-v1", "Acrobot-v1", "MountainCarContinuous-v0", "FrozenLake-v1", "Blackjack-v1")
MUJOCO = ("HalfCheetah-v5", "Ant-v5")  # Ant reads positions that lag a step behind its state


def _play(env: gymnasium.Env, steps: int) -> list[Any]:
    seen: list[Any] = []
    for _ in range(steps):
        obs, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        seen.append((obs, reward, terminated, truncated))
        if terminated or truncated:
            seen.append(env.reset()[0])
    return seen


def _make(task: str) -> gymnasium.Env:
    return Monitor(gymnasium.make(task))


@pytest.mark.parametrize("task", [*FOREIGN, *MUJOCO, *envs.TASKS])
def test_a_saved_task_continues_bit_for_bit(task: str) -> None:
    env, other = _make(task), _make(task)
    env.reset(seed=3)
    env.action_space.seed(0)
    _play(env, 137)
    state = save_environment(env)
    expected = _play(env, 150)
    other.reset(seed=9)
    other.action_space.seed(9)
    load_environment(other, state)
    np.testing.assert_equal(_play(other, 150), expected)


def test_saving_changes_nothing() -> None:
    env, other = (_make("CartPole-v1") for _ in range(2))
    for one in (env, other):
        one.reset(seed=3)
        one.action_space.seed(0)
        _play(one, 10)
    save_environment(env)
    np.testing.assert_equal(_play(env, 50), _play(other, 50))


@pytest.mark.parametrize("value", [object(), iter([1]), {(1, 2): 3}, np.array([object()], dtype=object)])
def test_what_is_not_understood_is_not_saved(value: Any) -> None:
    env = gymnasium.make("CartPole-v1")
    env.reset(seed=0)
    env.unwrapped.engine = value  # type: ignore[attr-defined]
    with pytest.raises(NotSaveable, match=r"CartPoleEnv\.engine"):
        save_environment(env)


class Phase(IntEnum):
    SEEK = 1
    CARRY = 2


class Doors(Flag):
    LEFT = 1
    RIGHT = 2


@pytest.mark.parametrize("fresh", [Phase.SEEK, None])
def test_a_member_of_an_enumeration_is_state_like_any_other(fresh: Phase | None) -> None:
    env, other = gymnasium.make("CartPole-v1"), gymnasium.make("CartPole-v1")
    for one, phase in ((env, Phase.CARRY), (other, fresh)):
        one.reset(seed=0)
        one.unwrapped.phase = phase  # type: ignore[attr-defined]
    load_environment(other, save_environment(env))
    assert other.unwrapped.phase is Phase.CARRY  # type: ignore[attr-defined]


def test_a_member_that_no_name_leads_to_is_not_saved() -> None:
    class Local(Flag):
        ONE = 1

    env = gymnasium.make("CartPole-v1")
    env.reset(seed=0)
    for value in (Doors.LEFT | Doors.RIGHT, Local.ONE):
        env.unwrapped.doors = value  # type: ignore[attr-defined]
        with pytest.raises(NotSaveable, match=r"CartPoleEnv\.doors"):
            save_environment(env)


def test_a_hook_that_fails_is_said_to() -> None:
    class Hooked(gymnasium.Wrapper):
        def get_state(self) -> Any:
            return self.env.get_wrapper_attr("get_state")()

        def set_state(self, state: Any) -> None:
            pass

    with pytest.raises(NotSaveable, match=r"Hooked\.get_state"):
        save_environment(Hooked(gymnasium.make("CartPole-v1")))


def test_shared_memory_is_not_torn_apart() -> None:
    env = gymnasium.make("Pendulum-v1")
    env.reset(seed=0)
    env.unwrapped.view = env.unwrapped.state  # type: ignore[attr-defined]
    with pytest.raises(NotSaveable, match="shares its memory"):
        save_environment(env)


def test_a_state_of_another_task_is_refused() -> None:
    env, other = gymnasium.make("CartPole-v1"), gymnasium.make("Pendulum-v1")
    env.reset(seed=0)
    with pytest.raises(ValueError, match="CartPoleEnv"):
        load_environment(other, save_environment(env))


@pytest.mark.parametrize(
    "value",
    [
        None, True, 3, 2**100, 1.5, "text", b"bytes", [1, (2, 3)], {"a": {1: None}}, np.float32(0.1), np.int64(7),
        np.arange(6, dtype=np.uint16).reshape(2, 3), np.zeros((0, 3)), np.array(5.0), np.array(["ab", "c"]),
        np.arange(10)[::-2], np.array([True, False]),
    ],
    ids=repr,
)  # fmt: skip
def test_encoding_returns_what_it_was_given(value: Any) -> None:
    back = decode(encode(value))
    assert type(back) is type(value)
    np.testing.assert_equal(back, value)
    if isinstance(value, np.ndarray):
        assert (back.dtype, back.shape) == (value.dtype, value.shape)


def test_a_generator_goes_on() -> None:
    generator = np.random.default_rng(5)
    generator.random(7)
    again = decode(encode(generator))
    assert (again.random(9) == generator.random(9)).all()


@pytest.mark.parametrize("value", [object(), {1, 2}, lambda: 0, np.array([None]), np.zeros(2, "i4, f4")])
def test_encoding_refuses_what_is_no_data(value: Any) -> None:
    with pytest.raises(NotPlain):
        encode(value)
