"""Likelihoods against sums over all values, against torch's distributions and against their own draws."""

import math

import pytest
import torch
from torch import Tensor

from generative.divergences import bits_per_dim
from generative.likelihoods import Bernoulli, DiscretisedMixture, Gaussian, Likelihood, bin_log_prob
from tests.generative.small import generator

SHAPES = [(4,), (1, 3, 2), (3, 2, 2)]


def kinds(shape: tuple[int, ...]) -> list[Likelihood]:
    return [
        Bernoulli(shape),
        Gaussian(shape),
        Gaussian(shape, "each"),
        Gaussian(shape, "optimal").eval(),
        DiscretisedMixture(shape, 17),
        DiscretisedMixture(shape, 17, components=3),
    ]


def draw(likelihood: Likelihood, *n: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(*n, *likelihood.parameter_shape, generator=generator())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("index", range(6))
def test_shapes_and_broadcasting(shape: tuple[int, ...], index: int) -> None:
    likelihood = kinds(shape)[index]
    parameters = draw(likelihood, 2, 5)
    x = likelihood.sample(parameters[0], generator())
    assert x.shape == (5, *shape)
    assert likelihood.mean(parameters).shape == (2, 5, *shape)
    nats = likelihood.log_prob(parameters, x)
    assert nats.shape == (2, 5)
    torch.testing.assert_close(nats[1], likelihood.log_prob(parameters[1], x))
    assert likelihood.log_prob_places(parameters, x).shape == (2, 5, *shape[1:])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("index", range(6))
def test_the_start_has_the_mean_asked_for(shape: tuple[int, ...], index: int) -> None:
    likelihood = kinds(shape)[index]
    mean = 0.2 + 0.5 * torch.rand(shape, generator=generator())
    start = likelihood.start(mean)
    assert start.shape == likelihood.parameter_shape
    tolerance = 0.15 if isinstance(likelihood, DiscretisedMixture) and likelihood.components > 1 else 1e-4
    torch.testing.assert_close(likelihood.mean(start[None])[0], mean, atol=tolerance, rtol=0)


def test_bernoulli_equals_torch() -> None:
    logits, x = draw(Bernoulli((4,)), 6), torch.randint(2, (6, 4), generator=generator()).float()
    expected = torch.distributions.Bernoulli(logits=logits).log_prob(x).sum(1)
    torch.testing.assert_close(Bernoulli((4,)).log_prob(logits, x), expected)


def test_gaussian_equals_torch() -> None:
    likelihood, x = Gaussian((4,), "each"), torch.randn(6, 4, generator=generator())
    parameters = 0.1 * draw(likelihood, 6)
    mean, raw = parameters.chunk(2, 1)
    expected = torch.distributions.Normal(mean, (7 * torch.tanh(raw / 7)).exp()).log_prob(x).sum(1)
    torch.testing.assert_close(likelihood.log_prob(parameters, x), expected)


def test_the_optimal_deviation_is_the_best_shared_one() -> None:
    x, mean = (torch.randn(50, 4, generator=generator(seed)) for seed in (1, 2))
    optimal, shared = Gaussian((4,), "optimal").train(), Gaussian((4,), "shared")
    best = float(optimal.log_prob(mean, x).mean())
    with torch.no_grad():
        shared.log_std.fill_(0.5 * math.log(float((x - mean).square().mean())))
        assert float(shared.log_prob(mean, x).mean()) == pytest.approx(best, rel=1e-5)
        for change in (-0.1, 0.1):
            shared.log_std += change
            assert float(shared.log_prob(mean, x).mean()) < best
            shared.log_std -= change


def test_the_optimal_variance_forgets_its_start_and_is_learned_in_training_alone() -> None:
    mean, optimal = torch.zeros(200, 4), Gaussian((4,), "optimal").train()
    for seed in range(20):
        optimal.log_prob(mean, 0.1 * torch.randn(200, 4, generator=generator(seed)))
    assert float(optimal.variance) == pytest.approx(0.01, rel=0.1)
    known = optimal.variance.clone()
    with torch.no_grad():
        optimal.log_prob(mean, mean + 1)
    optimal.eval().log_prob(mean, mean + 1)
    assert torch.equal(optimal.variance, known)


@pytest.mark.parametrize("levels", [2, 17, 256])
@pytest.mark.parametrize("log_scale", [-7.0, -2.0, 0.0, 5.0])
def test_the_mass_of_all_bins_is_one(levels: int, log_scale: float) -> None:
    x = torch.linspace(-1, 1, levels)
    for mean in (-1.5, -1.0, -0.337, 0.5, 1.0):
        nats = bin_log_prob(x, torch.full_like(x, mean), torch.full_like(x, log_scale), levels)
        assert float(nats.exp().sum()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("components", [1, 3])
def test_the_mass_of_all_values_of_a_colour_pixel_is_one(components: int) -> None:
    levels = 4
    likelihood = DiscretisedMixture((3, 1, 1), levels, components)
    grid = torch.cartesian_prod(*[torch.arange(levels)] * 3).float() / (levels - 1)
    parameters = draw(likelihood).expand(len(grid), -1, 1, 1)
    nats = likelihood.log_prob(parameters, grid.view(-1, 3, 1, 1))
    assert float(nats.exp().sum()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("shape", [(1,), (3, 1, 1)], ids=str)
def test_draws_of_a_mixture_are_as_frequent_as_they_are_likely(shape: tuple[int, ...]) -> None:
    levels, n = 3, 40_000
    likelihood = DiscretisedMixture(shape, levels, components=2)
    parameters = draw(likelihood).expand(n, *likelihood.parameter_shape)
    x = likelihood.sample(parameters, generator())
    place = torch.tensor([levels**i for i in range(shape[0])])
    index = ((x.flatten(1) * (levels - 1)).round().long() * place).sum(1)
    counts = torch.bincount(index, minlength=levels ** shape[0]) / n
    mass = torch.zeros(levels ** shape[0])
    mass[index] = likelihood.log_prob(parameters, x).exp()
    torch.testing.assert_close(mass, counts, atol=0.01, rtol=0)


def test_slopes_stay_finite_at_extreme_scales() -> None:
    for scale in (-60.0, 60.0):
        for offset in (0.0, 3.0, -1e4):
            mean = torch.full((5,), offset, requires_grad=True)
            log_scale = torch.full((5,), min(7.0, max(-7.0, scale)), requires_grad=True)
            nats = bin_log_prob(torch.linspace(-1, 1, 5), mean, log_scale, 256)
            slopes = torch.autograd.grad(nats.sum(), (mean, log_scale))
            assert torch.isfinite(nats).all()
            assert all(torch.isfinite(slope).all() for slope in slopes)


def test_a_uniform_model_of_bytes_costs_eight_bits() -> None:
    nats = torch.tensor(12 * math.log(1 / 256))
    assert float(bits_per_dim(nats, 12)) == pytest.approx(8)
