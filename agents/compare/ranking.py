"""Who is best over all tasks, and how surely: scores made comparable, pooled, and drawn again many times.

Every figure here comes from the final returns, scaled task by task (`Scale`), and from bootstrap draws that resample
the runs of every contender within every task. Every task weighs the same, however many of its runs have a score.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from agents.compare import statistics
from agents.compare.records import RunRecord
from agents.compare.scales import Scale
from agents.compare.scores import final_returns, grouped, labels, pairs, rng
from agents.compare.study import CONTROL

PROFILE_POINTS = 101
PROFILE_REPETITIONS = 1000
INTERVALS = ("iqm", "optimality_gap", "auc", "solved_runs")
"""Figures of a contender that have an interval, as `NAME`, `NAME_low`, `NAME_high`."""
ENDS = ("", "_low", "_high")

Runs = Mapping[str, Mapping[str, Sequence[RunRecord]]]
"""Runs by contender and task."""


def by_contender(records: Iterable[RunRecord]) -> dict[str, dict[str, list[RunRecord]]]:
    """Returns the runs of every contender, task by task, in the order of the runs."""
    groups = grouped(records)
    names = labels(groups)
    table: dict[str, dict[str, list[RunRecord]]] = {}
    for key, runs in groups.items():
        table.setdefault(names[key], {})[key[0]] = runs
    return table


def ranking(records: Sequence[RunRecord], scales: Mapping[str, Scale]) -> dict[str, Any]:
    """Returns what the study says over all its tasks, as JSON can hold it.

    `tasks`: what the scores of each are measured by. `contenders`, the best first: the figures of `INTERVALS` with
    their bounds; `rank`; `rank_mean`, `rank_low`, `rank_high`, `best_probability`, `rank_distribution`: rank by
    normalised interquartile mean on the bootstrap draws; `task_rank` with bounds: mean over the tasks of the rank in
    each; `improvement` with bounds: probability of improvement over the control, mean over the tasks; `difference` with
    bounds: of the normalised interquartile mean to the control on the seeds that both have; `solved_tasks`: tasks on
    which at least half of the runs reach the mark, of `marked_tasks` that have one; `runs`: how many have a score, of
    `asked`. A contender without a score on some task that others have a score on comes last, unranked, with the names
    of these tasks as `missing`, and as `absent` of those that it has no run of; its figures are of the others.
    `profiles`: which part of the runs lies above each of `thresholds`, with bounds. `by_task`: the ranks within each
    task, with `normalised`, the interquartile mean, and `solved`, the runs that reach the mark.

    Tasks without a reference on which all runs ended alike have no scale: they are left out over all, as `tied`. What
    comes from draws, every bound and the shares of ranks, is None where they have but one run of a task to draw from.
    """
    table = by_contender(records)
    scores = {
        label: {task: scales[task].normalised(final_returns(runs)) for task, runs in tasks.items() if _any(runs)}
        for label, tasks in table.items()
    }
    scored = list(dict.fromkeys(task for found in scores.values() for task in found))
    tied = [task for task in scored if scales[task].low == scales[task].high]
    tied = tied if len(tied) < len(scored) else []
    tasks = [task for task in scored if task not in tied]
    within = scores
    scores = {label: {t: values for t, values in found.items() if t not in tied} for label, found in scores.items()}
    whole = [label for label, found in scores.items() if found and len(found) == len(tasks)]
    contenders = {label: _figures(label, table, scores, scales, tasks) for label in table}
    for label, figures in _ranks([[scores[label][task] for task in tasks] for label in whole], whole).items():
        contenders[label] |= figures
    ranked = sorted(whole, key=lambda label: (contenders[label]["rank"], contenders[label]["rank_mean"] or 0))
    thresholds = _thresholds(scores)
    return {
        "tasks": [{"task": task} | scales[task].to_json() for task in scales],
        "contenders": [contenders[label] for label in [*ranked, *(label for label in table if label not in whole)]],
        "profiles": {
            "thresholds": _rounded(thresholds),
            "contenders": [{"label": label} | _profile(list(scores[label].values()), thresholds) for label in ranked],
        },
        "tied": tied,
        "by_task": {task: _within(task, within, scales[task].mark) for task in scored},
    }


def _sure(strata: Iterable[Sequence[Any] | np.ndarray]) -> bool:
    """Whether draws from these runs can differ: every stratum has two of them at least."""
    return all(len(runs) > 1 for runs in strata)


def _any(runs: Iterable[RunRecord]) -> bool:
    return any(record.scored for record in runs)


def _figures(
    label: str,
    table: Runs,
    scores: Mapping[str, Mapping[str, np.ndarray]],
    scales: Mapping[str, Scale],
    tasks: Sequence[str],
) -> dict[str, Any]:
    """Returns what can be said of one contender by itself, and against the control."""
    mine = scores[label]
    first = next(iter(table[label].values()))[0].config
    row: dict[str, Any] = {
        "label": label,
        "bonus": first.bonus,
        "tasks": len(mine),
        "runs": sum(len(values) for values in mine.values()),
        "seeds": min((len(values) for values in mine.values()), default=0),
        "missing": [task for task in tasks if task not in mine],
        "absent": [task for task in tasks if task not in table[label]],
        "asked": sum(len(runs) for task, runs in table[label].items() if task in tasks),
    }
    row |= dict.fromkeys(f"{name}{end}" for name in INTERVALS for end in ENDS)
    names = ("rank", "rank_mean", "rank_low", "rank_high", "best_probability", "rank_distribution")
    row |= dict.fromkeys((*names, "task_rank", "task_rank_low", "task_rank_high"))
    control = CONTROL if CONTROL in table else f"{CONTROL} ({first.algorithm})"
    row |= _against(mine if label != control else {}, table[label], table.get(control, {}), scales)
    if not mine:
        return row | {"solved_tasks": 0, "marked_tasks": 0}
    strata = list(mine.values())
    row |= _bounded("iqm", strata, statistics.iqm_of_rows)
    row |= _bounded("optimality_gap", strata, statistics.optimality_gap)
    areas = [
        scales[task].normalised(np.array([record.area for record in runs if record.scored and record.area is not None]))
        for task, runs in table[label].items()
        if task in mine
    ]
    areas = [values for values in areas if len(values)]
    if areas:
        row |= _bounded("auc", areas, statistics.iqm_of_rows)
    marks = {task: scale.mark for task in mine if (scale := scales[task]).mark is not None}
    reached = [mine[task] >= mark for task, mark in marks.items()]
    row |= {"solved_tasks": sum(bool(runs.mean() >= 0.5) for runs in reached), "marked_tasks": len(marks)}
    if reached:
        row |= _bounded("solved_runs", reached, statistics.mean)
    return row


def _against(
    scores: Mapping[str, np.ndarray],
    runs: Mapping[str, Sequence[RunRecord]],
    control: Mapping[str, Sequence[RunRecord]],
    scales: Mapping[str, Scale],
) -> dict[str, Any]:
    """Returns how the contender stands against the control, on the tasks on which both have scores."""
    row: dict[str, Any] = dict.fromkeys(f"{name}{end}" for name in ("improvement", "difference") for end in ENDS)
    shared = [task for task in scores if _any(control.get(task, ()))]
    if shared:
        mine = [scores[task] for task in shared]
        theirs = [scales[task].normalised(final_returns(control[task])) for task in shared]
        row["improvement"] = statistics.probability_of_improvement(mine, theirs)
        if _sure([*mine, *theirs]):
            row["improvement_low"], row["improvement_high"] = statistics.improvement_interval(mine, theirs, rng=rng())
    paired = [[scales[task].normalised(side) for side in pairs(runs[task], control[task])] for task in shared]
    paired = [both for both in paired if len(both[0])]
    if paired:
        left, right = zip(*paired, strict=True)
        value, low, high = statistics.paired_difference(left, right, rng=rng())
        row["difference"] = value
        if _sure(left):
            row |= {"difference_low": low, "difference_high": high}
    return row


def _ranks(scores: Sequence[Sequence[np.ndarray]], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Returns the ranks of contenders that all have scores, given task by task, on every task."""
    if not names:
        return {}
    generator = rng()
    resampled = [statistics.resample(strata, rng=generator) for strata in scores]
    pooled = np.stack([statistics.iqm_of_tasks(draws) for draws in resampled], axis=1)
    distribution = statistics.rank_distribution(pooled)
    middles = np.array([statistics.iqm_of_tasks(strata) for strata in scores])
    in_tasks = np.array([[statistics.iqm(runs) for runs in strata] for strata in scores]).T
    drawn = np.stack([np.stack([statistics.iqm_of_rows(runs) for runs in draws]) for draws in resampled], axis=2)
    task_ranks, low_high = statistics.mean_ranks(in_tasks).mean(axis=0), statistics.mean_ranks(drawn).mean(axis=0)
    lows, highs = statistics.bounds(low_high)
    places = np.arange(1, len(names) + 1)
    sure = _sure(runs for strata in scores for runs in strata)
    found = {}
    for i, label in enumerate(names):
        low, high = statistics.rank_bounds(distribution[i])
        drawn_figures = {
            "rank_mean": float(distribution[i] @ places),
            "rank_low": low,
            "rank_high": high,
            "best_probability": float(distribution[i, 0]),
            "rank_distribution": _rounded(distribution[i]),
            "task_rank_low": float(lows[i]),
            "task_rank_high": float(highs[i]),
        }
        found[label] = {
            "rank": 1 + int((middles > middles[i]).sum()),
            "task_rank": float(task_ranks[i]),
            **(drawn_figures if sure else dict.fromkeys(drawn_figures)),
        }
    return found


def _within(task: str, scores: Mapping[str, Mapping[str, np.ndarray]], mark: float | None) -> dict[str, dict[str, Any]]:
    """Returns by contender its rank within one task, and how sure it is."""
    there = {label: found[task] for label, found in scores.items() if task in found}
    kept = ("rank", "rank_mean", "rank_low", "rank_high", "best_probability", "rank_distribution")
    ranks = _ranks([[runs] for runs in there.values()], list(there))
    return {
        label: {name: figures[name] for name in kept}
        | {"normalised": statistics.iqm(there[label])}
        | {"solved": None if mark is None else int((there[label] >= mark).sum())}
        for label, figures in ranks.items()
    }


def with_ranks(rows: Iterable[Mapping[str, Any]], told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the rows of the summary with their ranks within their tasks; None where a row has no score.

    `order` is the place of the contender over all tasks, which settles what comes first where ranks are equal.
    """
    names = ("rank", "rank_mean", "rank_low", "rank_high", "best_probability", "normalised", "solved")
    none = dict.fromkeys(names)
    found, order = told["by_task"], [row["label"] for row in told["contenders"]]
    return [
        {
            **row,
            **none,
            "order": order.index(row["label"]),
            **{n: value for n, value in found.get(row["task"], {}).get(row["label"], {}).items() if n in names},
        }
        for row in rows
    ]


def _thresholds(scores: Mapping[str, Mapping[str, np.ndarray]]) -> np.ndarray:
    """Returns the normalised scores at which the profiles are taken: from 0 to 1, and on to where all runs lie."""
    every = [values for found in scores.values() for values in found.values()]
    pooled = np.concatenate([np.array([0.0, 1.0]), *every])
    return np.linspace(pooled.min(), pooled.max(), PROFILE_POINTS)


def _profile(strata: Sequence[np.ndarray], thresholds: np.ndarray) -> dict[str, list[float] | None]:
    drawn, weights = statistics.pooled(statistics.resample(strata, rng=rng(), repetitions=PROFILE_REPETITIONS))
    low, high = statistics.bounds(statistics.profile(drawn, thresholds, weights).T)
    share = statistics.profile(np.concatenate(strata), thresholds, weights)
    sure = _sure(strata)
    return {"share": _rounded(share), "low": _rounded(low) if sure else None, "high": _rounded(high) if sure else None}


def _bounded(name: str, strata: Sequence[np.ndarray], statistic: Callable[..., Any]) -> dict[str, float | None]:
    """Returns the `statistic` of the runs of all tasks, each task with the same weight, and its bounds."""
    low, high = statistics.bounds(statistic(*statistics.pooled(statistics.resample(strata, rng=rng()))))
    sure = _sure(strata)
    return {
        name: float(statistic(*statistics.pooled(strata))),
        f"{name}_low": float(low) if sure else None,
        f"{name}_high": float(high) if sure else None,
    }


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 4) for value in values]
