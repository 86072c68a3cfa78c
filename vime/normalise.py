"""Running statistics, and the rules that bring a bonus to a common unit."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from vime.errors import InvalidSettings, check_kinds

TINY = 1e-12
CLIP = 10.0  # standardised numbers beyond this many deviations are cut: one wild number must not shake a model
CONSTANT = 1e-6  # an entry whose deviation is below this is taken as constant, and not divided by it
FEW = 8  # bonuses whose spread is better than no measure at all
MEASURABLE = 32  # bonuses whose spread tells something about the rollout that they come from
FLAT = 0.1  # bonuses that hardly differ are not blown up: a yardstick is at least this share of their mean


class RunningMoments:
    """Mean and deviation of every entry of a stream of vectors, over its whole history (Chan's parallel update)."""

    def __init__(self, shape: tuple[int, ...] = (), device: torch.device | str = "cpu") -> None:
        self.count = 0
        self.mean = torch.zeros(shape, dtype=torch.float64, device=device)
        self.square = torch.zeros(shape, dtype=torch.float64, device=device)

    def update(self, values: Float[Tensor, "n *shape"]) -> None:
        """Takes `n` more vectors into account."""
        n = len(values)
        if n == 0:
            return
        values = values.double()
        mean = values.mean(0)
        gap = mean - self.mean
        total = self.count + n
        self.square += (values - mean).square().sum(0) + gap.square() * (self.count * n / total)
        self.mean += gap * (n / total)
        self.count = total

    @property
    def deviation(self) -> Tensor:
        """Population standard deviation; zero before anything was seen."""
        return (self.square / max(self.count, 1)).sqrt()

    def state_dict(self) -> dict[str, Any]:
        """The whole state, as tensors and plain numbers."""
        return {"count": self.count, "mean": self.mean.clone(), "square": self.square.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        self.count = int(state["count"])
        self.mean.copy_(state["mean"])
        self.square.copy_(state["square"])


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """How a raw bonus becomes a reward: `unit * squash(raw) / yardstick(history)`.

    The yardstick looks at the whole history, so a bonus that dries up fades. Only `median` forgets: it divides by the
    mean of the medians of the last `window` batches, as published (Houthooft et al. 2016), and so never fades. No
    yardstick is below a tenth of the mean size of what it measures.
    """

    rule: Literal["deviation", "quantile", "median", "none"] = "deviation"
    """What the yardstick is: the mean of the batches' deviations or upper quantiles, the recent medians, or one."""
    squash: bool = True
    """Take log(1 + raw) first: a gain has a long tail, and its rank is what counts."""
    unit: float = 0.02
    """Reward that one yardstick is worth at scale 1: over a horizon of 50 steps it adds up to one reward."""
    quantile: float = 0.9
    """Which quantile the rule `quantile` takes."""
    window: int = 10
    """How many batches the rule `median` remembers."""

    def __post_init__(self) -> None:
        check_kinds("The scaling of a bonus", self)
        if not 0 < self.quantile < 1:
            raise InvalidSettings(f"`quantile` must lie between 0 and 1; got {self.quantile}.")
        if self.window < 1:
            raise InvalidSettings(f"`window` must be at least 1; got {self.window}.")
        if not 0 < self.unit < math.inf:
            raise InvalidSettings(f"`unit` must be positive and finite; got {self.unit}.")


class Yardstick:
    """The running length by which raw bonuses are divided; rule and window stand in its `Scaling`.

    The history is made of batches, each measured whole at a `commit`. The first batch is left out of it, for it comes
    from a model that has learned nothing yet. Where there is no history, a batch that is large enough is measured by
    itself; bonuses that come singly are measured by those before them, and pay nothing until there are enough. Batches
    in which every bonus is zero, as some bonuses pay at first, are no measure of what follows, and are passed over.
    """

    def __init__(self, scaling: Scaling) -> None:
        self.scaling = scaling
        self.total = 0.0
        self.count = 0
        self.recent: list[float] = []
        self.pending: list[Tensor] = []
        self.waiting = 0
        """How many bonuses are pending."""
        self.started = False
        self.provisional: tuple[int, float] = (0, math.inf)
        """How many pending bonuses were measured last while there was no history, and their length."""

    def measure(self, raw: Float[Tensor, " n"]) -> float:
        """Returns the length of `n` bonuses under the rule; not below a tenth of their mean size.

        Infinite where all are zero: they tell nothing about the size of those to come.
        """
        if self.scaling.rule == "none" or len(raw) == 0:
            return 1.0
        raw = raw.double()
        if self.scaling.rule == "deviation":
            length = raw.std(correction=0)
        else:
            length = raw.quantile(0.5 if self.scaling.rule == "median" else self.scaling.quantile)
        found = max(float(length), FLAT * float(raw.abs().mean()))
        return found if found > TINY else math.inf

    def length(self, raw: Float[Tensor, " n"]) -> float:
        """Returns what to divide the bonuses `raw` by, as things stand; changes nothing.

        A batch that is large enough to be measured counts as the latest of the history. Before there is a history, it
        is measured by itself, or by what is pending where that is more; too few bonuses of both pay nothing.
        """
        if self.scaling.rule == "none":
            return 1.0
        if self.count == 0:
            waiting, length = self.provisional
            known = waiting >= len(raw) and length < math.inf
            return length if known or len(raw) < FEW else self.measure(raw)
        now = [found for found in [self.measure(raw)] if found < math.inf] if len(raw) >= MEASURABLE else []
        if self.scaling.rule == "median":
            recent = [*self.recent, *now][-self.scaling.window :]
            return sum(recent) / len(recent)
        return (self.total + sum(now)) / (self.count + len(now))

    def observe(self, raw: Float[Tensor, " n"]) -> None:
        """Keeps `n` bonuses for the next `commit`."""
        if self.scaling.rule == "none":
            return
        self.pending.append(raw.detach().clone())
        self.waiting += len(raw)
        if self.count == 0 and self.waiting >= max(FEW, 2 * self.provisional[0]):
            self.pending = [torch.cat(self.pending)]
            self.provisional = (self.waiting, self.measure(self.pending[0]))

    def commit(self) -> None:
        """Measures what is pending, and takes it into the history as one batch, unless it is the first or all zero."""
        if not self.pending:
            return
        length = self.measure(torch.cat(self.pending)) if self.started else math.inf
        if length < math.inf:
            self.total += length
            self.count += 1
            self.recent = [*self.recent, length][-self.scaling.window :]
        self.started = True
        self.pending.clear()
        self.waiting, self.provisional = 0, (0, math.inf)

    def state_dict(self) -> dict[str, Any]:
        """The whole state, as tensors and plain numbers."""
        return {
            "total": self.total,
            "count": self.count,
            "recent": list(self.recent),
            "pending": torch.cat(self.pending) if self.pending else torch.zeros(0),
            "started": self.started,
            "provisional": list(self.provisional),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        self.total, self.count, self.recent = float(state["total"]), int(state["count"]), list(state["recent"])
        self.pending, self.waiting = [state["pending"].clone()] if len(state["pending"]) else [], len(state["pending"])
        self.started = bool(state["started"])
        waiting, length = state["provisional"]
        self.provisional = (int(waiting), float(length))
