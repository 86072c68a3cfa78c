"""What stands already in the folder that a command line names: a command that is told no more goes on with it."""

import itertools
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from agents.folder import Readable

OPTIONS = ("out", "json", "checkpoint_seconds")
"""What these commands take beside the fields of their configurations."""
C = TypeVar("C", bound="Readable")


def standing(words: Sequence[str], kind: type[C], advice: str) -> C | None:
    """Returns the configuration in the folder of `--out`; None where no folder is named, or an option is unknown.

    Args:
        words: of the command line, in which nothing says what a new run would be.
        kind: of the configuration.
        advice: what to do where the folder holds none.

    Raises:
        CheckpointError: there is none, or it is not one of that kind.
    """
    outs = [after for word, after in itertools.pairwise(words) if word == "--out"]
    outs += [word.partition("=")[2] for word in words if word.startswith("--out=")]
    if not outs:
        return None
    from agents.folder import contents, read_config
    from vime.errors import CheckpointError

    if not (Path(outs[-1]) / "config.json").is_file():
        known = {*OPTIONS, *(field.name for field in fields(kind))}  # type: ignore[arg-type]
        if not {_named(word) for word in words if word.startswith("--")} <= known:
            return None  # which the command line complains about
        what = contents(Path(outs[-1]))
        raise CheckpointError(f"{outs[-1]} holds {what or f'nothing to go on with: {advice}'}")
    return read_config(Path(outs[-1]), kind)


def _named(word: str) -> str:
    """Returns the field that an option sets: `steps` for `--steps=3`, `json` for `--no-json`."""
    return word.partition("=")[0].removeprefix("--").removeprefix("no-").replace("-", "_")


def names_one_of(words: Sequence[str], *options: str) -> bool:
    """Returns whether one of the options is given, as `--task X` or as `--task=X`."""
    return any(word.split("=")[0] in options for word in words)
