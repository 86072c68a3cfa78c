"""What a wrapper owns: a bonus, and the transitions that it has not learnt from yet."""

from collections.abc import Mapping
from dataclasses import fields
from numbers import Integral
from typing import Any

import numpy as np
import torch
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode
from torch import Tensor

from vime.bonus import ScaledBonus
from vime.errors import CheckpointError, InvalidData, InvalidSettings
from vime.transitions import Observation, Transitions, concatenate, map_observation, to_tensor


class Stream:
    """Steps of `copies` environments on their way to a bonus: scored one by one, learnt from in batches."""

    def __init__(self, bonus: ScaledBonus, learn_every: int, copies: int, mode: AutoresetMode) -> None:
        if isinstance(learn_every, bool) or not isinstance(learn_every, Integral) or learn_every < 1:
            raise InvalidSettings(f"`learn_every` must be a whole number of at least 1; got {learn_every!r}.")
        self.bonus = bonus
        self.learn_every = learn_every
        self.mode = mode
        self.obs: Observation | None = None  # what the next action answers; leading axes (1, copies)
        self.ended = np.zeros(copies, dtype=bool)  # copies whose next step is no transition
        self.begins = np.ones(copies, dtype=bool)  # copies whose next step is the first of an episode
        self.pending: list[Transitions] = []
        self.unlearnt = 0  # environment steps in `pending`
        self.steps = 0  # calls of `step`
        self.metrics: dict[str, float] = {}

    def start(self, obs: Observation, restarted: np.ndarray | None = None) -> None:
        """Takes the observations that a reset gave.

        Args:
            obs: those of every copy, with leading axes (1, copies).
            restarted: masks the copies that were reset; all of them where it is left out.

        Raises:
            InvalidData: one holds NaN or infinity.
        """
        self.obs = None
        for key, tensor in obs.items() if isinstance(obs, dict) else [("", obs)]:
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                copy = int((~torch.isfinite(tensor)).nonzero()[0][1])
                entry = f"[{key!r}]" if key else ""
                raise InvalidData(
                    f"The observation{entry} that reset gave for environment {copy} holds NaN or infinity. "
                    "Repair the environment, or clip what it returns."
                )
        restarts = slice(None) if restarted is None else restarted
        self.ended[restarts], self.begins[restarts] = False, True
        self.obs = obs

    def require_start(self) -> None:
        """Does nothing if an observation stands that an action can answer.

        Raises:
            ResetNeeded: there is none.
        """
        if self.obs is None:
            raise ResetNeeded("Call reset() before step(): there is no observation yet that this action could answer.")

    def step(
        self,
        action: Tensor,
        final: Observation,
        reward: Any,
        terminated: Any,
        truncated: Any,
        arrived: Observation | None = None,
    ) -> np.ndarray:
        """Returns the bonus of one step of every copy, in reward at scale 1, and learns when it is time.

        A copy whose episode has ended earns nothing until it starts anew: on the next step, or by `start`.

        Args:
            action: with leading axes (1, copies), like the observations.
            final: the true successors.
            reward: of the environment itself; only looked at.
            arrived: what the next action answers, where the copies that ended have started anew in the same step.

        Raises:
            InvalidData: a number is not finite. Nothing of this step is kept then, and a reset is needed to go on.
        """
        before, self.obs = self.obs, None
        reward = np.asarray(reward, dtype=np.float64).reshape(-1)
        flags = torch.from_numpy(np.array([terminated, truncated], dtype=bool).reshape(2, 1, -1))
        valid, begins = (torch.from_numpy(mask).unsqueeze(0) for mask in (~self.ended, self.begins.copy()))
        batch = Transitions(before, action, final, flags[0], flags[1], valid, begins)  # type: ignore[arg-type]
        if not np.isfinite(reward).all():
            batch.check_finite(self.steps)  # a wrong action is the cause, and the reward its consequence
            copy = int(np.flatnonzero(~np.isfinite(reward))[0])
            raise InvalidData(
                f"The reward of environment {copy} at step {self.steps} is {reward[copy]}; nothing of this step was "
                "stored. Repair the environment, or clip what it returns."
            )
        try:
            bonus = self.bonus.reward(batch)[0].cpu().numpy().astype(np.float64)
        except InvalidData:
            batch.check_finite(self.steps)  # if the batch was at fault, says so in the count of this stream
            raise
        self.bonus.observe(batch)
        self.pending.append(batch)
        self.unlearnt += len(reward)
        self.steps += 1
        if self.unlearnt >= self.learn_every:
            learnt, self.pending, self.unlearnt = concatenate(self.pending), [], 0  # what fails is not tried again
            self.metrics = self.bonus.learn(learnt)
        done = flags[0, 0].logical_or(flags[1, 0]).numpy()
        self.begins = done.copy()
        if self.mode is AutoresetMode.NEXT_STEP:
            self.ended = done
        elif self.mode is AutoresetMode.DISABLED:
            self.ended = self.ended | done
        self.obs = final if arrived is None else arrived
        return bonus

    def state_dict(self) -> dict[str, Any]:
        """Everything that the future of the bonus depends on, as tensors and plain Python values."""
        joined = concatenate(self.pending) if self.pending else None
        return {
            "bonus": self.bonus.state_dict(),
            "pending": joined and {field.name: getattr(joined, field.name) for field in fields(joined)},
            "unlearnt": self.unlearnt,
            "steps": self.steps,
            "metrics": dict(self.metrics),
            "ended": self.ended.tolist(),
            "begins": self.begins.tolist(),
            "obs": None if self.obs is None else map_observation(Tensor.clone, self.obs),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit.

        Raises:
            CheckpointError: the state is incomplete, or belongs to another bonus or number of copies.
        """
        try:
            pending = [Transitions(**state["pending"])] if state["pending"] is not None else []
            ended, begins = (np.array(state[key], dtype=bool) for key in ("ended", "begins"))
            unlearnt, steps, metrics, obs = (state[key] for key in ("unlearnt", "steps", "metrics", "obs"))
            bonus = state["bonus"]
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"This saved state of a wrapper is not complete: {error}.") from error
        if ended.shape != self.ended.shape:
            raise CheckpointError(
                f"This saved state is one of {ended.size} environments; here are {self.ended.size} of them."
            )
        self.bonus.load_state_dict(bonus)
        self.pending, self.ended, self.begins, self.obs = pending, ended, begins, obs
        self.unlearnt, self.steps, self.metrics = int(unlearnt), int(steps), dict(metrics)


def with_last(arrived: Observation, infos: Mapping[str, Any], done: np.ndarray) -> Observation:
    """Returns a copy of `arrived` in which the copies that are `done` have the last observation of their episode.

    Args:
        infos: of the step, as `AutoresetMode.SAME_STEP` gives them.

    Raises:
        InvalidData: the last observation of an ended episode is not among them.
    """
    last = infos.get("final_obs")
    there = np.asarray(infos.get("_final_obs", done))
    missing = done if last is None else done & ~there
    if missing.any():
        raise InvalidData(
            f"Environment {int(np.flatnonzero(missing)[0])} ended an episode and reset in the same step, but "
            "infos['final_obs'] does not hold its last observation."
        )
    final = map_observation(Tensor.clone, arrived)
    for copy in np.flatnonzero(done):
        # One array or mapping per copy in an object array, or one batched array, or a mapping of those.
        row = {key: part[copy] for key, part in last.items()} if isinstance(last, Mapping) else last[copy]  # type: ignore[index]
        if isinstance(final, dict):
            for key, tensor in final.items():
                tensor[0, copy] = to_tensor(row[key])  # type: ignore[assignment]
        else:
            final[0, copy] = to_tensor(row)  # type: ignore[assignment]
    return final
