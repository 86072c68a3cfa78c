"""A television for agents: entries of pure noise in the observation, which an action switches on and off."""

import math
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import error, spaces
from gymnasium.envs.registration import load_env_creator

from envs.classic import check_keys, restore_generator

NOISY: Mapping[str, str] = {
    "vime/SparseMountainCarNoisyTV-v0": "vime/SparseMountainCar-v0",
    "vime/SparseCartPoleSwingupWeakNoisyTV-v0": "vime/SparseCartPoleSwingupWeak-v0",
}
"""Tasks that have a television, each with the quiet one."""
_STREAM = 0x7E1E
"""Keeps the noise apart from the task's own draws of the same seed."""


class NoisyTV(gym.Wrapper[np.ndarray, Any, np.ndarray, Any], gym.utils.RecordConstructorArgs):
    """Appends `entries` of noise N(0, std^2) to a vector observation while the agent leaves its television on.

    The noise can be seen but neither predicted nor learnt: a bonus that pays for surprise alone is caught by it. While
    the television is off, and on `reset`, the entries are zero. `info["noisy_tv"]` says whether it was on.

    A `Box` action gets one more number in -1..1, last: on where it is above 0. A `Discrete(n)` action space becomes
    `Discrete(2 n)`: the first n actions are the task's with the television off, the next n the same with it on.

    Args:
        env: the task; its observations are a `Box` of one axis.
        entries: how many noisy numbers.
        std: their deviation, in the unit that the reader gives them.

    Raises:
        ValueError: `entries` or `std` is out of range.
        gymnasium.error.Error: the task's observations or actions are of another kind.
    """

    def __init__(self, env: gym.Env[np.ndarray, Any], entries: int = 1, std: float = 1.0) -> None:
        if isinstance(entries, bool) or not isinstance(entries, int) or entries < 1:
            raise ValueError(f"`entries` must be a positive whole number; got {entries!r}.")
        if not (math.isfinite(std) and std > 0):
            raise ValueError(f"`std` must be positive and finite; got {std!r}.")
        seen = env.observation_space
        if not isinstance(seen, spaces.Box) or len(seen.shape) != 1 or seen.dtype.kind != "f":
            raise error.Error(f"NoisyTV needs observations that are a float `Box` of one axis; got {seen}.")
        gym.utils.RecordConstructorArgs.__init__(self, entries=entries, std=std)
        gym.Wrapper.__init__(self, env)
        self.entries, self.std = entries, std
        edge = np.full(entries, np.inf, seen.dtype)
        self.observation_space = spaces.Box(
            np.concatenate([seen.low, -edge]), np.concatenate([seen.high, edge]), dtype=seen.dtype.type
        )
        self.action_space = self._with_switch(env.action_space)
        self._noise = np.random.default_rng()

    @staticmethod
    def _with_switch(actions: spaces.Space[Any]) -> spaces.Space[Any]:
        if isinstance(actions, spaces.Discrete):
            return spaces.Discrete(2 * int(actions.n), start=int(actions.start))
        if isinstance(actions, spaces.Box) and len(actions.shape) == 1 and actions.dtype.kind == "f":
            one = np.ones(1, actions.dtype)
            return spaces.Box(
                np.concatenate([actions.low, -one]), np.concatenate([actions.high, one]), dtype=actions.dtype.type
            )
        raise error.Error(f"NoisyTV needs actions that are `Discrete` or a float `Box` of one axis; got {actions}.")

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts an episode with the television off; a seed also restarts the noise."""
        if seed is not None:
            self._noise = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_STREAM,)))
        observation, info = self.env.reset(seed=seed, options=options)
        return self._append(observation, on=False), {**info, "noisy_tv": False}

    def step(self, action: Any) -> tuple[np.ndarray, Any, bool, bool, dict[str, Any]]:
        """Advances the task by one step; the last entries are noise where the action left the television on."""
        inner, on = self._split(action)
        observation, reward, terminated, truncated, info = self.env.step(inner)
        return self._append(observation, on), reward, terminated, truncated, {**info, "noisy_tv": on}

    def _split(self, action: Any) -> tuple[Any, bool]:
        """Returns (the task's action, whether the television is on)."""
        actions = self.env.action_space
        if isinstance(actions, spaces.Discrete):
            first, count = int(actions.start), int(actions.n)
            offset = int(action) - first
            if not 0 <= offset < 2 * count:
                raise error.InvalidAction(f"Actions reach from {first} to {first + 2 * count - 1}; got {action}.")
            return first + offset % count, offset >= count
        action = np.asarray(action)
        if action.shape != self.action_space.shape:
            raise error.InvalidAction(
                f"An action has the shape {self.action_space.shape}, the switch being last; got {action.shape}."
            )
        return action[:-1], bool(action[-1] > 0)

    def _append(self, observation: np.ndarray, on: bool) -> np.ndarray:
        shown = self.std * self._noise.standard_normal(self.entries) if on else np.zeros(self.entries)
        return np.concatenate([observation, shown.astype(observation.dtype)])

    def get_state(self) -> dict[str, Any]:
        """Returns the state of the task and of the noise, as JSON-able plain Python.

        Raises:
            gymnasium.error.Error: the task has no `get_state`.
        """
        return {"env": self._inner("get_state")(), "random": self._noise.bit_generator.state}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continues exactly where `get_state` was called.

        Raises:
            ValueError: `state` is not what `get_state` returns.
            gymnasium.error.Error: the task has no `set_state`.
        """
        check_keys(state, ("env", "random"))
        self._inner("set_state")(state["env"])
        restore_generator(self._noise, state["random"])

    def _inner(self, name: str) -> Any:
        if not self.env.has_wrapper_attr(name):
            raise error.Error(f"{self.env.unwrapped} has no `{name}`, so its state can be neither saved nor restored.")
        return self.env.get_wrapper_attr(name)


def with_noisy_tv(task: str, *, entries: int = 1, std: float = 1.0, **settings: Any) -> NoisyTV:
    """A task with a `NoisyTV`: one action more switches it, and while it is on it shows `entries` of noise.

    Args:
        task: the id of the quiet one.
        entries: how many noisy numbers.
        std: their deviation.
        settings: of the quiet one.

    Raises:
        ValueError: a setting is out of range.
    """
    spec = gym.spec(task)
    quiet: Any = load_env_creator(str(spec.entry_point))(**spec.kwargs, **settings)
    return NoisyTV(quiet, entries=entries, std=std)
