"""The folder of one run: what lies in it, written so that a kill at any moment leaves every file whole."""

import errno
import json
import logging
import os
import secrets
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any, Protocol, Self, TypeVar

from agents.config import RunConfig
from agents.lease import NO_LOCKS
from vime.errors import CheckpointError, RunConflict, VimeError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no room, no more of the quota, no larger file
STUDY_FILE = "study.json"
KINDS = {
    "algorithm": "a run of `vime train`; `vime evaluate` is for it",
    "model": "a generative model; `vime generate evaluate` and `vime generate sample` are for it",
    "how": "an exploration; `vime transfer` is for it",
}
"""What a folder holds, by a field that the configurations of no other kind have."""
TEMPORARY = ".*.tmp"
"""Names of files that are still being written."""
log = logging.getLogger(__name__)
TRACKS = ("metrics.csv", "checkpoint.pt", "training.safetensors", "result.json")  # signs that a folder held a run


class Readable(Protocol):
    """What a folder describes: `RunConfig`, or another dataclass that is read in the same way."""

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Returns the configuration that `to_json` wrote."""
        ...


class Config(Readable, Protocol):
    """What one run is, written and compared."""

    def to_json(self) -> dict[str, Any]:
        """Returns all fields as values that JSON can hold."""
        ...

    def differing(self, other: Any) -> list[str]:
        """Returns the names of the fields that make the two different runs."""
        ...


C = TypeVar("C", bound=Readable)


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any], *, durable: bool = True) -> None:
    """Replaces `path` by what `write` puts into the file that it is handed; there is never half a file.

    Args:
        path: where the file shall lie.
        write: fills it.
        durable: whether it must outlive a power failure too, which waits for the disk.

    Raises:
        OSError: it cannot be written; a full disk is told as such, whatever `write` made of it.
    """
    # a name of its own for every writer: two machines may have processes of the same number
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "wb") as file:
            write(file)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        full = disk_full(error)
        if full is not None:
            raise OSError(full.errno, full.strerror, str(path)) from error
        raise
    if durable and hasattr(os, "O_DIRECTORY"):
        directory = os.open(path.parent, os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def sweep(folder: Path) -> None:
    """Removes what a writer that was killed left in a folder, which its caller holds."""
    for left in folder.glob(TEMPORARY):
        left.unlink(missing_ok=True)


def disk_full(error: BaseException | None) -> OSError | None:
    """Returns the error of a full disk, or of a quota used up, in the chain of what led to `error`; None without."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return error
        error = error.__cause__ or error.__context__
    return None


def write_json(path: Path, value: Any, *, durable: bool = True) -> None:
    """Replaces `path` by `value` as JSON."""
    text = json.dumps(value, indent=2) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()), durable=durable)


def read_json(path: Path) -> Any:
    """Returns what a JSON file holds.

    Raises:
        CheckpointError: it cannot be read as JSON.
    """
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read as JSON: {error}. Choose another folder, or delete this one to begin again."
        ) from error


def read_object(path: Path) -> dict[str, Any]:
    """Returns the JSON object in a file.

    Raises:
        CheckpointError: there is no such object in it.
    """
    try:
        value = json.loads(path.read_text())
        if not isinstance(value, dict):
            raise ValueError(f"it holds a {type(value).__name__}")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as a JSON object: {error}.") from error
    return value


def contents(out: Path) -> str | None:
    """Returns what a folder holds, and the command that is for it, in words; None if it is nothing that we know."""
    if (out / STUDY_FILE).is_file():
        return "a study; `vime compare` and `vime report` are for it"
    try:
        found = json.loads((out / "config.json").read_text())
    except (OSError, ValueError):
        return None
    return next((what for sign, what in KINDS.items() if isinstance(found, dict) and sign in found), None)


def differences(
    names: Iterable[str], there: Mapping[str, Any], here: Mapping[str, Any], *, absent: str = "None"
) -> str:
    """Returns in words what a folder holds in some fields, and what was asked for; `absent` stands for None."""

    def said(value: Any) -> str:
        return absent if value is None else repr(value)

    return ", ".join(f"`{name}` is {said(there[name])} there and {said(here[name])} here" for name in names)


def hold(out: Path) -> IO[bytes] | None:
    """Returns what keeps other processes from a folder, made if need be, until it is closed; None where nothing can.

    Raises:
        RunConflict: another process holds the folder, or there can be none.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        return _locked(out)
    except OSError as error:
        raise RunConflict(f"{out} cannot be made a run folder: {error.strerror or error}.") from error


def _locked(out: Path) -> IO[bytes] | None:
    try:
        import fcntl
    except ImportError:  # not a POSIX system: nothing to hold it with
        return None
    lock = open(out / ".lock", "wb")  # noqa: SIM115
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel drops it, however the process ends
    except BlockingIOError as error:
        lock.close()
        raise RunConflict(f"Another process runs in {out}. Wait for it, or choose another folder.") from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            lock.close()
            raise
    return lock


def read_config(out: Path, kind: type[C] = RunConfig) -> C:
    """Returns the configuration of the run in `out`.

    Raises:
        CheckpointError: there is no run, or its configuration cannot be read as one of that kind.
    """
    path = out / "config.json"
    if not path.is_file():
        what = contents(out) or "no run: there is no config.json in it"
        raise CheckpointError(f"{out} holds {what}.")
    found = read_json(path)
    try:
        return kind.from_json(found)
    except (TypeError, VimeError) as error:
        what = contents(out)
        if what and not any(sign in found for sign in KINDS if sign in kind.__annotations__):
            raise CheckpointError(f"{out} holds {what}.") from error
        raise CheckpointError(f"{path} is not the configuration of a run: {error}") from error


class RunFolder:
    """The folder of one run, held by one process at a time; use it as a context.

    Args:
        out: the folder; made if it is not there.
        config: the run that wants it.

    Raises:
        RunConflict: it belongs to another configuration, or another process is writing to it.
        CheckpointError: its configuration cannot be read.
    """

    def __init__(self, out: Path, config: Config) -> None:
        self.out = out
        self.config = config
        self._lock: IO[bytes] | None = None

    def __enter__(self) -> "RunFolder":
        self._lock = hold(self.out)
        try:
            self._claim()
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _claim(self) -> None:
        path = self.out / "config.json"
        if (self.out / STUDY_FILE).is_file():
            raise RunConflict(f"{self.out} holds {contents(self.out)}. Choose another folder.")
        began = any((self.out / name).exists() for name in TRACKS)
        if path.exists():
            stored = read_config(self.out, type(self.config))
            names = stored.differing(self.config)
            if names and not began:  # it was refused, or killed, before it learnt anything
                write_json(path, self.config.to_json())
            elif names:
                which = differences(names, stored.to_json(), self.config.to_json(), absent="not given")
                advice = "Choose another folder, or delete this one."
                if names == ["steps"]:
                    advice = "A run keeps the length that it began with: choose another folder for a run of another."
                raise RunConflict(f"The run folder {self.out} belongs to another configuration: {which}. {advice}")
        elif began:
            raise RunConflict(f"{self.out} holds a run without its config.json. Choose another folder, or delete it.")
        else:
            write_json(path, self.config.to_json())
        sweep(self.out)

    def path(self, name: str) -> Path:
        """Returns where the file `name` lies."""
        return self.out / name

    def result(self) -> dict[str, Any] | None:
        """Returns the result of a finished run, or None; one that is damaged is set aside, to be made again."""
        return self.record("result.json")

    def record(self, name: str) -> dict[str, Any] | None:
        """Returns the JSON object `name`, which can be made again; None where there is none, or a damaged one.

        A damaged one, as a failing disk leaves it, is renamed to `damaged-...`, so that the run can go on.
        """
        path = self.path(name)
        try:
            return read_object(path) if path.exists() else None
        except CheckpointError as error:
            os.replace(path, self.path(f"damaged-{name}"))
            log.warning("%s It is set aside as damaged-%s, and the run goes on without it.", error, name)
            return None
