"""Metrics on cases that can be worked out by hand."""

import math
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
import torch
from torch import Tensor

from generative import Dataset, InvalidData, dataset, fit, load_data, make_model
from generative.classifier import Classifier
from generative.data import Split
from generative.judge import error_rate, judge, train_classifier
from generative.metrics import (
    ENTRIES,
    active_units,
    clustering_error,
    frechet_distance,
    inception_score,
    likelihood,
    mode_coverage,
    mutual_information,
)
from generative.model import Model
from tests.generative.small import data_for, generator, settings, small


def test_a_renamed_clustering_has_no_errors() -> None:
    label = torch.randint(4, (200,), generator=generator())
    for names in list(permutations(range(4)))[::5]:
        cluster = torch.tensor(names)[label]
        assert clustering_error(label, cluster) == 0
        assert mutual_information(label, cluster) == pytest.approx(1)


def test_clustering_error_counts_what_the_best_naming_leaves() -> None:
    label = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2])
    cluster = torch.tensor([5, 5, 1, 1, 1, 1, 1, 1])  # 0 -> 5 and 1 -> 1 leave three wrong
    assert clustering_error(label, cluster) == pytest.approx(3 / 8)


def test_mutual_information_equals_scikit_learn() -> None:
    from sklearn.metrics import normalized_mutual_info_score

    label, cluster = torch.randint(5, (2, 300), generator=generator())
    cluster = torch.where(label < 3, label, cluster)
    expected = normalized_mutual_info_score(label.numpy(), cluster.numpy())
    assert mutual_information(label, cluster) == pytest.approx(expected)
    assert mutual_information(torch.zeros(5).long(), torch.zeros(5).long()) == 1


def test_inception_score_of_clear_and_of_empty_opinions() -> None:
    assert inception_score(torch.full((100, 10), 0.1)) == (pytest.approx(1), pytest.approx(0, abs=1e-6))
    clear = torch.eye(10).repeat(10, 1)
    assert inception_score(clear, 10) == (pytest.approx(10), pytest.approx(0, abs=1e-6))
    with pytest.raises(InvalidData, match="cannot be scored in 10 splits"):
        inception_score(clear[:5])


def test_inception_score_is_its_formula_split_by_split() -> None:
    opinions = torch.softmax(torch.randn(40, 6, generator=generator(), dtype=torch.float64), 1)
    scores = []
    for part in opinions.chunk(4):
        entropy = lambda p: -(p * p.log()).sum(-1)  # noqa: E731
        scores.append(float((entropy(part.mean(0)) - entropy(part).mean()).exp()))
    mean, deviation = inception_score(opinions, 4)
    assert mean == pytest.approx(sum(scores) / 4)
    assert deviation == pytest.approx(float(torch.tensor(scores, dtype=torch.float64).std(correction=0)))


def test_frechet_distance_of_gaussians_is_the_closed_form() -> None:
    from scipy.linalg import sqrtm

    first, second = torch.randn(2, 300, 4, generator=generator(), dtype=torch.float64)
    second = second @ torch.randn(4, 4, generator=generator(1), dtype=torch.float64) + 0.5
    c, d = torch.cov(first.T), torch.cov(second.T)
    root = torch.as_tensor(sqrtm((c @ d).numpy()).real)
    expected = (first.mean(0) - second.mean(0)).square().sum() + torch.trace(c + d - 2 * root)
    assert frechet_distance(first, second) == pytest.approx(float(expected))
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(first, first + 2) == pytest.approx(16)


def test_modes_are_covered_by_samples_near_them() -> None:
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    samples = torch.tensor([[0.1, 0.0], [0.0, 0.2], [9.9, 0.0], [5.0, 5.0]])
    found = mode_coverage(samples, centres, std=0.1)
    assert (found.modes, found.of, found.near) == (2, 3, 0.75)
    assert mode_coverage(samples, centres, std=0.1, least=2).modes == 1
    mixture = load_data("gaussians-25")
    assert mode_coverage(mixture.test.x, mixture.train.x[:0].new_zeros(1, 2), std=0.05).near < 0.1


class Coin(Model):
    """Independent bits of a known chance, with an exact likelihood or a noisy bound of it."""

    name = "coin"
    Settings = dict  # type: ignore[assignment]

    def __init__(self, chance: float) -> None:
        super().__init__((3,), {}, support="binary")
        self.chance = torch.nn.Parameter(torch.tensor(chance))

    def log_prob(self, x: Tensor) -> Tensor:
        return (x * self.chance.log() + (1 - x) * (1 - self.chance).log()).sum(1)


class Guess(Coin):
    """The same through importance weights of spread 1."""

    log_prob = None  # type: ignore[assignment]
    asked: list[int]

    def bound(self, x: Tensor, samples: int, generator: torch.Generator) -> Tensor:
        self.asked.append(samples)
        noise = torch.randn(samples, len(x), generator=generator) - 0.5  # mean weight 1
        return Coin.log_prob(self, x) + torch.logsumexp(noise, 0) - math.log(samples)


def bits(chance: float, n: int = 600) -> Dataset:
    x = (torch.rand(n, 3, generator=generator()) < chance).to(torch.uint8)
    return Dataset(name="bits", train=Split(x=x), test=Split(x=x), support="binary", levels=2)


def test_an_exact_likelihood_is_the_entropy() -> None:
    data = bits(0.3)
    with torch.no_grad():
        model = Coin(float(data.train.x.float().mean()))
    found = likelihood(model, data)
    p = float(model.chance.detach())
    entropy = -(p * math.log(p) + (1 - p) * math.log(1 - p))
    assert found.nats == pytest.approx(-3 * entropy, rel=1e-5)
    assert found.bits_per_dim == pytest.approx(entropy / math.log(2), rel=1e-5)
    assert (found.samples, found.examples, found.binarisation) == (None, 600, None)


def test_large_data_are_looked_at_in_small_chunks() -> None:
    class Counting(Model):
        name, Settings = "counting", dict  # type: ignore[assignment]
        device = torch.device("cpu")  # type: ignore[assignment]

        def log_prob(self, x: Tensor) -> Tensor:
            seen.append(len(x))
            return x.flatten(1).sum(1)

    x = (torch.rand(300, 3, 32, 32, generator=generator()) * 255).to(torch.uint8)
    data = Dataset(name="large", train=Split(x=x), test=Split(x=x), levels=256)
    seen: list[int] = []
    found = likelihood(Counting((3, 32, 32), {}), data)
    assert sum(seen) == 300
    assert max(seen) * 3 * 32 * 32 <= ENTRIES
    assert found.nats == pytest.approx(float((x.double() / 255).sum()) / 300)


def test_a_sampled_likelihood_is_the_same_in_chunks() -> None:
    data, model = bits(0.3), Guess(0.3)
    model.asked = []
    found = likelihood(model, data, samples=200, chunk=100)
    assert set(model.asked) == {100}
    assert found.samples == 200
    assert found.nats == pytest.approx(
        float(Coin.log_prob(model, data.examples("test", generator())).mean().detach()), abs=0.05
    )


def test_a_likelihood_says_how_the_data_were_binarised(digits: Dataset) -> None:
    model, data = small("vae", digits), data_for("vae", digits)
    first, again, other = (likelihood(model, data, samples=2, seed=seed, examples=50) for seed in (0, 0, 1))
    assert first == again
    assert first.nats != other.nats
    assert (first.binarisation, first.examples) == ("dynamic", 50)
    with pytest.raises(InvalidData, match="neither a likelihood nor a bound"):
        likelihood(small("gan", digits), digits)


def test_active_units_are_those_whose_mean_moves(digits: Dataset) -> None:
    model: Any = small("vae", digits)
    with torch.no_grad():
        model.posterior_head.weight[:2].zero_()
        model.posterior_head.weight[2:4] *= 10
    assert active_units(model, data_for("vae", digits).examples("test", generator())) == 2


@pytest.fixture(scope="module")
def classifier(digits: Dataset) -> Classifier:
    return train_classifier(digits, settings(250, batch_size=64, report_every=50, save_every=250))


def test_the_classifier_learns_the_digits(classifier: Classifier, digits: Dataset) -> None:
    assert error_rate(classifier, digits) < 0.06


def test_the_classifier_judges_data_above_noise(classifier: Classifier, digits: Dataset) -> None:
    class Copies(Model):
        name, Settings = "copies", dict  # type: ignore[assignment]

        def sample(self, n: int, generator: torch.Generator) -> Tensor:
            return digits.examples("train", generator)[:n] * self.share + (1 - self.share) * torch.rand(
                n, *self.shape, generator=generator
            )

        @property
        def device(self) -> torch.device:
            return torch.device("cpu")

    copies, noise = Copies(digits.shape, {}), Copies(digits.shape, {})
    copies.share, noise.share = 1.0, 0.0  # type: ignore[assignment]
    real, made = (judge(model, digits, classifier, samples=1000) for model in (copies, noise))
    assert real.score > 7 > made.score
    assert real.distance < 0.1 * made.distance
    assert real.classes == 10
    assert judge(copies, digits, classifier, samples=1000) == real


def test_another_classifier_judges_as_two_functions(classifier: Classifier, digits: Dataset) -> None:
    model = small("gan", digits)
    pair = (lambda x: classifier.encode(x), lambda x: classifier.probabilities(x))
    assert judge(model, digits, pair, samples=100) == judge(model, digits, classifier, samples=100)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    softmax = torch.nn.Sequential(net, torch.nn.Softmax(1))
    assert 1 <= judge(model, digits, (net, softmax), samples=100).score <= 3
    with pytest.raises(InvalidData, match=r"these two as functions, \(features, probabilities\); got list"):
        judge(model, digits, [net])
    with pytest.raises(InvalidData, match="Take the softmax of logits"):
        judge(model, digits, (net, net), samples=100)
    with pytest.raises(InvalidData, match="Flatten its features"):
        judge(model, digits, (lambda x: x, softmax), samples=100)


def test_errors_without_labels_are_not_counted(classifier: Classifier, digits: Dataset) -> None:
    with pytest.raises(InvalidData, match="no labels to count errors by"):
        error_rate(classifier, replace(digits, test=Split(x=digits.test.x)))


def test_classes_beyond_those_of_a_classifier_are_refused(digits: Dataset) -> None:
    with pytest.raises(InvalidData, match="a class 9, numbered from 0; this classifier was built for 4"):
        fit(make_model("classifier", digits.shape, classes=4), digits, settings(1))


def test_a_classifier_without_labels_says_so() -> None:
    model = make_model("classifier", (2,), classes=2)
    with pytest.raises(InvalidData, match="these data have none"):
        fit(model, dataset(torch.zeros(5, 2)), settings(1))
