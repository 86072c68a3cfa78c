"""One run of a study at a time, as batch systems start them."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import fake_runs
import pytest

from agents.__main__ import main
from agents.compare import Study, compare_one, open_study, report
from vime import InvalidSettings

SCRIPT = Path(__file__).parents[3] / "scripts" / "slurm_array.sh"
QUICK = ("--tasks", "CartPole-v1", "--bonuses", "none", "--seeds", "2", "--steps", "256", "--environments", "2")
QUICK += ("--algorithm-settings", "n_steps=64", 'policy_kwargs={"net_arch":[8]}')


@pytest.mark.usefixtures("no_pictures")
def test_an_index_names_one_run_and_all_of_them_make_the_study(study: Study, tmp_path: Path) -> None:
    folders = [study.folder(tmp_path, config) for config in study.runs()]
    for index, folder in enumerate(folders):
        assert not folder.exists()
        assert compare_one(study, tmp_path, index, run=fake_runs.quick).status == "finished"
        assert folder.exists()
    assert [len((folder / "begun.txt").read_text().split()) for folder in folders] == [1] * 6
    report(tmp_path)
    assert [row["seeds"] for row in json.loads((tmp_path / "summary.json").read_text())] == [3, 3]


@pytest.mark.parametrize("index", [-1, 6])
def test_an_index_beyond_the_study_is_refused(study: Study, tmp_path: Path, index: int) -> None:
    with pytest.raises(InvalidSettings, match="6 runs, numbered 0 to 5"):
        compare_one(study, tmp_path, index, run=fake_runs.quick)
    assert not list(tmp_path.iterdir())


def test_an_index_is_one_of_the_study_as_it_has_grown(study: Study, tmp_path: Path) -> None:
    grown = open_study(replace(study, seeds=(0, 1, 2, 3, 4)), tmp_path)
    last = len(grown.runs()) - 1
    assert compare_one(study, tmp_path, last, run=fake_runs.quick).config == grown.runs()[last]


def test_a_study_that_stands_is_not_written_again(study: Study, tmp_path: Path) -> None:
    open_study(study, tmp_path)
    before = (tmp_path / "study.json").stat().st_mtime_ns
    open_study(study, tmp_path)
    assert (tmp_path / "study.json").stat().st_mtime_ns == before


@pytest.mark.slow
def test_the_array_script_runs_two_indices_and_the_report_has_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "study"
    assert main(["compare", *QUICK, "--out", str(out), "--count"]) == 0
    assert capsys.readouterr().out == "2\n"
    for index in ("0", "1"):
        place = {**os.environ, "SLURM_ARRAY_TASK_ID": index, "VIME": f"{sys.executable} -m agents"}
        done = subprocess.run(
            [str(SCRIPT), str(out)], env=place, cwd=SCRIPT.parents[1], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert f"seed {index}: finished" in done.stdout
    assert main(["report", str(out), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["seeds"], row["failed"], row["unfinished"]) == (2, 0, 0)


def test_a_run_that_fails_ends_its_job_with_its_reason(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_study(study, tmp_path)
    conduct = sys.modules["agents.compare.conduct"]
    monkeypatch.setattr(conduct, "launch", lambda runs, **_: [_failed(*runs[0])])
    with pytest.raises(SystemExit, match="seed 0: failed: ValueError: the pole fell off"):
        main(["compare", "--out", str(tmp_path), "--only", "0"])


def _failed(config, folder):  # type: ignore[no-untyped-def]
    from agents.compare.states import RunState

    return RunState(config, folder, status="failed", message="ValueError: the pole fell off")
