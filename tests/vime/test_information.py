"""The closed form of the realised gain against looped autograd, and the expected gain against exact results."""

import itertools
import math
from typing import Any

import jaxtyping
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

import vime
from vime.information import draw, expected_gain, realised_gain
from vime.layers import BayesianLinear, Weights
from vime.network import BayesianMLP

WIDTHS = {1: (), 2: (6,), 3: (6, 5), 4: (7, 6, 5)}


def network(hidden: tuple[int, ...], bayesian: tuple[bool, ...] | None = None) -> BayesianMLP:
    generator = torch.Generator().manual_seed(1)
    return BayesianMLP(4, 3, hidden, std=0.3, noise_std=0.7, bayesian=bayesian, generator=generator).double()


def rows(n: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return (torch.randn(n, width, generator=generator, dtype=torch.float64) for width in (4, 3))  # type: ignore[return-value]


def negative_log_likelihood(net: BayesianMLP, x: Tensor, y: Tensor, noise: list, row: int) -> Tensor:
    """Of one row, averaged over the samples, written as the definition has it."""
    given = next(n for n in noise if n is not None)
    samples = len(given.weight if isinstance(given, Weights) else given)
    total = torch.zeros((), dtype=torch.float64)
    for s in range(samples):
        h = x[row]
        for i, (layer, n) in enumerate(zip(net.layers, noise, strict=True)):
            h = h if i == 0 else F.relu(h)
            if n is None:
                h = layer(h)
            elif isinstance(n, Weights):
                weight = layer.weight_mean + layer.weight_std * n.weight_noise[s]
                h = F.linear(h, weight, layer.bias_mean + layer.bias_std * n.bias_noise[s])
            else:
                mean = F.linear(h, layer.weight_mean, layer.bias_mean)
                variance = F.linear(h**2, layer.weight_std**2, layer.bias_std**2)
                h = mean + variance.sqrt() * n[s, row if n.shape[1] > 1 else 0]
        total = total - Normal(h, net.noise_variance.sqrt()).log_prob(y[row]).sum() / samples
    return total


def looped_gain(net: BayesianMLP, x: Tensor, y: Tensor, noise: list) -> Tensor:
    """1/2 g' H⁻¹ g with H the diagonal Hessian of the divergence, row by row."""
    gains = []
    for row in range(len(x)):
        loss = negative_log_likelihood(net, x, y, noise, row)
        gain = torch.zeros((), dtype=torch.float64)
        for layer in net.layers:
            if not isinstance(layer, BayesianLinear):
                continue
            for part in ("weight", "bias"):
                mean, rho = getattr(layer, f"{part}_mean"), getattr(layer, f"{part}_rho")
                slopes = torch.autograd.grad(loss, (mean, rho), retain_graph=True)
                std = F.softplus(rho)
                for slope, hessian in zip(slopes, (1 / std**2, 2 * torch.sigmoid(rho) ** 2 / std**2), strict=True):
                    gain = gain + 0.5 * (slope**2 / hessian).sum().detach()
        gains.append(gain)
    return torch.stack(gains)


@pytest.mark.parametrize(
    ("layers", "samples", "sampling", "shared"),
    [
        *itertools.product(WIDTHS, (1, 3, 10), ("local",), (False, True)),
        *itertools.product(WIDTHS, (1, 3, 10), ("weights",), (False,)),
    ],
)
def test_closed_form_equals_looped_autograd(layers: int, samples: int, sampling: str, shared: bool) -> None:
    net, (x, y) = network(WIDTHS[layers]), rows()
    noise = draw(net, len(x), samples, sampling, shared, torch.Generator().manual_seed(3))
    gain = realised_gain(net, x, y, noise=noise)
    expected = looped_gain(net, x, y, noise)
    assert ((gain - expected).abs() / expected).max() <= 1e-10


@pytest.mark.parametrize(
    "bayesian", [(False, True, True), (True, False, True), (True, True, False), (False, False, True)]
)
@pytest.mark.parametrize("sampling", ["local", "weights"])
def test_deterministic_layers_pass_the_slope_and_earn_nothing(bayesian: tuple[bool, ...], sampling: str) -> None:
    net, (x, y) = network((6, 5), bayesian), rows()
    noise = draw(net, len(x), 3, sampling, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(realised_gain(net, x, y, noise=noise), looped_gain(net, x, y, noise), rtol=1e-10, atol=0)


def test_hessian_of_the_divergence_is_the_diagonal_one_assumed() -> None:
    mean, rho = torch.tensor(0.4, dtype=torch.float64), torch.tensor(-0.9, dtype=torch.float64)
    old = Normal(mean, F.softplus(rho))

    def moved(parameters: Tensor) -> Tensor:
        return kl_divergence(Normal(parameters[0], F.softplus(parameters[1])), old)

    hessian = torch.autograd.functional.hessian(moved, torch.stack([mean, rho]))
    std = F.softplus(rho)
    expected = torch.diag(torch.stack([1 / std**2, 2 * torch.sigmoid(rho) ** 2 / std**2]))
    torch.testing.assert_close(hessian, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("step_size", [0.001, 0.01, 0.05])
def test_gain_is_the_divergence_after_really_taking_the_step(step_size: float) -> None:
    net, (x, y) = network((6,)), rows()
    noise = draw(net, len(x), 3, generator=torch.Generator().manual_seed(3))
    gains = realised_gain(net, x, y, noise=noise, step_size=step_size)
    for row in range(len(x)):
        loss = negative_log_likelihood(net, x, y, noise, row)
        exact = torch.zeros((), dtype=torch.float64)
        for layer in net.layers:
            for part in ("weight", "bias"):
                mean, rho = getattr(layer, f"{part}_mean"), getattr(layer, f"{part}_rho")
                slope_mean, slope_rho = torch.autograd.grad(loss, (mean, rho), retain_graph=True)
                std = F.softplus(rho)
                new_rho = rho - step_size * slope_rho * std**2 / (2 * torch.sigmoid(rho) ** 2)
                new = Normal(mean - step_size * slope_mean * std**2, F.softplus(new_rho))
                exact = exact + kl_divergence(new, Normal(mean, std)).sum().detach()
        torch.testing.assert_close(gains[row], exact, rtol=0.5 * step_size, atol=0)


def test_gain_of_many_equals_gain_of_each() -> None:
    net, (x, y) = network((6,)), rows(5)
    noise = draw(net, 5, 3, generator=torch.Generator().manual_seed(3))
    each = [realised_gain(net, x[i : i + 1], y[i : i + 1], noise=[n[:, i : i + 1] for n in noise]) for i in range(5)]
    torch.testing.assert_close(realised_gain(net, x, y, noise=noise), torch.cat(each))


@pytest.mark.parametrize("samples", [1, 10])
def test_chunks_do_not_change_the_gain(samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    net, (x, y) = network((6,)), rows(300)
    noise = draw(net, 300, samples, generator=torch.Generator().manual_seed(3))
    whole = realised_gain(net, x, y, noise=noise)
    monkeypatch.setattr(vime.information, "CHUNK", 70)
    torch.testing.assert_close(realised_gain(net, x, y, noise=noise), whole)


def test_same_generator_gives_the_same_gain_and_leaves_the_network_alone() -> None:
    net, (x, y) = network((6,)), rows()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    first, second = (realised_gain(net, x, y, generator=torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, second)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())


def test_half_and_step_size_are_plain_factors() -> None:
    net, (x, y) = network((6,)), rows()
    noise = draw(net, len(x), 2, generator=torch.Generator().manual_seed(3))
    full = realised_gain(net, x, y, noise=noise, half=False)
    torch.testing.assert_close(realised_gain(net, x, y, noise=noise, step_size=0.5), full / 8)


def test_gain_of_a_linear_layer_is_what_theory_says() -> None:
    """For known noise s, residual r and epistemic variance v the gain is r² v / (2 s⁴) per output."""
    net = BayesianMLP(2, 1, (), std=1e-4, noise_std=0.5).double()
    x, y = torch.tensor([[1.0, -2.0]], dtype=torch.float64), torch.tensor([[3.0]], dtype=torch.float64)
    mean, variance = net.moments(x)
    gain = realised_gain(net, x, y, samples=4000, generator=torch.Generator().manual_seed(0))
    expected = (y - mean).square() * variance / (2 * net.noise_variance**2)
    torch.testing.assert_close(gain, expected[0].detach(), rtol=2e-3, atol=0)


def test_expected_gain_is_exact_for_a_gaussian_belief() -> None:
    epistemic, aleatoric = torch.tensor([0.3, 2.0]), torch.tensor([0.1, 0.5])
    expected = 0.5 * sum(math.log(1 + float(e / a)) for e, a in zip(epistemic, aleatoric, strict=True))
    assert float(expected_gain(epistemic, aleatoric)) == pytest.approx(expected)
    assert float(expected_gain(torch.zeros(2), aleatoric)) == 0


@pytest.mark.parametrize(("x", "y"), [((3, 4), (2, 3)), ((3, 5), (3, 3)), ((3, 4), (3, 2)), ((4,), (3,))])
def test_wrong_shapes_are_named(x: tuple[int, ...], y: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # users run without the tests' shape checks
    with pytest.raises(vime.InvalidData, match="got"):
        realised_gain(network(()).float(), torch.zeros(x), torch.zeros(y))


@pytest.mark.parametrize(("settings", "words"), [({"samples": 0}, "`samples`"), ({"sampling": "global"}, "`sampling`")])
def test_settings_that_mean_nothing_are_refused(
    settings: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(vime.InvalidSettings, match=words):
        realised_gain(network(()).float(), torch.zeros(3, 4), torch.zeros(3, 3), **settings)
