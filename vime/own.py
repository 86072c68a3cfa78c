"""What is asked of a bonus of the user's own, so that what is wrong with it is said where it is handed in."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vime.errors import InvalidData, InvalidSettings
from vime.naming import VERBS, listed
from vime.normalise import Scaling
from vime.transitions import Transitions

MEMBERS = ("scaling", *VERBS)


def require_bonus(bonus: Any, table: Mapping[str, type]) -> None:
    """Does nothing if `bonus` is an object with all that `vime.Bonus` asks for.

    Args:
        bonus: whatever came.
        table: the bonuses that have a name.

    Raises:
        InvalidSettings: it is a class, or a member is missing or of another kind.
    """
    if isinstance(bonus, type):
        name = next((name for name, cls in table.items() if cls is bonus), None)
        named = "" if name is None else f"its name, {name!r}, or "
        raise InvalidSettings(
            f"`bonus` is the class {bonus.__name__}: hand in {named}an object of it, made for the spaces of one "
            f"environment: {bonus.__name__}(observation_space, action_space)."
        )
    kind = type(bonus).__name__
    missing = [name for name in MEMBERS if not hasattr(bonus, name)]
    if missing:
        raise InvalidSettings(
            f"`bonus` must be a name, or an object with {listed([*MEMBERS])}; a {kind} came, which has no "
            f"{listed(missing)}."
        )
    if not isinstance(bonus.scaling, Scaling):
        raise InvalidSettings(
            f"`scaling` of {kind} must be a vime.Scaling, as vime.Scaling(); it is {bonus.scaling!r}."
        )


def as_reward(bonus: Any, given: Any, batch: Transitions) -> Float[Tensor, "t b"]:
    """Returns what `bonus.reward(batch)` gave, without a gradient, zero where the batch is not valid.

    Raises:
        InvalidData: it is no tensor of the shape of the batch, or not finite.
    """
    if not isinstance(given, Tensor) or given.shape != batch.shape:
        came = tuple(given.shape) if hasattr(given, "shape") else given
        raise InvalidData(
            f"{type(bonus).__name__}.reward must return a tensor of the shape (t, b) of the batch, here "
            f"{batch.shape}; it returned a {type(given).__name__}, {came}."
        )
    raw = torch.where(batch.valid, given.detach(), 0.0)
    if not torch.isfinite(raw).all():
        step, env = (int(i) for i in (~torch.isfinite(raw)).nonzero()[0])
        raise InvalidData(
            f"The bonus of environment {env} at step {step} of the batch is not finite: "
            "its model has diverged. Lower its learning rate."
        )
    return raw


def as_metrics(bonus: Any, given: Any) -> dict[str, float]:
    """Returns what `bonus.learn(batch)` gave; nothing counts as no metrics.

    Raises:
        InvalidData: it is no mapping.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise InvalidData(
            f"{type(bonus).__name__}.learn must return its metrics as a mapping of names to numbers, or nothing; "
            f"it returned a {type(given).__name__}."
        )
    return dict(given)
