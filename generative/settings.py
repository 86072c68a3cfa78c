"""Settings dataclasses as plain JSON values and back."""

from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any, TypeVar, get_args, get_type_hints

from generative.errors import GenerativeError, InvalidSettings, nearest

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
        InvalidSettings: a setting is unknown (the nearest is suggested), or `cls` refuses its value.
    """
    known = {field.name for field in fields(cls)}  # type: ignore[arg-type]
    hints = get_type_hints(cls)
    values = {}
    for name, value in plain.items():
        if name not in known:
            raise InvalidSettings(f"{_title(cls)} has no setting {name!r}. {nearest(name, sorted(known))}")
        values[name] = _typed(hints[name], value)
    try:
        return cls(**values)
    except GenerativeError:
        raise
    except (TypeError, ValueError) as error:  # a value of a kind that cannot be compared with what is allowed
        raise InvalidSettings(f"{_title(cls)} cannot be built with {dict(plain)}: {error}.") from error


def _typed(hint: Any, value: Any) -> Any:
    if isinstance(value, Mapping):
        inner = next((kind for kind in (hint, *get_args(hint)) if is_dataclass(kind)), None)
        return from_plain(inner, value) if isinstance(inner, type) else dict(value)
    if isinstance(value, list):
        return tuple(_typed(None, entry) for entry in value)
    return value


def _title(cls: type) -> str:
    return cls.__qualname__
