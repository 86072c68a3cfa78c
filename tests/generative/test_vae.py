"""The bounds of a VAE where the evidence is known, and its gradients."""

import math

import pytest
import torch
from torch import Tensor, nn

from generative import InvalidSettings, make_model
from generative.divergences import free_bits, log_mean_exp, normal_divergence, normal_log_prob
from generative.model import Batch
from generative.randomness import seeded
from generative.vae import VAE
from tests.generative.small import generator

D, LATENT, STD = 5, 2, 0.7


def linear(samples: int = 1, gradient: str = "pathwise") -> VAE:
    """x = W z + noise, with an encoder that is a little wrong."""
    model = make_model(
        "vae",
        (D,),
        latent=LATENT,
        hidden=[4],
        likelihood="gaussian",
        deviation="shared",
        samples=samples,
        gradient=gradient,
    )
    assert isinstance(model, VAE)
    with seeded(3):
        model.encoder, model.decoder = nn.Identity(), nn.Identity()  # type: ignore[assignment]
        model.posterior_head, model.output = nn.Linear(D, 2 * LATENT), nn.Linear(LATENT, D, bias=False)
    with torch.no_grad():
        model.likelihood.log_std.fill_(math.log(STD))  # type: ignore[union-attr, operator]
        w = model.output.weight
        precision = torch.eye(LATENT) + w.T @ w / STD**2
        model.posterior_head.weight.zero_()
        model.posterior_head.weight[:LATENT] = 0.8 * torch.linalg.solve(precision, w.T) / STD**2
        model.posterior_head.bias.zero_()
        model.posterior_head.bias[LATENT:] = 0.1 - 0.5 * precision.diagonal().log()
    return model


def evidence(model: VAE, x: Tensor) -> Tensor:
    w = model.output.weight
    covariance = w @ w.T + STD**2 * torch.eye(D)
    return torch.distributions.MultivariateNormal(torch.zeros(D), covariance).log_prob(x)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(400, D, generator=generator())


def test_bounds_are_ordered_and_reach_the_evidence(x: Tensor) -> None:
    model = linear()
    with torch.no_grad():
        one, few, many, most = (model.bound(x, k, generator()).mean() for k in (1, 5, 50, 2000))
        exact = evidence(model, x).mean()
    assert one < few < many < exact + 0.01
    assert float(most) == pytest.approx(float(exact), abs=0.01)


def test_the_loss_of_one_sample_is_the_negative_bound(x: Tensor) -> None:
    model = linear()
    with torch.no_grad():
        terms = [model.losses(Batch(x=x, step=torch.zeros(())), "model", generator(seed)) for seed in range(30)]
        losses = torch.stack([entry["loss"] for entry in terms])
        bound = torch.stack([model.bound(x, 1, generator(seed)).mean() for seed in range(30)]).mean()
    assert float(-losses.mean()) == pytest.approx(float(bound), abs=0.05)
    assert all(torch.isclose(entry["loss"], -entry["bound"]) for entry in terms)


def test_doubly_reparameterised_slopes_have_the_same_mean_and_less_variance(x: Tensor) -> None:
    found = {}
    for gradient in ("pathwise", "dreg"):
        model, rows = linear(8, gradient), []
        for seed in range(200):
            loss = model.losses(Batch(x=x[:4], step=torch.zeros(())), "model", generator(seed))["loss"]
            slopes = torch.autograd.grad(loss, [*model.posterior_head.parameters(), model.output.weight])
            rows.append(torch.cat([slope.flatten() for slope in slopes]))
        found[gradient] = torch.stack(rows)
    plain, double = found["pathwise"], found["dreg"]
    error = ((plain.var(0) + double.var(0)) / len(plain)).sqrt()
    assert ((plain.mean(0) - double.mean(0)).abs() < 5 * error + 1e-6).all()
    encoder = slice(0, -LATENT * D)
    assert double[:, encoder].var(0).sum() < 0.7 * plain[:, encoder].var(0).sum()
    torch.testing.assert_close(plain[:, -LATENT * D :], double[:, -LATENT * D :])  # the decoder's are the same


def test_divergences_equal_torch() -> None:
    mean, log_std, mean_0, log_std_0 = torch.randn(4, 6, 3, generator=generator())
    q, p = torch.distributions.Normal(mean, log_std.exp()), torch.distributions.Normal(mean_0, log_std_0.exp())
    torch.testing.assert_close(
        normal_divergence(mean, log_std, mean_0, log_std_0), torch.distributions.kl_divergence(q, p)
    )
    torch.testing.assert_close(normal_log_prob(mean_0, mean, log_std), q.log_prob(mean_0))
    torch.testing.assert_close(log_mean_exp(mean), mean.exp().mean(0).log())


def test_free_bits_give_no_slope_below_the_floor_of_the_mean() -> None:
    divergence = torch.tensor([[0.1, 3.0], [0.3, 0.1]], requires_grad=True)  # means 0.2 and 1.55
    cost = free_bits(divergence, 0.5)
    assert float(cost) == pytest.approx(0.5 + 1.55)
    cost.backward()
    assert divergence.grad is not None
    assert torch.equal(divergence.grad, torch.tensor([[0.0, 0.5], [0.0, 0.5]]))


def test_the_weight_of_the_divergence_is_faded_in() -> None:
    model = make_model("vae", (D,), latent=2, hidden=[4], likelihood="gaussian", warm_up=10)
    x = torch.randn(8, D, generator=generator())
    for step, weight in ((0, 0.0), (5, 0.5), (50, 1.0)):
        terms = model.losses(Batch(x=x, step=torch.tensor(float(step))), "model", generator())
        torch.testing.assert_close(terms["loss"], terms["reconstruction"] + weight * terms["divergence"])


def test_terms_of_one_sample_are_refused_with_many() -> None:
    with pytest.raises(InvalidSettings, match="serve the bound of one sample"):
        make_model("iwae", (D,), beta=2.0)
