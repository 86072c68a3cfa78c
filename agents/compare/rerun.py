"""The command lines that make a row of a study, or one run of it, again."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from agents.config import RunConfig

AGAIN = "runs/again"
"""Where the commands put what they make: beside the study, not over it."""


def row_command(configs: Sequence[RunConfig]) -> str:
    """Returns what runs every seed of a row again: one `vime compare`, or a loop where the seeds are not 0 to n-1."""
    seeds, first = sorted(config.seed for config in configs), configs[0]
    if seeds == list(range(len(seeds))):
        words = ["vime", "compare", "--tasks", first.task, "--bonuses", first.bonus, "--seeds", str(len(seeds))]
        return shlex.join([*words, *_settings(first), "--out", AGAIN])
    words = ["vime", "train", "--task", first.task, "--bonus", first.bonus, *_settings(first)]
    numbers = " ".join(map(str, seeds))
    return f'for s in {numbers}; do {shlex.join(words)} --seed "$s" --out {AGAIN}/seed-"$s"; done'


def run_command(config: RunConfig) -> str:
    """Returns what makes one run again."""
    words = ["vime", "train", "--task", config.task, "--bonus", config.bonus, "--seed", str(config.seed)]
    return shlex.join([*words, *_settings(config), "--out", AGAIN])


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
