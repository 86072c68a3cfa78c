"""Runs in worker processes on this machine: as many at a time as there are cores, each on its own.

A fork server imports the heavy libraries once; every worker is forked from it, so a run starts in a moment. A worker
that fails, or is killed, is recorded and the others go on. Whoever launches may be killed too: its workers then end.
"""

import contextlib
import fcntl
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Literal

from agents.compare.study import write
from agents.compare.worker import ERROR_FILE, GRACE_SECONDS, OUTPUT_FILE, STOPPED, Run, train_run, work
from agents.config import RunConfig
from agents.folder import read_object
from vime.errors import CheckpointError, InvalidSettings, RunConflict

PRELOAD = ("agents.train", "agents.compare.worker", "torch._dynamo")
"""What workers are born with. The last is what optimisers of torch import when they are first made, in 0.8 s."""
POLL_SECONDS = 0.25
OUTPUT_LINES = 20

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

    def refresh(self) -> None:
        """Reads what the run says of itself; what cannot be read leaves the state as it was."""
        if self.started is not None and self.status == "running":
            self.seconds = time.monotonic() - self.started
        result = peek(self.folder / "result.json")
        told = result if result is not None else peek(self.folder / "progress.json") or {}
        if self.status == "waiting" and result is not None:
            self.status = "finished"
        self.step = int(told.get("steps" if result is not None else "step") or self.step)
        score = told.get("final_return" if result is not None else "episode_return")
        self.episode_return = self.episode_return if score is None else float(score)
        self.first_reward_step = told.get("first_reward_step", self.first_reward_step)


def peek(path: Path) -> dict[str, Any] | None:
    """Returns the JSON object in `path`; None where there is no file, or no whole object in it."""
    try:
        return read_object(path)
    except CheckpointError:
        return None


def default_jobs() -> int:
    """Returns how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def launch(
    runs: Sequence[tuple[RunConfig, Path]],
    *,
    jobs: int | None = None,
    run: Run = train_run,
    watch: Callable[[Sequence[RunState]], None] = lambda states: None,
) -> list[RunState]:
    """Returns how every run ended, after all that were unfinished have been run; finished ones are not touched.

    `watch` is called a few times a second. `run` is imported by name in the workers.

    Raises:
        InvalidSettings: `jobs` is not a positive number.
        KeyboardInterrupt: Ctrl-C came; by then every worker has saved its run and ended.
    """
    if jobs is not None and (isinstance(jobs, bool) or jobs < 1):
        raise InvalidSettings(f"`jobs` must be at least 1; got {jobs}.")
    states = [RunState(config, folder) for config, folder in runs]
    for state in states:
        state.refresh()
        state.first_step = state.step
    waiting = deque(state for state in states if state.status == "waiting")
    watch(states)
    if not waiting:
        return states
    _start_fork_server(waiting[0].config.threads)
    working: dict[Any, RunState] = {}  # by process
    try:
        while waiting or working:
            while waiting and len(working) < (jobs or default_jobs()):
                _start(run, waiting.popleft(), working)
                watch(states)
            wait([process.sentinel for process in working], timeout=POLL_SECONDS)
            for process in [p for p in working if p.exitcode is not None]:
                _settle(process, working.pop(process))
            for state in working.values():
                state.refresh()
            watch(states)
    finally:
        _stop(working)
    return states


@contextlib.contextmanager
def study_lock(out: Path) -> Iterator[None]:
    """Keeps a second launcher out of the study in `out`; the lock goes with the process, however it ends.

    Raises:
        RunConflict: another one is at work there.
    """
    descriptor = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise RunConflict(f"Another `vime compare` is at work in {out}; wait for it, or stop it.") from error
    finally:
        os.close(descriptor)


def _start_fork_server(threads: int) -> None:
    """Starts the process that workers are forked from; it loads the heavy libraries while we go on."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    here = threading.current_thread() is threading.main_thread()
    # both are inherited: thread pools are sized when a library loads, and Ctrl-C is for us to handle, not for it
    os.environ.update(dict.fromkeys(names, str(threads)))
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if here else None
    try:
        forkserver.set_forkserver_preload(list(PRELOAD))
        resource_tracker.ensure_running()
        forkserver.ensure_running()
    finally:
        if here:
            signal.signal(signal.SIGINT, handler)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _start(run: Run, state: RunState, working: dict[Any, RunState]) -> None:
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=work, args=(run, state.config, state.folder.absolute()))
    state.started = time.monotonic()
    try:
        (state.folder / ERROR_FILE).unlink(missing_ok=True)
        process.start()
    except (OSError, EOFError) as error:
        state.status, state.message = "failed", f"no worker could be started: {error!r}"
        _leave_error(state, state.message)
        return
    state.status = "running"
    working[process] = state


def _settle(process: Any, state: RunState) -> None:
    """Records how a worker ended."""
    state.refresh()
    if peek(state.folder / "result.json") is not None:
        state.status = "finished"
    elif process.exitcode == STOPPED:
        state.status = "waiting"
    else:
        state.status = "failed"
        state.message = _why(process.exitcode, state)


def _why(code: int, state: RunState) -> str:
    """Returns the reason of a failure in a line, and sees to it that the folder holds the whole of it."""
    error = state.folder / ERROR_FILE
    if not error.exists():
        if code < 0:
            killer = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            reason = f"The worker was killed by {killer} at step {state.step:,} of {state.config.steps:,}."
            if -code == signal.SIGKILL:
                reason += " The system does so when memory runs out."
        elif code == 0:
            reason = "The run ended without leaving a result."
        else:
            reason = f"The worker ended with exit code {code}."
        _leave_error(state, reason + _last_output(state.folder))
        return reason
    lines = error.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit code {code}"


def _leave_error(state: RunState, text: str) -> None:
    with contextlib.suppress(OSError):  # a full disk must not take the other runs along; the message is shown anyway
        state.folder.mkdir(parents=True, exist_ok=True)
        write(state.folder / ERROR_FILE, text + "\n")


def _last_output(folder: Path) -> str:
    try:
        lines = (folder / OUTPUT_FILE).read_text(errors="replace").splitlines()[-OUTPUT_LINES:]
    except OSError:
        return ""
    return "\n\nThe last that it printed:\n" + "\n".join(lines) if lines else ""


def _stop(working: dict[Any, RunState]) -> None:
    """Asks workers to save and end; one that does not within its grace, or at a second Ctrl-C, is killed."""
    try:
        for process in working:
            process.terminate()
        end = time.monotonic() + GRACE_SECONDS
        for process in working:
            process.join(max(0.0, end - time.monotonic()))
    finally:
        for process in working:
            if process.exitcode is None:
                process.kill()
                process.join()
