"""Thousands of copies of a classic task in numpy arrays, stepped by the very functions that step one."""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import error
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from envs.classic import ClassicEnv, State, check_keys, restore_generator


class ClassicVectorEnv(gym.vector.VectorEnv[Any, Any, Any]):
    """`num_envs` copies of `task`, all alive in the same arrays; every answer is a fresh array.

    All copies draw from one generator, seeded by `reset(seed=...)`. With one copy the numbers are those of the single
    environment of the same seed, bit for bit.

    Args:
        task: the class of the task.
        num_envs: how many copies.
        autoreset_mode: when a copy whose episode ended starts again: on the next step (its action is then ignored), on
            the same step (`infos["final_obs"]` holds the last observations), or not before `reset` gets a `reset_mask`.
        max_episode_steps: cuts episodes after so many steps, where that is sooner than the task's `horizon`; not if -1.
        render_mode: None or "rgb_array".
        settings: of the task.

    Raises:
        ValueError: a setting is out of range.
    """

    def __init__(
        self,
        task: type[ClassicEnv[Any]],
        num_envs: int = 1,
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        **settings: Any,
    ) -> None:
        if isinstance(num_envs, bool) or not isinstance(num_envs, int) or num_envs < 1:
            raise ValueError(f"`num_envs` must be a positive whole number; got {num_envs!r}.")
        if autoreset_mode not in list(AutoresetMode) and autoreset_mode not in [mode.value for mode in AutoresetMode]:
            known = ", ".join(repr(mode.value) for mode in AutoresetMode)
            raise ValueError(f"`autoreset_mode` must be one of {known}; got {autoreset_mode!r}.")
        self._task = task(render_mode=render_mode, **settings)
        self._horizon = self._task.horizon
        if max_episode_steps not in (None, -1):
            if max_episode_steps < 1:
                raise ValueError(f"`max_episode_steps` must be positive, or -1; got {max_episode_steps}.")
            self._horizon = min(self._horizon, max_episode_steps)
        self.num_envs, self.render_mode = num_envs, render_mode
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {**task.metadata, "autoreset_mode": self.autoreset_mode}
        self.single_observation_space = self._task.observation_space
        self.single_action_space = self._task.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._state: State | None = None
        self._elapsed = np.zeros(num_envs, np.int64)
        self._ended = np.zeros(num_envs, bool)
        self._any_ended = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:  # type: ignore[override]
        """Starts new episodes, of all copies or of those in `options["reset_mask"]`; returns all observations.

        Raises:
            ValueError: `seed` is no whole number, or the mask is not a boolean array with one entry per copy.
        """
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int | np.integer)):
            raise ValueError(f"All copies share one generator: `seed` must be one whole number; got {seed!r}.")
        super().reset(seed=None if seed is None else int(seed))
        mask = (options or {}).get("reset_mask")
        if mask is None:
            self._state = self._task.start(self.np_random, (self.num_envs,))
            self._elapsed[:] = 0
            self._ended[:] = False
        else:
            if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (self.num_envs,):
                raise ValueError(f"`reset_mask` must be a boolean array of shape ({self.num_envs},); got {mask!r}.")
            if self._state is None:
                raise error.ResetNeeded("The first `reset` starts every copy: call it without a `reset_mask`.")
            self._restart(mask)
        self._any_ended = bool(self._ended.any())
        return self._observe(), {}

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Advances every copy by one step.

        Raises:
            gymnasium.error.ResetNeeded: `reset` was not called first, or autoreset is off and an episode has ended.
            gymnasium.error.InvalidAction: an action is NaN, infinite or of another shape.
        """
        state = self._live_state()
        if self._any_ended and self.autoreset_mode is AutoresetMode.DISABLED:
            raise error.ResetNeeded(
                f"The episodes of copies {np.flatnonzero(self._ended)[:8].tolist()} have ended; autoreset is disabled: "
                'call `reset(options={"reset_mask": ...})` first.'
            )
        control = self._task.control(actions)
        if len(control) != self.num_envs:
            raise error.InvalidAction(f"There are {self.num_envs} copies, but {len(control)} actions came.")
        restarted = self._ended.copy() if self._any_ended and self.autoreset_mode is AutoresetMode.NEXT_STEP else None
        fresh: list[np.ndarray] = []
        if restarted is not None:  # before the others move: what ended draws nothing any more
            self._restart(restarted)
            fresh = [row[restarted] for row in state]
        self._state = self._task.advance(state, control, self.np_random)
        self._elapsed += 1
        reward, terminated = self._task.outcome(self._state)
        reward = np.array(reward, np.float64)
        truncated = self._elapsed >= self._horizon
        if restarted is not None:
            for row, new in zip(self._state, fresh, strict=True):
                row[restarted] = new
            self._elapsed[restarted] = 0
            reward[restarted], terminated[restarted], truncated[restarted] = 0.0, False, False
        self._ended = terminated | truncated
        self._any_ended = bool(self._ended.any())
        observation, infos = self._observe(), {}
        if self._any_ended and self.autoreset_mode is AutoresetMode.SAME_STEP:
            infos = self._finish(observation)
        return observation, reward, terminated, truncated, infos

    def _live_state(self) -> State:
        if self._state is None:
            raise error.ResetNeeded("Call `reset` first.")
        return self._state

    def _observe(self) -> Any:
        return np.ascontiguousarray(self._task.observe(self._live_state()))

    def _restart(self, mask: np.ndarray) -> None:
        """Starts new episodes of the masked copies."""
        for row, new in zip(self._live_state(), self._task.start(self.np_random, (int(mask.sum()),)), strict=True):
            row[mask] = new
        self._elapsed[mask] = 0
        self._ended[mask] = False

    def _finish(self, observation: Any) -> dict[str, Any]:
        """Restarts the copies that ended, in `observation` too; returns what Gymnasium says about their last step."""
        ended = self._ended.copy()
        final = np.full(self.num_envs, None, dtype=object)
        for copy in np.flatnonzero(ended):
            final[copy] = observation[copy].copy()
        self._restart(ended)
        self._any_ended = False
        observation[ended] = self._task.observe(tuple(row[ended] for row in self._live_state()))
        return {"final_obs": final, "_final_obs": ended, "final_info": {}, "_final_info": ended.copy()}

    def render(self) -> tuple[np.ndarray, ...] | None:  # type: ignore[override]
        """Returns one picture per copy, uint8 `(h, w, 3)`; None without `render_mode="rgb_array"`."""
        if self.render_mode is None:
            return None
        from envs.drawing import frame

        pictures = (frame(self._task.TASK, each) for each in self._task.observe(self._live_state()))
        return tuple(picture for picture in pictures if picture is not None)

    def get_state(self) -> dict[str, Any]:
        """Returns everything that decides the future, generator included, as JSON-able plain Python.

        Raises:
            gymnasium.error.ResetNeeded: `reset` was not called first.
        """
        rows = (row.tolist() for row in self._live_state())
        return {
            "state": dict(zip(self._task.FIELDS, rows, strict=True)),
            "elapsed": self._elapsed.tolist(),
            "ended": self._ended.tolist(),
            "random": self.np_random.bit_generator.state,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continues exactly where `get_state` was called.

        Raises:
            ValueError: `state` is not what `get_state` of as many copies of this task returns.
        """
        check_keys(state, ("state", "elapsed", "ended", "random"))
        check_keys(state["state"], self._task.FIELDS)
        rows = tuple(np.array(state["state"][name]) for name in self._task.FIELDS)
        elapsed, ended = np.array(state["elapsed"], np.int64), np.array(state["ended"], bool)
        for row in (*rows, elapsed, ended):
            if row.shape != (self.num_envs,):
                raise ValueError(f"There are {self.num_envs} copies, but the saved state has the shape {row.shape}.")
            if not np.isfinite(row).all():
                raise ValueError("A saved state holds finite numbers; NaN or infinity came.")
        if not self.observation_space.contains(np.ascontiguousarray(self._task.observe(rows))):
            raise ValueError("The saved state lies outside of this task: one of other settings wrote it.")
        restore_generator(self.np_random, state["random"])
        self._state, self._elapsed, self._ended = rows, elapsed, ended
        self._any_ended = bool(ended.any())
