"""Gaussian layers and networks against Monte Carlo, torch.distributions and autograd."""

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

import vime
from vime.gaussian import divergence, entropy, log_density, rectified_moments
from vime.layers import BayesianLinear
from vime.network import BayesianMLP


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_divergence_is_zero_only_at_the_same_gaussian_and_agrees_with_torch() -> None:
    mean, std = torch.randn(5, generator=seeded()), torch.rand(5, generator=seeded(1)) + 0.1
    assert divergence(mean, std, mean, std) == 0
    other = divergence(mean, std, 0.3, 0.5)
    torch.testing.assert_close(other, kl_divergence(Normal(mean, std), Normal(0.3, 0.5)).sum())
    assert other > 0


def test_density_and_entropy_agree_with_torch() -> None:
    value, mean = torch.randn(2, 4, 3, generator=seeded())
    variance = torch.rand(3, generator=seeded(1)) + 0.1
    normal = Normal(mean, variance.sqrt())
    torch.testing.assert_close(log_density(value, mean, variance), normal.log_prob(value).sum(-1))
    torch.testing.assert_close(entropy(variance.expand(4, 3)), normal.entropy().sum(-1))


@pytest.mark.parametrize("mean", [-3.0, -0.5, 0.0, 2.0])
@pytest.mark.parametrize("variance", [0.0, 0.2, 4.0])
def test_rectified_moments_agree_with_monte_carlo(mean: float, variance: float) -> None:
    draws = F.relu(mean + variance**0.5 * torch.randn(200_000, generator=seeded(), dtype=torch.float64))
    first, second = rectified_moments(torch.tensor([mean]).double(), torch.tensor([variance]).double())
    assert float(first) == pytest.approx(float(draws.mean()), abs=0.02)
    assert float(second) == pytest.approx(float(draws.square().mean()), abs=0.1)


@pytest.mark.parametrize("sampling", ["local", "weights"])
def test_one_hidden_layer_has_exactly_the_moments_that_samples_show(sampling: str) -> None:
    network = BayesianMLP(3, 2, (8,), std=0.4, generator=seeded())
    x = torch.randn(4, 3, generator=seeded(1))
    draws = network(x, seeded(2), samples=20_000, sampling=sampling)
    mean, variance = network.moments(x)
    torch.testing.assert_close(draws.mean(0), mean, atol=0.05, rtol=0)
    torch.testing.assert_close(draws.var(0), variance, atol=0.0, rtol=0.06)


def test_rows_draw_their_own_noise_unless_they_share_it() -> None:
    network = BayesianMLP(3, 2, (8,), generator=seeded())
    x = torch.ones(5, 3)
    assert len(network(x, seeded())[0].unique(dim=0)) == 5
    assert len(network(x, seeded(), shared_noise=True)[0].unique(dim=0)) == 1
    assert len(network(x, seeded(), sampling="weights")[0].unique(dim=0)) == 1


def test_bound_is_likelihood_less_weighted_divergence() -> None:
    network = BayesianMLP(3, 2, (), std=1e-6, noise_std=0.5, generator=seeded())
    x, y = torch.randn(6, 3, generator=seeded(1)), torch.randn(6, 2, generator=seeded(2))
    mean, _ = network.moments(x)
    likelihood = Normal(mean, network.noise_variance.sqrt()).log_prob(y).sum()
    expected = 0.3 * network.divergence() - likelihood
    torch.testing.assert_close(network.negative_bound(x, y, 0.3, seeded()), expected, atol=1e-3, rtol=1e-5)


def test_divergence_of_a_network_sums_its_gaussian_layers_alone() -> None:
    network = BayesianMLP(3, 2, (4,), bayesian=(False, True), generator=seeded())
    assert isinstance(network.layers[0], nn.Linear)
    last = network.layers[1]
    assert isinstance(last, BayesianLinear)
    torch.testing.assert_close(network.divergence(), last.divergence(network.prior_std))


def test_learned_noise_keeps_above_its_floor() -> None:
    network = BayesianMLP(2, 1, (), noise_floor=0.05)
    with torch.no_grad():
        network.noise.fill_(-50.0)
    assert float(network.noise_variance.detach().sqrt()) == pytest.approx(0.05)
    assert not BayesianMLP(2, 1, (), learn_noise=False, noise_std=5.0).noise.requires_grad


def test_linear_posterior_learns_what_exact_bayesian_regression_gives() -> None:
    """Full-batch bound, known noise, orthogonal inputs: a factorised Gaussian can be exact, and is found."""
    noise, prior, n = 0.5, 0.5, 64
    x = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]).repeat(n // 4, 1)
    y = x @ torch.tensor([[0.8], [-0.3]]) + noise * torch.randn(n, 1, generator=seeded())
    network = BayesianMLP(2, 1, (), prior_std=prior, noise_std=noise, learn_noise=False, generator=seeded())
    optimiser = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=0.02)
    for step in range(2000):
        for group in optimiser.param_groups:
            group["lr"] = 0.02 * (1 - step / 2000)
        loss = network.negative_bound(x, y, 1.0, seeded(step), samples=4)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    layer = network.layers[0]
    precision = 1 / prior**2 + n / noise**2
    assert torch.allclose(layer.weight_std, torch.full((1, 2), precision**-0.5), rtol=0.05)
    exact = (x * y).sum(0) / noise**2 / precision
    assert torch.allclose(layer.weight_mean[0], exact, atol=0.03)


def test_same_generator_gives_the_same_network() -> None:
    first, second = (
        BayesianMLP(3, 2, (4,), bayesian=(True, False), generator=seeded(3)).state_dict() for _ in range(2)
    )
    assert all(torch.equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize(
    "settings",
    [
        {"hidden": (0,)},
        {"std": 0.0},
        {"prior_std": -1.0},
        {"noise_std": 0.005},
        {"bayesian": (True,)},
        {"noise_floor": 0.0},
    ],
)
def test_impossible_settings_are_refused(settings: dict) -> None:
    with pytest.raises(vime.InvalidSettings, match="got"):
        BayesianMLP(3, 2, **({"hidden": (4,)} | settings))


@pytest.mark.parametrize(
    ("hidden", "bayesian"),
    [((), None), ((5,), None), ((5, 4), None), ((5, 4), (True, False, True)), ((5, 4), (False, True, False))],
)
@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("learn_noise", [False, True])
def test_gradients_in_closed_form_equal_autograd(
    hidden: tuple[int, ...], bayesian: tuple[bool, ...] | None, samples: int, shared: bool, learn_noise: bool
) -> None:
    network = BayesianMLP(
        3, 2, hidden, bayesian=bayesian, learn_noise=learn_noise, noise_std=0.7, generator=seeded()
    ).double()
    x, y = (torch.randn(6, width, generator=seeded(width), dtype=torch.float64) for width in (3, 2))
    network.negative_bound(x, y, 0.3, seeded(4), samples=samples, shared_noise=shared).backward()
    expected = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    network.zero_grad()
    network.set_gradients(x, y, 0.3, seeded(4), samples=samples, shared_noise=shared)
    assert {name for name, p in network.named_parameters() if p.grad is not None} == set(expected)
    for name, parameter in network.named_parameters():
        if name in expected:
            torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-10, atol=1e-12)
