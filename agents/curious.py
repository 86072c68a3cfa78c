"""What makes a model curious, beside its buffer: the bonus, its weight, its record and its metrics."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from jaxtyping import Float
from stable_baselines3.common.base_class import BaseAlgorithm

from agents.gain import MaxInfo
from agents.streams import Streams
from agents.vecenv import Tape
from agents.weight import Fixed, Weight
from vime import CheckpointError, ScaledBonus, Transitions
from vime.transitions import concatenate

UNFIT = (AttributeError, KeyError, TypeError, ValueError, RuntimeError)
"""What states that belong elsewhere raise."""


class Curiosity:
    """What makes a model curious: the bonus, the record that it has yet to learn from, and its latest metrics."""

    def __init__(
        self,
        model: BaseAlgorithm,
        bonus: ScaledBonus,
        tape: Tape,
        learn_every: int,
        rule: Weight | None = None,
        streams: Streams | None = None,
    ) -> None:
        self.bonus = bonus
        """The bonus on its common scale; its `scale`, from which `weight` follows, may be changed at any time."""
        self.tape = tape
        self.learn_every = learn_every
        """Environment steps, counted over all copies, between two updates of the bonus."""
        self.metrics: dict[str, float] = {}
        """The latest of each: `bonus_mean` (reward a step), `bonus_share` (0 to 1), `weight`, what `learn` returned."""
        self.rule = rule or Fixed()
        if isinstance(self.rule, MaxInfo):
            self.rule.bind(model)  # type: ignore[arg-type] # the others have no replay buffer that would ask it
        """How the weight of the bonus follows from its `scale`."""
        self.streams = streams
        """The value head of the bonus; none where reward and bonus share one."""
        self._model = model
        self._pending: list[Transitions] = []
        self._drawn = np.zeros(4)  # sums over the minibatches since the last digest: of `_sums`

    @property
    def weight(self) -> float:
        """The present weight of the bonus in the reward, or in the advantages where it has a stream of its own."""
        model = self._model
        return self.rule.weight(self.bonus.scale, model.num_timesteps / max(model._total_timesteps, 1))

    def worth(self, batch: Transitions) -> Float[np.ndarray, "t b"]:
        """Returns the bonus of every transition on the common scale, not weighted; changes nothing."""
        return self.bonus.reward(batch).detach().cpu().numpy()

    def digest(self, batch: Transitions, rewards: Float[np.ndarray, "t b"], worth: Float[np.ndarray, "t b"]) -> None:
        """Observes a fresh batch, learns once `learn_every` steps have come together, and logs.

        Args:
            rewards: what the environments gave for it.
            worth: what `worth` returned for it.
        """
        self.bonus.observe(batch)
        self._pending.append(batch)
        valid = batch.valid.numpy()
        if not self._drawn[-1]:  # what is learnt from is what was just made
            self._share(_sums(self._in_unit(rewards)[valid], self.weight * worth[valid]))
        self._drawn[:] = 0
        metrics = {}
        if sum(part.terminated.numel() for part in self._pending) >= self.learn_every:
            learnt, self._pending = self._pending, []  # what fails is not tried again
            metrics |= self.bonus.learn(concatenate(learnt) if len(learnt) > 1 else batch)
        self.report(metrics)

    def adapt(self, batch: Transitions, rewards: Float[np.ndarray, "t b"], worth: Float[np.ndarray, "t b"]) -> None:
        """Lets the weight follow what fresh transitions earned; before `digest`, and before the weight is used."""
        ends = (batch.terminated | batch.truncated).numpy()
        self.rule.adapt(self.bonus.scale, self._in_unit(rewards), worth, ends)

    def drawn(self, rewards: Float[np.ndarray, "n 1"], worth: Float[np.ndarray, "n 1"]) -> None:
        """Logs what the bonus is of the minibatches that were drawn from a replay buffer since the last `digest`.

        Args:
            rewards: of the task, as the agent learns from them.
            worth: of the bonus, not weighted.
        """
        self._drawn += _sums(rewards, self.weight * worth)
        self._share(self._drawn)

    def _share(self, sums: Float[np.ndarray, "4"]) -> None:
        added, given, earned, steps = sums.tolist()
        self.report(
            {
                "bonus_mean": earned / steps if steps else 0.0,
                "bonus_share": added / (added + given) if added + given else 0.0,
                "weight": self.weight,
            }
        )

    def report(self, metrics: Mapping[str, float]) -> None:
        """Keeps the latest metrics, and hands them to the model's logger."""
        self.metrics |= metrics
        logger = getattr(self._model, "_logger", None)  # stands from the first call of the model's `learn`
        if logger is not None:
            for name, value in metrics.items():
                logger.record(f"curiosity/{name}", value)

    def _in_unit(self, rewards: Float[np.ndarray, "t b"]) -> Float[np.ndarray, "t b"]:
        """The rewards as the agent learns from them."""
        normaliser = self._model.get_vec_normalize_env()
        return rewards if normaliser is None else normaliser.normalize_reward(rewards)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the future depends on, as tensors and plain Python values; all but the bonus's `scale`."""
        return {
            **self.learned(),
            "tape": self.tape.state_dict(),
            "pending": [{f.name: getattr(batch, f.name) for f in fields(batch)} for batch in self._pending],
            "metrics": dict(self.metrics),
            "drawn": self._drawn.tolist(),
        }

    def learned(self) -> dict[str, Any]:
        """Bonus, weight and second value head: what is worth keeping where the environments begin anew."""
        return {
            "bonus": self.bonus.state_dict(),
            "rule": type(self.rule).__name__,
            "weight": self.rule.state_dict(),
            "streams": None if self.streams is None else self.streams.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a saved state, bit for bit; one that is refused changes no bonus.

        Raises:
            CheckpointError: it belongs to another bonus, rule of the weight, spaces or number of copies.
        """
        before = self.learned()
        self.load_learned(state)
        try:
            self.tape.load_state_dict(state["tape"])
            self._pending = [Transitions(**batch) for batch in state["pending"]]
            self.metrics = dict(state["metrics"])
            self._drawn = np.array(state["drawn"], float)
        except (CheckpointError, *UNFIT) as error:
            self.load_learned(before)
            if isinstance(error, CheckpointError):
                raise
            raise CheckpointError(f"This saved state is no state of a curious model: {error!r}.") from error

    def load_learned(self, state: Mapping[str, Any]) -> None:
        """Continues from what `learned` returned; a state that is refused changes nothing.

        Raises:
            CheckpointError: it belongs to another bonus, rule of the weight, or number of streams.
        """
        mine, theirs = type(self.rule).__name__, state.get("rule", "an earlier version")
        if theirs != mine:
            raise CheckpointError(
                f"This is a saved state of the weight {theirs}, and here it is {mine}: take the same."
            )
        if (state.get("streams") is None) != (self.streams is None):
            raise CheckpointError("One of the two has a second stream and the other has none: take the same `streams`.")
        before = self.learned()
        try:
            self._take(state)
        except UNFIT as error:
            self._take(before)
            raise CheckpointError(f"This saved state is no state of a curious model: {error!r}.") from error

    def _take(self, state: Mapping[str, Any]) -> None:
        self.bonus.load_state_dict(state["bonus"])
        self.rule.load_state_dict(state["weight"])
        if self.streams is not None:
            self.streams.load_state_dict(state["streams"])


def _sums(rewards: Float[np.ndarray, "..."], weighted: Float[np.ndarray, "..."]) -> Float[np.ndarray, "4"]:
    """Returns the sums of sizes of bonus and reward, of the bonus, and the number of steps."""
    return np.array([np.abs(weighted).sum(), np.abs(rewards).sum(), weighted.sum(), weighted.size], float)
