"""The command lines that make a study, a row of it, or one run of it, again."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from agents.compare.study import KNOWN, Study, slug
from agents.config import RunConfig
from agents.suites import SUITES

AGAIN = "runs/again"
"""Where the commands put what they make: beside the study, not over it, and each into a folder of its own."""


def study_command(study: Study, out: Path) -> str:
    """Returns what runs the study in `out`, or goes on with it."""
    suite = SUITES.get(study.suite)
    told = tuple(dict.fromkeys(name for names in study.controls.values() for name in names))
    usual_controls = {} if suite is None else suite.controls
    controls = {task: study.controls.get(task, ()) for task in study.tasks}
    as_usual = all(names == usual_controls.get(task, ()) for task, names in controls.items())
    uneven = not as_usual and any(names != told for names in controls.values())
    if (suite is None and study.recipes) or uneven or study.seeds != tuple(range(len(study.seeds))):
        return shlex.join(["vime", "compare", "--out", str(out)])  # words cannot say it; the folder does
    tasks = [] if suite is not None and set(study.tasks) == set(suite.tasks) else ["--tasks", *study.tasks]
    words = ["vime", "compare", *(["--suite", study.suite] if study.suite else []), *tasks]
    words += ["--bonuses", *study.bonuses, "--seeds", str(len(study.seeds))]
    words += [] if as_usual else ["--controls", *told]
    usual = RunConfig(task=study.tasks[0])
    for name in KNOWN:
        value = getattr(study.base, name)
        replaced = suite is not None and any(
            name in suite.recipes.get(task, {}) and name not in study.recipes.get(task, {}) for task in study.tasks
        )
        if value == getattr(usual, name) and not replaced and (name != "steps" or suite is not None):
            continue
        words += option(name, value)
    return shlex.join([*words, "--out", str(out)])


def row_command(configs: Sequence[RunConfig]) -> str:
    """Returns what runs every seed of a row again: one `vime compare`, or a loop where the seeds are not 0 to n-1."""
    seeds, first = sorted(config.seed for config in configs), configs[0]
    if seeds == list(range(len(seeds))):
        words = ["vime", "compare", "--tasks", first.task, "--bonuses", first.bonus, "--seeds", str(len(seeds))]
        return shlex.join([*words, *_settings(first), "--out", _folder(first)])
    words = ["vime", "train", "--task", first.task, "--bonus", first.bonus, *_settings(first)]
    numbers = " ".join(map(str, seeds))
    return f'for s in {numbers}; do {shlex.join(words)} --seed "$s" --out {_folder(first)}-seed-"$s"; done'


def run_command(config: RunConfig) -> str:
    """Returns what makes one run again."""
    words = ["vime", "train", "--task", config.task, "--bonus", config.bonus, "--seed", str(config.seed)]
    return shlex.join([*words, *_settings(config), "--out", f"{_folder(config)}-seed-{config.seed}"])


def _folder(config: RunConfig) -> str:
    """Where a row is made again, as text that a shell reads as it is."""
    return f"{AGAIN}/{slug(config.task)}/{slug(config.bonus)}-{config.algorithm}"


def _settings(config: RunConfig) -> list[str]:
    """Returns the options for all that is not usual; the steps are always said."""
    usual, words = RunConfig(task=config.task), []
    for field in fields(RunConfig):
        value = getattr(config, field.name)
        if field.name in ("task", "bonus", "seed") or (value == getattr(usual, field.name) and field.name != "steps"):
            continue
        words += option(field.name, value)
    return words


def option(name: str, value: Any) -> list[str]:
    """Returns the words by which the command line gives `value` to the field `name` of a run."""
    flag = "--" + name.replace("_", "-")
    if isinstance(value, dict):
        return [flag, *(f"{key}={json.dumps(item)}" for key, item in value.items())]
    if isinstance(getattr(RunConfig, name, None), bool):  # a switch
        return [flag if value else flag.replace("--", "--no-", 1)]
    return [flag, str(value)]
