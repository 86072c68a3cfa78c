"""The tasks that can be trained on: ours, and every other that Gymnasium knows. Importing it does not import torch."""

import importlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import gymnasium
from gymnasium import spaces

import envs  # registers vime/...
from agents.names import ALGORITHMS
from vime.errors import InvalidSettings, UnknownName, UnsupportedSpace, VimeError, nearest
from vime.naming import load_module


def tasks() -> dict[str, str]:
    """Returns our own tasks with one line about each; every other Gymnasium task can be named as well."""
    return {name: _summary(name) for name in (*envs.TASKS, *envs.GRIDS)}


def _summary(name: str) -> str:
    spec = gymnasium.spec(name)
    point = spec.entry_point
    if isinstance(point, str):
        module, _, attribute = point.partition(":")
        point = getattr(importlib.import_module(module), attribute)
    line = next((line.strip() for line in (point.__doc__ or "").splitlines() if line.strip()), "")
    told = ", ".join(f"{key} {value}" for key, value in spec.kwargs.items())
    return f"{line.rstrip('.')} ({told})." if told else line


def check_task(name: str) -> str:
    """Returns `name`, if `gymnasium.make` would know it.

    Raises:
        UnknownName: it would not; the nearest known task is suggested.
    """
    module, colon, task = name.rpartition(":")
    if colon:
        load_module("task", name)
    try:
        gymnasium.spec(task)
    except gymnasium.error.Error as error:
        known = [*envs.TASKS, *envs.GRIDS, *gymnasium.registry]
        hint = nearest(task, known)
        if hint.startswith("Known"):  # hundreds
            hint = (
                f"Ours are {', '.join(envs.TASKS)}; every task registered with Gymnasium can be named as well, and one "
                "of your own as package.module:Name-v0, by the module that registers it."
            )
        elif colon:
            hint = hint.replace("'", f"'{module}:", 1)
        raise UnknownName(f"No task is named {name!r}. {hint}") from error
    return name


def backend(name: str) -> str:
    """Returns what steps the copies of the task `name`: `envpool` all at once, else `gymnasium` one by one."""
    return "envpool" if envs.pooled(name) else "gymnasium"


@contextmanager
def refusals(what: str, *causes: type[Exception]) -> Iterator[None]:
    """Says in our words what another library refuses."""
    try:
        yield
    except VimeError:
        raise
    except causes as error:
        raise InvalidSettings(f"{what}: {str(error).rstrip('.')}.") from error


def building(task: str, settings: Mapping[str, Any]) -> AbstractContextManager[None]:
    """Says in our words why a task cannot be built."""
    told = f" with {dict(settings)}" if settings else ""
    causes = (TypeError, ValueError, ImportError, gymnasium.error.Error)
    return refusals(f"The task {task!r} cannot be built{told}", *causes)


def make_environment(task: str, settings: Mapping[str, Any]) -> gymnasium.Env:
    """Returns one copy of the task, with nothing around it.

    Raises:
        UnknownName: no such task.
        InvalidSettings: the task refuses `settings`, or wants a package that is not installed.
    """
    with building(task, settings):
        return gymnasium.make(check_task(task), **settings)


def check_spaces(task: str, algorithm: str, observation_space: gymnasium.Space, action_space: gymnasium.Space) -> None:
    """Does nothing if the algorithm can serve the spaces of the task.

    Raises:
        UnsupportedSpace: it cannot; those that can are named.
    """
    served = ALGORITHMS[algorithm].actions
    kind = type(action_space).__name__
    if kind not in served:
        able = [name for name, other in ALGORITHMS.items() if kind in other.actions]
        advice = f"These serve it: {', '.join(able)}." if able else "No algorithm here serves it: wrap the task."
        raise UnsupportedSpace(
            f"{algorithm} serves {' and '.join(served)} actions, and {task!r} wants {kind}. {advice}"
        )
    if isinstance(action_space, spaces.Box) and not action_space.is_bounded():
        raise UnsupportedSpace(
            f"The actions of {task!r} have no finite bounds. "
            "Wrap it in gymnasium.wrappers.TransformAction with a bounded Box."
        )
    read = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
    inside = isinstance(observation_space, spaces.Dict)
    for key, part in observation_space.items() if inside else [(None, observation_space)]:  # type: ignore[union-attr]
        if not isinstance(part, read):
            from vime.spaces import converter

            kind = f"{type(part).__name__} in a Dict ({key!r})" if inside else type(part).__name__
            raise UnsupportedSpace(
                f"The observations of {task!r} are of the kind {kind}, which no algorithm here reads. "
                f"{converter(part, key)}"
            )
