"""Everything that can go wrong for a user, as one small tree.

VimeError
├── UnknownName             no task, bonus or algorithm of that name
├── InvalidSettings         a setting is out of range, unknown or contradicts another
├── UnsupportedSpace        an observation or action space that cannot be served
├── UnsupportedEnvironment  an object that is no environment of a known kind
├── InvalidData             a number that is not finite, a batch that is empty or of the wrong shape
├── CheckpointError         a saved state that is truncated, foreign or of another shape
└── RunConflict             a run folder that belongs to another configuration
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

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


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns a hint: the entry that was probably meant, or else all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(known)}."


def choose(kind: str, name: str, table: Mapping[str, T]) -> T:
    """Returns `table[name]`.

    Raises:
        UnknownName: there is none; the message suggests the nearest entry.
    """
    if isinstance(name, str) and name in table:
        return table[name]
    raise UnknownName(f"No {kind} is named {name!r}. {nearest(str(name), table)}")


def build_settings(kind: str, cls: type[T], settings: Mapping[str, Any]) -> T:
    """Returns the settings dataclass `cls` filled from `settings`.

    Raises:
        InvalidSettings: a setting is unknown (the nearest is suggested), or `cls` refuses its value.
    """
    known = {field.name for field in fields(cls)}  # type: ignore[arg-type]
    for name in settings:
        if name not in known:
            raise InvalidSettings(f"{kind} has no setting {name!r}. {nearest(name, known)}")
    try:
        return cls(**settings)
    except VimeError:
        raise
    except TypeError as error:  # a value of a kind that cannot be compared with what is allowed
        raise InvalidSettings(f"{kind} cannot be built with {dict(settings)}: {error}.") from error
