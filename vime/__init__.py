"""What a transition is worth: information gain and other bonuses for environments whose reward is sparse.

- `wrap`: adds a bonus to the reward of an environment, single or vectorised.
- `make_bonus`, `BONUSES`, `Bonus`, `ScaledBonus`, `Scaling`, `Transitions`: bonuses for a training loop of one's own.
- `information`: the information gain as pure functions.
- `VimeError` and below: whatever is refused.

World models are in `vime.world`, what a plan is worth in `vime.measures`.
"""

import importlib
from typing import TYPE_CHECKING, Any

from vime.errors import (
    CheckpointError,
    ClusterError,
    InvalidData,
    InvalidSettings,
    RunConflict,
    UnknownName,
    UnsupportedEnvironment,
    UnsupportedSpace,
    VimeError,
)

if TYPE_CHECKING:
    from vime import information
    from vime.bonus import BONUSES, Bonus, ScaledBonus, make_bonus
    from vime.normalise import Scaling
    from vime.transitions import Transitions
    from vime.wrappers import wrap

_PLACES = {
    **dict.fromkeys(("BONUSES", "Bonus", "ScaledBonus", "make_bonus"), "vime.bonus"),
    "Scaling": "vime.normalise",
    "Transitions": "vime.transitions",
    "wrap": "vime.wrappers",
}
"""Where lies what needs torch; loaded when it is first asked for, so that errors cost nobody two seconds."""

__all__ = [
    "BONUSES",
    "Bonus",
    "CheckpointError",
    "ClusterError",
    "InvalidData",
    "InvalidSettings",
    "RunConflict",
    "ScaledBonus",
    "Scaling",
    "Transitions",
    "UnknownName",
    "UnsupportedEnvironment",
    "UnsupportedSpace",
    "VimeError",
    "information",
    "make_bonus",
    "wrap",
]


def __getattr__(name: str) -> Any:
    if name == "information":
        return importlib.import_module("vime.information")
    if name not in _PLACES:
        raise AttributeError(f"module 'vime' has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
