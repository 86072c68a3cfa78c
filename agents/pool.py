"""Gymnasium's vector environments as those of Stable-Baselines3."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from vime.errors import InvalidSettings


class OneObject(VecEnv):
    """Copies that one object steps together, and that have no attributes or methods of their own."""

    whole: Any
    """The object that is asked for attributes."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Returns the attribute of the whole, once for every copy asked for."""
        return [getattr(self.whole, attr_name)] * len(self._chosen(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refuses: the copies have no attributes of their own."""
        raise AttributeError(f"These copies share one object: `{attr_name}` cannot be set.")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Refuses: the copies have no methods of their own."""
        raise AttributeError(f"These copies share one object: `{method_name}` cannot be called on one.")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Returns false for every copy asked for."""
        return [False] * len(self._chosen(indices))

    def _chosen(self, indices: Any) -> Sequence[int]:
        return list(self._get_indices(indices))


class Pool(OneObject):
    """Steps a Gymnasium vector environment for SB3, and tells of its episodes as SB3's `Monitor` does.

    Args:
        envs: starts a copy anew on the step that ended its episode (`AutoresetMode.SAME_STEP`).

    Raises:
        InvalidSettings: `envs` starts copies anew at another time.
    """

    def __init__(self, envs: gymnasium.vector.VectorEnv) -> None:
        mode = envs.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.SAME_STEP:
            raise InvalidSettings(
                f"A pool wants environments that start anew on the same step; this one says {mode}. Make it with "
                "`autoreset_mode='SameStep'`."
            )
        self.envs = self.whole = envs
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)
        self._start: int | None = None  # seed of the next reset
        self._began = time.monotonic()
        self._returns = np.zeros(envs.num_envs)
        self._lengths = np.zeros(envs.num_envs, np.int64)
        self._actions: np.ndarray | None = None

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Sets the seed of the next reset; returns it for every copy."""
        self._start = seed
        return [seed] * self.num_envs

    def reset(self) -> VecEnvObs:
        """Starts new episodes of all copies; returns their first observations."""
        obs, _ = self.envs.reset(seed=self._start)
        self._start = None
        self._returns[:] = 0
        self._lengths[:] = 0
        self.reset_infos = [{} for _ in range(self.num_envs)]
        return obs

    def step_async(self, actions: np.ndarray) -> None:
        """Takes the actions of all copies."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Returns what one step of every copy gave; `terminal_observation` is the true last one of an episode."""
        obs, rewards, terminated, truncated, told = self.envs.step(self._actions)
        self._returns += rewards
        self._lengths += 1
        dones = terminated | truncated
        infos: list[dict] = [{} for _ in range(self.num_envs)]
        for copy in np.flatnonzero(dones).tolist():
            infos[copy] = {
                "terminal_observation": told["final_obs"][copy],
                "TimeLimit.truncated": bool(truncated[copy] and not terminated[copy]),
                "episode": {
                    "r": round(float(self._returns[copy]), 6),  # as Monitor rounds
                    "l": int(self._lengths[copy]),
                    "t": round(time.monotonic() - self._began, 6),
                },
            }
            self._returns[copy], self._lengths[copy] = 0.0, 0
        return obs, rewards.astype(np.float32), dones, infos

    def close(self) -> None:
        """Closes all copies."""
        self.envs.close()

    def get_state(self) -> dict[str, Any]:
        """Returns the state of all copies, and of the account of their episodes.

        Raises:
            ValueError: the environments cannot say theirs.
        """
        if not hasattr(self.envs, "get_state"):
            raise ValueError(f"{type(self.envs).__name__} cannot tell its state")
        envs: Any = self.envs
        return {"envs": envs.get_state(), "returns": self._returns.copy(), "lengths": self._lengths.copy()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continues exactly where `get_state` was called.

        Raises:
            ValueError: it is the state of other environments.
        """
        envs: Any = self.envs
        envs.set_state(state["envs"])
        self._returns[:], self._lengths[:] = state["returns"], state["lengths"]
