"""All that the page of a study shows, as values that JSON can hold."""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agents.compare import curves, maps
from agents.compare.records import RunRecord, differences
from agents.compare.rerun import row_command, run_command, study_command
from agents.compare.scores import Key, grouped, labels
from agents.compare.states import peek
from agents.compare.statistics import REPETITIONS
from agents.compare.study import CONTROL, Study
from agents.compare.verdict import gaps, headline
from agents.compare.wording import HEADERS, cells
from agents.folder import STUDY_FILE
from agents.names import BONUSES

FIGURES = ("final_return", "evaluation_return", "first_reward_step", "episodes", "cpu_seconds", "wall_seconds")
FIGURES += ("peak_memory_mb", "resumed", "exact_resume")
"""What the page tells of a single run, beside its status, curve and area."""
ERROR_CHARACTERS = 8000
"""How much of a traceback, from its end, stands on the page; all of it lies in the folder of the run."""


def content(
    study: Study,
    out: Path,
    records: Sequence[RunRecord],
    rows: Sequence[Mapping[str, Any]],
    told: Mapping[str, Any],
    episodes: Mapping[str, tuple[bytes, str]],
) -> dict[str, Any]:
    """Returns what the page shows: the rows and ranks of the study, its curves, maps, runs, failures and settings.

    `told` is the ranking; `episodes` are by task an animation of the first rewarded episode, with its caption.
    """
    groups = grouped(records)
    names = labels(groups)
    points, share = curves.seed_points(len(records)), curves.band_share(len(groups))
    counts = {status: sum(record.status == status for record in records) for status in STATUSES}
    tasks = [_task(task, groups, names, told, episodes.get(task)) for task in dict.fromkeys(key[0] for key in groups)]
    return {
        "title": study.question,
        "headline": headline(rows, told),
        "gaps": [*gaps(records), *mixed(records)],
        "counts": {"runs": len(records), **counts},
        "failures": [_failure(record, names, out) for record in records if record.status == "failed"],
        "contenders": _contenders(groups, names, told),
        "tasks": tasks,
        "groups": [
            _group(key, runs, names[key], row, points, share)
            for (key, runs), row in zip(groups.items(), rows, strict=True)
        ],
        "ranking": told,
        "headers": HEADERS,
        "repetitions": REPETITIONS,
        "command": study_command(study, out) if (out / STUDY_FILE).exists() else None,  # it would begin loose runs anew
        "settings": study.to_json(),
        "versions": _versions(records),
    }


STATUSES = ("finished", "failed", "unfinished", "missing")


def mixed(records: Sequence[RunRecord]) -> list[str]:
    """Returns a warning where runs that stand side by side were not run alike."""
    return [
        f"The runs differ in `{name}` ({', '.join(map(str, values))}), so their rows cannot be compared without care."
        for name, values in differences(records).items()
    ]


def _contenders(groups: Iterable[Key], names: Mapping[Key, str], told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns who competes, in the order of the ranking; the page colours them in this order."""
    first: dict[str, Key] = {}
    for key in groups:
        first.setdefault(names[key], key)
    order = [row["label"] for row in told["contenders"]]
    return [
        {
            "label": label,
            "bonus": first[label][2],
            "control": first[label][2] == CONTROL,
            "summary": _summary(first[label][2]),
        }
        for label in order
    ]


def _summary(bonus: str) -> str:
    if "+" in bonus:
        return "a mixture of bonuses, each on its own scale"
    return BONUSES.get(bonus, "a bonus of your own")


def _task(
    task: str,
    groups: Mapping[Key, Sequence[RunRecord]],
    names: Mapping[Key, str],
    told: Mapping[str, Any],
    episode: tuple[bytes, str] | None,
) -> dict[str, Any]:
    from envs.coverage import projection

    mine = {names[key]: runs for key, runs in groups.items() if key[0] == task}
    plane, pictures = projection(task), {}
    if plane is not None:
        counted = {label: maps.visits(runs, plane.bins) for label, runs in mine.items()}
        seen = {label: visits for label, visits in counted.items() if visits is not None}
        top = max((int(visits.max()) for visits in seen.values()), default=1)
        pictures = {
            label: {"src": _embedded(maps.picture(visits, top), "png"), "share": round(float((visits > 0).mean()), 4)}
            for label, visits in seen.items()
        }
    return {
        "task": task,
        "title": task.removeprefix("vime/"),
        "steps": max(_steps(record) for runs in mine.values() for record in runs),
        "scale": next((scale for scale in told["tasks"] if scale["task"] == task), None),
        "plane": plane and {"labels": plane.labels, "low": plane.low, "high": plane.high, "bins": plane.bins},
        "maps": pictures,
        "episode": episode and {"src": _embedded(episode[0], "gif"), "caption": episode[1]},
    }


def _group(
    key: Key, runs: Sequence[RunRecord], label: str, row: Mapping[str, Any], points: int, share: float
) -> dict[str, Any]:
    """Returns a row of the summary with its curves, its runs, and how to make it again."""
    return {
        **row,
        "label": label,
        "cells": cells(row),
        "steps": runs[0].config.steps,
        "curves": curves.bands(runs, share),
        "command": row_command([record.config for record in runs]),
        "runs": [_run(record, points) for record in runs],
    }


def _steps(record: RunRecord) -> int:
    """Returns how long a run is, or was: its last rollout is made to its end."""
    return max(record.config.steps, *(int(record.number(name) or 0) for name in ("step", "steps")))


def _run(record: RunRecord, points: int) -> dict[str, Any]:
    told = {name: _short(record.result.get(name)) for name in FIGURES}
    if record.status != "finished":
        told |= {"final_return": None, "evaluation_return": None}
    return {
        "seed": record.config.seed,
        "status": record.status,
        "step": record.result.get("step"),
        "area": _short(record.area),
        "curve": curves.single(record, points),
        "command": run_command(record.config),
        **told,
    }


def _failure(record: RunRecord, names: Mapping[Key, str], out: Path) -> dict[str, Any]:
    config = record.config
    return {
        "task": config.task,
        "label": names[config.task, config.algorithm, config.bonus],
        "seed": config.seed,
        "reason": record.reason,
        "error": record.error[-ERROR_CHARACTERS:],
        "folder": str(record.folder.relative_to(out)),
    }


def _versions(records: Iterable[RunRecord]) -> list[dict[str, Any]]:
    """Returns the different records of versions and machines, with the number of runs of each."""
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        told = peek(record.folder / "versions.json")
        if told is not None:
            entry = found.setdefault(json.dumps(told, sort_keys=True), {"runs": 0, "versions": told})
            entry["runs"] += 1
    return list(found.values())


def _short(value: Any) -> Any:
    """Returns a figure with the digits that a reader can use; what is not finite, as nothing."""
    if isinstance(value, float):
        return float(f"{value:.5g}") if np.isfinite(value) else None
    return value


def _embedded(picture: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
