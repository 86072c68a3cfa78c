"""Everything that can go wrong for a user of the models, as one small tree.

GenerativeError
├── UnknownName      no model or data set of that name
├── InvalidSettings  a setting is out of range, unknown or contradicts another
├── InvalidData      examples of the wrong shape or range, or not finite
├── MissingData      files of a data set that are absent or corrupt
├── CheckpointError  a saved state that is truncated, foreign or of another model
└── Diverged         a training whose numbers are no longer finite, or leapt
"""

import difflib
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


class GenerativeError(Exception):
    """Base of every error that a user can cause and mend; its text is one clear sentence or two."""


class UnknownName(GenerativeError, LookupError):
    """No entry of that name; the nearest one is suggested."""


class InvalidSettings(GenerativeError, ValueError):
    """A setting is out of range, unknown, or contradicts another."""


class InvalidData(GenerativeError, ValueError):
    """Examples that a model cannot take: not finite, out of range, empty, or of the wrong shape."""


class MissingData(GenerativeError, OSError):
    """Files of a data set that are absent, or hold something else."""


class CheckpointError(GenerativeError):
    """A saved state that cannot be used: truncated, foreign, or of another model."""


class Diverged(GenerativeError, ArithmeticError):
    """A training whose losses or weights are no longer finite, or whose loss leapt; the last good weights are kept."""


def nearest(name: str, known: Mapping[str, object] | list[str]) -> str:
    """Returns a hint: the entry that was probably meant, or else all of them."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(sorted(known))}."


def choose(kind: str, name: str, table: Mapping[str, T]) -> T:
    """Returns `table[name]`.

    Raises:
        UnknownName: there is none; the message suggests the nearest entry.
    """
    if isinstance(name, str) and name in table:
        return table[name]
    raise UnknownName(f"No {kind} is named {name!r}. {nearest(str(name), table)}")
