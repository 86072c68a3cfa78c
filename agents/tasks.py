"""The tasks that can be trained on: ours, and every other that Gymnasium knows. Importing it does not import torch."""

import importlib

import gymnasium

import envs  # registers vime/...


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
    from vime.errors import UnknownName, nearest

    module, colon, task = name.rpartition(":")
    if colon:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise UnknownName(f"The module of the task {name!r} cannot be imported: {error}.") from error
    try:
        gymnasium.spec(task)
    except gymnasium.error.Error as error:
        known = [*envs.TASKS, *envs.GRIDS, *gymnasium.registry]
        hint = nearest(task, known)
        if hint.startswith("Known"):  # hundreds
            hint = f"Ours are {', '.join(envs.TASKS)}; every task registered with Gymnasium can be named as well."
        raise UnknownName(f"No task is named {name!r}. {hint}") from error
    return name


def backend(name: str) -> str:
    """Returns what steps the copies of the task `name`: `envpool` all at once, else `gymnasium` one by one."""
    return "envpool" if envs.pooled(name) else "gymnasium"
