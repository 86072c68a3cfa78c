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
ADD_AXIS = " Where they are steps of one environment, add its axis: `array[:, None]`."
UNTOLD = torch.zeros((), dtype=torch.bool)
"""Stands for `begins` where nobody says where episodes begin; a batch then reads it off its own steps."""


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


def _same(one: Observation, two: Observation) -> Bool[Tensor, "t b"]:
    if isinstance(one, dict) or isinstance(two, dict):
        return torch.stack([_same(one[key], two[key]) for key in one]).all(0)  # type: ignore[index]
    equal = torch.eq(one, two)
    return equal.flatten(2).all(2) if equal.ndim > 2 else equal


def _shapes(obs: Observation) -> Any:
    return {key: tuple(part.shape) for key, part in obs.items()} if isinstance(obs, dict) else tuple(obs.shape)


def _tensors(obs: Observation) -> list[tuple[str, Tensor]]:
    return [(f"[{k!r}]", v) for k, v in obs.items()] if isinstance(obs, dict) else [("", obs)]


@dataclass(frozen=True, eq=False)
class Transitions:
    """What happened in `b` environments during `t` steps; every tensor leads with the axes `t b`.

    `obs` and `next_obs` keep the shape and kind of the observation space (a dictionary for a `Dict` space); discrete
    actions are integers. `next_obs` is the true successor, also where an episode ends: never the first observation of
    the next episode. `valid` is false for steps that were no transition (the step on which a vector environment
    merely resets); they earn nothing and nobody learns from them. It defaults to all true.

    `begins` is true for the first step of an episode, also of one that a reset began before the last one had ended.
    Left out, it is read off the batch: the step after an end begins one, and so does a step that does not go on from
    where the last one led; the first step of the batch goes on with what came before. `sampled` says that the steps
    were drawn from a replay memory: seen before, each by itself, and so the first of an episode as far as is known.

    Raises:
        InvalidData: the leading axes differ, or the batch is empty.
    """

    obs: Observation
    action: Tensor
    next_obs: Observation
    terminated: Bool[Tensor, "t b"]
    truncated: Bool[Tensor, "t b"]
    valid: Bool[Tensor, "..."] = ALL
    begins: Bool[Tensor, "..."] = UNTOLD
    sampled: bool = False

    def __post_init__(self) -> None:
        shape = self.terminated.shape
        if len(shape) != 2 or 0 in shape:
            raise InvalidData(
                "Every array of a batch leads with the axes (steps, environments), at least one of each; `terminated` "
                f"has the shape {tuple(shape)}." + (ADD_AXIS if len(shape) == 1 and 0 not in shape else "")
            )
        if self.valid is ALL:
            object.__setattr__(self, "valid", torch.ones(shape, dtype=torch.bool, device=self.terminated.device))
        told = ("begins",) if self.begins is not UNTOLD else ()
        for name in ("obs", "action", "next_obs", "truncated", "valid", *told):
            for key, tensor in _tensors(getattr(self, name)):
                if tensor.shape[:2] != shape:
                    raise InvalidData(
                        f"`{name}{key}` must lead with the axes (t, b) = {tuple(shape)}; "
                        f"its shape is {tuple(tensor.shape)}."
                    )
        if _shapes(self.obs) != _shapes(self.next_obs):
            raise InvalidData(
                f"`next_obs` must be of the shape of `obs`, {_shapes(self.obs)}; it is {_shapes(self.next_obs)}."
            )
        if not told:
            object.__setattr__(self, "begins", self._begins())

    def _begins(self) -> Bool[Tensor, "t b"]:
        begins = torch.full_like(self.terminated, self.sampled)
        if len(begins) > 1 and not self.sampled:
            now = map_observation(lambda part: part[1:], self.obs)
            led = map_observation(lambda part: part[:-1], self.next_obs)
            begins[1:] = self.done[:-1] | ~_same(now, led)
        return begins

    @classmethod
    def from_numpy(
        cls,
        obs: Any,
        action: Any,
        next_obs: Any,
        terminated: Any,
        truncated: Any,
        valid: Any = None,
        *,
        begins: Any = None,
        sampled: bool = False,
    ) -> "Transitions":
        """Copies arrays (or mappings of arrays) with leading axes `t b`, steps and environments; float64 as float32.

        Args:
            obs: what each action answered, (t, b, ...) with the shape of the space of one environment; of a `Dict`
                space a mapping of such arrays.
            action: (t, b) for `Discrete`, else (t, b, ...).
            next_obs: what the action led to, as `obs`; at the end of an episode its last observation, and not the
                first of the next.
            terminated, truncated: (t, b), whether the step ended its episode, by the task or by a time limit.
            valid: (t, b), false for steps that merely reset; all true unless given.
            begins: (t, b), true for the first step of an episode; read off the rest unless given.
            sampled: whether the steps were drawn from a replay memory, each by itself.

        Raises:
            InvalidData: the leading axes differ, or the batch is empty.
        """
        return cls(
            obs=to_tensor(obs),
            action=to_tensor(action),  # type: ignore[arg-type]
            next_obs=to_tensor(next_obs),
            terminated=torch.as_tensor(np.array(terminated, dtype=bool)),
            truncated=torch.as_tensor(np.array(truncated, dtype=bool)),
            valid=ALL if valid is None else torch.as_tensor(np.array(valid, dtype=bool)),
            begins=UNTOLD if begins is None else torch.as_tensor(np.array(begins, dtype=bool)),
            sampled=sampled,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """(steps t, environments b)."""
        return self.terminated.shape[0], self.terminated.shape[1]

    @property
    def done(self) -> Bool[Tensor, "t b"]:
        """Whether the step is the last of its episode."""
        return self.terminated | self.truncated

    def map_tensors(self, function: Callable[[Tensor], Tensor]) -> "Transitions":
        """Returns a batch of what `function` makes of every tensor."""
        return replace(self, **{name: map_observation(function, getattr(self, name)) for name in TENSORS})

    def to(self, device: torch.device | str) -> "Transitions":
        """Returns the same batch on `device`."""
        return self.map_tensors(lambda tensor: tensor.to(device))

    def flat(self) -> "Transitions":
        """Returns the valid transitions alone, in order, with axes `(n, 1)`; `n` may be too small for no error.

        Raises:
            InvalidData: not one of them is valid.
        """
        if self.valid.all():
            return self.map_tensors(lambda tensor: tensor.flatten(0, 1).unsqueeze(1))
        return self.map_tensors(lambda tensor: tensor[self.valid].unsqueeze(1))

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


TENSORS = tuple(field.name for field in fields(Transitions) if field.name != "sampled")


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

    joined: dict[str, Any] = {name: join([getattr(batch, name) for batch in batches]) for name in TENSORS}
    return Transitions(**joined, sampled=batches[0].sampled)
