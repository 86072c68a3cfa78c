"""What a run does beside learning: rows, checkpoints, live figures, and stopping where nothing is half done."""

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from agents.attach import curiosity
from agents.checkpoint import find_recorder, fitting
from agents.metrics import MetricsFile
from agents.random_state import load_volatile

ROW_STEPS = 1000  # environment steps from one row of metrics.csv to the next, at least
LIVE_SECONDS = 1.0  # from one live figure to the next
CHECKPOINT_SHARE = 0.05  # of the time that may go into checkpoints
MODEL_METRICS = ("model_error", "predicted_gain", "realised_gain")

Progress = Callable[[dict[str, Any]], None]


class Stop(Exception):
    """Ends `learn` where a rollout begins, after a checkpoint."""


class Interrupts:
    """Catches Ctrl-C and SIGTERM while learning, so that the run stops where it can continue; a context.

    The first signal is kept until somebody reads `received`; a second one, or one while `armed` is false, acts at once.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.armed = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():  # no other thread may set handlers
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._receive) or signal.SIG_DFL
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, _: FrameType | None) -> None:
        if not self.armed or self.received is not None:
            self.raise_for(number)
        self.received = number

    @staticmethod
    def raise_for(number: int) -> None:
        """Raises what the signal means: KeyboardInterrupt, or for SIGTERM the exit of the process."""
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)


class RunCallback(BaseCallback):
    """Writes rows and live figures; at every border between rollouts it may take a checkpoint, or stop.

    Args:
        metrics: where rows go.
        steps: length of the whole run.
        checkpoint: takes one.
        interrupts: asked at every border.
        live: is told the figures of the moment, about once a second.
        checkpoint_seconds: from one checkpoint to the next; more if a checkpoint takes long.
        stop_after: environment steps after which to stop at the next border.
        volatile: what to set back when the first rollout begins, after a resume.
    """

    def __init__(
        self,
        metrics: MetricsFile,
        steps: int,
        *,
        checkpoint: Callable[[], None],
        interrupts: Interrupts,
        live: Progress,
        checkpoint_seconds: float,
        stop_after: int | None = None,
        volatile: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.metrics = metrics
        self.steps = steps
        self.row_step = 0
        self._checkpoint = checkpoint
        self._interrupts = interrupts
        self._live = live
        self._seconds = checkpoint_seconds
        self._stop_after = stop_after
        self._volatile = volatile
        self._due = time.monotonic() + checkpoint_seconds
        self._next_live = 0.0

    def _on_rollout_start(self) -> None:
        if self._volatile is not None:
            with fitting():
                load_volatile(self.model, self._volatile)
            self._volatile = None
        stop = self._interrupts.received is not None or (
            self._stop_after is not None and self.model.num_timesteps >= self._stop_after
        )
        started = time.monotonic()
        if stop or started >= self._due:
            self._checkpoint()
            taken = time.monotonic() - started
            self._due = started + max(self._seconds, taken / CHECKPOINT_SHARE)
        if stop:
            raise Stop

    def _on_step(self) -> bool:
        now = time.monotonic()
        if now >= self._next_live:
            self._next_live = now + LIVE_SECONDS
            self.show()
        return True

    def _on_rollout_end(self) -> None:
        if self.model.num_timesteps - self.row_step >= ROW_STEPS:
            self.add_row()

    def add_row(self) -> None:
        """Writes one row of `metrics.csv`, unless nothing happened since the last."""
        if self.model.num_timesteps == self.row_step:
            return
        recorder, known = find_recorder(self.model), self._bonus_metrics()
        episode_return, episode_length = recorder.take_recent()
        row = {
            "step": self.model.num_timesteps,
            "episodes": recorder.episodes,
            "episode_return": episode_return,
            "episode_length": episode_length,
            "coverage": recorder.coverage,
            **{name: known.get(name) for name in ("weight", "bonus_mean", "bonus_share", *MODEL_METRICS)},
        }
        self.metrics.add(row)
        self.row_step = self.model.num_timesteps
        for name in ("episodes", "episode_return", "episode_length", "coverage"):
            if row[name] is not None:
                self.logger.record(f"task/{name}", row[name])
        if recorder.first_reward_step is not None:
            self.logger.record("task/first_reward_step", recorder.first_reward_step)

    def show(self) -> None:
        """Hands out the figures of the moment."""
        recorder, known = find_recorder(self.model), self._bonus_metrics()
        self._live(
            {
                "step": self.model.num_timesteps,
                "steps": self.steps,
                "episode_return": _mean(recorder.recent) if recorder.recent else recorder.last_return,
                "first_reward_step": recorder.first_reward_step,
                "bonus_share": known.get("bonus_share"),
                "coverage": recorder.coverage,
            }
        )

    def _bonus_metrics(self) -> dict[str, float]:
        curious = curiosity(self.model)
        return {} if curious is None else curious.metrics


def _mean(episodes: list[tuple[float, int]]) -> float:
    return sum(total for total, _ in episodes) / len(episodes)
