"""The techniques of balanced games, each alone."""

from itertools import permutations

import pytest
import torch
from torch import nn

from generative import FitSettings, fit, load_data
from generative.datasets import MIXTURE_STD, grid_centres
from generative.gan import GAN, GANSettings
from generative.metrics import mode_coverage
from generative.optimiser import Optimiser
from generative.randomness import seeded
from generative.techniques import HistoricalAverage, MinibatchDiscrimination, VirtualBatchNorm, feature_matching
from tests.generative.small import generator


def closeness(features: int = 6, kernels: int = 3) -> MinibatchDiscrimination:
    with seeded(0):
        return MinibatchDiscrimination(features, kernels)


def test_feature_matching_compares_means_and_leaves_the_real_side_alone() -> None:
    real = torch.tensor([[0.0, 2.0], [2.0, 2.0]], requires_grad=True)
    fake = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]], requires_grad=True)
    assert float(feature_matching(real, fake)) == pytest.approx(0.5)  # means (1, 2) and (1, 1)
    assert float(feature_matching(real, fake, "absolute")) == pytest.approx(0.5)
    feature_matching(real, fake).backward()
    assert real.grad is None
    assert fake.grad is not None


def test_an_example_is_not_close_to_itself() -> None:
    layer = closeness()
    same = torch.randn(1, 6, generator=generator()).expand(5, 6)
    torch.testing.assert_close(layer.closeness(same), torch.full((5, 3), 4.0))
    far = 1e4 * torch.randn(5, 6, generator=generator())
    assert layer.closeness(far).abs().max() < 1e-3


def test_closeness_follows_the_order_of_the_minibatch() -> None:
    layer, x = closeness(), torch.randn(4, 6, generator=generator())
    found = layer(x)
    for order in permutations(range(4)):
        torch.testing.assert_close(layer(x[list(order)]), found[list(order)])


def test_closeness_equals_its_formula() -> None:
    layer, x = closeness(), torch.randn(4, 6, generator=generator())
    matrix = layer.directions / layer.directions.norm(dim=0) * layer.log_scale.exp()
    placed = (x @ matrix.flatten(1)).view(4, 3, 5)
    for i in range(4):
        expected = sum(torch.exp(-(placed[i] - placed[j]).abs().sum(-1)) for j in range(4) if j != i)
        torch.testing.assert_close(layer.closeness(x)[i], expected)


def test_closeness_of_a_group_leaves_the_others_out() -> None:
    layer, x = closeness(), torch.randn(7, 6, generator=generator())
    layer.group = 3
    found = layer.closeness(x)
    layer.group = 0
    torch.testing.assert_close(found, torch.cat([layer.closeness(part) for part in x.split(3)]))
    layer.group = 9  # more than there are
    torch.testing.assert_close(layer.closeness(x), layer.closeness(x[:7]))


def test_closeness_starts_at_the_spread_of_the_data() -> None:
    layer, x = closeness(), 5 * torch.randn(50, 6, generator=generator())
    layer.start(x)
    near = layer.distances(x).masked_fill(torch.eye(50, dtype=torch.bool)[:, :, None], float("inf")).amin(1)
    torch.testing.assert_close(near.mean(0), torch.full((3,), 2.0))
    torch.testing.assert_close(layer(x)[:, 6:].mean(0), torch.zeros(3), atol=1e-5, rtol=0)


def test_in_groups_closeness_starts_at_the_spread_within_them() -> None:
    """The nearest of a thousand is much nearer than the nearest of sixteen, and is hardly ever in the group."""
    layer, x = closeness(), torch.randn(203, 6, generator=generator())
    layer.group = 4
    layer.start(x)
    near = [layer.distances(part).masked_fill(torch.eye(4, dtype=torch.bool)[:, :, None], float("inf")).amin(1)
            for part in x[:200].split(4)]  # fmt: skip
    torch.testing.assert_close(torch.cat(near).mean(0), torch.full((3,), 2.0))
    layer.start(x[:3])  # fewer than a group
    assert layer.closeness(x[:3]).isfinite().all()


def play(weight: float, rounds: int) -> list[float]:
    """Both players of V = (f(x) - 1)(y - 1), f(x) = x below 0 and x² above, from (0.3, 0.3) by steps of 0.05."""
    x, y = (nn.Parameter(torch.tensor(0.3, dtype=torch.float64)) for _ in range(2))
    histories = [HistoricalAverage([x]), HistoricalAverage([y])]
    for _ in range(rounds):
        value = (torch.where(x < 0, x, x.square()) - 1) * (y - 1)
        costs = [value + weight * histories[0](), -value + weight * histories[1]()]
        slopes = [torch.autograd.grad(cost, p, retain_graph=True)[0] for cost, p in zip(costs, (x, y), strict=True)]
        with torch.no_grad():
            x -= 0.05 * slopes[0]
            y -= 0.05 * slopes[1]
    return [float(x), float(y)]


def test_historical_averaging_converges_where_descent_runs_away() -> None:
    assert play(0.3, 1000) == pytest.approx([1, 1], abs=0.01)
    assert not all(abs(value) < 100 for value in play(0.0, 1000))


def test_historical_averaging_pulls_towards_the_mean_of_the_past() -> None:
    p = nn.Parameter(torch.tensor([0.0]))
    history, past = HistoricalAverage([p]), []
    for value in (1.0, 5.0, -2.0):
        with torch.no_grad():
            p.fill_(value)
        past.append(value)
        cost = history()
        assert float(cost) == pytest.approx((value - sum(past) / len(past)) ** 2, rel=1e-5)
    cost.backward()
    assert p.grad is not None
    assert float(p.grad) == pytest.approx(2 * (-2 - 4 / 3), rel=1e-5)


def test_virtual_batch_norm_treats_an_example_alone() -> None:
    with seeded(0):
        layer = VirtualBatchNorm(3)
    x, reference = torch.randn(6, 3, 4, 4, generator=generator()), torch.randn(9, 3, 4, 4, generator=generator(1))
    whole, _ = layer(x, reference)
    alone, _ = layer(x[2:3], reference)
    torch.testing.assert_close(whole[2:3], alone)


def test_virtual_batch_norm_of_the_reference_is_batch_norm() -> None:
    with seeded(0):
        layer = VirtualBatchNorm(3)
    reference = torch.randn(400, 3, generator=generator()) * 3 + 1
    x, normalised = layer(reference, reference)
    expected = nn.functional.batch_norm(reference, None, None, layer.gain, layer.bias, training=True)
    torch.testing.assert_close(normalised, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(x, expected, atol=0.15, rtol=0)  # up to the example's own share of 1/401


def test_virtual_batch_norm_bears_a_mean_far_from_nothing() -> None:
    with seeded(0):
        layer = VirtualBatchNorm(4)
    x, reference = torch.randn(6, 4, generator=generator()), torch.randn(32, 4, generator=generator(1))
    there = layer(x, reference)
    for near, far in zip(there, layer(100 + x, 100 + reference), strict=True):
        torch.testing.assert_close(near, far, atol=1e-3, rtol=0)
    assert all(torch.isfinite(part).all() for part in layer(300 + 0.01 * x, 300 + 0.01 * reference))


def test_gradients_reach_the_pass_of_the_reference() -> None:
    layer, x = VirtualBatchNorm(2), torch.randn(3, 2, generator=generator())
    reference = torch.randn(5, 2, generator=generator(1), requires_grad=True)
    layer(x, reference)[0].square().sum().backward()
    assert reference.grad is not None
    assert reference.grad.abs().sum() > 0


@pytest.mark.slow
def test_closeness_within_groups_keeps_a_gan_from_collapsing() -> None:
    """A generator that learns ten times as fast as the discriminator falls to a few of 25 Gaussians without it."""
    data, found = load_data("gaussians-25"), {}
    for kernels in (0, 4):
        fast, slow = (Optimiser(rate=rate, betas=(0.5, 0.999), decay="linear", decay_from=0.5) for rate in (1e-3, 1e-4))
        model = GAN(
            data.shape,
            GANSettings(
                latent=2, hidden=(128, 128), support="real", minibatch_kernels=kernels, minibatch_group=16,
                generator=fast, discriminator=slow,
            ),
        )  # fmt: skip
        fit(model, data, FitSettings(steps=3000, batch_size=64))
        found[kernels] = mode_coverage(model.sample(2500, generator()), grid_centres(), MIXTURE_STD).modes
    assert found[0] <= 5
    assert found[4] >= 20
