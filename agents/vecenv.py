"""Recording what happens in an SB3 vector environment; the only place that reads `terminal_observation`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import torch
from gymnasium import Space, spaces
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecNormalize

from vime import CheckpointError, InvalidData, InvalidSettings, Transitions

Parts = dict[str, np.ndarray]
"""An observation of every copy by key; the key is empty where the space is no `Dict`."""


def _parts(space: Space) -> Mapping[str, Space]:
    return space.spaces if isinstance(space, spaces.Dict) else {"": space}


def by_key(obs: Any) -> Parts:
    """Returns an observation by key, whether or not it is a mapping; nothing is copied."""
    return obs if isinstance(obs, dict) else {"": obs}


def _zeros(space: Space, *leading: int) -> np.ndarray:
    """Returns zeros for `space`, double and half precision as single: what a model is given."""
    dtype = np.float32 if space.dtype in (np.float64, np.float16) else space.dtype
    return np.zeros((*leading, *(space.shape or ())), dtype)


@dataclass(frozen=True)
class _Rows:
    """Room for the steps of all copies; every array leads with the axes (step, copy)."""

    obs: Parts
    action: np.ndarray
    next_obs: Parts
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    valid: np.ndarray
    begins: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """Every array by name; views, not copies."""
        split = {f"{name}/{k}": v for name in ("obs", "next_obs") for k, v in getattr(self, name).items()}
        return split | {k: v for k, v in vars(self).items() if k not in ("obs", "next_obs")}


def finite(values: np.ndarray) -> bool:
    """Returns whether all values are finite; their product with themselves tells most often, in half the time."""
    return values.dtype.kind != "f" or math.isfinite(np.vdot(values, values)) or bool(np.isfinite(values).all())


class Tape:
    """A record of the transitions of `copies` environments as they happen, with the true end of every episode.

    A step is noted when the environment makes it, and belongs to the record once `keep` confirms it: what nobody
    confirms, say an evaluation on the training environment, leaves no trace. Reads only; it never steps or resets.
    """

    def __init__(self, observation_space: Space, action_space: Space, copies: int) -> None:
        self.observation_space = observation_space
        self.action_space = action_space
        self.copies = copies
        self.steps = 0  # that every copy has made since the record began
        self.kept = 0  # steps in the record
        self._known = False  # is there an observation that the next action answers?
        self._fresh = False  # was a step noted that nobody has confirmed or dropped yet?
        self._begins = np.ones(copies, bool)  # copies whose next step is the first of an episode
        self._last: Parts = {key: _zeros(part, copies) for key, part in _parts(observation_space).items()}
        self.begin(0)

    def begin(self, steps: int) -> None:
        """Starts an empty record with room for `steps` steps; what was handed out before stays as it is."""
        self.room, self.kept = steps, 0
        copies, parts = self.copies, _parts(self.observation_space)
        steps += 1  # the last row takes what will not be kept
        self._rows = _Rows(
            obs={key: _zeros(part, steps, copies) for key, part in parts.items()},
            action=_zeros(self.action_space, steps, copies),
            next_obs={key: _zeros(part, steps, copies) for key, part in parts.items()},
            reward=np.zeros((steps, copies), np.float32),
            terminated=np.zeros((steps, copies), bool),
            truncated=np.zeros((steps, copies), bool),
            valid=np.zeros((steps, copies), bool),
            begins=np.zeros((steps, copies), bool),
        )
        obs, next_obs = self._rows.obs, self._rows.next_obs
        self._lanes = [
            (f"observation{_named(key)}", key, last, obs[key], next_obs[key]) for key, last in self._last.items()
        ]

    def start(self, obs: np.ndarray | Mapping[str, np.ndarray]) -> None:
        """Takes the observations that the next actions answer; a step noted but not kept is dropped.

        Raises:
            InvalidData: one of them is not finite.
        """
        self._fresh = self._known = False
        for name, key, last, *_ in self._lanes:
            self._store(f"{name} after the reset", last, obs[key] if key else obs)  # type: ignore[call-overload]
        self._known = self._begins[:] = True

    def act(self, actions: np.ndarray) -> None:
        """Notes the actions as the environments get them."""
        row = self._rows.action[self.kept]
        row[...] = actions if np.shape(actions) == row.shape else np.reshape(actions, row.shape)

    def see(
        self,
        obs: np.ndarray | Mapping[str, np.ndarray],
        rewards: np.ndarray,
        dones: np.ndarray,
        infos: Sequence[Mapping[str, Any]],
    ) -> None:
        """Notes what one step of every copy gave.

        Raises:
            InvalidData: a reward or an observation is not finite; the step cannot be kept then.
        """
        self._fresh, known, self._known = False, self._known, False
        rows, row = self._rows, self.kept
        self._store("reward", rows.reward[row], rewards)
        for name, key, last, before, after in self._lanes:
            before[row] = last
            self._store(name, last, obs[key] if key else obs)  # type: ignore[call-overload]
            after[row] = last
        rows.valid[row], rows.begins[row] = known, self._begins
        rows.terminated[row] = self._begins[:] = dones
        rows.truncated[row] = False
        if np.count_nonzero(dones):
            for copy in np.flatnonzero(dones).tolist():
                self._end(row, copy, infos[copy])
        self.steps += 1
        self._fresh = self._known = True

    def _end(self, row: int, copy: int, info: Mapping[str, Any]) -> None:
        rows = self._rows
        truncated = bool(info.get("TimeLimit.truncated", False))
        rows.truncated[row, copy], rows.terminated[row, copy] = truncated, not truncated
        final = info.get("terminal_observation")
        if final is None:  # a foreign vector environment that hides how the episode ended
            rows.valid[row, copy] = False
            return
        for name, key, _, _, after in self._lanes:
            successor = np.asarray(final[key] if key else final)
            self._store(f"last {name}", after[row, copy : copy + 1], successor, copy)

    def _store(self, what: str, target: np.ndarray, values: np.ndarray, first: int = 0) -> None:
        """Copies what came from the environments, from number `first` on; refuses what is not finite in `target`."""
        if values.dtype == target.dtype:
            target[...] = values
        else:
            with np.errstate(over="ignore"):  # what single precision cannot hold is refused below
                target[...] = values
        if not finite(target):
            self._refuse(what, first + int(np.argwhere(~np.isfinite(target))[0][0]))

    def _refuse(self, what: str, copy: int) -> NoReturn:
        raise InvalidData(
            f"The {what} of environment {copy} at step {self.steps} holds NaN, infinity or a number beyond single "
            "precision; nothing of this step was stored. Repair the environment, or clip what it returns."
        )

    def keep(self) -> None:
        """Confirms the step that was noted last.

        Raises:
            InvalidSettings: there is none, so whoever confirms it saw another environment; or there is no room.
        """
        if not self._fresh:
            raise InvalidSettings(
                "A transition reached the model's buffer that the bonus did not see. If the environment was changed "
                "after `agents.attach`, by `set_env` or by attaching another model to it, call `agents.attach` again; "
                "if the transition was added by hand, do so before `agents.attach`."
            )
        if self.kept == self.room:
            raise InvalidSettings(
                "A rollout was under way when the bonus was attached: attach between two calls of learn."
            )
        self._fresh = False
        self.kept += 1

    def take(self) -> tuple[Transitions, np.ndarray]:
        """Returns the kept steps with the rewards that the environments gave, and starts an empty record.

        Raises:
            InvalidData: nothing was kept.
        """
        if not self.kept:
            raise InvalidData("An empty rollout holds no transition: collect at least one step first.")
        parts = {name: torch.from_numpy(array[: self.kept]) for name, array in self._rows.arrays().items()}
        rewards = self._rows.reward[: self.kept]
        flags = {name: parts[name] for name in ("action", "terminated", "truncated", "valid", "begins")}
        batch = Transitions(obs=self._join("obs", parts), next_obs=self._join("next_obs", parts), **flags)  # type: ignore[arg-type]
        self.begin(self.room)
        return batch, rewards

    def _join(self, name: str, parts: Mapping[str, torch.Tensor]) -> Any:
        joined = {key: parts[f"{name}/{key}"] for key in self._last}
        return joined if isinstance(self.observation_space, spaces.Dict) else joined[""]

    def state_dict(self) -> dict[str, Any]:
        """The kept steps and the last observation, as tensors and plain numbers."""
        return {
            "steps": self.steps,
            "known": self._known,
            "begins": torch.tensor(self._begins),
            "last": {key: torch.tensor(last) for key, last in self._last.items()},
            "rows": {name: torch.tensor(array[: self.kept]) for name, array in self._rows.arrays().items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a saved state, bit for bit.

        Raises:
            CheckpointError: it comes from other spaces, another number of copies, or a longer record.
        """
        if (copies := len(state["begins"])) != self.copies:
            raise CheckpointError(
                f"This state was saved with {copies} copies of the environment, and here are {self.copies}: take as "
                "many, or go on with what the bonus has learned alone, by `curiosity(model).load_learned(state)`."
            )
        kept = len(state["rows"]["reward"])
        if kept > self.room:
            raise CheckpointError(f"The saved record holds {kept} steps, and this one has room for {self.room}.")
        targets = {name: array[:kept] for name, array in self._rows.arrays().items()}
        targets |= {f"last/{key}": last for key, last in self._last.items()}
        sources = dict(state["rows"]) | {f"last/{key}": last for key, last in state["last"].items()}
        for name in targets | sources:
            mine, saved = (tuple(side[name].shape) if name in side else None for side in (targets, sources))
            if mine != saved:
                raise CheckpointError(f"The saved record has {name!r} of shape {saved}; this environment needs {mine}.")
        for name, target in targets.items():
            target[...] = sources[name].numpy()
        self.steps, self.kept = int(state["steps"]), kept
        self._known, self._fresh, self._begins = bool(state["known"]), False, state["begins"].numpy().copy()


def _named(key: str) -> str:
    return f"[{key!r}]" if key else ""


class Recording(VecEnv):
    """What `record` mixes into the class of a vector environment: every step is shown to a `Tape`."""

    _tape: Tape

    def reset(self) -> Any:
        """Resets all copies; returns their first observations."""
        obs = super().reset()  # type: ignore[safe-super]
        self._tape.start(obs)  # type: ignore[arg-type]
        return obs

    def step(self, actions: np.ndarray) -> Any:
        """Steps all copies; returns observations, rewards, ends and infos."""
        self.step_async(actions)
        return self.step_wait()

    def step_async(self, actions: np.ndarray) -> None:
        """Hands the actions to the copies."""
        self._tape.act(actions)
        super().step_async(actions)  # type: ignore[safe-super]

    def step_wait(self) -> Any:
        """Returns what the copies answered."""
        seen = super().step_wait()  # type: ignore[safe-super]
        self._tape.see(*seen)  # type: ignore[arg-type]
        return seen


def record(venv: VecEnv, tape: Tape) -> None:
    """Shows all that happens in `venv` to `tape`, in place of any other tape.

    The class of the instance changes, and no wrapper comes between: `venv` stays the object that the user holds, and
    SB3's tools that compare the wrappers of two environments (`EvalCallback`, `sync_envs_normalization`) go on working.
    """
    if not isinstance(venv, Recording):
        cls = type(venv)
        venv.__class__ = type(f"Recording{cls.__name__}", (Recording, cls), {})
    venv._tape = tape  # type: ignore[attr-defined]


def raw_level(env: VecEnv, *, highest: bool = False) -> tuple[VecEnv, VecNormalize | None]:
    """Returns where observations and rewards are not normalised yet, and the `VecNormalize` just above, if any.

    That is beneath the lowest `VecNormalize`, or the highest where asked for, and else `env` itself.
    """
    place: Any = env
    layer: Any = env
    above: VecNormalize | None = None
    while isinstance(layer, VecEnvWrapper):
        if isinstance(layer, VecNormalize) and not (highest and above):
            place, above = layer.venv, layer
        layer = layer.venv
    return place, above
