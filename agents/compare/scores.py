"""From records to figures: one row per task, algorithm and bonus."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from agents.compare import statistics
from agents.compare.records import RunRecord
from agents.compare.study import CONTROL

BOOTSTRAP_SEED = 0
"""Every row draws from a generator of its own of this seed, so that it does not depend on which others there are."""

Key = tuple[str, str, str]
"""Task, algorithm and bonus."""


def summarise(records: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """Returns one row per task, algorithm and bonus, in the order of the runs; None where nothing can be said.

    `label`: what the contender is called; `iqm`, `low`, `high`: final return per episode, its interquartile mean and
    95 % interval; `seeds`: runs that count; `auc`: interquartile mean of the area under the curve, over the steps;
    `difference`, `difference_low`, `difference_high`: by how much `iqm` exceeds that of the control on the `pairs`
    seeds that both have; `first_reward_median`: steps, None where at least half never found it; `found`: runs that
    did; `cpu_seconds`, `peak_memory_mb`: means of a run.
    """
    groups = grouped(records)
    names = labels(groups)
    return [
        dict(zip(("task", "algorithm", "bonus"), key, strict=True))
        | _row(runs, groups.get(_control(key, groups, names), []))
        | {"label": names[key]}
        for key, runs in groups.items()
    ]


def grouped(records: Iterable[RunRecord]) -> dict[Key, list[RunRecord]]:
    """Returns the runs of every task, algorithm and bonus, in their order."""
    groups: dict[Key, list[RunRecord]] = {}
    for record in records:
        config = record.config
        groups.setdefault((config.task, config.algorithm, config.bonus), []).append(record)
    return groups


def labels(keys: Iterable[Key]) -> dict[Key, str]:
    """Returns how every contender is called: by its bonus, and by its algorithm too where that is not clear.

    It is clear where only one algorithm has bonuses on a task, be it another one elsewhere; others are its controls.
    """
    keys = list(dict.fromkeys(keys))  # of runs there are many more than of contenders
    learners: dict[str, set[str]] = {}
    for task in dict.fromkeys(key[0] for key in keys):
        every = {algorithm for other, algorithm, _ in keys if other == task}
        curious = {algorithm for other, algorithm, bonus in keys if other == task and bonus != CONTROL}
        learners[task] = curious or every
    clear = all(len(algorithms) == 1 for algorithms in learners.values())
    return {
        (task, algorithm, bonus): bonus if clear and algorithm in learners[task] else f"{bonus} ({algorithm})"
        for task, algorithm, bonus in keys
    }


def _control(key: Key, groups: Iterable[Key], names: Mapping[Key, str]) -> Key:
    """Returns the control that a row is measured by: without a bonus, and of the same learner if there are several."""
    task, algorithm, bonus = key
    if bonus == CONTROL:
        learner = next((other for other in groups if other[0] == task and names[other] == CONTROL), key)
        return (task, "", "") if learner == key else learner
    return (task, algorithm, CONTROL)


def final_returns(records: Iterable[RunRecord]) -> np.ndarray:
    """Returns the final returns of the runs that count."""
    return np.array([record.result["final_return"] for record in records if record.scored], dtype=float)


def pairs(records: Iterable[RunRecord], control: Iterable[RunRecord]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the final returns on the seeds that both sides have, in the same order."""
    left, right = ({r.config.seed: r.result["final_return"] for r in side if r.scored} for side in (records, control))
    seeds = sorted(left.keys() & right.keys())
    return np.array([left[seed] for seed in seeds], dtype=float), np.array([right[seed] for seed in seeds], dtype=float)


def _row(runs: list[RunRecord], control: list[RunRecord]) -> dict[str, Any]:
    scores, theirs = final_returns(runs), final_returns(control)
    finished = [record for record in runs if record.status == "finished"]
    first = [record.number("first_reward_step") for record in finished]
    areas = [record.area for record in runs if record.scored and record.area is not None]
    row: dict[str, Any] = dict.fromkeys(("iqm", "low", "high"))
    if len(scores):
        row["iqm"] = statistics.iqm(scores)
    if len(scores) > 1:  # or draws have nothing to differ in
        row["low"], row["high"] = statistics.iqm_interval([scores], rng=rng())
    row["seeds"] = len(scores)
    row["failed"] = sum(record.status == "failed" for record in runs)
    row["unfinished"] = sum(record.status in ("unfinished", "missing") for record in runs)
    row["unscored"] = len(finished) - len(scores)
    row["auc"] = statistics.iqm(np.array(areas)) if areas else None
    row |= dict.fromkeys(("probability_of_improvement", "improvement_low", "improvement_high"))
    if len(scores) and len(theirs):
        row["probability_of_improvement"] = statistics.probability_of_improvement([scores], [theirs])
    if min(len(scores), len(theirs)) > 1:
        bounds = statistics.improvement_interval([scores], [theirs], rng=rng())
        row["improvement_low"], row["improvement_high"] = bounds
    names = ("difference", "difference_low", "difference_high")
    mine, same = pairs(runs, control)
    found = statistics.paired_difference([mine], [same], rng=rng()) if len(mine) else (None, None, None)
    found = found if len(mine) > 1 else (found[0], None, None)
    row |= dict(zip(names, found, strict=True)) | {"pairs": len(mine)}
    median = statistics.median_first_reward(first)
    row["first_reward_median"] = median if math.isfinite(median) else None
    row["found"] = sum(step is not None for step in first)
    row["finished"] = len(finished)
    for name in ("cpu_seconds", "peak_memory_mb"):
        values = [value for record in finished if (value := record.number(name)) is not None]
        row[name] = float(np.mean(values)) if values else None
    return row


def rng() -> np.random.Generator:
    """Returns a fresh generator: the same study gives the same figures."""
    return np.random.default_rng(BOOTSTRAP_SEED)
