"""What the folders of a study hold: one record per run, finished or not, and their raw figures."""

import contextlib
import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np

from agents.compare import statistics
from agents.compare.states import peek
from agents.compare.store import read_config, read_study
from agents.compare.study import CONTROL, GRID, Study
from agents.compare.worker import ERROR_FILE
from agents.config import RunConfig
from vime.errors import InvalidData

CURVE_COLUMNS = ("step", "episode_return", "bonus_mean", "bonus_share", "coverage")
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
    copies: tuple[str, ...] = ()
    """Folders that hold the same run again, under that of the study; it counts once."""

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
    def reason(self) -> str:
        """Why a failed run failed: the last line of its traceback."""
        return (self.error.strip().splitlines() or [""])[-1]

    @property
    def area(self) -> float | None:
        """Mean height of the learning curve, in return per episode; None where the run or its first episode is not
        finished."""
        if self.status != "finished":
            return None
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
    """Returns every run of the study in `out`, in its order; without a study, every run below `out`.

    Of loose runs that are equal in all settings and the seed one is returned, the one that came farthest: runs are
    exact, so that the others are copies of it, or will be.

    Raises:
        InvalidData: there is neither a study nor a run.
        RunConflict: the description of the study cannot be read.
    """
    same: dict[str, list[RunRecord]] = {}
    for config, folder in run_folders(out):
        same.setdefault(json.dumps(config.to_json(), sort_keys=True), []).append(read_run(folder, config))
    return [_without_copies(out, records) for records in same.values()]


def _without_copies(out: Path, records: Sequence[RunRecord]) -> RunRecord:
    best = min(records, key=lambda record: ("finished", "unfinished", "failed", "missing").index(record.status))
    copies = tuple(str(record.folder.relative_to(out)) for record in records if record is not best)
    return replace(best, copies=copies) if copies else best


def run_folders(out: Path) -> list[tuple[RunConfig, Path]]:
    """Returns the configurations and folders of these runs, whether they have begun or not.

    Raises:
        InvalidData: there is neither a study nor a run.
        RunConflict: the description of the study cannot be read.
    """
    study = read_study(out)
    if study is not None:
        return [(config, study.folder(out, config)) for config in study.runs()]
    paths = sorted({path.parent for name in ("result.json", "config.json") for path in out.rglob(name)})
    found = [(config, path) for path in paths if (config := read_config(path)) is not None]
    if not found:
        raise InvalidData(f"{out} holds no study and no run; `vime compare --out` or `vime train --out` makes one.")
    return found


def read_run(folder: Path, config: RunConfig) -> RunRecord:
    """Returns the record of the run in `folder`; damage to its files makes it failed or unfinished, never an error."""
    result = peek(folder / "result.json")
    curves = _read_curves(folder / "metrics.csv")
    if result is not None:
        return RunRecord(config=config, folder=folder, status="finished", result=result, curves=curves)
    progress = peek(folder / "progress.json") or {}
    common = {"config": config, "folder": folder, "result": progress, "curves": curves}
    with contextlib.suppress(FileNotFoundError):
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
        tasks=tuple(config.task for config in configs),
        bonuses=tuple(config.bonus for config in configs),
        seeds=tuple(sorted({config.seed for config in configs})),
        base=configs[0],
    )


def differences(records: Sequence[RunRecord]) -> dict[str, list[Any]]:
    """Returns the settings, other than bonus and seed, in which runs of one task and algorithm differ, and how.

    Settings of a bonus are compared among its own runs: another has others.
    """
    found: dict[tuple[str, ...], dict[str, list[Any]]] = {}
    for record in records:
        told, key = record.config.to_json(), (record.config.task, record.config.algorithm)
        if record.config.bonus == CONTROL:  # for the control these mean nothing
            told = {name: value for name, value in told.items() if name not in ("scale", "weight", "bonus_settings")}
        for name, value in told.items():
            group = found.setdefault((*key, record.config.bonus) if name == "bonus_settings" else key, {})
            if name not in GRID and value not in group.setdefault(name, []):
                group[name].append(value)
    differing: dict[str, list[Any]] = {}
    for group in found.values():
        for name, values in group.items():
            if len(values) > 1:
                differing.setdefault(name, []).extend(value for value in values if value not in differing.get(name, []))
    return differing


def _read_curves(path: Path) -> dict[str, np.ndarray]:
    """Returns the columns that we plot; a line cut short, as by a crash, ends the table."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return {}
    header, *lines = text[: text.rfind("\n") + 1].splitlines() or [""]
    names = header.split(",")
    places = [names.index(name) if name in names else -1 for name in CURVE_COLUMNS]
    table: list[list[float]] = []
    for line in lines:
        cells = [*line.split(","), ""]  # the last stands for a column that is not there
        try:
            table.append([float(cells[place] or "nan") for place in places])
        except (ValueError, IndexError):
            break
    values = np.array(table).reshape(-1, len(CURVE_COLUMNS))
    return dict(zip(CURVE_COLUMNS, values.T, strict=True))
