import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from agents.compare.ranking import ranking, with_ranks
from agents.compare.records import RunRecord
from agents.compare.scales import scales
from agents.compare.scores import summarise
from agents.compare.verdict import headline
from agents.compare.wording import markdown, table
from agents.config import RunConfig
from agents.names import BONUSES

TASKS = ("vime/SparseCartPoleSwingupWeak-v0", "vime/MiniGrid-ObstructedMaze-2Dlh-v0")


def study(bonuses: tuple[str, ...], tasks: tuple[str, ...] = TASKS) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows and ranking of a study whose bonuses get better from the first to the last; five seeds."""
    records = []
    for task in tasks:
        high = 80.0 if "CartPole" in task else 1.0
        for place, bonus in enumerate(bonuses):
            for seed in range(5):
                score = high * (place + 0.3 * seed / 5) / len(bonuses)
                config = RunConfig(task=task, bonus=bonus, seed=seed, steps=10_000_000)
                result = {"final_return": score, "first_reward_step": 9_123_456, "cpu_seconds": 5.0}
                records.append(RunRecord(config=config, folder=Path("nowhere"), status="finished", result=result))
    told = ranking(records, scales(records))
    return with_ranks(summarise(records), told), told


def shown(rows: list[dict[str, Any]], told: dict[str, Any] | None) -> str:
    console = Console(width=100, file=io.StringIO(), force_terminal=False)
    console.print(table(rows, told))
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def everything() -> tuple[list[dict[str, Any]], dict[str, Any]]:
    return study(tuple(BONUSES))


def test_table_of_every_bonus_stays_within_a_hundred_columns(everything: tuple[Any, Any]) -> None:
    text = shown(*everything)
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    for bonus in BONUSES:
        rows = [line for line in text.splitlines() if line.split()[1:2] == [bonus] or f") {bonus} " in line]
        assert len(rows) == 3  # on each task, and over both


def test_table_has_the_best_first_and_ends_with_all_tasks_together(everything: tuple[Any, Any]) -> None:
    last = list(BONUSES)[-1]
    parts = shown(*everything).split("All 2 tasks")
    assert len(parts) == 2
    for part in parts:
        first = next(line for line in part.splitlines() if line.split()[:1] == ["1"])
        assert last in first
    assert "2 of 2" in parts[1]
    assert "All" not in shown(*study(("none", "rnd"), TASKS[:1]))


def test_headline_names_the_best_and_counts_the_others(everything: tuple[Any, Any]) -> None:
    rows, told = everything
    over_all, *each = headline(rows, told)
    best = list(BONUSES)[::-1]
    assert over_all.startswith(f"All 2 tasks, by interquartile mean of the normalised scores: {best[0]} ")
    assert f"the control 0.0{round(told['contenders'][-1]['iqm'] * 100)}, rank" in over_all
    assert len(each) == 2
    assert f"{len(BONUSES) - 4} other bonuses ended at " in each[0]
    assert max(map(len, (over_all, *each))) < 1000


def test_headline_of_three_names_all(everything: tuple[Any, Any]) -> None:
    rows, told = study(("none", "rnd", "icm"), TASKS[:1])
    (text,) = headline(rows, told)
    assert "other" not in text
    assert "icm found a reward on 5 of 5 seeds" in text
    assert "rnd found" in text
    assert "the control (none) found" in text


def test_markdown_has_ranks_with_intervals() -> None:
    text = markdown(study(("none", "rnd"), TASKS[:1])[0])
    header, _, first, second = text.splitlines()
    assert header.split(" | ")[1:3] == ["rank", "bonus"]
    assert first.split(" | ")[1:3] == ["1", "rnd"]
    assert second.split(" | ")[1:3] == ["2", "none"]


def test_ranks_that_overlap_have_their_interval() -> None:
    generator = np.random.default_rng(0)
    records = [
        RunRecord(
            config=RunConfig(task="A-v0", bonus=bonus, seed=seed),
            folder=Path("nowhere"),
            status="finished",
            result={"final_return": float(generator.normal())},
        )
        for bonus in ("none", "rnd")
        for seed in range(5)
    ]
    told = ranking(records, scales(records))
    assert "| 1 (1 to 2) |" in markdown(with_ranks(summarise(records), told))
