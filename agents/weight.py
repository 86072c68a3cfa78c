"""How the weight of the bonus follows from its `scale`: fixed, fading, or tuned by what the agent earns."""

import copy
import math
from collections.abc import Mapping
from numbers import Real
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from vime.errors import InvalidSettings, choose

ALIKE = 1e-9  # sums that differ by less than this share of their size differ by rounding alone


@runtime_checkable
class Weight(Protocol):
    """A rule for the weight of the bonus."""

    def weight(self, scale: float, progress: float) -> float:
        """Returns the present weight; changes nothing.

        Args:
            scale: what the user gave.
            progress: share of the planned steps that have been made, 0 to 1.
        """
        ...

    def adapt(
        self,
        scale: float,
        rewards: Float[np.ndarray, "t b"],
        worth: Float[np.ndarray, "t b"],
        ends: Bool[np.ndarray, "t b"],
    ) -> None:
        """Takes into account what fresh transitions earned.

        Args:
            scale: what the user gave.
            rewards: of the task, in the unit that the agent learns from.
            worth: the bonus on its common scale, not weighted.
            ends: whether the step ended an episode.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that the future depends on, as plain Python values."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        ...


class Fixed:
    """The weight is the scale."""

    def weight(self, scale: float, progress: float) -> float:
        """Returns the scale."""
        return scale

    def adapt(self, scale: float, rewards: np.ndarray, worth: np.ndarray, ends: np.ndarray) -> None:
        """Does nothing."""

    def state_dict(self) -> dict[str, Any]:
        """Returns nothing: there is no state."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Does nothing."""


class Fading(Fixed):
    """The weight falls on a straight line from the scale to zero, and then the task's reward alone is left.

    Args:
        until: share of the planned steps, those that `learn` was asked for, after which the weight is zero.
    """

    def __init__(self, until: float = 0.8) -> None:
        self.until = between("until", until, 1.0)

    def weight(self, scale: float, progress: float) -> float:
        """Returns the scale times what is left of the way to `until`."""
        return scale * max(0.0, 1.0 - progress / self.until)


class Tuned(Fixed):
    r"""On-policy, the weight at which the bonus stirs what is learnt from by a set share of what the reward does.

    .. math:: w = \min\left(\text{most}, \text{share} \cdot \frac{S(r)}{S(b)}\right), \qquad
        S(x) = \text{deviation of} \sum_k \gamma^k x_{t+k}

    over the steps and copies of the latest rollout, sums cut where an episode ends. Where no reward was ever seen to
    differ, w = most, in the common unit of all bonuses: the agent only looks around. Where none differs in a rollout,
    but did before, the weight stays. It moves in logarithms, and starts from the scale, which is so forgotten after a
    few `memory`; at scale zero it stays zero.

    So the bonus is turned down in the moment that a reward is found beside which it is loud, and up again as rewards
    grow; it never drowns them, in whatever unit they come.

    Args:
        share: spread of the weighted bonus over that of the reward, at most.
        most: the weight before any reward was found, which it never exceeds.
        gamma: discount of the sums, the reach of an advantage (discount times lambda).
        memory: steps, of all copies together, over which the weight forgets.

    Differs from MaxInfoRL, which `agents.gain.MaxInfo` follows off-policy: that rule compares policies at replayed
    states, of which an on-policy agent has none, and moves by thousands of small steps, for which it has no time.
    """

    def __init__(self, share: float = 0.3, most: float = 1.0, gamma: float = 0.95, memory: float = 8000.0) -> None:
        self.share = between("share", share, math.inf)
        self.most = between("most", most, math.inf)
        self.gamma = between("gamma", gamma, 1.0)
        self.memory = between("memory", memory, math.inf)
        self._log: float | None = None  # of the weight; none before the first rollout
        self._found = False  # has any reward differed?

    def weight(self, scale: float, progress: float) -> float:
        """Returns the weight of the latest rollout; before the first, the scale."""
        return scale if self._log is None or scale == 0 else math.exp(self._log)

    def adapt(
        self,
        scale: float,
        rewards: Float[np.ndarray, "t b"],
        worth: Float[np.ndarray, "t b"],
        ends: Bool[np.ndarray, "t b"],
    ) -> None:
        """Moves the weight towards where the latest rollout wants it."""
        if scale == 0:
            return
        if scale < 0:
            raise InvalidSettings(f"A weight that is tuned starts from a `scale` above zero; got {scale}.")
        if self._log is None:
            self._log = math.log(scale)
        reward, bonus = (spread(part, ends, self.gamma) for part in (rewards, worth))
        self._found = self._found or reward > 0
        if bonus == 0 or (self._found and reward == 0):
            return
        wanted = min(self.most, self.share * reward / bonus) if self._found else self.most
        self._log += (1 - math.exp(-rewards.size / self.memory)) * (math.log(wanted) - self._log)

    def state_dict(self) -> dict[str, Any]:
        """The logarithm of the weight, and whether a reward was found."""
        return {"log": self._log, "found": self._found}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        self._log, self._found = state["log"], bool(state["found"])


def spread(values: Float[np.ndarray, "t b"], ends: Bool[np.ndarray, "t b"], gamma: float) -> float:
    """Returns the deviation over all steps of the discounted sums of what follows; zero where all values are alike."""
    if np.ptp(values) <= ALIKE * np.abs(values).max():
        return 0.0
    sums = values.astype(np.float64)
    for step in range(len(sums) - 2, -1, -1):
        sums[step] += gamma * np.where(ends[step], 0.0, sums[step + 1])
    return float(sums.std())


WEIGHTS: Mapping[str, type[Fixed]] = {"fixed": Fixed, "fading": Fading, "tuned": Tuned}


def make_weight(weight: str | Weight, *, off_policy: bool = False) -> Weight:
    """Returns a copy of the rule `weight`, so that several models may be given one, or the rule of that name.

    Args:
        weight: "fixed", "fading", "tuned" or a rule; off-policy "tuned" means `agents.gain.MaxInfo`.
        off_policy: whether the model learns from a replay buffer.

    Raises:
        UnknownName: no rule is named so; the nearest is suggested.
        InvalidSettings: it is neither a name nor a rule, or a rule that cannot be copied.
    """
    from agents.gain import MaxInfo

    if isinstance(weight, MaxInfo) and not off_policy:
        raise InvalidSettings("MaxInfo compares policies at replayed states, so off-policy only. Use Tuned on-policy.")
    if weight == "tuned" and off_policy:
        return MaxInfo()
    if isinstance(weight, str):
        return choose("weight", weight, WEIGHTS)()
    if isinstance(weight, type) or not isinstance(weight, Weight):
        raise InvalidSettings(
            f"`weight` must be one of {', '.join(WEIGHTS)}, or a rule of agents.weight; got {weight!r}."
        )
    try:
        return copy.deepcopy(weight)
    except TypeError as error:
        raise InvalidSettings(f"The rule {weight!r} cannot be copied for the model: {error}.") from error


def between(name: str, value: float, high: float) -> float:
    """Returns the setting `value`, if it is a positive finite number of at most `high`.

    Raises:
        InvalidSettings: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) <= high or math.isinf(value):
        bound = "" if math.isinf(high) else f" and at most {high:g}"
        raise InvalidSettings(f"`{name}` must be positive{bound}; got {value!r}.")
    return float(value)
