"""Samples judged by a classifier of ours: scores that stand in for those of Inception on small grey images."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from generative.classifier import Classifier
from generative.data import Dataset
from generative.errors import InvalidData
from generative.fit import fit
from generative.metrics import frechet_distance, inception_score
from generative.model import Model, Sampler
from generative.randomness import child
from generative.training import FitSettings


def train_classifier(data: Dataset, settings: FitSettings | None = None, **keywords: object) -> Classifier:
    """Returns a classifier of labelled data, trained by `fit`; its errors on the test data are `error_rate`.

    Args:
        data: with labels.
        settings: of the training.
        keywords: as of `fit`.
    """
    settings = settings or FitSettings(steps=2000)
    model = Classifier(data.shape, Classifier.Settings(classes=data.classes), seed=settings.seed)
    fit(model, data, settings, **keywords)  # type: ignore[arg-type]
    return model


def error_rate(model: Classifier, data: Dataset) -> float:
    """Returns the share of test data that a classifier gets wrong.

    Raises:
        InvalidData: the test data have no labels.
    """
    if data.test.label is None:
        raise InvalidData(f"The test data of {data.name} have no labels to count errors by.")
    x = data.examples("test", torch.Generator().manual_seed(0))
    found = torch.cat([model.probabilities(part).argmax(1).cpu() for part in x.split(1000)])
    return float((found != data.test.label).float().mean())


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What a classifier says of samples; figures of other classifiers or numbers of samples cannot be compared."""

    score: float
    """Inception's formula with this classifier: how clear and how various samples are."""
    score_deviation: float
    """Over ten splits."""
    distance: float
    """Fréchet distance of the classifier's features from those of the test data."""
    classes: int
    """Classes that at least one sample in a thousand falls into."""
    samples: int
    """How many were drawn."""


@torch.no_grad()
def judge(model: Model, data: Dataset, classifier: Classifier, *, samples: int = 5000, seed: int = 0) -> Judgement:
    """Returns what `classifier` says of samples of `model` beside the test data; values are cut to 0 to 1 for it.

    Args:
        model: what made them.
        data: the classifier's.
        classifier: trained on the same kind of data.
        samples: how many to draw.
        seed: of the samples.
    """
    if not isinstance(model, Sampler):
        raise InvalidData(f"{model.name} makes no samples.")
    generator = torch.Generator(model.device).manual_seed(child(seed, "judged samples"))
    parts = [min(1000, samples - done) for done in range(0, samples, 1000)]
    made = torch.cat([model.sample(n, generator).cpu() for n in parts]).clamp(0, 1)
    test = data.examples("test", torch.Generator().manual_seed(child(seed, "judged data")))
    opinions = _apart(classifier.probabilities, made)
    score, deviation = inception_score(opinions)
    counts = torch.bincount(opinions.argmax(1), minlength=classifier.settings.classes)
    return Judgement(
        score=score,
        score_deviation=deviation,
        distance=frechet_distance(_apart(classifier.encode, test), _apart(classifier.encode, made)),
        classes=int((counts * 1000 >= samples).sum()),
        samples=samples,
    )


def _apart(function: Callable[[Tensor], Tensor], x: Float[Tensor, "n *shape"]) -> Tensor:
    return torch.cat([function(part).cpu() for part in x.split(1000)])
