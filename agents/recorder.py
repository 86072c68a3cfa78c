"""What happens in the task itself: episodes, visited states, the first reward; below all that changes rewards."""

from collections import deque
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from envs import coverage
from vime.errors import InvalidData

TRACE_LIMIT = 10_000  # steps of an episode kept for the picture of the first reward
TRACE_WIDTH = 64  # longer observations are no state one could draw
PENDING_LIMIT = 4096  # observations collected before they are counted in one go
LAST_PART = 0.9  # episodes that end after this share of the steps make the final return


class Recorder(VecEnvWrapper):
    """Passes everything through unchanged, keeps account of it, and stops a run whose task gives NaN or infinity.

    Args:
        venv: the copies of the task, each under SB3's `Monitor`.
        task: its name, which decides the picture of its state space.
        steps: length of the whole run, in steps of all copies.
    """

    def __init__(self, venv: VecEnv, task: str, steps: int) -> None:
        super().__init__(venv)
        self.projection = coverage.projection(task)
        self.total = steps
        self.steps = 0
        self.episodes = 0
        self.first_reward_step: int | None = None
        self.recent: list[tuple[float, int]] = []  # return and length of the episodes since the last row
        self.last_return: float | None = None  # mean return of the last row that had an episode
        self.late_sum, self.late_count = 0.0, 0
        bins = self.projection.bins if self.projection else (0, 0)
        self.counts = np.zeros(bins, dtype=np.int64)
        self._pending: list[np.ndarray] = []
        self._pending_rows = 0
        space = venv.observation_space
        self._floats = isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating)
        drawable = isinstance(space, spaces.Box) and len(space.shape) == 1 and space.shape[0] <= TRACE_WIDTH
        self.traces: list[deque[tuple[np.ndarray, float]]] = (
            [deque(maxlen=TRACE_LIMIT) for _ in range(venv.num_envs)] if drawable else []
        )
        self.first_reward_env: int | None = None
        self.trace_done = False

    def reset(self) -> VecEnvObs:
        """Returns the first observations."""
        obs = self.venv.reset()
        self._check(obs, None)
        self._visit(obs)
        return obs

    def step_wait(self) -> VecEnvStepReturn:
        """Returns what the task gave, untouched.

        Raises:
            InvalidData: an observation or reward is NaN or infinite; nobody above has seen it.
        """
        obs, rewards, dones, infos = self.venv.step_wait()
        self.steps += self.num_envs
        self._check(obs, rewards)
        self._visit(obs)
        ended = np.flatnonzero(dones) if dones.any() else ()
        for i in ended:
            final = infos[i]["terminal_observation"]
            self._check_one(final, int(i))
            if self.projection is not None:
                self._pending.append(np.asarray(final)[None])
            if "episode" in infos[i]:
                self._count_episode(float(infos[i]["episode"]["r"]), int(infos[i]["episode"]["l"]))
        if not self.trace_done:
            self._trace(obs, rewards, ended, infos)
        return obs, rewards, dones, infos

    def _count_episode(self, total: float, length: int) -> None:
        self.episodes += 1
        self.recent.append((total, length))
        if self.steps > LAST_PART * self.total:
            self.late_sum += total
            self.late_count += 1

    def _trace(self, obs: Any, rewards: np.ndarray, ended: Any, infos: list[dict]) -> None:
        if self.first_reward_step is None and (rewards > 0).any():
            self.first_reward_step = self.steps
            self.first_reward_env = int(np.flatnonzero(rewards > 0)[0])
            self.trace_done = not self.traces
            for i, trace in enumerate(self.traces):
                if i != self.first_reward_env:
                    trace.clear()
        for i, trace in enumerate(self.traces):
            if self.first_reward_env in (None, i):
                seen = infos[i]["terminal_observation"] if i in ended else obs[i]
                trace.append((np.array(seen), float(rewards[i])))
        for i in ended if self.traces else ():
            if self.first_reward_env == i:
                self.trace_done = True
            elif self.first_reward_env is None:
                self.traces[i].clear()

    def _check(self, obs: Any, rewards: np.ndarray | None) -> None:
        if rewards is not None and not np.isfinite(rewards).all():
            self._refuse("reward", int(np.flatnonzero(~np.isfinite(rewards))[0]))
        for part in obs.values() if isinstance(obs, dict) else [obs]:
            if np.issubdtype(part.dtype, np.floating) and not np.isfinite(part).all():
                bad = ~np.isfinite(part).reshape(len(part), -1).all(1)
                self._refuse("observation", int(np.flatnonzero(bad)[0]))

    def _check_one(self, final: Any, env: int) -> None:
        for part in final.values() if isinstance(final, dict) else [final]:
            if np.issubdtype(np.asarray(part).dtype, np.floating) and not np.isfinite(part).all():
                self._refuse("observation", env)

    def _refuse(self, what: str, env: int) -> None:
        raise InvalidData(
            f"The {what} of environment {env} at step {self.steps} holds NaN or infinity; the run stopped before "
            "anything learnt from it. Repair the task, or clip what it returns."
        )

    def _visit(self, obs: Any) -> None:
        if self.projection is None:
            return
        self._pending.append(np.asarray(obs))
        self._pending_rows += len(obs)
        if self._pending_rows >= PENDING_LIMIT:
            self._count_cells()

    def _count_cells(self) -> None:
        if self.projection is None or not self._pending:
            return
        cells = self.projection.cells(np.concatenate(self._pending))
        cells = cells[cells >= 0]
        self.counts += np.bincount(cells, minlength=self.counts.size).reshape(self.counts.shape)
        self._pending.clear()
        self._pending_rows = 0

    @property
    def coverage(self) -> float | None:
        """Share of the cells of the state space that were visited; None where the task has no picture."""
        self._count_cells()
        return float((self.counts > 0).mean()) if self.projection is not None else None

    @property
    def final_return(self) -> float | None:
        """Mean return of the episodes that ended in the last tenth of the steps; where none did, of the latest to end
        before; None if no episode has ended at all."""
        return self.late_sum / self.late_count if self.late_count else self.last_return

    def take_recent(self) -> tuple[float | None, float | None]:
        """Returns mean return and mean length of the episodes since the last call."""
        if not self.recent:
            return None, None
        returns, lengths = zip(*self.recent, strict=True)
        self.recent.clear()
        self.last_return = sum(returns) / len(returns)
        return self.last_return, sum(lengths) / len(lengths)

    def first_episode(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Returns observations (T, d) and rewards (T,) of the first paid episode: what step t led to, and paid."""
        if self.first_reward_env is None or not self.traces or not self.traces[self.first_reward_env]:
            return None
        obs, rewards = zip(*self.traces[self.first_reward_env], strict=True)
        return np.stack(obs), np.array(rewards)

    def forget_unfinished(self) -> None:
        """Drops what was seen of episodes that will not be finished, because their environments were reset."""
        for i, trace in enumerate(self.traces):
            if self.first_reward_env is None:
                trace.clear()
            elif i == self.first_reward_env:
                self.trace_done = True

    def state_dict(self) -> dict[str, Any]:
        """The whole account, as numpy arrays and plain Python."""
        self._count_cells()
        traces = [
            {"obs": np.stack([o for o, _ in trace]), "reward": np.array([r for _, r in trace])} if trace else None
            for trace in self.traces
        ]
        plain = {name: getattr(self, name) for name in PLAIN}
        return {**plain, "recent": list(self.recent), "counts": self.counts.copy(), "traces": traces}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved account.

        Raises:
            ValueError: it belongs to another task or number of copies.
        """
        if state["counts"].shape != self.counts.shape or len(state["traces"]) != len(self.traces):
            raise ValueError("its record is of another task, or of another number of copies")
        for name in PLAIN:
            setattr(self, name, state[name])
        self.recent = [tuple(pair) for pair in state["recent"]]
        self.counts = state["counts"].copy()
        self._pending.clear()
        self._pending_rows = 0
        for trace, saved in zip(self.traces, state["traces"], strict=True):
            trace.clear()
            if saved is not None:
                trace.extend((obs, float(reward)) for obs, reward in zip(saved["obs"], saved["reward"], strict=True))


PLAIN = (
    "steps", "episodes", "first_reward_step", "last_return", "late_sum", "late_count", "first_reward_env", "trace_done",
)  # fmt: skip
