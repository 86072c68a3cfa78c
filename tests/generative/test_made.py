"""MADE: what its outputs see, and that its likelihoods are of a distribution."""

from itertools import product

import pytest
import torch
from torch import Tensor

from generative import make_model
from generative.made import MADE
from generative.model import Batch
from tests.generative.small import generator

EACH_MASK = torch.arange(3)


def made(**settings: object) -> MADE:
    model = make_model("made", (5,), hidden=[40, 40], **settings)  # type: ignore[arg-type]
    assert isinstance(model, MADE)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # far from uniform
    return model


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "discretised"])
@pytest.mark.parametrize("order", ["given", "drawn"])
def test_an_output_sees_what_comes_before_it_in_its_order(order: str, likelihood: str) -> None:
    model = made(masks=3, order=order, likelihood=likelihood, components=2, activation="tanh")
    orders = set()
    for which in EACH_MASK:
        x = torch.randn(1, 5, generator=generator())
        slopes: Tensor = torch.autograd.functional.jacobian(lambda x, which=which: model.conditionals(x, which)[0], x)  # type: ignore[assignment]
        found = (slopes[:, :, 0] != 0).any(0)
        position = model.position[which]
        assert torch.equal(found, position[:, None] > position[None])
        orders.add(tuple(position.tolist()))
    assert len(orders) == (1 if order == "given" else 3)


@pytest.mark.parametrize("masks", [1, 3])
def test_probabilities_of_all_data_sum_to_one(masks: int) -> None:
    model = made(masks=masks, order="drawn")
    every = torch.tensor(list(product([0.0, 1.0], repeat=5)))
    assert float(model.log_prob(every).exp().sum()) == pytest.approx(1, abs=1e-5)
    grey = make_model("made", (2,), hidden=[8], likelihood="discretised", levels=7, components=2)
    assert isinstance(grey, MADE)
    every = torch.tensor(list(product([i / 6 for i in range(7)], repeat=2)))
    assert float(grey.log_prob(every).exp().sum()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("masks", [1, 3])
def test_samples_follow_the_likelihood(masks: int) -> None:
    model, n = made(masks=masks, order="drawn"), 20_000
    every = torch.tensor(list(product([0.0, 1.0], repeat=5)))
    codes = 2.0 ** torch.arange(4, -1, -1)
    found = torch.bincount((model.sample(n, generator()) @ codes).long(), minlength=32) / n
    expected = model.log_prob(every).exp()
    assert ((found - expected).abs() < 5 * (expected * (1 - expected) / n).sqrt() + 1e-4).all()


def test_the_loss_averages_over_masks_what_the_mixture_bounds() -> None:
    model = made(masks=3, order="drawn")
    x = (torch.rand(50, 5, generator=generator()) < 0.5).float()
    batch = Batch(x=x, step=torch.zeros(()))
    found = {round(model.losses(batch, "model", generator(seed))["loss"].item(), 4) for seed in range(30)}
    assert len(found) == 3
    assert -sum(found) / 3 < float(model.log_prob(x).mean())
