"""The command line: `vime train | evaluate | compare | report | explore | transfer | generate | demo | list | bench`.

Help does not import torch.
"""

import contextlib
import functools
import io
import json
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from agents import commands
from agents.commands.standing import names_one_of, standing
from agents.config import RunConfig
from agents.planning.settings import ExploreConfig

BAD_INPUT, INTERRUPTED, UNREAD = 2, 130, 141
DESCRIPTIONS = {
    "vime": """Wrap gym environments, train curious agents, compare exploration baselines.

Example: vime train --task vime/SparseMountainCar-v0 --bonus vime --steps 60000 --out runs/car""",
    "vime generate": """Train, sample and evaluate generative models.

Example: vime generate train infogan --data digits --out runs/infogan""",
}
"""What help says first, by the command that it is asked of."""

REGISTRY = ConstructorRegistry()
PYTHON = {"True": True, "False": False, "None": None}
"""What JSON writes otherwise, and nobody means as text."""


@REGISTRY.primitive_rule
def _settings(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """Reads a mapping of settings from words like `hidden=[64,64] seed=3`; values are JSON, Python's words, or text."""
    if info.type_origin is not dict:
        return None
    return PrimitiveConstructorSpec(
        nargs="*",
        metavar="KEY=VALUE",
        instance_from_str=lambda words: dict(_pair(word) for word in words),
        is_instance=lambda value: isinstance(value, dict),
        str_from_instance=lambda value: [f"{key}={json.dumps(part)}" for key, part in value.items()],
    )


@REGISTRY.primitive_rule
def _whole(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """Reads whole numbers, written 10000 or 1e4."""
    if info.type is not int:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="INT",
        instance_from_str=lambda words: _number(words[0]),
        is_instance=lambda value: isinstance(value, int) and not isinstance(value, bool),
        str_from_instance=lambda value: [str(value)],
    )


def _number(word: str) -> int:
    try:
        return int(word)
    except ValueError:
        value = float(word) if "e" in word.lower() else 0.5
        if not value.is_integer():  # infinity and NaN are none either
            raise ValueError(f"a whole number is written 10000 or 1e4; got {word!r}") from None
        return int(value)


def _pair(word: str) -> tuple[str, Any]:
    key, equals, text = word.partition("=")
    if not equals or not key:
        raise ValueError(f"a setting is written KEY=VALUE, for example hidden=[64,64]; got {word!r}")
    try:
        return key, json.loads(text)
    except ValueError:
        return key, PYTHON.get(text, text)


def _run(words: list[str]) -> None:
    prog, table = "vime", _table(words)
    if words[:1] == ["generate"]:
        prog, words = "vime generate", words[1:]
        table = commands.generate.commands(words)
    later = {name: _later(command) for name, command in table.items()}
    told = io.StringIO()
    try:
        with REGISTRY, contextlib.redirect_stderr(told):
            run = tyro.extras.subcommand_cli_from_dict(later, prog=prog, description=DESCRIPTIONS[prog], args=words)
    except SystemExit as stop:
        ours = [error for error in _behind(stop) if _can_be_mended(error)]
        if ours:  # settings that were refused: in our words, not in a box about tyro's names
            raise ours[0] from None
        print(told.getvalue(), end="", file=sys.stderr)
        raise
    run()


def _later(command: Callable[..., None]) -> Callable[..., Callable[[], None]]:
    """Returns what tyro reads as `command`, but that only returns how to run it."""

    @functools.wraps(command)
    def read(*args: Any, **kwargs: Any) -> Callable[[], None]:
        return functools.partial(command, *args, **kwargs)

    return read


def _behind(error: BaseException) -> Iterator[Exception]:
    """Yields the exceptions that `error` was raised in the handling of."""
    before = error.__context__
    while before is not None:
        if isinstance(before, Exception):
            yield before
        before = before.__context__


def _table(words: list[str]) -> dict[str, Callable[..., None]]:
    unnamed = words[:1] if not names_one_of(words, "--task", "--help", "-h") else []  # no task: it goes on
    advice = "name a `--task` (`vime list`)."
    run = standing(words, RunConfig, advice) if unnamed == ["train"] else None
    exploration = standing(words, ExploreConfig, advice) if unnamed == ["explore"] else None
    return {
        "train": commands.train_from(run or RunConfig(task=tyro.MISSING)),
        "evaluate": commands.evaluate,
        "compare": commands.compare_from(words),
        "report": commands.report,
        "explore": commands.explore_from(exploration or ExploreConfig(task=tyro.MISSING)),
        "transfer": commands.transfer,
        "generate": commands.generate.generate,
        "demo": commands.demo,
        "list": commands.show_names,
        "bench": commands.bench,
    }


def main(words: Sequence[str] | None = None) -> int:
    """Returns the exit code of the command line `words` (those of this process unless given).

    0 where all went well, 2 where the user can mend what is wrong (one sentence on standard error says what), 130
    after Ctrl-C, 141 where nobody reads standard output any more.
    """
    words = list(sys.argv[1:] if words is None else words)
    usual = warnings.showwarning
    warnings.showwarning = functools.partial(_warn, usual)
    try:
        if not {"", os.getcwd()} & {*sys.path}:
            sys.path.append(os.getcwd())  # tasks and rewards of the user's own, as `python -m` finds them
        _run(words)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output, say `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains as it ends
        return UNREAD
    except KeyboardInterrupt as stop:
        print(str(stop) or _how_to_go_on(words), file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if not _can_be_mended(error):
            raise
        print(f"vime: {' '.join(str(error).split())}", file=sys.stderr)
        return BAD_INPUT
    finally:
        warnings.showwarning = usual
    return 0


def _warn(
    usual: Callable[..., None], message: Warning | str, category: type[Warning], *place: Any, **rest: Any
) -> None:
    """Says a warning to users in our words; those to developers keep their place in the code."""
    if category is UserWarning:
        print(f"vime: {message}", file=sys.stderr)
    else:
        usual(message, category, *place, **rest)


def _can_be_mended(error: Exception) -> bool:
    import gymnasium

    from vime.errors import VimeError

    models = sys.modules.get("generative.errors")  # imported, if one of its errors came
    ours = (VimeError,) if models is None else (VimeError, models.GenerativeError)
    return isinstance(error, (*ours, gymnasium.error.Error, OSError))


def _how_to_go_on(words: Sequence[str]) -> str:
    if words[:1] not in (["train"], ["explore"], ["compare"], ["demo"]) and words[:2] != ["generate", "train"]:
        return "Stopped. The same command begins anew."
    return f"Stopped. The same command goes on from the last checkpoint:\n  {shlex.join(['vime', *words])}"


if __name__ == "__main__":
    sys.exit(main())
