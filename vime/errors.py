"""Everything that can go wrong for a user, as one small tree.

VimeError
├── UnknownName             no task, bonus or algorithm of that name
├── InvalidSettings         a setting is out of range, unknown or contradicts another
├── UnsupportedSpace        an observation or action space that cannot be served
├── UnsupportedEnvironment  an object that is no environment of a known kind
├── InvalidData             a number that is not finite, a batch that is empty or of the wrong shape
├── CheckpointError         a saved state that is truncated, foreign or of another shape
├── RunConflict             a run folder that belongs to another configuration
└── ClusterError            a cluster that cannot be reached, or whose machines cannot serve
"""

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


class VimeError(Exception):
    """Base of every error that a user can cause and mend; its text is one clear sentence or two."""


class UnknownName(VimeError, LookupError):
    """No entry of that name; the nearest one is suggested."""


class InvalidSettings(VimeError, ValueError):
    """A setting is out of range, unknown, or contradicts another."""


class UnsupportedSpace(VimeError, TypeError):
    """An observation or action space that the chosen object cannot serve."""


class UnsupportedEnvironment(VimeError, TypeError):
    """An object that is no environment of a kind that can be wrapped."""


class InvalidData(VimeError, ValueError):
    """Data that would poison a model: not finite, empty, or of the wrong shape."""


class CheckpointError(VimeError):
    """A saved state that cannot be used: truncated, foreign, or of another shape."""


class RunConflict(VimeError):
    """A run folder that already belongs to another configuration."""


class ClusterError(VimeError):
    """A cluster that cannot be reached, or machines of it that cannot serve."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns a hint: the entry that was probably meant, whatever its case, or else all of them."""
    known = sorted(known)
    lower = {entry.lower(): entry for entry in known}
    close = difflib.get_close_matches(name.lower(), lower, n=1)
    return f"Did you mean {lower[close[0]]!r}?" if close else f"Known: {', '.join(known)}."


def choose(kind: str, name: str, table: Mapping[str, T]) -> T:
    """Returns `table[name]`.

    Raises:
        UnknownName: there is none; the message suggests the nearest entry.
    """
    if isinstance(name, str) and name in table:
        return table[name]
    raise UnknownName(f"No {kind} is named {name!r}. {nearest(str(name), table)}")


def check_device(name: str) -> None:
    """Does nothing if torch can compute on the device `name`.

    Raises:
        InvalidSettings: it is not there, or no device's name.
    """
    import torch

    try:
        device = torch.device(name)
        if device.type != "cuda":  # which is not begun for a look at it
            torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InvalidSettings(f"`device` is cpu, cuda, or cuda:1 and so on; {str(name)!r} is not to be had.") from error
    if device.type == "cuda" and (device.index or 0) >= (count := torch.cuda.device_count()):
        raise InvalidSettings(f"There is no device {str(name)!r} here: torch sees {count} CUDA devices. Use cpu.")


def build_settings(kind: str, cls: type[T], settings: Mapping[str, Any]) -> T:
    """Returns the settings dataclass `cls` filled from `settings`, every value of the kind that its field says.

    Lists become tuples, and numpy's numbers Python's, where the field wants those.

    Raises:
        InvalidSettings: a setting is unknown (the nearest is suggested), of another kind, or `cls` refuses its value.
    """
    known = {field.name for field in fields(cls)}  # type: ignore[arg-type]
    for name in settings:
        if name not in known:
            raise InvalidSettings(f"{kind} has no setting {name!r}. {nearest(str(name), known)}")
    return cls(**_of_their_kinds(kind, cls, settings))


def check_kinds(kind: str, settings: object) -> None:
    """Does nothing if every value of the settings dataclass is of the kind that its field says.

    Raises:
        InvalidSettings: one is not.
    """
    _of_their_kinds(kind, type(settings), vars(settings))


def _of_their_kinds(kind: str, cls: type, settings: Mapping[str, Any]) -> dict[str, Any]:
    hints = get_type_hints(cls)
    values = {}
    for name, value in settings.items():
        try:
            values[name] = _as_hinted(value, hints[name])
        except TypeError:
            wanted = _described(hints[name])
            raise InvalidSettings(f"{kind} cannot be built: `{name}` must be {wanted}; got {value!r}.") from None
    return values


_NUMBERS: dict[Any, str] = {bool: "true or false", int: "a whole number", float: "a finite number", str: "text"}


def _as_hinted(value: Any, hint: Any) -> Any:
    """Returns `value` as the annotation `hint` says.

    Raises:
        TypeError: it is of another kind, or a number that is not finite.
    """
    origin, parts = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, UnionType):
        for part in parts:
            try:
                return _as_hinted(value, part)
            except TypeError:
                continue
        raise TypeError
    if origin is Literal:
        fits = isinstance(value, tuple({type(part) for part in parts})) and value in parts
    elif origin is tuple and isinstance(value, list | tuple):
        return tuple(_as_hinted(entry, parts[0]) for entry in value)
    elif hint is int:
        value, fits = (int(value), True) if _is_number(value, Integral) else (value, False)
    elif hint is float:
        value, fits = (float(value), True) if _is_number(value, Real) and math.isfinite(value) else (value, False)
    else:
        fits = isinstance(value, origin or hint)
    if not fits:
        raise TypeError
    return value


def _is_number(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _described(hint: Any) -> str:
    """Returns what a value must be, in words."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(_described(part) for part in parts)
    if origin is Literal:
        return " or ".join(filter(None, (", ".join(map(repr, parts[:-1])), repr(parts[-1]))))
    if origin is tuple:
        return f"a sequence, each entry {_described(parts[0])}"
    if hint is NoneType:
        return "None"
    kind = (origin or hint).__name__
    return _NUMBERS.get(hint) or f"{'an' if kind[0] in 'AEIOUaeiou' else 'a'} {kind}"
