"""What a transition is worth: information gain and other bonuses for environments whose reward is sparse."""

from vime import information
from vime.bonus import BONUSES, Bonus, ScaledBonus, make_bonus
from vime.errors import (
    CheckpointError,
    InvalidData,
    InvalidSettings,
    RunConflict,
    UnknownName,
    UnsupportedEnvironment,
    UnsupportedSpace,
    VimeError,
)
from vime.normalise import Scaling
from vime.transitions import Transitions
from vime.wrappers import wrap

__all__ = [
    "BONUSES",
    "Bonus",
    "CheckpointError",
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
