"""Samples judged by a classifier: one of ours, for small grey images, or another, as Inception is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

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


@runtime_checkable
class Judge(Protocol):
    """Who can judge samples; a `Classifier` can. Data come on the CPU, with values from 0 to 1, 1000 at most."""

    def encode(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n d"]:
        """Returns the features of each datum, which the Fréchet distance is taken of."""
        ...

    def probabilities(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n k"]:
        """Returns the probability of each class of each datum."""
        ...


Function = Callable[[Tensor], Tensor]


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
def judge(
    model: Model, data: Dataset, classifier: Judge | Sequence[Function], *, samples: int = 5000, seed: int = 0
) -> Judgement:
    """Returns what `classifier` says of samples of `model` beside the test data; values are cut to 0 to 1 for it.

    With Inception as the classifier these are the Inception score and the Fréchet inception distance::

        judge(model, data, (pooled_features, lambda x: softmax(inception(large(x)), 1)))

    Args:
        model: what made them.
        data: whose test data they are compared with.
        classifier: with `encode` and `probabilities`, or these two as functions, features first; in evaluation mode.
        samples: how many to draw.
        seed: of the samples.

    Raises:
        InvalidData: the model makes no samples, or what `classifier` gives are no features and probabilities.
    """
    encode, probabilities = _functions(classifier)
    if not isinstance(model, Sampler):
        raise InvalidData(f"{model.name} makes no samples.")
    generator = torch.Generator(model.device).manual_seed(child(seed, "judged samples"))
    parts = [min(1000, samples - done) for done in range(0, samples, 1000)]
    made = torch.cat([model.sample(n, generator).cpu() for n in parts]).clamp(0, 1)
    test = data.examples("test", torch.Generator().manual_seed(child(seed, "judged data")))
    opinions = _apart(probabilities, made)
    if bool((opinions < 0).any()) or not torch.allclose(opinions.sum(1), torch.ones(len(opinions)), atol=1e-2):
        raise InvalidData(
            "The classifier's probabilities of a datum must not be negative and sum to 1; got a row that sums to "
            f"{float(opinions.sum(1)[0]):.4g}. Take the softmax of logits."
        )
    score, deviation = inception_score(opinions)
    counts = torch.bincount(opinions.argmax(1), minlength=opinions.shape[1])
    return Judgement(
        score=score,
        score_deviation=deviation,
        distance=frechet_distance(_apart(encode, test), _apart(encode, made)),
        classes=int((counts * 1000 >= samples).sum()),
        samples=samples,
    )


def _functions(classifier: Judge | Sequence[Function]) -> tuple[Function, Function]:
    """Returns features and probabilities as functions."""
    if isinstance(classifier, Judge):
        return classifier.encode, classifier.probabilities
    if not isinstance(classifier, Sequence) or len(classifier) != 2 or not all(map(callable, classifier)):
        raise InvalidData(
            "A classifier has `encode` and `probabilities`, or is these two as functions, (features, probabilities); "
            f"got {type(classifier).__name__}."
        )
    return classifier[0], classifier[1]


def _apart(function: Function, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n d"]:
    found = torch.cat([function(part).float().cpu() for part in x.split(1000)])
    if found.shape[:1] != x.shape[:1] or found.ndim != 2:
        raise InvalidData(
            f"A classifier gives one row for each datum; of {len(x)} data it gave an array of shape "
            f"{tuple(found.shape)}. Flatten its features."
        )
    return found
