# The functions of `mujoco` are compiled and carry no types:
# pyright: reportAttributeAccessIssue=false

"""Tasks in MuJoCo whose state can be saved whole."""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
from gymnasium import error

from envs.classic import check_keys, restore_generator

_SAVED = mujoco.mjtState.mjSTATE_INTEGRATION


class PhysicsEnv(gym.Env[np.ndarray, np.ndarray]):
    """A task that steps `data` of a MuJoCo `model`, and says by `_started` and `_elapsed` how far its episode is."""

    model: mujoco.MjModel
    data: mujoco.MjData
    _elapsed: int = 0
    _started: bool = False

    def _accept(self, action: np.ndarray) -> np.ndarray:
        """Returns an action in float64, cut to -1 to 1.

        Raises:
            gymnasium.error.ResetNeeded: `reset` was not called first.
            gymnasium.error.InvalidAction: the action is NaN, infinite or of another shape.
        """
        if not self._started:
            raise error.ResetNeeded("Call `reset` before the first `step`.")
        action = np.asarray(action, np.float64)
        if action.shape != self.action_space.shape or not np.isfinite(action).all():
            raise error.InvalidAction(f"An action is {self.model.nu} finite numbers; got {action}.")
        return np.clip(action, -1.0, 1.0)

    def _locate(self) -> None:
        """Brings up to date what the task derives from the positions; by default nothing."""

    def get_state(self) -> dict[str, Any]:
        """Returns everything that decides the future, generator included, as JSON-able plain Python.

        Raises:
            gymnasium.error.ResetNeeded: `reset` was not called first.
        """
        if not self._started:
            raise error.ResetNeeded("There is no state before the first `reset`.")
        physics = np.empty(mujoco.mj_stateSize(self.model, _SAVED))
        mujoco.mj_getState(self.model, self.data, physics, _SAVED)
        return {"physics": physics.tolist(), "elapsed": self._elapsed, "random": self.np_random.bit_generator.state}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continues exactly where `get_state` was called.

        Raises:
            ValueError: `state` is not what `get_state` of this task returns.
        """
        check_keys(state, ("physics", "elapsed", "random"))
        physics = np.array(state["physics"], np.float64)
        if physics.shape != (mujoco.mj_stateSize(self.model, _SAVED),) or not np.isfinite(physics).all():
            raise ValueError("The saved physics does not fit this task: another MuJoCo or another model wrote it.")
        restore_generator(self.np_random, state["random"])
        mujoco.mj_setState(self.model, self.data, physics, _SAVED)
        self._locate()
        self._elapsed, self._started = int(state["elapsed"]), True
