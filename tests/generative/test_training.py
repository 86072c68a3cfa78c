"""One round of training: players, rules of descent, averages, precision."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from generative import Dataset, InvalidSettings, fit, make_model
from generative.average import STRIDE, Average, averaged
from generative.data import Minibatches
from generative.model import Batch, Model
from generative.optimiser import Optimiser
from generative.training import Training
from tests.generative.small import data_for, settings, small, weights


def test_averaged_weights_lag_behind_and_are_corrected_for_their_start() -> None:
    parameter = torch.nn.Parameter(torch.zeros(()))
    average, means = Average([parameter], 0.999), []
    for step in range(40):
        with torch.no_grad():
            parameter.fill_(1.0)
        average.update(step)
        means.append(float(average.means[0]))
    assert means[0] == pytest.approx(0.9)  # memory (1 + 0) / (10 + 0) of a start that is noise
    assert means[1] == means[0]
    assert means[STRIDE] == pytest.approx(1 - 0.1 * 2 / 11)
    average.swap()
    assert float(parameter.detach()) == pytest.approx(means[-1])
    average.swap()
    assert float(parameter.detach()) == 1


@pytest.mark.parametrize(
    ("rule", "rate", "decay"),
    [
        ("adam", 3e-3, "constant"),
        ("adamax", 1e-2, "linear"),
        ("rmsprop", 3e-3, "cosine"),
        ("sgd", 3e-3, "exponential"),
        ("adagrad", 3e-2, "constant"),
    ],
)
def test_every_rule_descends_and_resumes(rule: str, rate: float, decay: str, digits: Dataset, tmp_path: Path) -> None:
    optimiser = {"rule": rule, "rate": rate, "decay": decay, "clip": 5.0, "warm_up": 3}
    data, reports = data_for("vae", digits), dict[int, float]()

    def model() -> Model:
        return make_model("vae", digits.shape, latent=2, hidden=[8], optimiser=optimiser)

    def kill(step: int, metrics: Mapping[str, float]) -> None:
        reports[step] = metrics["loss"]
        if step == 30:
            raise TimeoutError

    resumed, whole = model(), model()
    with pytest.raises(TimeoutError):
        fit(model(), data, settings(60), folder=tmp_path, log=kill)
    last = fit(resumed, data, settings(60), folder=tmp_path)["loss"]
    fit(whole, data, settings(60))
    assert all(torch.equal(a, b) for a, b in zip(weights(resumed), weights(whole), strict=True))
    assert last < reports[10]


def test_rates_fall_as_named() -> None:
    linear = Optimiser(rate=2.0, decay="linear", decay_from=0.5)
    assert [linear.rate_at(step, 8) for step in (0, 4, 6, 8)] == [2, 2, 1, 0]
    cosine = Optimiser(rate=1.0, decay="cosine")
    assert cosine.rate_at(4, 8) == pytest.approx(0.5)
    assert Optimiser(rate=1.0, decay="exponential", decay_factor=0.5).rate_at(3, 8) == 0.125
    assert Optimiser(rate=1.0, warm_up=4).rate_at(0, 8) == 0.25


@pytest.mark.parametrize(
    "wrong",
    [{"epsilon": -1.0}, {"weight_decay": -1.0}, {"warm_up": -1}, {"decay_factor": 0.0}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_rule_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidSettings, match=f"`{next(iter(wrong))}`"):
        Optimiser(**wrong)


def test_players_move_their_own_parameters_alone(digits: Dataset) -> None:
    model = small("gan", digits)
    training = Training(model, settings(1))
    batch = Minibatches(digits, 16, 0).next(training.generator, training.clock)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    moves = training.players[1]
    moves.descend(model.losses(batch, "generator", training.generator)["loss"], 0, 1)
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(before[name], parameter)}
    assert moved
    assert all(name.startswith(("generator.", "output.")) for name in moved)


def test_half_precision_gives_nearly_the_same_loss(digits: Dataset) -> None:
    data = data_for("vae", digits)
    full, half = (
        fit(small("vae", digits), data, settings(60, precision=precision)) for precision in ("float32", "bfloat16")
    )
    assert abs(full["loss"] - half["loss"]) / 64 < 0.01  # nats per dimension


def test_a_batch_says_how_far_the_training_is(digits: Dataset) -> None:
    seen: list[float] = []

    class Watching(type(small("vae", digits))):  # type: ignore[misc]
        def losses(self, batch: Batch, player: str, generator: torch.Generator) -> dict[str, torch.Tensor]:
            seen.append(float(batch.step))
            return super().losses(batch, player, generator)

    model = Watching(digits.shape, Watching.Settings(latent=2, hidden=(4,)))
    training = Training(model, settings(3))
    minibatches = Minibatches(data_for("vae", digits), 8, 0)
    for _ in range(3):
        training.round(minibatches)
    assert seen == [0, 1, 2]


def test_running_statistics_are_averaged_with_their_weights() -> None:
    norm = torch.nn.BatchNorm1d(2)
    average = Average(averaged(norm), 0.9)
    norm(torch.full((4, 2), 10.0))
    average.update(0)
    average.swap()
    torch.testing.assert_close(norm.running_mean, torch.full((2,), 0.9))
