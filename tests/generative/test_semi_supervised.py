"""The semi-supervised GAN: its game, its start, and its ensembles."""

from typing import Any

import pytest
import torch

from generative import Dataset, InvalidData, InvalidSettings, dataset, fit, make_model
from generative.data import Minibatches
from generative.gan_losses import class_loss, existence_loss
from generative.layers import WeightNormal
from generative.model import Batch
from generative.semi_supervised import SemiSupervisedGAN
from tests.generative.small import SMALL, generator, settings

NAME = "semi-supervised-gan"


def build(digits: Dataset, *, seed: int = 0, **changes: Any) -> SemiSupervisedGAN:
    model = make_model(NAME, digits.shape, seed=seed, **(SMALL[NAME] | changes))
    assert isinstance(model, SemiSupervisedGAN)
    return model


def error_rate(model: SemiSupervisedGAN, data: Dataset) -> float:
    wrong = model.probabilities(data.examples("test", generator())).argmax(1) != data.test.label
    return float(wrong.float().mean())


def batch_of(digits: Dataset) -> Batch:
    return Minibatches(digits.with_labels(10, seed=0), 200, seed=0).next(generator(), torch.zeros(()))


def test_hidden_layers_start_at_the_data_and_keep_their_gains(digits: Dataset) -> None:
    model, batch, seen = build(digits, members=2, noise=0.0, hidden_noise=0.0), batch_of(digits), []
    model.initialise(batch, generator())
    for layer in model.trunk:
        if isinstance(layer, WeightNormal):
            layer.register_forward_hook(lambda *call: seen.append(call[2]))
            assert not layer.gain.requires_grad
    model.trunk(batch.x.flatten(1).repeat(1, 2), generator())
    assert len(seen) == len(model.settings.hidden)
    for values in seen:
        torch.testing.assert_close(values.mean(0), torch.zeros(values.shape[1]), atol=1e-4, rtol=0)
        spread = values.std(0, correction=0)
        assert ((spread - 1).abs() < 1e-3).float().mean() > 0.9  # but where a unit is dead below
    assert model.head[-1].gain.requires_grad


def test_the_generator_starts_at_the_mean_of_the_data(digits: Dataset) -> None:
    model, batch = build(digits), batch_of(digits)
    model.initialise(batch, generator())
    assert model.output.bias is not None
    mean = batch.x.flatten(1).mean(0).clamp(1e-2, 1 - 1e-2)
    torch.testing.assert_close(torch.sigmoid(model.output.bias), mean)


def test_the_classifier_s_cost_is_that_of_k_plus_one_classes(digits: Dataset) -> None:
    model, batch = build(digits, noise=0.0, hidden_noise=0.0), batch_of(digits)
    assert batch.labelled is not None
    assert batch.labelled.label is not None
    model.initialise(batch, generator())
    terms = model.losses(batch, "classifier", generator(3))
    made = model._make(200, generator(3))
    labelled, real, fake = (model.head(model.trunk(x.flatten(1))) for x in (batch.labelled.x, batch.x, made))
    expected = class_loss(labelled, batch.labelled.label) + existence_loss(real, fake)
    torch.testing.assert_close(terms["loss"], expected)


def test_the_generator_learns_through_the_features_alone(digits: Dataset) -> None:
    model, batch = build(digits), batch_of(digits)
    loss = model.losses(batch, "generator", generator())["loss"]
    slopes = torch.autograd.grad(loss, [*model.head.parameters(), *model.output.parameters()], allow_unused=True)
    assert [slope is None for slope in slopes] == [True] * 3 + [False] * 3


@pytest.mark.parametrize("seed", [0, 5])
def test_each_member_of_an_ensemble_moves_as_it_would_alone(digits: Dataset, seed: int) -> None:
    data = digits.with_labels(5, seed=0)
    several = build(digits, members=3, seed=seed)
    told = fit(several, data, settings(25, average=None))
    matching = []
    for i in range(3):
        alone = build(digits, seed=seed + i)
        matching.append(fit(alone, data, settings(25, average=None))["generator/matching"])
        for key, value in several.member(i).state_dict().items():
            torch.testing.assert_close(value, alone.state_dict()[key], rtol=1e-3, atol=2e-3, msg=f"{key} of {i}")
    assert len({round(value, 4) for value in matching}) == 3  # members differ
    assert told["generator/matching"] == pytest.approx(sum(matching) / 3, rel=1e-2)


def test_an_ensemble_says_the_mean_of_its_members(digits: Dataset) -> None:
    model = build(digits, members=3).eval()
    x = digits.examples("test", generator())[:20]
    members = [model.member(i) for i in range(3)]
    torch.testing.assert_close(model.probabilities(x), torch.stack([one.probabilities(x) for one in members]).mean(0))
    torch.testing.assert_close(model.realness(x), torch.stack([one.realness(x) for one in members]).mean(0))
    torch.testing.assert_close(model.encode(x), torch.cat([one.encode(x) for one in members], 1))
    for i, one in enumerate(members):
        torch.testing.assert_close(model.sample(9, generator())[i::3], one.sample(9, generator())[i::3])
    with pytest.raises(InvalidSettings, match="from 0 to 2; got 3"):
        model.member(3)


def test_data_without_labels_or_with_too_many_classes_are_refused(digits: Dataset) -> None:
    with pytest.raises(InvalidData, match="some labels at least"):
        fit(build(digits), dataset(digits.train.x, name="plain"), settings(1))
    with pytest.raises(InvalidData, match="a class 9, numbered from 0; this semi-supervised-gan was built for 4"):
        fit(build(digits, classes=4), digits, settings(1))


@pytest.mark.parametrize("changes", [{"members": 0}, {"classes": 1}, {"hidden": []}, {"noise": -1.0}])
def test_settings_out_of_range_are_refused(digits: Dataset, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidSettings, match=next(iter(changes))):
        build(digits, **changes)


@pytest.mark.slow
def test_unlabelled_data_teach_what_labels_alone_do_not(digits: Dataset) -> None:
    data = digits.with_labels(5, seed=0)
    errors = []
    for weight in (1.0, 0.0):
        model = build(
            digits, members=6, hidden=[256, 128, 64], noise=0.15, hidden_noise=0.3, latent=30,
            generator_hidden=[64, 64], unlabelled=weight,
        )  # fmt: skip
        fit(model, data, settings(600, batch_size=100, report_every=100, save_every=600, average=0.99))
        errors.append([error_rate(one, data) for one in (*[model.member(i) for i in range(6)], model)])
    both, alone = (sorted(found[:6]) for found in errors)
    assert both[2] <= alone[2] - 0.02
    assert errors[0][6] <= both[5]  # the ensemble is no worse than its worst member
