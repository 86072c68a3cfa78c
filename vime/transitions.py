"""Transitions: the frozen batch that every bonus and every model sees."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from vime.errors import InvalidData

Observation: TypeAlias = Tensor | dict[str, Tensor]
"""One tensor, or one per key of a `Dict` space; the leading axes are those of the batch."""

ALL = torch.ones((), dtype=torch.bool)
"""Stands for `valid` where every step is; a batch replaces it by as many ones as it has steps."""


def map_observation(function: Callable[[Tensor], Tensor], obs: Observation) -> Observation:
    """Applies `function` to the tensor, or to the tensor of every key."""
    if isinstance(obs, dict):
        return {key: function(value) for key, value in obs.items()}
    return function(obs)


def to_tensor(value: Any) -> Observation:
    """Returns a numpy array, or a mapping of them, as tensors of its own memory; float64 becomes float32."""
    if isinstance(value, Mapping):
        return {key: to_tensor(part) for key, part in value.items()}  # type: ignore[misc]
    if isinstance(value, Tensor):
        return value.float() if value.dtype == torch.float64 else value.clone()
    array = np.asarray(value)
    return torch.tensor(array, dtype=torch.float32 if array.dtype in (np.float64, np.float16) else None)


def _finite(tensor: Tensor) -> bool:
    """Returns whether all numbers are finite; their sum tells most often, in a third of the time."""
    return math.isfinite(tensor.sum()) or bool(torch.isfinite(tensor).all())


def _tensors(obs: Observation) -> list[tuple[str, Tensor]]:
    return [(f"[{k!r}]", v) for k, v in obs.items()] if isinstance(obs, dict) else [("", obs)]


@dataclass(frozen=True, eq=False)
class Transitions:
    """What happened in `b` environments during `t` steps; every tensor leads with the axes `t b`.

    `obs` and `next_obs` keep the shape and kind of the observation space (a dictionary for a `Dict` space); discrete
    actions are integers. `next_obs` is the true successor, also where an episode ends: never the first observation of
    the next episode. `valid` is false for steps that were no transition (the step on which a vector environment
    merely resets); they earn nothing and nobody learns from them. It defaults to all true.

    Raises:
        InvalidData: the leading axes differ, or the batch is empty.
    """

    obs: Observation
    action: Tensor
    next_obs: Observation
    terminated: Bool[Tensor, "t b"]
    truncated: Bool[Tensor, "t b"]
    valid: Bool[Tensor, "..."] = ALL

    def __post_init__(self) -> None:
        shape = self.terminated.shape
        if len(shape) != 2 or 0 in shape:
            raise InvalidData(
                f"A batch needs at least one step of one environment; `terminated` has shape {tuple(shape)}."
            )
        if self.valid is ALL:
            object.__setattr__(self, "valid", torch.ones(shape, dtype=torch.bool, device=self.terminated.device))
        for name in ("obs", "action", "next_obs", "truncated", "valid"):
            for key, tensor in _tensors(getattr(self, name)):
                if tensor.shape[:2] != shape:
                    raise InvalidData(
                        f"`{name}{key}` must lead with the axes (t, b) = {tuple(shape)}; "
                        f"its shape is {tuple(tensor.shape)}."
                    )

    @classmethod
    def from_numpy(
        cls, obs: Any, action: Any, next_obs: Any, terminated: Any, truncated: Any, valid: Any = None
    ) -> "Transitions":
        """Copies arrays (or mappings of arrays) with leading axes `t b`; float64 becomes float32."""
        return cls(
            obs=to_tensor(obs),
            action=to_tensor(action),  # type: ignore[arg-type]
            next_obs=to_tensor(next_obs),
            terminated=torch.as_tensor(np.array(terminated, dtype=bool)),
            truncated=torch.as_tensor(np.array(truncated, dtype=bool)),
            valid=ALL if valid is None else torch.as_tensor(np.array(valid, dtype=bool)),
        )

    @property
    def shape(self) -> tuple[int, int]:
        """(steps t, environments b)."""
        return self.terminated.shape[0], self.terminated.shape[1]

    def _map(self, function: Callable[[Tensor], Tensor]) -> "Transitions":
        return replace(self, **{f.name: map_observation(function, getattr(self, f.name)) for f in fields(self)})

    def to(self, device: torch.device | str) -> "Transitions":
        """Returns the same batch on `device`."""
        return self._map(lambda tensor: tensor.to(device))

    def flat(self) -> "Transitions":
        """Returns the valid transitions alone, in order, with axes `(n, 1)`; `n` may be too small for no error.

        Raises:
            InvalidData: not one of them is valid.
        """
        if self.valid.all():
            return self._map(lambda tensor: tensor.flatten(0, 1).unsqueeze(1))
        return self._map(lambda tensor: tensor[self.valid].unsqueeze(1))

    def check_finite(self, first_step: int = 0) -> None:
        """Does nothing if every valid number is finite.

        Args:
            first_step: index, in the caller's count, of the first step of this batch; only for the message.

        Raises:
            InvalidData: one is not; the message names the field, the step and the environment.
        """
        for name in ("obs", "action", "next_obs"):
            for key, tensor in _tensors(getattr(self, name)):
                if not tensor.is_floating_point() or _finite(tensor):
                    continue
                bad = ~torch.isfinite(tensor).flatten(2).all(2) if tensor.ndim > 2 else ~torch.isfinite(tensor)
                bad = bad & self.valid
                if bad.any():
                    step, env = (int(i) for i in bad.nonzero()[0])
                    what = {"obs": "observation", "action": "action", "next_obs": "next observation"}[name]
                    raise InvalidData(
                        f"The {what}{key} of environment {env} at step {first_step + step} holds NaN or infinity; "
                        "nothing of this batch was stored. Repair the environment, or clip what it returns."
                    )


def concatenate(batches: Sequence[Transitions]) -> Transitions:
    """Joins batches along time.

    Raises:
        InvalidData: there is none.
    """
    if not batches:
        raise InvalidData("An empty rollout holds no transition: collect at least one step first.")

    def join(parts: Sequence[Observation]) -> Observation:
        if isinstance(parts[0], dict):
            return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}  # type: ignore[index]
        return torch.cat(parts)  # type: ignore[arg-type]

    return Transitions(**{f.name: join([getattr(b, f.name) for b in batches]) for f in fields(Transitions)})  # type: ignore[arg-type]
