import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing import forkserver
from pathlib import Path

import fake_runs
import pytest

from agents.compare.launch import RunState, default_jobs, launch, study_lock
from agents.compare.study import Study, run_folder
from agents.compare.worker import Run
from agents.lease import BYTES, LEASE_FILE
from vime import InvalidSettings, RunConflict


@pytest.fixture
def start(study: Study, tmp_path: Path) -> Callable[..., dict[tuple[str, int], RunState]]:
    """Launches the study and returns its states by bonus and seed."""

    def go(run: Run, **settings: object) -> dict[tuple[str, int], RunState]:
        runs = [(config, run_folder(tmp_path, config)) for config in study.runs()]
        states = launch(runs, run=run, **settings)  # type: ignore[arg-type]
        return {(state.config.bonus, state.config.seed): state for state in states}

    return go


Start = Callable[..., dict[tuple[str, int], RunState]]


def begun(states: dict[tuple[str, int], RunState]) -> list[int]:
    """Returns how often each run was taken up."""
    return [len((s.folder / "begun.txt").read_text().split()) for s in states.values()]


def test_every_run_is_run_once_in_a_process_of_its_own(start: Start) -> None:
    states = start(fake_runs.quick)
    assert {state.status for state in states.values()} == {"finished"}
    assert begun(states) == [1] * 6
    processes = {(state.folder / "begun.txt").read_text() for state in states.values()}
    assert len(processes) == 6


def test_finished_runs_are_not_repeated(start: Start) -> None:
    start(fake_runs.quick)
    again = start(fake_runs.quick)
    assert begun(again) == [1] * 6
    assert {state.status for state in again.values()} == {"finished"}


def test_a_run_that_raises_leaves_its_traceback_and_the_others_finish(start: Start) -> None:
    states = start(fake_runs.one_raises)
    failed = [key for key, state in states.items() if state.status == "failed"]
    assert failed == [("none", 1), ("vime", 1)]
    state = states["vime", 1]
    assert state.message == "ValueError: the pole fell off"
    text = (state.folder / "error.txt").read_text()
    assert "Traceback" in text
    assert "in one_raises" in text
    assert "about to fail" in (state.folder / "output.txt").read_text()


def test_a_failed_run_is_tried_again_and_its_traceback_goes(start: Start) -> None:
    start(fake_runs.one_raises)
    states = start(fake_runs.quick)
    assert {state.status for state in states.values()} == {"finished"}
    assert sorted(begun(states)) == [1, 1, 1, 1, 2, 2]
    assert not (states["vime", 1].folder / "error.txt").exists()


def test_a_killed_worker_is_reported_and_the_others_finish(start: Start) -> None:
    states = start(fake_runs.one_is_killed)
    assert [state.status for state in states.values()].count("finished") == 4
    state = states["none", 1]
    assert state.status == "failed"
    text = (state.folder / "error.txt").read_text()
    assert "SIGKILL at step 700 of 20,000" in text
    assert "last words" in text


def test_a_run_that_leaves_no_result_has_failed(start: Start) -> None:
    states = start(fake_runs.leaves_nothing)
    assert {state.message for state in states.values()} == {"The run ended without leaving a result."}


def test_workers_use_the_threads_of_the_configuration(start: Start) -> None:
    states = start(fake_runs.reports_threads)
    assert {(state.folder / "threads.txt").read_text() for state in states.values()} == {"1 1"}


@pytest.mark.parametrize("jobs", [1, 3])
def test_no_more_runs_at_a_time_than_jobs(start: Start, jobs: int) -> None:
    most = 0

    def watch(states: Sequence[RunState]) -> None:
        nonlocal most
        most = max(most, sum(state.status == "running" for state in states))

    start(fake_runs.quick, jobs=jobs, watch=watch)
    assert most == jobs


def test_no_jobs_are_refused(start: Start) -> None:
    with pytest.raises(InvalidSettings, match="at least 1"):
        start(fake_runs.quick, jobs=0)


def test_default_jobs_are_the_cores_that_may_be_used() -> None:
    assert 1 <= default_jobs() <= (os.cpu_count() or 1)


def test_interrupt_lets_workers_save_and_the_next_launch_goes_on(start: Start, tmp_path: Path) -> None:
    def interrupt(states: Sequence[RunState]) -> None:
        if sum((state.folder / "begun.txt").exists() for state in states) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start(fake_runs.saves_when_stopped, jobs=2, watch=interrupt)
    assert len(list(tmp_path.rglob("saved.txt"))) == 2
    assert not list(tmp_path.rglob("error.txt"))
    for path in tmp_path.rglob("begun.txt"):
        (path.parent / "saved.txt").write_text("here")
    for bonus in ("none", "vime"):
        for seed in (1, 2):
            folder = tmp_path / "runs" / "vime-SparseMountainCar-v0" / bonus / f"seed-{seed}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "saved.txt").write_text("here")
    states = start(fake_runs.saves_when_stopped)
    assert {state.status for state in states.values()} == {"finished"}


@pytest.mark.slow
def test_runs_go_on_when_the_fork_server_is_killed(start: Start) -> None:
    killed: list[int] = []

    def kill(states: Sequence[RunState]) -> None:
        if not killed and all((state.folder / "begun.txt").exists() for state in states[:2]):
            killed.append(forkserver._forkserver._forkserver_pid)  # type: ignore[attr-defined]
            os.kill(killed[0], signal.SIGKILL)

    def rest(states: Sequence[RunState]) -> None:
        for state in states[2:]:
            state.folder.mkdir(parents=True, exist_ok=True)
            (state.folder / "saved.txt").write_text("here")
        kill(states)

    states = start(fake_runs.saves_when_stopped, jobs=2, watch=rest)
    assert {state.status for state in states.values()} == {"finished"}
    assert sorted(state.lost for state in states.values()) == [0, 0, 0, 0, 1, 1]
    assert sorted(begun(states)) == [1, 1, 1, 1, 2, 2]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_save_and_end_when_their_launcher_is_killed(tmp_path: Path, number: signal.Signals) -> None:
    script = tmp_path / "launcher.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import sys
            sys.path.insert(0, {str(Path(fake_runs.__file__).parent)!r})
            import fake_runs
            from pathlib import Path
            from agents.compare.launch import launch
            from agents.config import RunConfig

            if __name__ == "__main__":
                launch([(RunConfig(task="x"), Path({str(tmp_path / "run")!r}))], run=fake_runs.saves_when_stopped)
            """
        )
    )
    launcher = subprocess.Popen([sys.executable, str(script)], cwd=Path(__file__).parents[3])
    begun = tmp_path / "run" / "begun.txt"
    try:
        _until(begun.exists)
        worker = int(begun.read_text())
        launcher.send_signal(number)
        _until(lambda: not _alive(worker))
        assert (tmp_path / "run" / "saved.txt").exists()
    finally:
        launcher.kill()
        launcher.wait()


def test_a_second_launcher_is_kept_out_of_a_study(tmp_path: Path) -> None:
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with study_lock(tmp_path):
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait(10)
    with pytest.raises(RunConflict, match="at work"), study_lock(tmp_path):
        pass
    leave.set()
    thread.join()
    with study_lock(tmp_path):
        pass


def test_a_launcher_whose_study_another_took_over_says_so(tmp_path: Path) -> None:
    def work() -> None:
        with study_lock(tmp_path):
            lease = tmp_path / LEASE_FILE
            record = json.loads(lease.read_text()) | {"token": "of another"}
            lease.write_text(json.dumps(record).ljust(BYTES))
            time.sleep(20)  # which the keeper of the lease ends

    with pytest.raises(RunConflict, match="took over"):
        work()


def _until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def _alive(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("piped", [False, True])
def test_a_script_that_asks_for_no_name_launches_its_study_once(piped: bool, tmp_path: Path) -> None:
    lines = f"""
from agents import RunConfig
from agents.compare import Study, compare
base = RunConfig(task="CartPole-v1", steps=128, environments=2, algorithm_settings={{"n_steps": 32, "batch_size": 64}})
rows = compare(Study(tasks=("CartPole-v1",), bonuses=("none",), seeds=(0,), base=base), {str(tmp_path / "out")!r})
print("runs that failed:", sum(row["failed"] for row in rows))
"""
    script = tmp_path / "script.py"
    script.write_text(lines)
    words = [sys.executable, "-"] if piped else [sys.executable, str(script)]
    here = Path(__file__).parents[3]
    told = subprocess.run(
        words, input=lines if piped else None, capture_output=True, text=True, cwd=here,
        env={**os.environ, "PYTHONPATH": str(here)}, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines()[-1] == "runs that failed: 0"
