"""A lease has one holder, whatever happened to the one before."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from agents import lease
from agents.lease import LEASE_FILE, FolderHeld, Lease

FOREIGN = {"token": "theirs", "beat": 1, "machine": "another one", "process": 1, "born": 1}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fifth of the times."""
    for name in ("RENEW_SECONDS", "SETTLE_SECONDS", "STALE_SECONDS", "LOOK_SECONDS"):
        monkeypatch.setattr(lease, name, getattr(lease, name) / 5)


def never() -> None:
    raise AssertionError("the lease was lost")


def leave(folder: Path, **changes: object) -> None:
    (folder / LEASE_FILE).write_text(json.dumps(FOREIGN | changes).ljust(lease.BYTES))


def test_a_lease_names_its_holder_and_goes_with_it(tmp_path: Path) -> None:
    with Lease(tmp_path, lost=never):
        there = (tmp_path / LEASE_FILE).read_bytes()
        assert json.loads(there)["process"] == os.getpid()
        assert len(there) == lease.BYTES
    assert not (tmp_path / LEASE_FILE).exists()


@pytest.mark.slow
def test_a_lease_that_is_renewed_is_not_given_to_another(tmp_path: Path) -> None:
    entered = threading.Event()

    def second() -> None:
        with Lease(tmp_path, lost=never):
            entered.set()

    with Lease(tmp_path, lost=never):
        thread = threading.Thread(target=second, daemon=True)
        thread.start()
        assert not entered.wait(3 * lease.STALE_SECONDS)
        with pytest.raises(FolderHeld, match=f"process {os.getpid()} on"), Lease(tmp_path, lost=never, wait=False):
            pass
    assert entered.wait(5)
    thread.join()


def test_the_lease_of_a_process_of_this_machine_that_ended_is_taken_at_once(tmp_path: Path) -> None:
    script = f"import os, pathlib; from agents.lease import Lease; folder = pathlib.Path({str(tmp_path)!r})\n"
    script += "Lease(folder, lost=exit).__enter__(); os._exit(0)"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[2])
    assert (tmp_path / LEASE_FILE).exists()
    before = time.monotonic()
    with Lease(tmp_path, lost=never):
        assert time.monotonic() - before < lease.STALE_SECONDS / 2


@pytest.mark.parametrize("content", [json.dumps(FOREIGN), "", "["])
def test_a_silent_lease_of_another_machine_is_taken_when_it_is_stale(tmp_path: Path, content: str) -> None:
    (tmp_path / LEASE_FILE).write_text(content)
    before = time.monotonic()
    with Lease(tmp_path, lost=never):
        assert time.monotonic() - before > lease.STALE_SECONDS


@pytest.mark.slow
@pytest.mark.parametrize("ended_here", [False, True])
def test_of_several_that_find_a_dead_lease_one_holds_it_at_a_time(
    tmp_path: Path, ended_here: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(tmp_path)
    if ended_here:
        ended = subprocess.Popen(["true"])
        ended.wait()
        leave(tmp_path, **lease._here() | {"process": ended.pid})
        together, seen_ended = threading.Barrier(4), lease._ended_here

        def all_see(raw: bytes | None) -> bool:
            if found := seen_ended(raw):
                together.wait(10)
            return found

        monkeypatch.setattr(lease, "LOOK_SECONDS", 0.2)
        monkeypatch.setattr(lease, "_ended_here", all_see)
    inside, most = 0, 0
    guard = threading.Lock()

    def work() -> None:
        nonlocal inside, most
        with Lease(tmp_path, lost=never):
            with guard:
                inside += 1
                most = max(most, inside)
            time.sleep(2 * lease.RENEW_SECONDS)
            with guard:
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert most == 1


def test_a_holder_whose_lease_was_taken_is_told(tmp_path: Path) -> None:
    lost = threading.Event()
    with Lease(tmp_path, lost=lost.set):
        leave(tmp_path)
        assert lost.wait(10 * lease.RENEW_SECONDS)
    assert json.loads((tmp_path / LEASE_FILE).read_text())["token"] == "theirs"  # what is another's stays
