"""The page of a study while it runs: served on this machine alone, and made anew when the runs have moved on."""

import hashlib
import json
import threading
import time
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from agents.compare.content import STATUSES, mixed
from agents.compare.page import html, policy_of
from agents.compare.records import RunRecord, run_folders
from agents.compare.report import find, shown
from agents.compare.verdict import gaps
from vime.errors import InvalidSettings, VimeError

LOOPBACK = "127.0.0.1"
HOSTS = frozenset({LOOPBACK, "localhost", "[::1]"})
"""Names by which a browser here may call the server; any other is a page elsewhere that poses as this machine."""
STILL_SECONDS = 120.0
"""A run whose files have not changed for so long is not taken to be under way."""
PACE = 6.0
"""After making the page, so many times as long is waited before it is made again: looking on costs a run little."""
LEAST_SECONDS = 2.0
WATCHED = ("result.json", "progress.json", "metrics.csv", "error.txt")


class Snapshot(NamedTuple):
    """What the server has to say at one moment."""

    page: bytes
    data: bytes
    tag: str
    """Changes with the data."""
    policy: str


class Watcher:
    """Makes page and data of the study in `out` when they are asked for and something has changed.

    Raises:
        InvalidData: the folder holds neither a study nor a run.
        RunConflict: the description of the study cannot be read.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self._lock = threading.Lock()
        self._seen: object = None
        self._next = 0.0
        self._snapshot = self._make(self._look())

    def snapshot(self) -> Snapshot:
        """Returns what there is to say now; that of a moment ago where too little time has passed."""
        with self._lock:
            if time.monotonic() >= self._next:
                seen = self._look()
                if seen != self._seen:
                    self._snapshot = self._make(seen)
            return self._snapshot

    def _look(self) -> tuple[Any, ...]:
        """Returns what changes when a run has moved on, when one begins, and when one has been still for long."""
        moved = {folder: _changed(folder) for _, folder in run_folders(self.out)}
        under_way = tuple(folder for folder, when in moved.items() if time.time() - when < STILL_SECONDS)
        return tuple(moved.values()), under_way

    def _make(self, seen: tuple[Any, ...]) -> Snapshot:
        started = time.monotonic()
        found = find(self.out)
        content = shown(self.out, found, {})
        content |= progress(found.records, set(seen[1]))
        data = json.dumps(content, allow_nan=False, separators=(",", ":")).encode()
        page = html(content, found.rows, live=True)
        self._seen = seen
        ended = time.monotonic()
        self._next = ended + max(LEAST_SECONDS, PACE * (ended - started))
        return Snapshot(page.encode(), data, f'"{hashlib.sha256(data).hexdigest()[:32]}"', policy_of(page))


def progress(records: Sequence[RunRecord], under_way: set[Path]) -> dict[str, Any]:
    """Returns the parts of the content that tell of a study which may still run: `counts`, `live` and `gaps`."""
    counts = {status: sum(record.status == status for record in records) for status in STATUSES}
    running = sum(record.status == "unfinished" and record.folder in under_way for record in records)
    left = counts["unfinished"] + counts["missing"]
    state = "ended" if not left else "running" if under_way else "stopped" if counts["unfinished"] else "waiting"
    texts = {
        "ended": "the study has ended",
        "running": f"live: {counts['finished']:,} of {len(records):,} runs finished, {running:,} under way",
        "waiting": f"{left:,} of {len(records):,} runs have not begun yet, and none is under way",
        "stopped": f"no run has moved for {STILL_SECONDS / 60:.0f} minutes or more, and {left:,} are not finished",
    }
    told = gaps(records) if state != "running" else gaps([r for r in records if r.status in ("finished", "failed")])
    return {
        "live": {"state": state, "text": texts[state]},
        "counts": {"runs": len(records), **counts, "running": running, "unfinished": counts["unfinished"] - running},
        "gaps": [*told, *mixed(records)],
    }


def _changed(folder: Path) -> float:
    """Returns when a file of the run changed last, s since the epoch; 0 where there is none."""
    times = [0.0]
    for name in WATCHED:
        try:
            times.append((folder / name).stat().st_mtime)
        except OSError:
            continue
    return max(times)


class LivePage:
    """A server of the page of the study in `out`, on this machine alone; used as a context.

    Args:
        out: folder of the study.
        port: where it listens; 0 takes any free one.

    Raises:
        InvalidSettings: the port is taken, or cannot be.
        InvalidData: the folder holds neither a study nor a run.
        RunConflict: the description of the study cannot be read.
    """

    def __init__(self, out: Path, port: int = 0) -> None:
        if not 0 <= port < 2**16:
            raise InvalidSettings(f"`port` must be from 0 (any free one) to 65535; got {port}.")
        handler = type("Handler", (_Handler,), {"watcher": Watcher(Path(out))})
        try:
            self._server = ThreadingHTTPServer((LOOPBACK, port), handler)
        except OSError as error:
            raise InvalidSettings(f"Port {port} cannot be had ({error.strerror}): choose another, or 0.") from error
        self._server.daemon_threads = True

    @property
    def address(self) -> str:
        """Where a browser finds the page."""
        return f"http://{LOOPBACK}:{self._server.server_address[1]}/"

    def serve(self) -> None:
        """Answers until `stop` is called from another thread, or Ctrl-C comes."""
        self._server.serve_forever(poll_interval=0.2)

    def stop(self) -> None:
        """Ends `serve`."""
        self._server.shutdown()

    def __enter__(self) -> "LivePage":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """Answers for the page and its data, and for nothing else on the disk."""

    watcher: Watcher
    server_version, sys_version = "vime", ""
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        """Sends the page or its data."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Sends what comes before them."""
        self._answer(with_body=False)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: the terminal belongs to whoever started the server."""

    def _answer(self, *, with_body: bool) -> None:
        host = self.headers.get("Host", "")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if name.lower() not in HOSTS:
            return self._send(HTTPStatus.FORBIDDEN, b"This server answers on this machine only.\n", with_body)
        path = urlsplit(self.path).path
        if path not in ("/", "/data.json"):
            return self._send(HTTPStatus.NOT_FOUND, b"There is only the page at / and its data.\n", with_body)
        try:
            now = self.watcher.snapshot()
        except (VimeError, OSError) as error:  # the study is being moved, or is gone
            return self._send(HTTPStatus.SERVICE_UNAVAILABLE, f"{error}\n".encode(), with_body)
        if path == "/":
            policy = {"Content-Security-Policy": f"{now.policy}; frame-ancestors 'none'"}
            return self._send(HTTPStatus.OK, now.page, with_body, "text/html", policy)
        if self.headers.get("If-None-Match") == now.tag:
            return self._send(HTTPStatus.NOT_MODIFIED, b"", False, "application/json", {"ETag": now.tag})
        return self._send(HTTPStatus.OK, now.data, with_body, "application/json", {"ETag": now.tag})

    def _send(
        self,
        status: HTTPStatus,
        body: bytes,
        with_body: bool,
        kind: str = "text/plain",
        headers: dict[str, str] | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        fixed = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
        for name, value in {**fixed, "Cross-Origin-Resource-Policy": "same-origin", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)
