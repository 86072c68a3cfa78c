"""A model's figures in words, and the command that makes them again. Importing it does not import torch."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from agents.generate.config import ModelRun


def sentence(told: Mapping[str, Any]) -> str:
    """Returns the figure that a model is known for, with what it must be read with."""
    after = f" after {told['steps']:,} steps" if "steps" in told else ""
    if "errors" in told:
        return (
            f"{told['errors']:,} errors in {told['examples']:,} test data ({told['error_rate']:.2%}), learned from "
            f"{told['labels']:,} labels{after}."
        )
    if "clustering_error" in told:
        return (
            f"{told['clustering_error']:.2%} of {told['examples']:,} test data lie in a wrong cluster, found without "
            f"labels{after}; normalised mutual information {told['mutual_information']:.3f}."
        )
    if "nats" in told:
        samples = told["importance_samples"]
        how = "exact" if samples is None else f"at most, from {samples} importance samples"
        binary = f", {told['binarisation']} binarisation" if told["binarisation"] else ", of grey levels"
        bits = told["bits_per_dim"]
        each = "a density, which no code has" if bits is None else f"{bits:.3f} bits an entry"
        return (
            f"{told['nats']:.2f} nats a datum ({each}), {how}, over {told['examples']:,} test data{binary}{after}. "
            "Less is better."
        )
    return (
        f"Score {told['score']:.2f} (1 to the number of classes, more is better) and Fréchet distance "
        f"{told['frechet']:.2f} (less is better) by a classifier of ours, {told['classes']} classes among "
        f"{told['samples']:,} samples{after}."
    )


def command(run: ModelRun, out: Path | str) -> str:
    """Returns the command that trains the run."""
    plain, words = ModelRun(model=run.model), ["vime", "generate", "train", run.model]
    for field in fields(ModelRun):
        value = getattr(run, field.name)
        if field.name in ("model", "settings") or value == getattr(plain, field.name):
            continue
        option = f"--{field.name.replace('_', '-')}"
        words += [option] if value is True else [option, str(value)]
    if run.settings:
        words += ["--settings", *(f"{key}={_text(value)}" for key, value in run.settings.items())]
    return shlex.join([*words, "--out", str(out)])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
