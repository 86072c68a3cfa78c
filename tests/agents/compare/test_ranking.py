import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.compare import statistics
from agents.compare.ranking import ranking, with_ranks
from agents.compare.records import RunRecord
from agents.compare.scales import Scale, scales
from agents.compare.scores import summarise
from agents.compare.verdict import headline
from agents.config import RunConfig

UNIT = {task: Scale(low=0.0, high=1.0, solved=0.5) for task in ("A-v0", "B-v0")}


def runs(table: dict[tuple[str, str], list[float]], algorithm: str = "ppo") -> list[RunRecord]:
    """Finished runs with the returns in `table`, by task and bonus; seed by seed."""
    return [
        RunRecord(
            config=RunConfig(task=task, bonus=bonus, seed=seed, algorithm=algorithm),
            folder=Path("nowhere"),
            status="finished",
            result={"final_return": score},
            curves={"step": np.array([1.0]), "episode_return": np.array([score])},
        )
        for (task, bonus), scores in table.items()
        for seed, score in enumerate(scores)
    ]


def told(records: list[RunRecord], scale: dict[str, Scale] = UNIT) -> dict[str, dict[str, Any]]:
    found = ranking(records, scale)
    json.dumps(found, allow_nan=False)  # it is written as it is
    return {row["label"]: row for row in found["contenders"]}


def test_order_is_that_of_the_pooled_interquartile_mean() -> None:
    # on one task `icm` is far ahead; over both, `rnd` is
    table = {("A-v0", "none"): [0.0] * 4, ("A-v0", "rnd"): [0.6] * 4, ("A-v0", "icm"): [0.9] * 4}
    table |= {("B-v0", "none"): [0.1] * 4, ("B-v0", "rnd"): [0.6] * 4, ("B-v0", "icm"): [0.1] * 4}
    found = told(runs(table))
    assert list(found) == ["rnd", "icm", "none"]
    assert [found[label]["iqm"] for label in found] == pytest.approx([0.6, 0.5, 0.05])
    assert [found[label]["rank"] for label in found] == [1, 2, 3]
    assert [found[label]["task_rank"] for label in found] == [1.5, 1.75, 2.75]
    # nothing is left to chance where all seeds of a task agree
    assert [found[label]["rank_distribution"] for label in found] == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert found["rnd"]["improvement"] == 1.0
    assert found["icm"]["improvement"] == 0.75
    assert found["none"]["improvement"] is None
    assert found["rnd"]["difference"] == pytest.approx(0.55)


def test_runs_that_fail_where_a_contender_is_bad_win_it_nothing() -> None:
    table = {("A-v0", "rnd"): [0.95] * 10, ("B-v0", "rnd"): [0.3] * 10}
    table |= {("A-v0", "icm"): [0.8] * 10, ("B-v0", "icm"): [0.0] * 2}
    records = runs(table)
    records += [
        RunRecord(config=RunConfig(task="B-v0", bonus="icm", seed=seed), folder=Path("nowhere"), status="failed")
        for seed in range(2, 10)
    ]
    found = told(records)
    assert list(found) == ["rnd", "icm"]
    assert found["icm"]["iqm"] == pytest.approx(0.4)
    assert found["rnd"]["best_probability"] == 1.0
    assert found["icm"]["optimality_gap"] == pytest.approx(0.6)
    assert found["icm"]["solved_runs"] == 0.5
    first = headline(summarise(records), ranking(records, UNIT))[0]
    assert "Runs without a score: 8 of 20 of icm." in first


def test_close_contenders_share_the_first_rank() -> None:
    values = list(np.random.default_rng(0).normal(size=10))
    found = told(runs({("A-v0", "none"): values, ("A-v0", "rnd"): values[::-1], ("A-v0", "icm"): [9.0] * 10}))
    assert found["icm"]["best_probability"] == 1.0
    for label in ("none", "rnd"):
        assert found[label]["rank"] == 2
        assert (found[label]["rank_low"], found[label]["rank_high"]) == (2, 3)
        assert found[label]["rank_mean"] == pytest.approx(2.5, abs=0.05)


def test_figures_equal_those_of_the_statistics() -> None:
    generator = np.random.default_rng(0)
    table = {(task, bonus): list(generator.random(6)) for task in UNIT for bonus in ("none", "rnd")}
    found = told(runs(table))["rnd"]
    mine = [np.array(table[task, "rnd"]) for task in UNIT]
    theirs = [np.array(table[task, "none"]) for task in UNIT]
    assert found["iqm"] == statistics.iqm(np.concatenate(mine))
    assert found["optimality_gap"] == pytest.approx(1 - np.mean(mine))
    assert found["improvement"] == statistics.probability_of_improvement(mine, theirs)
    rng = np.random.default_rng(0)
    assert (found["iqm_low"], found["iqm_high"]) == statistics.iqm_interval(mine, rng=rng)
    rng = np.random.default_rng(0)
    assert found["difference"] == statistics.paired_difference(mine, theirs, rng=rng)[0]
    assert found["auc"] == found["iqm"]  # these curves are level


def test_tasks_and_runs_solved_are_counted_at_the_mark() -> None:
    table = {("A-v0", "rnd"): [0.5, 0.7, 0.1, 0.2], ("B-v0", "rnd"): [0.4, 0.4, 0.4, 0.5]}
    found = told(runs(table))["rnd"]
    assert (found["solved_tasks"], found["marked_tasks"]) == (1, 2)
    assert found["solved_runs"] == 3 / 8
    unmarked = {task: Scale(low=0.0, high=1.0) for task in UNIT}
    assert told(runs(table), unmarked)["rnd"]["solved_runs"] is None


def test_a_contender_without_a_score_on_a_task_is_not_ranked_among_those_that_have_all() -> None:
    table = {("A-v0", "none"): [0.0], ("B-v0", "none"): [0.0], ("A-v0", "rnd"): [1.0]}
    found = told(runs(table))
    assert list(found) == ["none", "rnd"]
    assert found["rnd"]["rank"] is None
    assert found["rnd"]["missing"] == ["B-v0"]
    assert found["rnd"]["iqm"] == 1.0
    assert found["none"]["rank"] == 1


def test_the_sentence_on_all_tasks_says_why_a_contender_is_not_ranked() -> None:
    table = {(task, bonus): [0.1, 0.2] for task in UNIT for bonus in ("none", "rnd")}
    records = runs(table | {("A-v0", "icm"): [0.3, 0.4]})
    records += runs({("A-v0", "none"): [0.5, 0.6]}, algorithm="ppo-gsde")
    records.append(RunRecord(config=RunConfig(task="B-v0", bonus="icm"), folder=Path("nowhere"), status="failed"))
    first = headline(summarise(records), ranking(records, UNIT))[0]
    assert "Not ranked: icm (no score on 1 of 2 tasks); none (ppo-gsde) (not run on 1 of 2 tasks)." in first


def test_a_task_nobody_has_a_score_on_stops_no_ranking() -> None:
    records = runs({("A-v0", "none"): [0.0], ("A-v0", "rnd"): [1.0]})
    records.append(RunRecord(config=RunConfig(task="B-v0", bonus="rnd"), folder=Path("nowhere"), status="missing"))
    assert [row["rank"] for row in told(records).values()] == [1, 2]


def test_no_score_at_all_gives_no_rank() -> None:
    records = [RunRecord(config=RunConfig(task="A-v0", bonus="rnd"), folder=Path("nowhere"), status="missing")]
    found = ranking(records, UNIT)
    assert found["contenders"][0]["rank"] is None
    assert found["contenders"][0]["iqm"] is None
    assert with_ranks(summarise(records), found)[0]["rank"] is None


def test_without_references_the_range_of_the_study_is_the_scale() -> None:
    records = runs({("Unheard-v0", "none"): [-200.0, -100.0], ("Unheard-v0", "rnd"): [-150.0, 0.0]})
    scale = scales(records)["Unheard-v0"]
    assert (scale.low, scale.high, scale.mark) == (-200.0, 0.0, None)
    assert "this study" in scale.source
    np.testing.assert_allclose(scale.normalised(np.array([-200.0, -50.0])), [0.0, 0.75])
    assert told(records, scales(records))["rnd"]["iqm"] == 0.625


def test_equal_runs_are_worth_nothing_on_the_scale_of_their_study() -> None:
    records = runs({("Unheard-v0", "none"): [3.0, 3.0]})
    assert told(records, scales(records))["none"]["iqm"] == 0.0


def test_a_further_control_is_named_by_its_algorithm_and_measured_by_the_control() -> None:
    records = runs({("A-v0", "none"): [0.0, 0.2], ("A-v0", "rnd"): [1.0, 1.0]})
    records += runs({("A-v0", "none"): [0.5, 0.5]}, algorithm="trpo")
    found = told(records)
    assert list(found) == ["rnd", "none (trpo)", "none"]
    assert found["none (trpo)"]["improvement"] == 1.0
    rows = {row["label"]: row for row in with_ranks(summarise(records), ranking(records, UNIT))}
    assert rows["none (trpo)"]["probability_of_improvement"] == 1.0
    assert rows["none"]["probability_of_improvement"] is None
    assert rows["none (trpo)"]["difference"] == pytest.approx(0.4)
    assert (rows["rnd"]["rank"], rows["rnd"]["solved"], rows["rnd"]["normalised"]) == (1, 2, 1.0)


def test_tasks_may_have_algorithms_of_their_own() -> None:
    records = runs({("A-v0", "none"): [0.0], ("A-v0", "rnd"): [1.0]})
    records += runs({("B-v0", "none"): [0.0], ("B-v0", "rnd"): [1.0]}, algorithm="dqn")
    assert list(told(records)) == ["rnd", "none"]


def test_profiles_fall_from_one_to_none_within_their_bands() -> None:
    generator = np.random.default_rng(0)
    table = {(task, bonus): list(generator.random(6)) for task in UNIT for bonus in ("none", "rnd")}
    profiles = ranking(runs(table), UNIT)["profiles"]
    assert (profiles["thresholds"][0], profiles["thresholds"][-1]) == (0.0, 1.0)
    for profile in profiles["contenders"]:
        share, low, high = (np.array(profile[name]) for name in ("share", "low", "high"))
        assert share[0] == 1.0
        assert share[-1] == 0.0
        assert (np.diff(share) <= 0).all()
        assert (low <= share).all()
        assert (share <= high).all()


def test_a_task_of_a_suite_is_measured_by_its_reference() -> None:
    records = runs({("vime/DeepSea10-v0", "none"): [0.0, 0.99]})
    scale = scales(records)["vime/DeepSea10-v0"]
    assert (scale.low, scale.high, scale.solved) == (-0.004, 0.99, 0.5)
    found = told(records, scales(records))["none"]
    assert (found["solved_tasks"], found["marked_tasks"], found["solved_runs"]) == (1, 1, 0.5)


def test_references_are_not_those_of_a_task_with_other_settings() -> None:
    records = runs({("vime/DeepSea10-v0", "none"): [0.0, 0.5]})
    changed = [replace(record, config=replace(record.config, task_settings={"size": 6})) for record in records]
    scale = scales(changed)["vime/DeepSea10-v0"]
    assert (scale.low, scale.high, scale.solved) == (0.0, 0.5, None)
    assert "without `task_settings`" in scale.source


def test_one_run_of_a_task_leaves_nothing_to_draw_from() -> None:
    table = {("A-v0", "none"): [0.1], ("A-v0", "rnd"): [0.6], ("B-v0", "none"): [0.1, 0.2], ("B-v0", "rnd"): [0.3, 0.4]}
    found = told(runs(table))
    assert [found[label]["rank"] for label in found] == [1, 2]
    for figures in found.values():
        assert figures["best_probability"] is figures["rank_low"] is figures["iqm_low"] is None
        assert figures["improvement_low"] is figures["difference_low"] is None
    assert found["rnd"]["improvement"] == 1.0
    both = ranking(runs(table), UNIT)
    assert both["by_task"]["A-v0"]["rnd"]["rank_low"] is None
    assert both["by_task"]["B-v0"]["rnd"]["rank_low"] == 1
    assert both["profiles"]["contenders"][0]["low"] is None


def test_a_task_on_which_all_ended_alike_does_not_count_over_all() -> None:
    table = {(f"{task}-v0", bonus): [score] * 3 for task, bonus, score in
             (("A", "none", 0.2), ("A", "rnd", 0.8), ("B", "none", 1.0), ("B", "rnd", 1.0))}  # fmt: skip
    records = runs(table)
    found = ranking(records, scales(records))
    assert found["tied"] == ["B-v0"]
    first, last = found["contenders"]
    assert (first["label"], first["iqm"], last["iqm"]) == ("rnd", 1.0, 0.0)
    assert (first["tasks"], first["missing"]) == (1, [])
    assert set(found["by_task"]) == {"A-v0", "B-v0"}
    assert headline(summarise(records), found)[0].startswith("1 of 2 tasks, by")
    assert headline(summarise(records), found)[0].count("Left out, for all runs ended alike there: B-v0.") == 1
