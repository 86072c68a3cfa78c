"""The figures of a model on the test data, and the quick ones that its learning curves are made of."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from agents.generate.config import ModelRun
from generative import Dataset, Model, load, load_data, make_model, save
from generative.classifier import Classifier
from generative.errors import CheckpointError
from generative.infogan import InfoGAN
from generative.judge import error_rate, judge, train_classifier
from generative.metrics import active_units, clustering_error, likelihood, mutual_information
from generative.model import Bounded, Coder, Density
from generative.randomness import child
from generative.semi_supervised import SemiSupervisedGAN
from generative.training import FitSettings

GLANCE = 500
"""Test data that a quick figure is taken of."""
JUDGED = 5000
"""Samples that a classifier judges."""
JUDGE_FILE = "judge.safetensors"
JUDGE_STEPS = 1500


def prepare(run: ModelRun) -> tuple[Model, Dataset]:
    """Returns the new model of a run, and its data as that model takes them.

    Raises:
        GenerativeError: the data cannot be read, or the model cannot be built.
    """
    from vime.errors import InvalidSettings

    data = load_data(run.data, run.data_dir or None)
    if run.shown is not None:
        each, rest = divmod(run.shown, data.classes)
        if rest or not each:
            raise InvalidSettings(
                f"`labels` counts those of all {data.classes} classes together, the same number of each, so it is a "
                f"multiple of {data.classes}; got {run.shown}."
            )
        data = data.with_labels(each, run.seed)
    model = make_model(run.model, data.shape, seed=run.seed, **run.plan.settings)
    return model, data.suited(model)


def glance(model: Model, data: Dataset) -> dict[str, float]:
    """Returns a figure or two on some test data, in seconds at most."""
    if isinstance(model, SemiSupervisedGAN | InfoGAN):
        cut = data.first(len(data.train), 4 * GLANCE)
        found = _wrong(model, cut) if isinstance(model, SemiSupervisedGAN) else _sorted(model, cut)
        return {f"test_{name}": value for name, value in found.items() if name in ("error_rate", "clustering_error")}
    if isinstance(model, Density | Bounded):
        found = likelihood(model, data, samples=1, examples=GLANCE)  # type: ignore[arg-type]  (narrowed to a protocol)
        return {"test_nats": -found.nats}
    return {}


def figures(
    model: Model, data: Dataset, *, samples: int, examples: int | None, seed: int, folder: Path
) -> dict[str, Any]:
    """Returns what a trained model is measured by.

    `nats` are those of the negative log-likelihood of a test datum, `bits_per_dim` the same for each entry in bits,
    None where it is that of real numbers, a density and no length of a code: less is better. With `importance_samples`
    they are an upper bound, without they are exact.

    Args:
        model: the model.
        data: as it takes them.
        samples: codes for each datum, where the likelihood is bounded.
        examples: test data that the likelihood is taken of, from the first; None for all.
        seed: of all draws.
        folder: where the classifier that judges samples is kept.
    """
    if isinstance(model, SemiSupervisedGAN):
        return _wrong(model, data)
    if isinstance(model, InfoGAN) and (told := _sorted(model, data)):
        drawn = torch.Generator().manual_seed(child(seed, "information"))
        return {**told, "information": model.information(GLANCE, drawn)}
    if not isinstance(model, Density | Bounded):
        return _judged(model, data, seed, folder)
    found = likelihood(model, data, samples=samples, examples=examples, seed=seed)  # type: ignore[arg-type]
    told = {
        "nats": -found.nats,
        "standard_error": found.standard_error,
        "bits_per_dim": None if model.support == "real" else found.bits_per_dim,
        "importance_samples": found.samples,
        "binarisation": found.binarisation,
        "examples": found.examples,
    }
    if found.samples is not None:
        one = likelihood(model, data, samples=1, examples=examples, seed=seed)  # type: ignore[arg-type]
        told["bound_nats"] = -one.nats
    if isinstance(model, Coder):
        told["active_units"] = active_units(model, some(data, 2 * GLANCE))  # type: ignore[arg-type]
        told["features"] = model.features
    return told


def some(data: Dataset, n: int) -> Tensor:
    """Returns the first `n` test data with their grey levels, though the model may learn from 0 and 1."""
    return data.test.x[:n].float() / ((data.levels or 256) - 1) if data.test.x.dtype == torch.uint8 else data.test.x[:n]


def _wrong(model: SemiSupervisedGAN, data: Dataset) -> dict[str, Any]:
    x = data.examples("test", torch.Generator().manual_seed(0))
    opinion = torch.cat([model.probabilities(part).argmax(1).cpu() for part in x.split(1000)])
    errors = int((opinion != data.test.label).sum())
    shown = len(data.train) if data.labelled is None else len(data.labelled)
    return {"error_rate": errors / len(x), "errors": errors, "examples": len(x), "labels": shown}


def _sorted(model: InfoGAN, data: Dataset) -> dict[str, Any]:
    if not model.settings.categories or data.test.label is None:
        return {}
    x = data.examples("test", torch.Generator().manual_seed(0))
    cluster = torch.cat([model.clusters(part).cpu() for part in x.split(1000)])
    return {
        "clustering_error": clustering_error(data.test.label, cluster),
        "mutual_information": mutual_information(data.test.label, cluster),
        "examples": len(x),
    }


def _judged(model: Model, data: Dataset, seed: int, folder: Path) -> dict[str, Any]:
    classifier = _judge(data, folder)
    found = judge(model, data, classifier, samples=JUDGED, seed=seed)
    return {
        "score": found.score,
        "score_deviation": found.score_deviation,
        "frechet": found.distance,
        "classes": found.classes,
        "samples": found.samples,
        "judge_error_rate": error_rate(classifier, data),
    }


def _judge(data: Dataset, folder: Path) -> Classifier:
    """Returns a classifier of the data, the same for all runs on them."""
    path = folder / JUDGE_FILE
    try:
        kept = load(path, name=Classifier.name)
        if isinstance(kept, Classifier) and kept.shape == data.shape:
            return kept
    except CheckpointError:  # there is none yet, or it is damaged: it can be made again
        pass
    classifier = train_classifier(data, FitSettings(steps=JUDGE_STEPS))
    save(classifier, path)
    return classifier
