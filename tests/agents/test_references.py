import csv
import json
from pathlib import Path

import pytest

from agents.references import REFERENCES, is_solved, normalised

MEASURED = Path(__file__).parents[2] / "results" / "random_scores.json"


@pytest.mark.parametrize("task", REFERENCES)
def test_random_actions_have_zero_and_the_best_one(task: str) -> None:
    reference = REFERENCES[task]
    assert normalised(task, reference.random) == 0
    assert normalised(task, reference.best) == 1
    assert reference.random < reference.solved <= reference.best
    assert reference.source
    assert is_solved(task, reference.solved)
    assert not is_solved(task, reference.random)


def test_halfway_between_them_is_a_half() -> None:
    reference = REFERENCES["vime/SparseCartPoleSwingupWeak-v0"]
    assert normalised("vime/SparseCartPoleSwingupWeak-v0", (reference.random + reference.best) / 2) == pytest.approx(
        0.5
    )


def test_a_task_without_reference_has_no_scale() -> None:
    assert normalised("CartPole-v1", 100.0) is None
    assert is_solved("CartPole-v1", 100.0) is None


def test_scores_of_random_actions_are_those_measured() -> None:
    rows = json.loads(MEASURED.read_text())["rows"]
    assert set(REFERENCES) <= set(rows)
    for task, reference in REFERENCES.items():
        assert reference.random == pytest.approx(rows[task]["mean"], abs=5e-4)


OWN = {task: reference for task, reference in REFERENCES.items() if reference.source.startswith("own measurement")}


@pytest.mark.parametrize("task", OWN)
def test_the_best_of_our_own_runs_is_the_best_that_was_measured(task: str) -> None:
    """Of the task itself, or of the same without noise where `source` says so."""
    named = task.replace("NoisyTV", "") if "without noise" in OWN[task].source else task
    runs = {
        f"{table.parent.name} ({row['bonus']}, seed {row['seed']})": float(row["final_return"])
        for table in sorted((MEASURED.parent).glob("*/scores.csv"))
        for row in csv.DictReader(table.open())
        if row["task"] == named and row["final_return"]
    }
    best = max(runs, key=lambda run: runs[run])
    assert best in OWN[task].source
    assert OWN[task].best == pytest.approx(runs[best], abs=0.05)
