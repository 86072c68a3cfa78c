"""A lease on a folder: one process at a time works there, also where machines share it and their locks do not meet.

`flock` keeps the processes of one machine apart and is dropped by the kernel; over a network file system it may do
nothing. So the holder also writes its name into `.lease` and renews it every second. Whoever finds the file

- of a process of this machine that has ended, writes its own name, waits `LOOK_SECONDS`, for what one process of a
  machine writes the others see at once, and holds it if the name still stands there;
- unchanged for `STALE_SECONDS` by its own clock, does the same and waits `SETTLE_SECONDS` (Fischer's rule: of several
  the last writer wins, the others see another name and wait on);
- renewed, waits.

A holder that finds another name there, as after a network failure that made it look dead, has lost the lease and must
stop without another write. What it can still write is what it had begun within the last `RENEW_SECONDS`, or, if the
whole process was frozen for longer than the lease lasts, what it was in the middle of.

References:
    M. Fischer's algorithm, in L. Lamport, A fast mutual exclusion algorithm, ACM TOCS 5(1), 1987, section 2.
"""

import contextlib
import errno
import json
import os
import platform
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from vime.errors import RunConflict

LEASE_FILE = ".lease"
RENEW_SECONDS = 1.0
SETTLE_SECONDS = 3.0
"""Longer than a renewal and than the time that a write takes to be seen by all machines."""
STALE_SECONDS = 10.0
"""A holder that was silent for so long is taken for dead."""
LOOK_SECONDS = 0.2
BYTES = 512
"""Length of the file: it is rewritten in place, which needs no room on a full disk, and never seen by halves."""
NO_LOCKS = (errno.EBADF, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL)
"""What `flock` says on file systems that cannot lock, or cannot lock a folder."""


class FolderHeld(RunConflict):
    """Another process is at work in the folder."""


class Lease:
    """The right to write into `folder`; a context.

    Args:
        folder: an existing folder.
        lost: called, in a thread of its own, when another process took the lease; it must end the work.
        wait: whether to wait for a holder that lives, or to raise.

    Raises:
        FolderHeld: another process holds it, and `wait` is false.
        OSError: the folder cannot be written into.
    """

    def __init__(self, folder: Path, *, lost: Callable[[], object], wait: bool = True) -> None:
        self.path = folder / LEASE_FILE
        self.token = secrets.token_hex(8)
        self._lost, self._wait = lost, wait
        self._ended = threading.Event()
        self._beat = 0

    def __enter__(self) -> "Lease":
        while not (self._create() or self._outlast()):
            pass
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._keeper.join()
        with contextlib.suppress(OSError):
            if self._mine(self._read()):
                self.path.unlink()

    def _create(self) -> bool:
        """Takes the lease if nobody has it, or its holder has ended on this machine."""
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            return _ended_here(self._read()) and self._write() and self._settled(LOOK_SECONDS)
        os.close(descriptor)
        try:
            return self._write()
        except OSError:
            self.path.unlink(missing_ok=True)
            raise

    def _outlast(self) -> bool:
        """Waits until it is worth trying again, or the lease is ours by Fischer's rule."""
        seen, since = self._read(), time.monotonic()
        while time.monotonic() - since < STALE_SECONDS:
            if seen is None or _ended_here(seen):
                return False
            time.sleep(LOOK_SECONDS)
            now = self._read()
            if now is not None and now != seen:
                if not self._wait:
                    raise FolderHeld(f"Another process is at work in {self.path.parent}: {_holder(now)}.")
                since = time.monotonic()
            seen = now
        return self._write() and self._settled(SETTLE_SECONDS)

    def _settled(self, seconds: float) -> bool:
        """Whether our name still stands there a while after we wrote it."""
        time.sleep(seconds)
        return self._mine(self._read())

    def _keep(self) -> None:
        while not self._ended.wait(RENEW_SECONDS):
            try:
                there = self._read()
                if not self._mine(there):
                    self._lost()
                    return
                self._write()
            except OSError:  # the network may come back
                continue

    def _read(self) -> bytes | None:
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None

    def _write(self) -> bool:
        """Writes our name; false where the file went away."""
        self._beat += 1
        record = {"token": self.token, "beat": self._beat, **_here()}
        try:
            descriptor = os.open(self.path, os.O_WRONLY)
        except FileNotFoundError:
            return False
        try:
            os.pwrite(descriptor, json.dumps(record).encode().ljust(BYTES)[:BYTES], 0)
        finally:
            os.close(descriptor)
        return True

    def _mine(self, raw: bytes | None) -> bool:
        return raw is not None and _record(raw).get("token") == self.token


@contextlib.contextmanager
def locked(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Holds the lock of the folder against other processes of this machine; where there are no locks it does nothing.

    Raises:
        FolderHeld: another process holds it, and `wait` is false.
    """
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise FolderHeld(f"Another process is at work in {folder}.") from error
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        yield
    finally:
        os.close(descriptor)


def _record(raw: bytes) -> dict[str, Any]:
    try:
        record = json.loads(raw)
    except ValueError:  # caught between its making and its first write
        return {}
    return record if isinstance(record, dict) else {}


def _here() -> dict[str, object]:
    """This process, told so that another one can see whether it still is."""
    return {"machine": _machine(), "process": os.getpid(), "born": _born(os.getpid())}


def _machine() -> str:
    """A name that no two machines share, nor two containers that do not see each other's processes."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), os.readlink("/proc/self/ns/pid")]
    return " ".join(parts)


def _born(process: int) -> int | None:
    """When a process was started, in clock ticks; None where it has ended, or the system does not tell."""
    try:
        told = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return None if told[0] in "ZX" else int(told[19])
    except (OSError, ValueError, IndexError):
        return None


def _ended_here(raw: bytes | None) -> bool:
    """Whether the holder was a process of this machine that is no more."""
    record = {} if raw is None else _record(raw)
    process = record.get("process")
    if not isinstance(process, int) or record.get("machine") != _machine():
        return False
    with contextlib.suppress(PermissionError):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
    return _born(process) != record.get("born")  # it is no more, or its number went to another


def _holder(raw: bytes) -> str:
    record = _record(raw)
    return f"process {record.get('process')} on {str(record.get('machine')).partition(' ')[0]}"
