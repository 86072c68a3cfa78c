import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fake_runs
import pytest

from agents.compare import live
from agents.compare.live import LivePage, Watcher
from agents.compare.store import open_study
from agents.compare.study import Study
from vime import InvalidData, InvalidSettings

Make = Callable[..., Path]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """News is looked for at every request."""
    monkeypatch.setattr(live, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(live, "PACE", 0.0)


@contextmanager
def served(out: Path) -> Iterator[str]:
    """The address of the page of the study in `out`, while it is served by another thread."""
    with LivePage(out) as page:
        thread = threading.Thread(target=page.serve)
        thread.start()
        try:
            yield page.address
        finally:
            page.stop()
            thread.join()


def ask(address: str, path: str = "/", method: str = "GET", **headers: str) -> tuple[int, bytes, dict[str, str]]:
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=20)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    found = answer.status, answer.read(), dict(answer.getheaders())
    connection.close()
    return found


def state(out: Path) -> dict[str, Any]:
    return json.loads(Watcher(out).snapshot().data)


def finish(study: Study, out: Path, index: int) -> None:
    config = study.runs()[index]
    fake_runs.leave_run(config, study.folder(out, config), first=100)


def test_the_page_and_its_data_are_served_and_nothing_else(study: Study, make_finished: Make) -> None:
    with served(make_finished(study, without=2)) as address:
        assert address.startswith("http://127.0.0.1:")
        status, page, headers = ask(address)
        assert (status, page.startswith(b"<!doctype html>")) == (200, True)
        assert "connect-src 'self'" in headers["Content-Security-Policy"]
        assert json.loads(ask(address, "/data.json")[1])["counts"]["finished"] == 4
        for path in ("/study.json", "/../study.json", "/runs/", "/%2e%2e/study.json", "//etc/passwd", "/index.html"):
            assert ask(address, path)[0] == 404, path
        assert ask(address, "/", "POST")[0] == 501
        status, body, headers = ask(address, "/", "HEAD")
        assert (status, body) == (200, b"")
        assert int(headers["Content-Length"]) == len(page)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        *((host, 200) for host in ("127.0.0.1:80", "localhost", "LOCALHOST:99", "[::1]:8", "[::1]")),
        *((host, 403) for host in ("evil.example", "evil.example:8765", "127.0.0.1.evil.example", "")),
    ],
)
def test_a_page_elsewhere_that_poses_as_this_machine_is_refused(
    study: Study, make_finished: Make, host: str, expected: int
) -> None:
    with served(make_finished(study)) as address:
        status, body, _ = ask(address, "/data.json", Host=host)
        assert status == expected
        assert (b"vime" in body) == (expected == 200)


def test_data_are_sent_again_only_when_a_run_has_moved_on(study: Study, make_finished: Make) -> None:
    out = make_finished(study, without=2)
    with served(out) as address:
        _, before, headers = ask(address, "/data.json")
        known = {"If-None-Match": headers["ETag"]}
        assert ask(address, "/data.json", **known)[:2] == (304, b"")
        finish(study, out, -1)
        status, after, _ = ask(address, "/data.json", **known)
        assert status == 200
        finished = [json.loads(data)["counts"]["finished"] for data in (before, after)]
        assert finished == [4, 5]


def test_it_says_whether_the_study_runs_has_stopped_or_has_ended(
    study: Study, make_finished: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = make_finished(study, without=2)
    config = study.runs()[-1]
    fake_runs.leave_run(config, study.folder(out, config), finished=False)
    running = state(out)
    assert running["live"] == {"state": "running", "text": "live: 4 of 6 runs finished, 1 under way"}
    assert (running["counts"]["running"], running["counts"]["unfinished"], running["counts"]["missing"]) == (1, 0, 1)
    assert running["gaps"] == []  # what is not finished yet is no gap while it runs
    monkeypatch.setattr(live, "STILL_SECONDS", 0.0)
    stopped = state(out)
    assert stopped["live"]["state"] == "stopped"
    assert "2 are not finished" in stopped["live"]["text"]
    assert any("Not finished: 1 of 6 runs" in text for text in stopped["gaps"])
    for index in (-2, -1):
        finish(study, out, index)
    assert state(out)["live"] == {"state": "ended", "text": "the study has ended"}


def test_a_study_of_which_nothing_has_begun_is_not_said_to_stand_still(study: Study, make_finished: Make) -> None:
    told = state(make_finished(study, without=6))["live"]
    assert told == {"state": "waiting", "text": "6 of 6 runs have not begun yet, and none is under way"}


def test_a_study_that_is_moved_away_is_said_and_may_come_back(study: Study, make_finished: Make) -> None:
    out = make_finished(study)
    with served(out) as address:
        out.rename(out.with_name("elsewhere"))
        status, body, _ = ask(address)
        assert (status, b"holds no study" in body) == (503, True)
        out.with_name("elsewhere").rename(out)
        assert ask(address)[0] == 200


def test_a_folder_without_study_and_a_port_that_is_taken_are_refused(
    study: Study, make_finished: Make, tmp_path: Path
) -> None:
    with pytest.raises(InvalidData, match="no study"):
        LivePage(tmp_path / "nothing")
    out = make_finished(study)
    with served(out) as address, pytest.raises(InvalidSettings, match="choose another"):
        LivePage(out, urlsplit(address).port or 0)
    with pytest.raises(InvalidSettings, match="65535"):
        LivePage(out, 70_000)


def test_command_says_where_the_page_is_and_ends_with_ctrl_c(study: Study, make_finished: Make) -> None:
    out = make_finished(study)
    before = sorted(out.iterdir())
    words = [sys.executable, "-m", "agents", "report", str(out), "--live", "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            address = line.split(" is at ")[1].split()[0]
            assert ask(address)[0] == 200
            os.kill(process.pid, signal.SIGINT)
            rest, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, "")
    assert "no longer served" in rest
    assert sorted(out.iterdir()) == before


def test_news_reach_an_open_page_and_leave_its_toggles_alone(browser: Any, study: Study, make_finished: Make) -> None:
    out = make_finished(study, without=2)
    with served(out) as address:
        page = browser.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        assert "4 of 6 runs finished" in page.locator("#live").inner_text()
        page.locator('.chip[data-key="chip none"]').click()
        page.locator("#xscale-log").check(force=True)
        page.locator("#settings summary").first.click()
        for index in (-2, -1):
            finish(study, out, index)
        page.locator("#live.ended").wait_for(timeout=20_000)
        assert "the study has ended" in page.locator("#live").inner_text()
        assert page.locator('.chip[data-key="chip none"]').get_attribute("aria-pressed") == "false"
        assert page.locator("#xscale-log").is_checked()
        assert page.locator("#settings details").first.get_attribute("open") is not None
        assert complaints == []
        page.close()


def test_an_open_page_sees_that_a_study_which_had_ended_grows(browser: Any, study: Study, make_finished: Make) -> None:
    out = make_finished(study)
    with served(out) as address:
        page = browser.new_page()
        page.clock.install()
        page.goto(address)
        page.clock.fast_forward(5_000)
        page.locator("#live.ended").wait_for(timeout=20_000)
        open_study(replace(study, seeds=(0, 1, 2, 3)), out)
        page.clock.fast_forward(5_000)
        page.wait_for_timeout(200)
        assert page.locator("#live.ended").count() == 1  # it asks less often
        page.clock.fast_forward(60_000)
        page.locator("#live.running").wait_for(timeout=20_000)
        assert "6 of 8 runs finished" in page.locator("#live").inner_text()
        page.close()
