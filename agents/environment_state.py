"""The whole state of a stack of Gymnasium wrappers, as plain data, so that a task continues bit for bit.

A layer (an environment or one of its wrappers) that has `get_state` and `set_state` speaks for itself. Every other one
is saved by its attributes, and only if **every** attribute is understood: data, random generators, spaces, MuJoCo's
model and data, or things without state such as classes. One attribute that is not (a simulator in another language, an
open window) and the layer cannot be saved; a guess would resume wrongly without a word.
"""

import importlib
from collections.abc import Iterator
from enum import Enum
from types import BuiltinFunctionType, FunctionType, MappingProxyType, ModuleType
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec

from agents.encoding import NotPlain, decode, encode

CLOCKS = {  # attributes that only remember times, or repeat what was reported already
    "Monitor": ("t_start", "episode_times", "episode_returns", "episode_lengths"),
    "RecordEpisodeStatistics": ("episode_start_time", "time_queue"),
}
INERT = (type, ModuleType, BuiltinFunctionType, np.ufunc, np.dtype, EnvSpec, MappingProxyType)
INERT_NAMES = ("MjModel", "MujocoRenderer")


class NotSaveable(Exception):
    """An environment whose state cannot be read; the text names the layer and the attribute."""


def layers(env: gymnasium.Env) -> list[gymnasium.Env]:
    """Returns the wrappers from the outermost inwards, and the environment last."""
    stack = [env]
    while isinstance(stack[-1], gymnasium.Wrapper):
        stack.append(stack[-1].env)
    return stack


def save_environment(env: gymnasium.Env) -> list[dict[str, Any]]:
    """Returns the state of every layer, as tensors and plain Python.

    Raises:
        NotSaveable: one layer holds something that is not understood.
    """
    seen: set[int] = set()
    return [_save_layer(layer, seen) for layer in layers(env)]


def load_environment(env: gymnasium.Env, state: list[dict[str, Any]]) -> None:
    """Continues `env`, freshly built and reset once, from what `save_environment` returned.

    Raises:
        ValueError: the state belongs to another stack of wrappers.
    """
    stack = layers(env)
    names = [type(layer).__name__ for layer in stack]
    if names != [part["layer"] for part in state]:
        raise ValueError(f"it holds the environment {[part['layer'] for part in state]}, and this one is {names}")
    for layer, part in zip(reversed(stack), reversed(state), strict=True):  # a wrapper's word counts over its inside
        _load_layer(layer, part)


def _has_hook(layer: gymnasium.Env) -> bool:
    return callable(getattr(type(layer), "get_state", None)) and callable(getattr(type(layer), "set_state", None))


def _save_layer(layer: gymnasium.Env, seen: set[int]) -> dict[str, Any]:
    name = type(layer).__name__
    if _has_hook(layer):
        try:
            return {"layer": name, "hook": encode(layer.get_state()), "spaces": _save_spaces(layer)}  # type: ignore[attr-defined]
        except (NotPlain, TypeError) as error:
            raise NotSaveable(f"{name}.get_state gave no plain data ({error})") from error
        except AttributeError as error:  # a wrapper that asks a task which has none
            raise NotSaveable(f"{name}.get_state failed ({error})") from error
    if any(getattr(cls, "__slots__", ()) for cls in type(layer).__mro__):
        raise NotSaveable(f"{name} keeps its state in slots")
    values: dict[str, Any] = {}
    mujoco: dict[str, Any] = {}
    members: dict[str, list[str]] = {}
    for key, value in vars(layer).items():
        if key == "env" or key in CLOCKS.get(name, ()) or _inert(value):
            continue
        if isinstance(value, gymnasium.Space):
            continue  # its generator is saved with the spaces
        if isinstance(value, Enum):
            kind = type(value)
            if value.name not in kind.__members__ or _named(kind.__module__, kind.__qualname__) is not kind:
                raise NotSaveable(f"{name}.{key} is {value!r}, which cannot be found again by its name")
            members[key] = [kind.__module__, kind.__qualname__, value.name]
            continue
        if type(value).__name__ == "MjData" and hasattr(layer, "model"):
            mujoco[key] = _save_mujoco(layer.model, value)  # type: ignore[attr-defined]
            continue
        if isinstance(value, np.ndarray):
            if id(value) in seen:  # a copy of each would part what belongs together
                raise NotSaveable(f"{name}.{key} shares its memory with another attribute")
            seen.add(id(value))
        try:
            values[key] = encode(value)
        except NotPlain as error:
            raise NotSaveable(f"{name}.{key} is not plain data ({error})") from error
    return {"layer": name, "values": values, "members": members, "mujoco": mujoco, "spaces": _save_spaces(layer)}


def _load_layer(layer: gymnasium.Env, part: dict[str, Any]) -> None:
    _load_spaces(layer, part["spaces"])
    if "hook" in part:
        layer.set_state(decode(part["hook"]))  # type: ignore[attr-defined]
        return
    for key, value in part["values"].items():
        new, old = decode(value), vars(layer).get(key)
        if isinstance(new, np.random.Generator) and isinstance(old, np.random.Generator):
            old.bit_generator.state = new.bit_generator.state  # whoever else holds the generator keeps it
        else:
            setattr(layer, key, new)
    for key, (module, kind, member) in part["members"].items():
        setattr(layer, key, _named(module, kind)[member])
    for key, value in part["mujoco"].items():
        _load_mujoco(layer.model, getattr(layer, key), value)  # type: ignore[attr-defined]


def _named(module: str, name: str) -> Any:
    """Returns the class of this name; None where it is not to be found."""
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _inert(value: Any) -> bool:
    """Whether nothing that happens later depends on a change of `value`."""
    if isinstance(value, FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        plain = (str, int, float, tuple, type(None), np.ndarray, Enum)
        return all(_inert(cell) or isinstance(cell, plain) for cell in cells)
    return isinstance(value, INERT) or type(value).__name__ in INERT_NAMES


def save_space(space: gymnasium.Space) -> list[Any]:
    """Returns the state of the generators from which `space` and the spaces inside it draw; None of one never used."""
    used = space._np_random is not None  # asking by the public name would make one, seeded by the clock
    own = encode(space.np_random.bit_generator.state) if used else None
    return [own, *(state for part in _inside(space) for state in save_space(part))]


def load_space(space: gymnasium.Space, states: list[Any]) -> None:
    """Sets back what `save_space` returned.

    Raises:
        ValueError: it is of another space.
    """
    if len(states) != len(save_space(space)):
        raise ValueError("a space has other parts there than here")
    _load_space(space, iter(states))


def _load_space(space: gymnasium.Space, states: Iterator[Any]) -> None:
    own = next(states)
    if own is not None:
        space.np_random.bit_generator.state = decode(own)
    for part in _inside(space):
        _load_space(part, states)


def _inside(space: gymnasium.Space) -> list[gymnasium.Space]:
    if isinstance(space, gymnasium.spaces.Dict):
        return list(space.spaces.values())
    return list(space.spaces) if isinstance(space, (gymnasium.spaces.Tuple, gymnasium.spaces.OneOf)) else []


def _spaces(layer: gymnasium.Env) -> dict[str, gymnasium.Space]:
    """The spaces that the layer holds itself, those of its class included."""
    held = {key: getattr(layer, key, None) for key in ("action_space", "observation_space")}
    if isinstance(layer, gymnasium.Wrapper):  # it passes on those of what it wraps
        held = {}
    return {key: value for key, value in (held | vars(layer)).items() if isinstance(value, gymnasium.Space)}


def _save_spaces(layer: gymnasium.Env) -> dict[str, Any]:
    return {key: save_space(space) for key, space in _spaces(layer).items()}


def _load_spaces(layer: gymnasium.Env, saved: dict[str, Any]) -> None:
    for key, space in _spaces(layer).items():
        if key in saved:
            load_space(space, saved[key])


def _save_mujoco(model: Any, data: Any) -> dict[str, Any]:
    """The integration state, and every array derived from it: some tasks read last step's before the next one."""
    import mujoco as _mujoco

    mujoco: Any = _mujoco  # its stubs name half of it
    kind = mujoco.mjtState.mjSTATE_INTEGRATION
    state = np.empty(mujoco.mj_stateSize(model, kind))
    mujoco.mj_getState(model, data, state, kind)
    return {"state": encode(state), "derived": {key: encode(array) for key, array in _derived(data).items()}}


def _load_mujoco(model: Any, data: Any, saved: dict[str, Any]) -> None:
    import mujoco as _mujoco

    mujoco: Any = _mujoco  # its stubs name half of it
    kind = mujoco.mjtState.mjSTATE_INTEGRATION
    state = decode(saved["state"])
    mujoco.mj_setState(model, data, state, kind)
    mujoco.mj_forward(model, data)  # sizes the arrays of contacts and constraints
    mujoco.mj_setState(model, data, state, kind)  # forward moved the warm start
    for key, array in _derived(data).items():
        old = decode(saved["derived"][key]) if key in saved["derived"] else array
        if old.shape == array.shape:
            array[...] = old


def _derived(data: Any) -> dict[str, np.ndarray]:
    values = ((key, getattr(data, key)) for key in dir(data) if not key.startswith("_"))
    return {key: value for key, value in values if isinstance(value, np.ndarray) and value.flags.writeable}
