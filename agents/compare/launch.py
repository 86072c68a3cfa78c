"""Runs in worker processes on this machine: as many at a time as there are cores, each on its own.

A fork server imports the heavy libraries once; every worker is forked from it, so a run starts in a moment. A worker
that fails, or is killed, is recorded and the others go on. Whoever launches may be killed too: its workers then end.
"""

import _thread
import contextlib
import functools
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from agents.compare.states import RunState, peek
from agents.compare.worker import ERROR_FILE, GRACE_SECONDS, Run, train_run, work
from agents.config import RunConfig
from agents.lease import FolderHeld, Lease, locked
from vime.errors import InvalidSettings, RunConflict

__all__ = ["RunState", "Watch", "default_jobs", "interruptible", "launch", "peek", "standing", "study_lock"]

PRELOAD = ("agents.train", "agents.compare.worker", "agents.__main__", "torch._dynamo")
"""What workers are born with: also the command line, which is the main module that each of them looks at, and what
optimisers of torch import when they are first made, in 0.8 s."""
POLL_SECONDS = 0.25

Watch = Callable[[Sequence[RunState]], None]
"""Is shown where the runs stand, a few times a second."""


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
    watch: Watch = lambda states: None,
    preload: Sequence[str] = PRELOAD,
) -> list[RunState]:
    """Returns how every run ended, after all that were unfinished have been run; finished ones are not touched.

    `run` is imported by name in the workers, which are born with the modules `preload`.

    Raises:
        InvalidSettings: `jobs` is not a positive number.
        KeyboardInterrupt: Ctrl-C or SIGTERM came; by then every worker has saved its run and ended.
    """
    states = standing(runs, jobs)
    waiting = deque(state for state in states if state.status == "waiting")
    watch(states)
    working: dict[Any, RunState] = {}  # by process
    try:
        with interruptible():
            while waiting or working:
                while waiting and len(working) < (jobs or default_jobs()):
                    _start(run, waiting.popleft(), working, preload)
                    watch(states)
                wait([process.sentinel for process in working], timeout=POLL_SECONDS)
                for process in [p for p in working if p.exitcode is not None]:
                    state = working.pop(process)
                    state.settle(process.exitcode)
                    if state.lost > 0 and state.status == "waiting":
                        waiting.append(state)
                for state in working.values():
                    state.refresh()
                watch(states)
    finally:
        _stop(working)
    return states


def standing(runs: Sequence[tuple[RunConfig, Path]], jobs: int | None) -> list[RunState]:
    """Returns where the runs stand before a launch of `jobs` at a time.

    Raises:
        InvalidSettings: `jobs` is not a positive number.
    """
    if jobs is not None and (isinstance(jobs, bool) or jobs < 1):
        raise InvalidSettings(f"`jobs` must be at least 1; got {jobs}.")
    states = [RunState(config, folder) for config, folder in runs]
    for state in states:
        state.refresh()
        state.first_step = state.step
    return states


@contextlib.contextmanager
def study_lock(out: Path) -> Iterator[None]:
    """Keeps a second launcher out of the study in `out`, on this machine and on others that share the folder.

    Raises:
        RunConflict: another one is at work there.
    """
    taken = threading.Event()

    def lost() -> None:
        taken.set()
        _thread.interrupt_main()

    held = f"Another `vime compare` is at work in {out}; wait for it, or stop it."
    try:
        with locked(out, wait=False), Lease(out, lost=lost, wait=False):
            yield
    except FolderHeld as error:
        raise RunConflict(held) from error
    except KeyboardInterrupt:
        if taken.is_set():
            raise RunConflict(f"{held} It took over while nothing was heard of this one.") from None
        raise


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Makes SIGTERM mean what Ctrl-C means, as a batch system sends it shortly before it kills."""
    if threading.current_thread() is not threading.main_thread():  # no other may set handlers
        yield
        return

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)


def _start_fork_server(threads: int, preload: Sequence[str]) -> None:
    """Sees to it that the process runs which workers are forked from; it loads the libraries while we go on."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    here = threading.current_thread() is threading.main_thread()
    # both are inherited: thread pools are sized when a library loads, and Ctrl-C is for us to handle, not for it
    os.environ.update(dict.fromkeys(names, str(threads)))
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if here else None
    try:
        forkserver.set_forkserver_preload(list(preload))
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


def _start(run: Run, state: RunState, working: dict[Any, RunState], preload: Sequence[str]) -> None:
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=work, args=(run, state.config, state.folder.absolute()))
    state.started = time.monotonic()
    try:
        (state.folder / ERROR_FILE).unlink(missing_ok=True)
        with _main_as_workers_may_run_it():
            _start_fork_server(state.config.threads, preload)
            process.start()
    except (OSError, EOFError) as error:
        state.fail(f"No worker could be started: {error}.")
        return
    state.status = "running"
    working[process] = state


@functools.cache
def _asks_for_its_name(path: str) -> bool:
    try:
        return "__name__" in Path(path).read_text()
    except (OSError, UnicodeDecodeError):
        return False


@contextlib.contextmanager
def _main_as_workers_may_run_it() -> Iterator[None]:
    """Keeps workers from running the main module again where that would launch the study again, or cannot be done.

    They run it so that what a script registers is known to them. One that does not ask for its `__name__` would do all
    that it does a second time; and what came through a pipe is no file.
    """
    main = sys.modules["__main__"]
    path = getattr(main, "__file__", None)
    if path is None or main.__spec__ is not None:  # interactive, or run by its name
        yield
        return
    main.__file__ = path if _asks_for_its_name(path) else None
    try:
        yield
    finally:
        main.__file__ = path


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
