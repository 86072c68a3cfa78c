"""Settings dataclasses as plain JSON values and back."""

import math
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from generative.errors import InvalidSettings, nearest

T = TypeVar("T")


def to_plain(settings: Any) -> dict[str, Any]:
    """Returns a settings dataclass as nested dictionaries, lists, numbers and strings."""
    return {key: _plain(value) for key, value in asdict(settings).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    return value


def from_plain(cls: type[T], plain: Mapping[str, Any]) -> T:
    """Returns the settings dataclass `cls` filled from plain values; what is left out keeps its default.

    Raises:
        InvalidSettings: a setting is unknown (the nearest is suggested), of another kind, or `cls` refuses its value.
    """
    known = {field.name for field in fields(cls)}  # type: ignore[arg-type]
    hints = get_type_hints(cls)
    values = {}
    for name, value in plain.items():
        if name not in known:
            raise InvalidSettings(f"{_title(cls)} has no setting {name!r}. {nearest(name, sorted(known))}")
        try:
            values[name] = _typed(hints[name], value)
        except TypeError:
            wanted = _described(hints[name])
            raise InvalidSettings(f"`{name}` of {_title(cls)} must be {wanted}; got {value!r}.") from None
    return cls(**values)


def _typed(hint: Any, value: Any) -> Any:
    """Returns `value` as the annotation `hint` says.

    Raises:
        TypeError: it is of another kind, or a number that is not finite.
    """
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        for part in parts:
            try:
                return _typed(part, value)
            except TypeError:
                continue
        raise TypeError
    if isinstance(hint, type) and is_dataclass(hint) and isinstance(value, Mapping):
        return from_plain(hint, value)
    if origin is tuple and isinstance(value, list | tuple):
        kinds = parts[:1] * len(value) if parts[1:] == (...,) else parts
        if len(kinds) != len(value):
            raise TypeError
        return tuple(_typed(kind, entry) for kind, entry in zip(kinds, value, strict=True))
    if origin is Literal:
        fits = isinstance(value, tuple({type(part) for part in parts})) and value in parts
    elif hint in (int, float):
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        fits = number and (hint is float or value == int(value))
        value = hint(value) if fits else value
    else:
        fits = isinstance(value, origin or hint)
    if not fits:
        raise TypeError
    return value


def _described(hint: Any) -> str:
    """Returns what a value must be, in words."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(_described(part) for part in parts)
    if origin is Literal:
        return " or ".join(filter(None, (", ".join(map(repr, parts[:-1])), repr(parts[-1]))))
    if origin is tuple:
        places = ", ".join(["..."] if parts[1:] == (...,) else ["..."] * len(parts))
        return f"a sequence as [{places}], each entry {_described(parts[0])}"
    if isinstance(hint, type) and is_dataclass(hint):
        return f"settings of {_title(hint)}, as {{'{fields(hint)[0].name}': ...}}"
    return _KINDS.get(hint) or f"a {(origin or hint).__name__}"


_KINDS: dict[Any, str] = {
    bool: "true or false", int: "a whole number", float: "a finite number", str: "text", NoneType: "None",
}  # fmt: skip


def _title(cls: type) -> str:
    return cls.__qualname__
