"""What a planner wants of an imagined future."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from jaxtyping import Bool, Float
from torch import Tensor

from vime.errors import InvalidData, InvalidSettings, choose
from vime.measures import MEASURES

Reward = Callable[[Float[Tensor, "n d"], Float[Tensor, "n a"], Float[Tensor, "n d"]], Float[Tensor, " n"]]
"""Takes states, encoded actions and next states, as the model knows them, to the reward of every row."""
Termination = Callable[[Float[Tensor, "n d"], Float[Tensor, "n a"], Float[Tensor, "n d"]], Bool[Tensor, " n"]]
"""Takes the same to whether the episode ends there."""

Propagation = Literal["mean", "members"]
"""Whose next state counts: the mean of all members, or that of each member in a future of its own (TS∞, Chua 2018)."""

TRAJECTORY = "trajectory"


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What is added up over an imagined future: information and reward."""

    measure: str | None = "log-det"
    """How information is measured: log-det, variance, jensen-renyi, trajectory (all steps together); None: not."""
    gain_weight: float = 1.0
    """What a nat is worth in reward."""
    reward: Reward | None = None
    """The reward of a step; none where information alone is wanted."""
    termination: Termination | None = None
    """Where an episode ends; what would come after counts for nothing."""
    end_cost: float = 0.0
    """What an end costs, in reward: where the reward is sparse, nothing else tells a plan that a fall is bad."""
    discount: float = 1.0
    """Of every further step; 1 for none. The measure `trajectory` has no steps to discount."""
    propagation: Propagation = "mean"
    """See `Propagation`. With `members` the futures are averaged; a measure then asks every member in all of them."""
    optimism: float = 0.0
    """How many epistemic deviations the planner may bend the mean of the next state, by actions of its own (H-UCRL)."""
    noise: bool = False
    """Draw the noise of every step, instead of following the mean."""

    def __post_init__(self) -> None:
        if self.measure is not None and self.measure != TRAJECTORY:
            choose("measure", self.measure, {**MEASURES, TRAJECTORY: None})
        if self.measure is None and self.reward is None:
            raise InvalidSettings("An objective needs a `measure` or a `reward`; got neither.")
        if not 0 < self.discount <= 1:
            raise InvalidSettings(f"`discount` must lie in (0, 1]; got {self.discount}.")
        if self.propagation not in get_args(Propagation):
            raise InvalidSettings(f"`propagation` must be 'mean' or 'members'; got {self.propagation!r}.")
        if not (self.optimism >= 0 and math.isfinite(self.optimism)):
            raise InvalidSettings(f"`optimism` must be a finite number of at least 0; got {self.optimism}.")
        if self.optimism > 0 and self.propagation == "members":
            raise InvalidSettings("`optimism` bends the mean of all members: it goes with propagation='mean' alone.")
        for name in ("gain_weight", "end_cost"):
            if not math.isfinite(getattr(self, name)):
                raise InvalidSettings(f"`{name}` must be finite; got {getattr(self, name)}.")

    def extra_actions(self, features: int) -> int:
        """Returns how many numbers the planner chooses in each step beside the action: one a feature with optimism."""
        return features if self.optimism > 0 else 0


def of_rows(what: str, values: Any, n: int) -> Tensor:
    """Returns what a function of rows gave, if it is one value for each of `n` rows.

    Raises:
        InvalidData: it is something else.
    """
    if isinstance(values, Tensor) and values.shape == (n,):
        return values
    came = f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else f"a {type(values).__name__}"
    raise InvalidData(f"A {what} function returns one value a row, a tensor of shape ({n},); this one gave {came}.")
