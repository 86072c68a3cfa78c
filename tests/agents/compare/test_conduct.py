import io
import json
from dataclasses import replace
from pathlib import Path

import fake_runs
import pytest
from rich.console import Console

from agents.compare import compare, table
from agents.compare.display import Display
from agents.compare.launch import RunState
from agents.compare.study import Study, run_folder
from vime import RunConflict, UnknownName


def shown(what: object, width: int = 100) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    console.print(what)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_compare_returns_the_rows_of_its_summary(study: Study, tmp_path: Path) -> None:
    rows = compare(study, tmp_path, jobs=2, display=False, run=fake_runs.quick)
    assert rows == json.loads((tmp_path / "summary.json").read_text())
    assert [(row["bonus"], row["seeds"]) for row in rows] == [("none", 3), ("vime", 3)]
    assert (tmp_path / "report.html").exists()


@pytest.mark.usefixtures("no_pictures")
def test_more_seeds_run_only_what_is_new(study: Study, tmp_path: Path) -> None:
    compare(study, tmp_path, display=False, run=fake_runs.quick)
    rows = compare(replace(study, seeds=(0, 1, 2, 3)), tmp_path, display=False, run=fake_runs.quick)
    assert {row["seeds"] for row in rows} == {4}
    assert [len(path.read_text().split()) for path in tmp_path.rglob("begun.txt")] == [1] * 8


@pytest.mark.usefixtures("no_pictures")
def test_failed_runs_are_in_the_rows_and_on_the_page(study: Study, tmp_path: Path) -> None:
    rows = compare(study, tmp_path, display=False, run=fake_runs.one_raises)
    assert [(row["seeds"], row["failed"]) for row in rows] == [(2, 1), (2, 1)]
    assert "the pole fell off" in (tmp_path / "report.html").read_text()


@pytest.mark.usefixtures("no_pictures")
def test_other_settings_touch_nothing(study: Study, tmp_path: Path) -> None:
    compare(study, tmp_path, display=False, run=fake_runs.quick)
    before = (tmp_path / "study.json").read_bytes()
    with pytest.raises(RunConflict, match="`steps`"):
        compare(replace(study, base=replace(study.base, steps=1)), tmp_path, display=False, run=fake_runs.quick)
    assert (tmp_path / "study.json").read_bytes() == before


@pytest.mark.usefixtures("no_pictures")
def test_settings_may_be_put_right_where_every_run_failed_at_its_start(study: Study, tmp_path: Path) -> None:
    compare(study, tmp_path, display=False, run=fake_runs.refuses)
    other = replace(study, base=replace(study.base, steps=30_000))
    rows = compare(other, tmp_path, display=False, run=fake_runs.takes_its_folder)
    assert [(row["seeds"], row["failed"]) for row in rows] == [(3, 0), (3, 0)]
    assert json.loads((tmp_path / "study.json").read_text())["base"]["steps"] == 30_000
    with pytest.raises(RunConflict, match="`steps`"):  # these have learnt
        compare(study, tmp_path, display=False, run=fake_runs.takes_its_folder)


@pytest.mark.usefixtures("no_pictures")
def test_settings_stay_where_one_run_has_learnt(study: Study, tmp_path: Path) -> None:
    compare(study, tmp_path, display=False, run=fake_runs.one_raises)
    with pytest.raises(RunConflict, match="`steps`"):
        compare(replace(study, base=replace(study.base, steps=1)), tmp_path, display=False, run=fake_runs.quick)


def test_an_unknown_name_leaves_no_folder(study: Study, tmp_path: Path) -> None:
    with pytest.raises(UnknownName):
        compare(replace(study, bonuses=("vimee",)), tmp_path / "new", display=False, run=fake_runs.quick)
    assert not (tmp_path / "new").exists()


def test_interrupt_says_how_to_go_on(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("agents.compare.conduct.launch", interrupted)
    with pytest.raises(KeyboardInterrupt, match=r"0 of 6 runs are finished(.|\n)*vime compare --tasks"):
        compare(study, tmp_path, display=False)


@pytest.mark.usefixtures("no_pictures")
def test_table_fits_eighty_columns(study: Study, tmp_path: Path) -> None:
    rows = compare(study, tmp_path, display=False, run=fake_runs.quick)
    text = shown(table(rows), width=80)
    assert "…" not in text
    for word in ("vime/SparseMountainCar-v0", "11.0", "10.0 to 12.0", "3 of 3", "1,000", "never"):
        assert word in text


@pytest.fixture
def states(study: Study, tmp_path: Path) -> list[RunState]:
    """Six runs: two finished, one failed, one under way, two waiting."""
    runs = [RunState(config, run_folder(tmp_path, config)) for config in study.runs()]
    for state, status in zip(runs, ("finished", "finished", "failed", "running"), strict=False):
        state.status = status  # type: ignore[assignment]
        state.started, state.seconds = 1.0, 75.0
    runs[0].episode_return, runs[0].step = 0.0, 20_000
    runs[1].episode_return, runs[1].step, runs[1].first_reward_step = 64.0, 20_000, 12_288
    runs[2].message = "ValueError: [bold] pole"
    runs[3].episode_return, runs[3].step = 6.0, 10_000
    return runs


def test_live_table_shows_every_row_and_failure(states: list[RunState]) -> None:
    text = shown(Display("Which?").view(states))
    assert "35.0" in text  # the mean of what the two curious seeds have so far
    assert "1 of 2" in text
    assert "2 of 6 runs finished, 1 running, 1 failed" in text
    assert "left" in text
    assert "ValueError: [bold] pole" in text


def test_live_table_of_many_seeds_fits(states: list[RunState], study: Study, tmp_path: Path) -> None:
    many = [RunState(config, tmp_path) for config in replace(study, seeds=tuple(range(30))).runs()]
    text = shown(Display("Which?").view([*states, *many]), width=100)
    assert max(len(line) for line in text.splitlines()) <= 100
    assert "…" not in text


def test_live_table_of_many_rows_shows_those_that_move(study: Study, tmp_path: Path) -> None:
    names = ("none", "vime", "rnd", "icm", "ngu", "re3", "ride", "e3b", "girm", "lpm", "deir", "ex2", "revd", "rise")
    wide = replace(study, bonuses=names, controls=("trpo",))
    runs = [RunState(config, tmp_path) for config in wide.runs()]
    moving = next(state for state in runs if state.config.algorithm == "trpo")
    moving.status = "running"
    console = Console(width=100, height=20, file=io.StringIO(), force_terminal=False)
    text = shown(Display("Which?", console).view(runs))
    assert "none (trpo)" in text
    assert "and 9 rows more" in text
    assert len(text.splitlines()) <= 20


def test_without_a_terminal_every_ending_is_told_once_in_a_line(states: list[RunState]) -> None:
    console = Console(file=io.StringIO(), width=60)
    with Display("Which?", console) as display:
        display(states)
        display(states)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(lines) == 3
    assert lines[1].endswith("vime seed 0: return 64.0, first reward at step 12,288, 1 min 15 s")
    assert "failed: ValueError: [bold] pole (see " in lines[2]


@pytest.mark.slow
def test_real_runs_make_a_study(study: Study, tmp_path: Path) -> None:
    small = replace(study, seeds=(0,), base=replace(study.base, steps=12_000))
    rows = compare(small, tmp_path, display=False)
    assert [(row["bonus"], row["seeds"], row["failed"]) for row in rows] == [("none", 1, 0), ("vime", 1, 0)]
    assert all(row["iqm"] is not None and row["cpu_seconds"] > 0 for row in rows)
    assert (tmp_path / "coverage.png").exists()
