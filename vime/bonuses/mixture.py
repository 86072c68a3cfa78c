"""Several bonuses as one, each on its own scale."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from vime.errors import InvalidSettings
from vime.normalise import Scaling
from vime.transitions import Transitions


@runtime_checkable
class Scaled(Protocol):
    """What a part must be: a bonus on a common scale (`vime.ScaledBonus`)."""

    def reward(self, batch: Transitions) -> Float[Tensor, "t b"]:
        """Returns the bonus on the common scale."""
        ...

    def observe(self, batch: Transitions) -> None:
        """Advances memories, statistics and yardstick."""
        ...

    def learn(self, batch: Transitions) -> dict[str, float]:
        """Updates the model; returns metrics."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """The whole state."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state."""
        ...


class Mixture:
    """The weighted sum of bonuses, each divided by its own yardstick, so that the weights compare like with like.

    With equal weights, which is the default, they add up to one: a mixture is then worth as much as a single bonus.
    Learned and saved part by part; a mixture can be a part of another.

    Raises:
        InvalidSettings: there is no part, or not one finite weight for each.
    """

    scaling = Scaling(rule="none", squash=False, unit=1.0)  # every part comes scaled

    def __init__(
        self, names: Sequence[str], parts: Sequence[Scaled], weights: Sequence[float | int] | None = None
    ) -> None:
        if not parts or len(names) != len(parts):
            raise InvalidSettings(f"A mixture needs parts, each with a name; got {len(parts)} and {len(names)} names.")
        weights = [1 / len(parts)] * len(parts) if weights is None else [float(weight) for weight in weights]
        if len(weights) != len(parts):
            raise InvalidSettings(f"`weights` must hold one number for each of {', '.join(names)}; got {weights}.")
        if not torch.isfinite(torch.tensor(weights)).all():
            raise InvalidSettings(f"`weights` must be finite numbers; got {weights}.")
        self.names, self.parts, self.weights = tuple(names), tuple(parts), tuple(weights)

    def reward(self, batch: Transitions) -> Float[Tensor, "t b"]:
        """Returns the weighted sum of the scaled parts; zero where the batch is not valid."""
        total = torch.zeros(batch.shape)
        for weight, part in zip(self.weights, self.parts, strict=True):
            total += weight * part.reward(batch)
        return torch.where(batch.valid, total, 0.0)

    def observe(self, batch: Transitions) -> None:
        """Hands the batch to every part."""
        for part in self.parts:
            part.observe(batch)

    def learn(self, batch: Transitions) -> dict[str, float]:
        """Updates every part; returns their metrics as `name/metric`, with a number where two parts share a name."""
        metrics = {}
        for i, (name, part) in enumerate(zip(self.names, self.parts, strict=True)):
            label = name if self.names.count(name) == 1 else f"{name}-{i + 1}"
            metrics |= {f"{label}/{key}": value for key, value in part.learn(batch).items()}
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """The states of the parts, and their names."""
        return {"names": list(self.names), "parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        if tuple(state["names"]) != self.names:
            raise ValueError(f"the mixture is {'+'.join(self.names)}, the saved one {'+'.join(state['names'])}")
        for part, saved in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(saved)
