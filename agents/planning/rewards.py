"""Rewards to plan for, as functions of state, encoded action and next state; name them `agents.planning.rewards:NAME`.

A function of your own takes and returns the same: rows of the observation's numbers, and one number a row.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from agents.planning.objective import Reward, Termination, of_rows
from vime.errors import InvalidData, InvalidSettings, UnknownName, nearest
from vime.naming import load_module
from vime.world import WorldModel

UPRIGHT = 0.8
"""Cosine of the pole's angle from which the sparse cart-poles pay."""
FLAG = 0.45
"""Position of the flag of Gymnasium's MountainCarContinuous."""


def flag(
    state: Float[Tensor, "n d"], action: Float[Tensor, "n a"], following: Float[Tensor, "n d"]
) -> Float[Tensor, " n"]:
    """Returns one for each step that ends at the flag of Gymnasium's mountain cars."""
    return (following[:, 0] >= FLAG).float()


def upright(
    state: Float[Tensor, "n d"], action: Float[Tensor, "n a"], following: Float[Tensor, "n d"]
) -> Float[Tensor, " n"]:
    """Returns one for each step that ends with the pole of a swing-up cart-pole upright, as the sparse tasks pay."""
    return (following[:, 2] > UPRIGHT).float()


def standing(
    state: Float[Tensor, "n d"], action: Float[Tensor, "n a"], following: Float[Tensor, "n d"]
) -> Float[Tensor, " n"]:
    """Returns the cosine of the pole's angle of a swing-up cart-pole: dense, 1 upright, -1 hanging."""
    return following[:, 2]


def height(
    state: Float[Tensor, "n d"], action: Float[Tensor, "n a"], following: Float[Tensor, "n d"]
) -> Float[Tensor, " n"]:
    """Returns the height of the tip of Gymnasium's Acrobot, in lengths of a link: -2 hanging, the goal is at 1."""
    cos_1, sin_1, cos_2, sin_2 = following[:, :4].unbind(1)
    return -cos_1 - (cos_1 * cos_2 - sin_1 * sin_2)


def find(name: str) -> Reward:
    """Returns the function that `MODULE:FUNCTION` names.

    Raises:
        UnknownName: there is none.
        InvalidSettings: it is written in another way, or is no function.
    """
    module, colon, function = name.partition(":")
    if not colon or not module or not function:
        raise InvalidSettings(f"A reward is written MODULE:FUNCTION, as agents.planning.rewards:flag; got {name!r}.")
    found = load_module("reward", name)
    if not hasattr(found, function):
        known = [key for key, value in vars(found).items() if callable(value) and not key.startswith("_")]
        raise UnknownName(f"{module} has no function {function!r}. {nearest(function, known)}")
    reward = getattr(found, function)
    if not callable(reward):
        raise InvalidSettings(f"{name} is no function but a {type(reward).__name__}.")
    return reward  # type: ignore[return-value]  (checked when it is called)


def check(function: Reward | Termination, model: WorldModel, what: str = "reward") -> None:
    """Calls a function of rows, so that one of the wrong shape is found before anything is spent.

    The rows are two that the model has seen, and the values must be finite then; or zeros, where it has seen none.

    Raises:
        InvalidSettings: it fails, or does not return one value a row.
    """
    name = getattr(function, "__name__", type(function).__name__)
    seen = len(model.pool) > 1
    shape = (2, model.features + model.actions)
    rows = model.pool.columns["inputs"][:2] if seen else torch.zeros(shape, device=model.settings.device)
    state, action = rows.split([model.features, model.actions], 1)
    try:
        values = of_rows(what, function(state, action, state), 2)
    except InvalidData as error:
        raise InvalidSettings(f"{error} It is {name!r}.") from error
    except Exception as error:
        raise InvalidSettings(
            f"The {what} {name!r} fails on states of {model.features} and actions of {model.actions} numbers: {error}."
        ) from error
    if seen and not torch.isfinite(values.float()).all():
        raise InvalidSettings(f"The {what} {name!r} gives {values.tolist()} for two states that were seen: not finite.")
