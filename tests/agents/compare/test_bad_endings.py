"""Whatever befalls one run of a study is told in a clear line, and costs no other run anything."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import fake_runs
import pytest
import torch

from agents.compare import Study, compare, report
from agents.compare.launch import launch

ENDINGS = {
    1: "MemoryError: no room for the replay buffer",
    2: "killed by SIGSEGV",
    3: "exit code 7",
    4: "killed by SIGKILL at step 0 of 20,000. The system does so when memory runs out.",
    5: "There is no room left on the disk of",
}


@pytest.mark.usefixtures("no_pictures")
def test_every_way_to_end_is_told_and_the_rest_goes_on(study: Study, tmp_path: Path) -> None:
    seven = replace(study, bonuses=("none",), seeds=tuple(range(7)))
    runs = [(config, seven.folder(tmp_path, config)) for config in seven.runs()]
    states = launch(runs, run=fake_runs.ends_in_every_way, jobs=2)
    for state in states:
        told = ENDINGS.get(state.config.seed)
        assert state.status == ("finished" if told is None else "failed")
        assert told is None or told in state.message
        assert told is None or (state.folder / "error.txt").exists()
    full = runs[5][1]
    assert torch.load(full / "checkpoint.pt", weights_only=True)["run"].shape == (10,)  # the last whole one stays
    assert not list(full.glob(".*.tmp"))
    (row,) = compare(seven, tmp_path, display=False, run=fake_runs.quick)
    assert (row["seeds"], row["failed"]) == (7, 0)
    assert [len((folder / "begun.txt").read_text().split()) for _, folder in runs] == [1, 2, 2, 2, 2, 2, 1]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut in a line": lambda whole: whole[: len(whole) * 2 // 3],
    "empty": lambda whole: b"",
    "garbage": lambda whole: bytes(range(256)) * 9,
    "garbage at its end": lambda whole: whole + b"\x00\xff\x00,\n,,,\n1e999,x\n",
    "an object of another kind": lambda whole: b'{"steps": [1], "final_return": "high", "first_reward_step": {}}',
}


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", ["metrics.csv", "result.json", "progress.json", "config.json", "versions.json"])
def test_a_damaged_file_of_a_run_harms_no_report_and_no_launch(
    study: Study, make_finished: Callable[..., Path], name: str, damage: str
) -> None:
    out = make_finished(study)
    folder = study.folder(out, study.runs()[1])
    before = (folder / name).read_bytes() if (folder / name).exists() else b"{}"
    (folder / name).write_bytes(DAMAGE[damage](before))
    report(out)
    rows = json.loads((out / "summary.json").read_text())
    assert sum(row["seeds"] for row in rows) >= 5
    runs = [(config, study.folder(out, config)) for config in study.runs()]
    states = launch(runs, run=fake_runs.quick)
    assert {state.status for state in states} == {"finished"}
    again = [folder for _, folder in runs if (folder / "begun.txt").exists()]
    assert again in ([], [folder])
