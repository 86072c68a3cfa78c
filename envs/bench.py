"""Speed of the tasks."""

import time

import gymnasium as gym

from envs import TASKS

COPIES = 4096
"""Copies of a task that has a vector environment of its own, unless told otherwise."""
_ACTIONS = 64
"""Batches of random actions, drawn beforehand and used in turn."""


def steps_per_second(task: str, *, copies: int | None = None, seconds: float = 1.0, seed: int = 0) -> float:
    """Returns the steps that `task` makes in a second of this process's CPU time, all copies counted.

    Actions are random and drawn beforehand; what ending episodes cost is counted.

    Args:
        task: the id of a task.
        copies: 1 measures the single environment; the default is 4096 where the task has a vector environment of its
            own, else 1; more copies of a task that has none are stepped one after the other.
        seconds: how long to measure (CPU time).
        seed: of the episodes and of the actions.

    Raises:
        ValueError: `copies` or `seconds` is not positive.
    """
    if copies is None:
        copies = COPIES if gym.spec(task).vector_entry_point is not None else 1
    if copies < 1 or seconds <= 0:
        raise ValueError(f"`copies` and `seconds` must be positive; got {copies} and {seconds}.")
    return _single(task, seconds, seed) if copies == 1 else _many(task, copies, seconds, seed)


def _single(task: str, seconds: float, seed: int) -> float:
    env = gym.make(task)
    env.action_space.seed(seed)
    actions = [env.action_space.sample() for _ in range(_ACTIONS)]
    env.reset(seed=seed)
    steps, start = 0, time.process_time()
    while (spent := time.process_time() - start) < seconds:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
        steps += len(actions)
    env.close()
    return steps / spent


def _many(task: str, copies: int, seconds: float, seed: int) -> float:
    envs = gym.make_vec(task, num_envs=copies)
    envs.action_space.seed(seed)
    actions = [envs.action_space.sample() for _ in range(_ACTIONS)]
    envs.reset(seed=seed)
    steps, start = 0, time.process_time()
    while (spent := time.process_time() - start) < seconds:
        for action in actions:
            envs.step(action)
        steps += copies * len(actions)
    envs.close()
    return steps / spent


def speeds(*, seconds: float = 1.0) -> dict[str, float]:
    """Returns steps per second of CPU time by task: of 4096 copies where a task steps many at once, else of one."""
    return {task: steps_per_second(task, seconds=seconds) for task in TASKS}
