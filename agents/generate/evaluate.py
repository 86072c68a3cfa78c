"""What a run folder holds: its model, its figures taken again, and more samples of it."""

import io
from pathlib import Path
from typing import Any

import torch

from agents.folder import read_config, write_atomically
from agents.generate.assess import figures, prepare
from agents.generate.config import ModelRun
from agents.generate.page import show
from agents.generate.pictures import SIDE, grid
from generative import Dataset, Model, load
from generative.checkpoint import MODEL_FILE, read
from generative.model import Bounded, Density, Sampler
from generative.randomness import child
from vime.errors import CheckpointError, InvalidSettings

PICTURE, ARRAY = ".png", ".npy"


def open_run(out: Path, *, data_dir: str | None = None) -> tuple[ModelRun, Model]:
    """Returns the run in a folder, and its model as it was last saved.

    Args:
        out: the folder.
        data_dir: where the data lie now, if it is not where they lay then.

    Raises:
        CheckpointError: there is no run of a generative model, or its model is missing, damaged or another one.
    """
    run = read_config(out, ModelRun)
    run = ModelRun.from_json(run.to_json() | ({} if data_dir is None else {"data_dir": data_dir})).check()
    if not (out / MODEL_FILE).is_file():
        raise CheckpointError(f"{out} holds no trained model yet. Its training goes on with `vime generate train`.")
    return run, load(out / MODEL_FILE, name=run.model)


def evaluate_model(
    out: Path | str,
    *,
    samples: int | None = None,
    examples: int | None = None,
    seed: int | None = None,
    data_dir: str | None = None,
) -> dict[str, Any]:
    """Returns the figures of the model in a run folder, after writing them, its pictures and its page there.

    Args:
        out: the folder; its training may still be under way.
        samples: importance samples of each test datum; those of the recipe unless given.
        examples: test data that the likelihood is taken of; those of the recipe unless given.
        seed: of all draws for the figures; that of the run unless given, as for the pictures.
        data_dir: where the data lie now, if it is not where they lay then.

    Raises:
        CheckpointError: the folder holds no such model.
        InvalidSettings: a number is out of range.
        MissingData: the data are not there any more.
    """
    out = Path(out)
    for name, value in (("samples", samples), ("examples", examples)):
        if value is not None and value < 1:
            raise InvalidSettings(f"`{name}` must be at least 1; got {value}.")
    run, model = open_run(out, data_dir=data_dir)
    for name, value, use in (("samples", samples, Bounded), ("examples", examples, Density | Bounded)):
        if value is not None and not isinstance(model, use):
            raise InvalidSettings(f"`{name}` is of likelihoods that are taken so; {run.model} has no use for it.")
    fresh, data = prepare(run)
    if fresh.shape != model.shape:
        raise CheckpointError(f"{out / MODEL_FILE} is of data of shape {model.shape}; {run.data} has {fresh.shape}.")
    threads = torch.get_num_threads()
    torch.set_num_threads(run.threads)
    try:
        told = _figures(run, model, data, out, samples, examples, seed)
        show(out, run, model, data, told)
    finally:
        torch.set_num_threads(threads)
    return told


def _figures(
    run: ModelRun, model: Model, data: Dataset, out: Path, samples: int | None, examples: int | None, seed: int | None
) -> dict[str, Any]:
    plan = run.plan
    found = figures(
        model,
        data,
        samples=samples or plan.samples,
        examples=examples or plan.examples,
        seed=run.seed if seed is None else seed,
        folder=out,
    )
    step = trained_steps(out)
    done = {} if step is None else {"steps": step}
    return {"model": run.model, "data": run.data, **found, **done, "seed": run.seed, "out": str(out)}


def trained_steps(out: Path) -> int | None:
    """Returns how many rounds the saved model of a run was trained for; None where the record of it is gone."""
    try:
        _, tensors = read(out / "training.safetensors")
        return int(tensors["counters"][0])
    except Exception as error:
        from generative.errors import GenerativeError

        if isinstance(error, (GenerativeError, KeyError)):
            return None
        raise


def sample_model(out: Path | str, file: Path | None = None, *, count: int = SIDE * SIDE, seed: int = 0) -> Path:
    """Returns where new samples of the model in a run folder were written.

    Args:
        out: the folder.
        file: a `.png` for a picture of all, or a `.npy` for the numbers; in the folder unless given.
        count: how many.
        seed: of the draws.

    Raises:
        CheckpointError: the folder holds no such model.
        InvalidSettings: the file has another ending, or a number is out of range.
    """
    out = Path(out)
    file = out / f"samples-{seed}{PICTURE}" if file is None else file
    if file.suffix not in (PICTURE, ARRAY):
        raise InvalidSettings(f"Samples are written as {PICTURE} or {ARRAY}; got {file.name!r}.")
    if count < 1 or seed < 0:
        raise InvalidSettings(f"`count` must be at least 1, `seed` at least 0; got {count}, {seed}.")
    _, model = open_run(out)
    if not isinstance(model, Sampler):
        raise InvalidSettings(f"{model.name} makes no samples.")
    generator = torch.Generator().manual_seed(child(seed, "asked for"))
    made = torch.cat([model.sample(min(500, count - i), generator) for i in range(0, count, 500)])
    if file.suffix == PICTURE:
        content = grid(made, min(SIDE, count))
    else:
        import numpy as np

        buffer = io.BytesIO()
        np.save(buffer, made.cpu().numpy())
        content = buffer.getvalue()
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, lambda handle: handle.write(content))
    return file
