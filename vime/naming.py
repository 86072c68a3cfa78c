"""What the names of bonuses and of the user's own code mean. Importing it does not import torch."""

import importlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from types import ModuleType
from typing import Any

from vime.errors import InvalidSettings, UnknownName, choose, nearest

VERBS = ("reward", "observe", "learn", "state_dict", "load_state_dict")
"""Methods of every bonus."""
SHARED = ("seed", "device")
"""Fields of the settings of every bonus."""


def part_names(name: Any, table: Mapping[str, object]) -> list[str]:
    """Returns the parts of a bonus's name, one for a plain name: each is in `table`, or written `module:Class`.

    Raises:
        UnknownName: a part is empty, or neither; the nearest is suggested.
    """
    parts = [part.strip() for part in name.split("+")] if isinstance(name, str) else [name]
    for part in parts:
        if part == "" and len(parts) > 1:
            raise UnknownName(f"The mixture {name!r} has an empty part; it is written like 'rnd+e3b'.")
        if is_own(part):
            continue
        if isinstance(part, str) and "," in part:
            raise UnknownName(
                f"No bonus is named {part!r}. Several are written with spaces between them, as none rnd; "
                "a mixture is written rnd+e3b."
            )
        choose("bonus", part, table)
    return parts


def is_own(name: Any) -> bool:
    """Returns whether the name of a bonus is that of a class of the user's own, `module:Class`."""
    return isinstance(name, str) and ":" in name


def own_bonus(name: str) -> type:
    """Returns the class that `module:Class` names: a bonus with `Settings`, as those of the table.

    Raises:
        UnknownName: there is no such module or class.
        InvalidSettings: it is no class, or lacks what every bonus has.
    """
    module, _, kind = name.rpartition(":")
    found = load_module("bonus", name)
    if not hasattr(found, kind):
        known = [key for key, value in vars(found).items() if isinstance(value, type)]
        raise UnknownName(f"{module} has no class {kind!r}. {nearest(kind, known)}")
    cls = getattr(found, kind)
    if not isinstance(cls, type):
        raise InvalidSettings(f"The bonus {name!r} is no class but a {type(cls).__name__}.")
    missing = [verb for verb in VERBS if not callable(getattr(cls, verb, None))]
    if missing:
        raise InvalidSettings(f"The bonus {name!r} has no {listed(missing)}; `vime.Bonus` says what they do.")
    settings = getattr(cls, "Settings", None)
    known = [field.name for field in fields(settings)] if is_dataclass(settings) else []
    if not {*SHARED} <= {*known}:
        raise InvalidSettings(
            f"The bonus {name!r} needs `Settings`, a dataclass with the fields `seed` and `device` and its own beside "
            "them, and a constructor that takes observation space, action space and settings."
        )
    return cls


def load_module(kind: str, name: str) -> ModuleType:
    """Returns the module before the colon of `name`, which is that of a `kind`; imports it.

    Raises:
        UnknownName: it is a path, or cannot be imported.
    """
    module, _, rest = name.rpartition(":")
    if "/" in module or "\\" in module or module.endswith(".py"):
        stem = PurePath(module.replace("\\", "/")).name.removesuffix(".py")
        raise UnknownName(
            f"The {kind} {name!r} begins with a path: write the module's name, as {stem}:{rest}, and stand in its "
            "folder."
        )
    try:
        return importlib.import_module(module)
    except Exception as error:  # whatever its code raises
        told = f"{type(error).__name__}: {error}"
        absent = isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}.")
        where = " It is looked for in the present folder and on PYTHONPATH." if absent else ""
        raise UnknownName(f"The module of the {kind} {name!r} cannot be imported ({told}).{where}") from error


def listed(names: list[str]) -> str:
    """Returns names as a sentence has them: `a`, `b` and `c`."""
    quoted = [f"`{name}`" for name in names]
    return " and ".join(filter(None, (", ".join(quoted[:-1]), quoted[-1])))
