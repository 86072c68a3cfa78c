"""From run folders to figures: one record per run, one row per task and bonus."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np

from agents.compare import statistics
from agents.compare.launch import peek
from agents.compare.study import CONTROL, Study, read_config, read_study, run_folder
from agents.compare.worker import ERROR_FILE
from agents.config import RunConfig
from vime.errors import InvalidData

BOOTSTRAP_SEED = 0
"""Every row draws from a generator of its own of this seed, so that it does not depend on which others there are."""

CURVE_COLUMNS = ("step", "episode_return", "bonus_mean", "bonus_share")
SCORE_COLUMNS = (
    "task", "algorithm", "bonus", "seed", "status", "final_return", "evaluation_return", "first_reward_step",
    "area", "episodes", "coverage", "cpu_seconds", "wall_seconds", "peak_memory_mb", "resumed", "exact_resume",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run of a study as its folder has it, finished or not."""

    config: RunConfig
    folder: Path
    status: Literal["finished", "failed", "unfinished", "missing"]
    result: dict[str, Any] = field(default_factory=dict)
    """`result.json` of a finished run; what it told last of itself for an unfinished one."""
    curves: dict[str, np.ndarray] = field(default_factory=dict)
    """The columns of `metrics.csv` named in `CURVE_COLUMNS`; NaN where a cell is empty."""
    error: str = ""
    """Traceback of a failed run."""

    def number(self, name: str) -> float | None:
        """Returns the finite number `name` of the result; None where there is none."""
        value = self.result.get(name)
        if isinstance(value, (int, float)) and math.isfinite(value):
            return float(value)
        return None

    @property
    def scored(self) -> bool:
        """Whether the run counts: finished, with a return at its end."""
        return self.status == "finished" and self.number("final_return") is not None

    @property
    def area(self) -> float | None:
        """Mean height of the learning curve, in return per episode; None without a finished episode."""
        steps, returns = self.curve("episode_return")
        height = statistics.area(steps, returns, self.config.steps)
        return None if math.isnan(height) else height

    def curve(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns the steps at which `name` was reported, and its values there."""
        if name not in self.curves:
            return np.empty(0), np.empty(0)
        there = np.isfinite(self.curves[name])
        return self.curves["step"][there], self.curves[name][there]


def read_runs(out: Path) -> list[RunRecord]:
    """Returns every run of the study in `out`, in its order; without a study, every run folder below `out`.

    Raises:
        InvalidData: there is neither a study nor a run.
        RunConflict: the description of the study cannot be read.
    """
    study = read_study(out)
    if study is not None:
        return [read_run(run_folder(out, config), config) for config in study.runs()]
    records = []
    for path in sorted({path.parent for name in ("result.json", "config.json") for path in out.rglob(name)}):
        config = read_config(path)
        if config is not None:
            records.append(read_run(path, config))
    if not records:
        raise InvalidData(f"{out} holds no study and no run; `vime compare --out` or `vime train --out` makes one.")
    return records


def read_run(folder: Path, config: RunConfig) -> RunRecord:
    """Returns the record of the run in `folder`; damage to its files makes it failed or unfinished, never an error."""
    result = peek(folder / "result.json")
    curves = _read_curves(folder / "metrics.csv")
    if result is not None:
        return RunRecord(config=config, folder=folder, status="finished", result=result, curves=curves)
    progress = peek(folder / "progress.json") or {}
    common = {"config": config, "folder": folder, "result": progress, "curves": curves}
    if (folder / ERROR_FILE).exists():
        return RunRecord(**common, status="failed", error=(folder / ERROR_FILE).read_text(errors="replace"))
    if (folder / "result.json").exists():
        return RunRecord(**common, status="failed", error="result.json is there, but it cannot be read.")
    return RunRecord(**common, status="unfinished" if folder.exists() else "missing")


def read_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """Returns the arrays in an `.npz` file; None where there is none that can be read whole."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, BadZipFile):
        return None


def summarise(records: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """Returns one row per task, algorithm and bonus, in the order of the runs.

    `iqm`, `low`, `high`: final return per episode, its interquartile mean and 95 % interval; `seeds`: runs that count;
    `auc`: interquartile mean of the area under the curve, over the steps; `first_reward_median`: steps, None where at
    least half never found it; `found`: runs that did; `cpu_seconds`: mean of a run. None where nothing can be said.
    """
    groups: dict[tuple[str, str, str], list[RunRecord]] = {}
    for record in records:
        config = record.config
        groups.setdefault((config.task, config.algorithm, config.bonus), []).append(record)
    return [
        {"task": task, "algorithm": algorithm, "bonus": bonus}
        | _row(runs, groups.get((task, algorithm, CONTROL), []) if bonus != CONTROL else [])
        for (task, algorithm, bonus), runs in groups.items()
    ]


def final_returns(records: Iterable[RunRecord]) -> np.ndarray:
    """Returns the final returns of the runs that count."""
    return np.array([record.result["final_return"] for record in records if record.scored], dtype=float)


def _row(runs: list[RunRecord], control: list[RunRecord]) -> dict[str, Any]:
    scores, theirs = final_returns(runs), final_returns(control)
    finished = [record for record in runs if record.status == "finished"]
    first = [record.result.get("first_reward_step") for record in finished]
    areas = [record.area for record in runs if record.scored and record.area is not None]
    cpu = [seconds for record in finished if (seconds := record.number("cpu_seconds")) is not None]
    row: dict[str, Any] = dict.fromkeys(("iqm", "low", "high"))
    if len(scores):
        row["iqm"] = statistics.iqm(scores)
        row["low"], row["high"] = statistics.interval(scores[:, None], statistics.iqm, rng=_rng())
    row["seeds"] = len(scores)
    row["failed"] = sum(record.status == "failed" for record in runs)
    row["unfinished"] = sum(record.status in ("unfinished", "missing") for record in runs)
    row["unscored"] = len(finished) - len(scores)
    row["auc"] = statistics.iqm(np.array(areas)) if areas else None
    row |= dict.fromkeys(("probability_of_improvement", "improvement_low", "improvement_high"))
    if len(scores) and len(theirs):
        row["probability_of_improvement"] = statistics.probability_of_improvement(scores, theirs)
        bounds = statistics.improvement_interval(scores, theirs, rng=_rng())
        row["improvement_low"], row["improvement_high"] = bounds
    median = statistics.median_first_reward(first)
    row["first_reward_median"] = median if math.isfinite(median) else None
    row["found"] = sum(step is not None for step in first)
    row["finished"] = len(finished)
    row["cpu_seconds"] = float(np.mean(cpu)) if cpu else None
    return row


def scores_csv(records: Iterable[RunRecord]) -> str:
    """Returns the raw figures, a line per run, as comma-separated values; empty where a run has nothing to report."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(SCORE_COLUMNS)
    for record in records:
        own = {name: getattr(record.config, name) for name in ("task", "algorithm", "bonus", "seed")}
        values = record.result | own | {"status": record.status, "area": record.area}
        if record.status != "finished":
            values |= {"final_return": None, "evaluation_return": None}
        writer.writerow(["" if values.get(name) is None else values[name] for name in SCORE_COLUMNS])
    return text.getvalue()


def study_of(out: Path, records: Sequence[RunRecord]) -> Study:
    """Returns the study in `out`, or for a folder of loose runs the one that they would make up."""
    study = read_study(out)
    if study is not None:
        return study
    configs = [record.config for record in records]
    return Study(
        question="Which bonus finds the reward?",
        tasks=tuple(config.task for config in configs),
        bonuses=tuple(config.bonus for config in configs),
        seeds=tuple(sorted({config.seed for config in configs})),
        base=configs[0],
    )


def differences(records: Sequence[RunRecord]) -> dict[str, list[Any]]:
    """Returns the settings, other than task, bonus and seed, in which the runs differ, with all their values."""
    found: dict[str, list[Any]] = {}
    for record in records:
        told = record.config.to_json()
        if record.config.bonus == CONTROL:  # for the control these two mean nothing
            told = {name: value for name, value in told.items() if name not in ("scale", "bonus_settings")}
        for name, value in told.items():
            if name not in ("task", "bonus", "seed") and value not in found.setdefault(name, []):
                found[name].append(value)
    return {name: values for name, values in found.items() if len(values) > 1}


def _rng() -> np.random.Generator:
    return np.random.default_rng(BOOTSTRAP_SEED)


def _read_curves(path: Path) -> dict[str, np.ndarray]:
    """Returns the columns that we plot; a line cut short, as by a crash, ends the table."""
    columns: dict[str, list[float]] = {name: [] for name in CURVE_COLUMNS}
    try:
        lines = path.read_text(errors="replace").splitlines(keepends=True)
    except OSError:
        return {}
    whole = [line for line in lines if line.endswith("\n")]
    reader = csv.DictReader(whole)
    for line in reader:
        try:
            values = [float(line.get(name) or "nan") for name in CURVE_COLUMNS]
        except ValueError:
            break
        for name, value in zip(CURVE_COLUMNS, values, strict=True):
            columns[name].append(value)
    return {name: np.array(values) for name, values in columns.items()}
