"""Many copies of MiniGrid's tasks at once, in EnvPool's C++."""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import error, spaces
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from envs.classic import check_horizon, check_keys
from envs.grids import observation_space, poolable, view

EVERY_COPY = 255  # stands for a full reset in the record of actions
LONGEST_RECORD = 50_000_000  # bytes of actions; a replay of more would take minutes


class PooledGrids(gym.vector.VectorEnv[Any, Any, Any]):
    """`num_envs` copies of `Grid`, stepped by EnvPool; every answer is a fresh array.

    A copy whose episode ended starts anew on the same step, and `infos["final_obs"]` holds the last views
    (`AutoresetMode.SAME_STEP`). Rules, rewards and horizon are MiniGrid's, but rooms are drawn by a generator of
    EnvPool's own: equal seeds give other rooms than in `Grid`. Each copy draws from a generator of its own.

    The state of EnvPool cannot be read; what can be saved are seed and actions, from which `set_state` plays
    everything again, at some 200,000 steps per second.

    Args:
        game: as for `Grid`, but for MultiRoom, of which EnvPool 1.2.5 mostly draws rooms without a way to the goal.
        num_envs: how many copies.
        autoreset_mode: "SameStep" is the only one.
        horizon: steps after which an episode is cut; MiniGrid's own unless given.

    Raises:
        ImportError: `envpool` is not installed.
        ValueError: a setting is out of range.
    """

    metadata: dict[str, Any] = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(
        self,
        game: str,
        num_envs: int = 1,
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        render_mode: None = None,
        horizon: int | None = None,
    ) -> None:
        if isinstance(num_envs, bool) or not isinstance(num_envs, int) or num_envs < 1:
            raise ValueError(f"`num_envs` must be a positive whole number; got {num_envs!r}.")
        if AutoresetMode(autoreset_mode) is not AutoresetMode.SAME_STEP or render_mode is not None:
            raise ValueError("Copies in a pool start anew on the same step, and are not rendered.")
        if not poolable(game):
            raise ValueError(f"EnvPool draws rooms of {game} whose goal cannot be reached: step copies of `Grid`.")
        try:
            import envpool
        except ImportError as reason:
            raise ImportError(
                "Many MiniGrid copies at once need the package `envpool`, which is not installed: "
                "pip install '.[envpool]', or step copies of `Grid` side by side."
            ) from reason
        self._make, self._name = envpool.make_gymnasium, f"MiniGrid-{game}-v0"
        self._limit = {} if horizon is None else {"max_episode_steps": check_horizon(horizon)}
        self.num_envs = num_envs
        self.single_observation_space = observation_space()
        self._choices = int(self._make(self._name, num_envs=1).action_space.n)
        self.single_action_space = spaces.Discrete(self._choices)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._pool: Any = None
        self._seed = 0
        self._record: bytearray | None = bytearray()

    def reset(  # type: ignore[override]
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts new episodes of all copies; returns their first views. A `seed` starts all generators anew.

        Raises:
            ValueError: `seed` is no whole number.
        """
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int | np.integer)):
            raise ValueError(f"`seed` must be one whole number; got {seed!r}.")
        if seed is not None or self._pool is None:
            super().reset(seed=None if seed is None else int(seed))
            self._open(int(self.np_random.integers(2**31)))
        else:
            self._note(np.full(self.num_envs, EVERY_COPY))
        pool: Any = self._pool
        seen, infos = pool.reset()
        return view(seen["image"], seen["direction"]), {"agent_pos": infos["agent_pos"]}

    def _open(self, seed: int) -> None:
        self._seed, self._record = seed, bytearray()
        self._pool = self._make(self._name, num_envs=self.num_envs, num_threads=1, seed=seed, **self._limit)

    def _note(self, actions: np.ndarray) -> None:
        if self._record is not None:
            self._record += actions.astype(np.uint8).tobytes()
            if len(self._record) > LONGEST_RECORD:
                self._record = None

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Advances every copy by one step; `infos["agent_pos"]` holds the agents' columns and rows.

        Raises:
            gymnasium.error.ResetNeeded: `reset` was not called first.
            gymnasium.error.InvalidAction: there is no such action, or another number of actions came.
        """
        if self._pool is None:
            raise error.ResetNeeded("Call `reset` first.")
        actions = np.asarray(actions)
        if not (
            actions.shape == (self.num_envs,)
            and np.issubdtype(actions.dtype, np.integer)
            and ((actions >= 0) & (actions < self._choices)).all()
        ):
            raise error.InvalidAction(
                f"{self.num_envs} whole numbers of 0 to {self._choices - 1} were expected; got {actions!r}."
            )
        self._note(actions)
        seen, reward, terminated, truncated, infos = self._pool.step(actions.astype(np.int32))
        obs, places = view(seen["image"], seen["direction"]), infos["agent_pos"]
        truncated = truncated & ~terminated
        ended = terminated | truncated
        answer: dict[str, Any] = {"agent_pos": places}
        if ended.any():
            answer |= self._restart(ended, obs, places)
        return obs, reward.astype(np.float64), terminated, truncated, answer

    def _restart(self, ended: np.ndarray, obs: np.ndarray, places: np.ndarray) -> dict[str, Any]:
        """Begins the next episode of the copies that ended, in `obs` and `places` too; returns how the last ones did.

        EnvPool itself would do so in the next step, whose action it ignores: a step that is no transition.
        """
        copies = np.flatnonzero(ended)
        final, finals = np.full(self.num_envs, None, object), places.copy()
        for copy in copies:
            final[copy] = obs[copy].copy()
        seen, infos = self._pool.reset(copies.astype(np.int32))
        obs[copies] = view(seen["image"], seen["direction"])
        places[copies] = infos["agent_pos"]
        return {
            "final_obs": final,
            "_final_obs": ended,
            "final_info": {"agent_pos": finals, "_agent_pos": ended.copy()},
            "_final_info": ended.copy(),
        }

    def get_state(self) -> dict[str, Any]:
        """Returns the seed and all actions since, as plain Python and an array.

        Raises:
            gymnasium.error.ResetNeeded: `reset` was not called first.
            ValueError: there are too many to be played again.
        """
        if self._pool is None:
            raise error.ResetNeeded("Call `reset` first.")
        if self._record is None:
            raise ValueError(f"more than {LONGEST_RECORD:,} steps were made, too many to be played again")
        return {"seed": self._seed, "actions": np.frombuffer(bytes(self._record), np.uint8)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continues exactly where `get_state` was called, by playing everything again.

        Raises:
            ValueError: `state` is not what `get_state` of as many copies of this task returns.
        """
        check_keys(state, ("seed", "actions"))
        record = np.asarray(state["actions"], np.uint8)
        if len(record) % self.num_envs or ((record >= self._choices) & (record != EVERY_COPY)).any():
            raise ValueError(f"The saved actions are not those of {self.num_envs} copies of this task.")
        self._open(int(state["seed"]))
        self._pool.reset()
        ended = np.zeros(self.num_envs, bool)
        for actions in record.reshape(-1, self.num_envs).astype(np.int32):
            if actions[0] == EVERY_COPY:
                self._pool.reset()
                continue
            _, _, terminated, truncated, _ = self._pool.step(actions)
            ended = terminated | truncated
            if ended.any():
                self._pool.reset(np.flatnonzero(ended).astype(np.int32))
        self._record = bytearray(record.tobytes())
