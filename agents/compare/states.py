"""Where the runs of a launch stand, and what is recorded when one ends; the same on this machine and on a cluster."""

import contextlib
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from agents.compare.study import write
from agents.compare.worker import ERROR_FILE, FULL, LOST, OUTPUT_FILE, STOPPED
from agents.config import RunConfig
from agents.folder import read_object
from vime.errors import CheckpointError

OUTPUT_LINES = 20
ATTEMPTS = 3
"""How often a run is given a worker before it is recorded as failed, if not it but what carries it breaks down."""
VANISHED = 255
"""Exit code of a worker of which nobody can tell how it ended, for the process it was forked from has ended."""

Status = Literal["waiting", "running", "finished", "failed"]


@dataclass
class RunState:
    """Where one run stands, as its folder tells."""

    config: RunConfig
    folder: Path
    status: Status = "waiting"
    first_step: int = 0
    """Step at which this launch took the run up."""
    step: int = 0
    episode_return: float | None = None
    """Latest return of an episode, or the final one; None before the first."""
    first_reward_step: int | None = None
    started: float | None = None
    """Monotonic time of its start here, s."""
    seconds: float = 0.0
    """How long it has run here, s."""
    message: str = ""
    """Why it failed, in a line."""
    lost: int = 0
    """How often what carried it broke down: its machine, or the process that workers are forked from."""
    exit_code: int | None = None
    """Of its last worker; negative the number of the signal that killed it."""

    def refresh(self) -> None:
        """Reads what the run says of itself; what cannot be read leaves the state as it was."""
        if self.started is not None and self.status == "running":
            self.seconds = time.monotonic() - self.started
        result = peek(self.folder / "result.json")
        told = result if result is not None else peek(self.folder / "progress.json") or {}
        if self.status == "waiting" and result is not None:
            self.status = "finished"
        with contextlib.suppress(TypeError, ValueError):  # an object, but not ours
            self.step = int(told.get("steps" if result is not None else "step") or self.step)
            score = told.get("final_return" if result is not None else "episode_return")
            self.episode_return = self.episode_return if score is None else float(score)
            self.first_reward_step = told.get("first_reward_step", self.first_reward_step)

    def settle(self, code: int) -> None:
        """Records how its worker ended, from its exit code, negative the number of the signal that killed it.

        A run that was stopped, or whose ground broke away, waits again; one that failed leaves the reason behind.
        """
        self.refresh()
        self.exit_code = code
        if peek(self.folder / "result.json") is not None:
            self.status = "finished"
        elif code in (STOPPED, LOST):
            self.status = "waiting"
        elif code == VANISHED and not (self.folder / ERROR_FILE).exists():
            self.give_back("the process that workers are forked from ended")
        else:
            self.status, self.message = "failed", self._why(code)

    def give_back(self, reason: str) -> None:
        """Lets the run wait for another worker, for this one was lost; after `ATTEMPTS` of them it has failed."""
        self.lost += 1
        self.status = "waiting"
        if self.lost >= ATTEMPTS:
            self.fail(f"It was given up after {self.lost} attempts; the last time {reason}.")

    def fail(self, reason: str, *, more: str = "") -> None:
        """Records a failure, and sees to it that the folder holds the reason, with `more` below it."""
        self.status, self.message = "failed", reason
        with contextlib.suppress(OSError):  # a full disk takes no other run along, and the message is shown anyway
            self.folder.mkdir(parents=True, exist_ok=True)
            write(self.folder / ERROR_FILE, reason + more + "\n")

    def _why(self, code: int) -> str:
        """Returns the reason of a failure in a line, and sees to it that the folder holds the whole of it."""
        try:
            lines = (self.folder / ERROR_FILE).read_text(errors="replace").strip().splitlines()
        except OSError:
            reason = self._told_by(code)
            self.fail(reason, more=_last_output(self.folder))
            return reason
        return lines[-1] if lines and code != FULL else self._told_by(code)

    def _told_by(self, code: int) -> str:
        if code < 0:
            killer = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            reason = f"The worker was killed by {killer} at step {self.step:,} of {self.config.steps:,}."
            return reason + (" The system does so when memory runs out." if -code == signal.SIGKILL else "")
        if code == 0:
            return "The run ended without leaving a result."
        if code == FULL:
            return (
                f"There is no room left on the disk of {self.folder}, or in its quota; once there is, the same command "
                "goes on from the last checkpoint."
            )
        return f"The worker ended with exit code {code}."


def peek(path: Path) -> dict[str, Any] | None:
    """Returns the JSON object in `path`; None where there is no file, or no whole object in it."""
    try:
        return read_object(path)
    except CheckpointError:
        return None


def _last_output(folder: Path) -> str:
    try:
        lines = (folder / OUTPUT_FILE).read_text(errors="replace").splitlines()[-OUTPUT_LINES:]
    except OSError:
        return ""
    return "\n\nThe last that it printed:\n" + "\n".join(lines) if lines else ""
