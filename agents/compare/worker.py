"""What one worker process does: one run, a traceback left behind if it fails, and an end when its parent ends."""

import contextlib
import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agents.compare.study import write
from agents.config import RunConfig
from agents.folder import disk_full
from agents.lease import Lease, locked

Run = Callable[[RunConfig, Path], Any]
"""Runs, or resumes, a run in its folder and leaves `result.json` there."""

ERROR_FILE = "error.txt"
OUTPUT_FILE = "output.txt"
FAILED = 1
STOPPED = 130
"""Exit code of a worker that was asked to stop and left a run that can be resumed."""
LOST = 75
"""Exit code of a worker whose folder was taken over by another, which believed it dead."""
FULL = 74
"""Exit code of a worker that found no room on the disk."""
TERMINATED = 128 + signal.SIGTERM
"""Exit code of a run that handled the request to stop by itself."""
GRACE_SECONDS = 20.0
"""How long a worker may take to save its run when it is asked to stop."""
WATCH_SECONDS = 0.5


def train_run(config: RunConfig, folder: Path) -> None:
    """Trains for real; the module is imported here, so that whoever launches workers need not load torch."""
    from agents.train import train

    train(config, folder)


def work(run: Run, config: RunConfig, folder: Path) -> None:
    """Carries out one run in this process and exits: 0 if it finished, `FAILED`, or `STOPPED`."""
    stopping = threading.Event()

    def stop(*_: object) -> None:
        if not stopping.is_set():  # once: a second signal must not interrupt the saving
            stopping.set()
            raise KeyboardInterrupt

    # a terminal sends Ctrl-C to all; whoever launched us decides. Blocked, not ignored: a run may set a handler
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    signal.signal(signal.SIGTERM, stop)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    code = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder), Lease(folder, lost=lambda: os._exit(LOST)):
            _redirect_output(folder / OUTPUT_FILE)
            _limit_threads(config.threads)
            run(config, folder)
    except KeyboardInterrupt:
        code = STOPPED
    except BaseException as error:  # whatever it was, the others go on and the reason is kept
        if isinstance(error, SystemExit) and error.code == TERMINATED:
            code = STOPPED
        else:
            code = FAILED if disk_full(error) is None else FULL
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            with contextlib.suppress(OSError):
                traceback.print_exc()
            with contextlib.suppress(OSError):  # a full disk: the launcher still sees the exit code
                write(folder / ERROR_FILE, traceback.format_exc())
    _drop_empty_output(folder / OUTPUT_FILE)
    sys.stdout.flush()
    os._exit(code)  # no teardown: nothing is left to save, and threads of libraries cannot hold the worker up


def _end_with_parent(forker: int) -> None:
    """Stops this process when the process that asked for it is gone, or the fork server that made it."""
    parent = multiprocessing.parent_process()
    while parent is not None and parent.is_alive() and os.getppid() == forker:
        time.sleep(WATCH_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os._exit(STOPPED)


def _redirect_output(path: Path) -> None:
    """Sends all that this process prints, from C libraries too, into a file: the terminal shows the study."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.close(descriptor)
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115 (lives as long as the process)
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    faulthandler.enable()


def _drop_empty_output(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.stat().st_size == 0:
            path.unlink()


def _limit_threads(count: int) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(count)  # for processes that the run may start
    if "torch" in sys.modules:  # loaded by the fork server, before the environment could tell it
        sys.modules["torch"].set_num_threads(count)
