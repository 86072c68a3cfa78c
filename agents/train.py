"""One run: begins, or continues from its last checkpoint, and ends with `result.json`.

A run killed at any moment and started again with the same configuration and folder gives bit for bit the rows and the
weights of one that was never killed.
"""

import logging
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger, TensorBoardOutputFormat

from agents.callbacks import Interrupts, Progress, RunCallback, Stop
from agents.checkpoint import (
    find_recorder,
    fitting,
    load_run,
    read_checkpoint,
    save_learner,
    save_progress,
    write_checkpoint,
)
from agents.config import RunConfig
from agents.encoding import decode, encode
from agents.evaluate import EPISODES, play
from agents.factory import make_model, make_task
from agents.folder import RunFolder, write_atomically, write_json
from agents.metrics import MetricsFile
from agents.random_state import save_volatile
from agents.self_imitation import SelfImitation
from agents.tasks import backend
from agents.versions import changed, versions
from vime.errors import InvalidSettings, RunConflict

CHECKPOINT_SECONDS = 30.0
TOLD = ("task", "algorithm", "bonus", "scale", "weight", "streams", "self_imitation", "seed")
"""Fields of the configuration that the result repeats."""
log = logging.getLogger(__name__)


def train(
    config: RunConfig,
    out: Path | str,
    *,
    progress: Progress | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    stop_after: int | None = None,
) -> dict[str, Any]:
    """Returns the result of the run, which is also in `out/result.json`; a finished run is not run again.

    Ctrl-C and SIGTERM take effect where the next rollout begins, after a checkpoint; a second one at once.

    Args:
        config: what to run.
        out: the run folder; new, empty, or that of the same run, which then continues.
        progress: is told about once a second `step`, `steps`, `episode_return`, `bonus_share`, `coverage`, ...;
            once `evaluates`, a number of episodes, where they begin.
        checkpoint_seconds: wall-clock seconds between checkpoints.
        stop_after: environment steps after which to stop, with a checkpoint, where the next rollout begins; the
            figures of that moment are returned then, without `final_return`.

    Raises:
        UnknownName, InvalidSettings, UnsupportedSpace: the configuration cannot be run.
        RunConflict: the folder belongs to another configuration, or another process runs in it.
        CheckpointError: the checkpoint is truncated, foreign or of another shape.
        InvalidData: the task gave NaN or infinity.
        KeyboardInterrupt: Ctrl-C; the folder can be continued.
    """
    config.check()
    if not checkpoint_seconds >= 0:
        raise InvalidSettings(f"`checkpoint_seconds` must not be negative; got {checkpoint_seconds}.")
    threads = torch.get_num_threads()
    with RunFolder(Path(out), config) as folder:
        result = folder.result()
        if result is not None:
            return result
        try:
            torch.set_num_threads(config.threads)
            folder.path("error.txt").unlink(missing_ok=True)
            return _Run(folder, config, progress, checkpoint_seconds, stop_after).go()
        except RunConflict:
            raise
        except Exception:
            with suppress(OSError):  # a full disk: the error itself is what must be heard
                write_atomically(folder.path("error.txt"), lambda file: file.write(traceback.format_exc().encode()))
            raise
        finally:
            torch.set_num_threads(threads)


class _Run:
    """What `train` holds together while it learns."""

    def __init__(
        self,
        folder: RunFolder,
        config: RunConfig,
        progress: Progress | None,
        checkpoint_seconds: float,
        stop_after: int | None,
    ) -> None:
        self.folder, self.config = folder, config
        self.progress, self.checkpoint_seconds, self.stop_after = progress, checkpoint_seconds, stop_after
        self.metrics = MetricsFile(folder.path("metrics.csv"))
        self.clocks = {"wall": 0.0, "cpu": 0.0}
        self.started = {"wall": time.monotonic(), "cpu": time.process_time()}
        self.resumed, self.exact, self.row_step = 0, True, 0
        self.imitation = SelfImitation() if config.self_imitation else None

    def go(self) -> dict[str, Any]:
        """Returns the result, or the figures of the moment where it stopped early."""
        env = make_task(self.config)
        logger = None
        try:
            with Interrupts() as interrupts:
                self.model = make_model(self.config, env)
                volatile = self._begin()
                logger = self._logger()
                self.model.set_logger(logger)
                callback = RunCallback(
                    self.metrics,
                    self.config.steps,
                    checkpoint=self._checkpoint,
                    interrupts=interrupts,
                    live=self._live,
                    checkpoint_seconds=self.checkpoint_seconds,
                    stop_after=self.stop_after,
                    volatile=volatile,
                )
                callback.row_step = self.row_step
                callback.init_callback(self.model)  # a run that has learnt all it should never does so itself
                self.callback = callback
                if not self._learn(interrupts):
                    callback.show()
                    return self.figures
            return self._finish()
        finally:
            self.metrics.close()
            if logger is not None:
                logger.close()
            env.close()

    def _learn(self, interrupts: Interrupts) -> bool:
        """Learns to the end; false where it was asked to stop before."""
        left = self.config.steps - self.model.num_timesteps
        if left > 0:
            interrupts.armed = True
            try:
                interval = self._log_interval()
                callbacks: list[BaseCallback] = [self.callback]  # first: a checkpoint is of what was there before
                if self.imitation is not None:
                    callbacks.append(self.imitation)
                self.model.learn(left, callback=callbacks, reset_num_timesteps=False, log_interval=interval)
            except Stop:
                if interrupts.received is not None:
                    interrupts.raise_for(interrupts.received)
                return False
            finally:
                interrupts.armed = False
            self.callback.add_row()
            self._checkpoint()
            if interrupts.received is not None:
                interrupts.raise_for(interrupts.received)
        return True

    def _log_interval(self) -> int:
        """Rollouts (off-policy: episodes) from one TensorBoard entry to the next."""
        return max(1, 1000 // (getattr(self.model, "n_steps", 1) * self.config.copies)) if self.config.on_policy else 4

    def _begin(self) -> dict[str, Any] | None:
        """Starts afresh, or continues from the checkpoint; returns what is to be set back when the rollout begins."""
        path, now = self.folder.path("checkpoint.pt"), versions(self.config)
        state = read_checkpoint(path) if path.exists() else None
        if state is None:
            self.metrics.start()
            write_json(self.folder.path("versions.json"), now)
            return None
        reason = load_run(self.model, state, self.config.seed)
        with fitting():
            run, volatile = state["run"], state["volatile"]
            self.clocks = {"wall": float(run["wall_seconds"]), "cpu": float(run["cpu_seconds"])}
            self.resumed, self.exact, self.row_step = int(run["resumed"]) + 1, bool(run["exact"]), int(run["row_step"])
            rows = str(run["metrics"])
            if self.imitation is not None:
                self.imitation.load_state_dict(decode(run["self_imitation"]), go_on=reason is None)
        if reason is not None and self.model.num_timesteps < self.config.steps:
            self.exact = False
            log.warning("The run continues with new episodes, so not exactly: its task cannot be saved (%s).", reason)
        before = self.folder.record("versions.json")
        different = ["on what it ran before is not known"] if before is None else changed(before, now)
        if different:
            self.exact = False
            log.warning("The run continues on other ground, and may not continue exactly: %s.", "; ".join(different))
            write_json(self.folder.path("versions.json"), now)
        self.metrics.start(rows)
        return volatile

    def _checkpoint(self) -> None:
        state = {
            "learner": save_learner(self.model),
            "progress": save_progress(self.model),
            "volatile": save_volatile(self.model),
            "run": {
                "metrics": self.metrics.text,
                "row_step": self.callback.row_step,
                "resumed": self.resumed,
                "exact": self.exact,
                "self_imitation": None if self.imitation is None else encode(self.imitation.state_dict()),
                "wall_seconds": self._spent("wall"),
                "cpu_seconds": self._spent("cpu"),
            },
        }
        write_checkpoint(self.folder.path("checkpoint.pt"), state)

    def _spent(self, clock: str) -> float:
        now = time.monotonic() if clock == "wall" else time.process_time()
        return self.clocks[clock] + now - self.started[clock]

    def _live(self, figures: dict[str, Any]) -> None:
        self.figures = figures
        shown = {name: figures[name] for name in ("step", "steps", "episode_return", "first_reward_step")}
        write_json(self.folder.path("progress.json"), shown, durable=False)
        if self.progress is not None:
            self.progress(figures)

    def _logger(self) -> Logger:
        """SB3's logger into `tensorboard/`; what a killed run wrote beyond its checkpoint is hidden."""
        from torch.utils.tensorboard.writer import SummaryWriter

        folder = self.folder.path("tensorboard")
        output = TensorBoardOutputFormat.__new__(TensorBoardOutputFormat)
        output.writer = SummaryWriter(str(folder), purge_step=self.model.num_timesteps + 1)  # its own step stays
        output._is_closed = False
        return Logger(str(folder), [output])

    def _finish(self) -> dict[str, Any]:
        """Evaluates, and writes the rest; the result comes last."""
        recorder = find_recorder(self.model)
        self.callback.show()
        spent = {f"{clock}_seconds": self._spent(clock) for clock in ("cpu", "wall")}  # of training alone
        if recorder.episodes == 0:
            log.warning("No episode ended in %d steps, so there is no return to judge by.", self.model.num_timesteps)
        if self.progress is not None:
            self.progress({**self.figures, "evaluates": EPISODES})
        returns = play(self.model, self.config, EPISODES, self.config.seed)
        _save_arrays(self.folder, self.model)
        result = {
            **{name: getattr(self.config, name) for name in TOLD},
            "steps": self.model.num_timesteps,
            "environments": self.config.copies,
            "backend": backend(self.config.task),
            "final_return": recorder.final_return,
            "evaluation_return": float(np.mean(returns)),
            "evaluation_std": float(np.std(returns)),
            "first_reward_step": recorder.first_reward_step,
            "episodes": recorder.episodes,
            "coverage": recorder.coverage,
            **spent,
            "peak_memory_mb": _peak_memory(),
            "resumed": self.resumed,
            "exact_resume": self.exact,
        }
        write_json(self.folder.path("result.json"), result)
        return result


def _save_arrays(folder: RunFolder, model: BaseAlgorithm) -> None:
    recorder = find_recorder(model)
    if recorder.projection is not None:
        view = recorder.projection
        arrays = {"counts": recorder.counts, **{k: np.array(getattr(view, k)) for k in ("labels", "low", "high")}}
        write_atomically(folder.path("coverage.npz"), lambda file: np.savez(file, **arrays))
    first = recorder.first_episode()
    if first is not None:
        obs, reward = first
        write_atomically(folder.path("first_reward.npz"), lambda file: np.savez(file, obs=obs, reward=reward))


def _peak_memory() -> float | None:
    """Largest resident memory of this process so far, in MB; None where the system does not tell."""
    try:  # not getrusage: it counts what the parent held when it forked
        status = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return None
