"""What either phase teaches, where it is known."""

import math

import pytest
import torch
from torch import Tensor, nn

from generative import InvalidSettings, make_model
from generative.model import Batch, moved_by
from generative.randomness import seeded
from generative.vae import VAE
from generative.wake_sleep import Helmholtz
from tests.generative.small import generator

D, LATENT, STD = 5, 2, 0.7


def linear(name: str = "helmholtz", **settings: object) -> VAE:
    """x = W z + noise, and a linear encoder."""
    model = make_model(name, (D,), latent=LATENT, hidden=[4], likelihood="gaussian", deviation="shared", **settings)  # type: ignore[arg-type]
    assert isinstance(model, VAE)
    with seeded(3):
        model.encoder, model.decoder = nn.Identity(), nn.Identity()  # type: ignore[assignment]
        model.posterior_head, model.output = nn.Linear(D, 2 * LATENT), nn.Linear(LATENT, D, bias=False)
    with torch.no_grad():
        model.posterior_head.weight[LATENT:].zero_()
        model.likelihood.log_std.fill_(math.log(STD))  # type: ignore[union-attr, operator]
        orthogonal = torch.linalg.qr(model.output.weight)[0]  # then the posterior has independent entries
        model.output.weight.copy_(orthogonal * torch.tensor([1.5, 0.6]))
    return model


def batch(n: int) -> Batch:
    return Batch(x=torch.randn(n, D, generator=generator()), step=torch.zeros(()))


def slopes(model: VAE, player: str, seed: int, n: int = 20) -> dict[str, Tensor]:
    chosen = next((entry for entry in model.players if entry.name == player), model.players[0])
    names = moved_by(model, chosen)
    found = torch.autograd.grad(model.losses(batch(n), player, generator(seed))["loss"], list(names.values()))
    return dict(zip(names, found, strict=True))


@pytest.mark.parametrize("samples", [1, 8])
def test_awake_the_decoder_follows_the_slope_of_the_bound(samples: int) -> None:
    plain = slopes(linear("vae", samples=samples), "model", 5)
    for name, slope in slopes(linear(samples=samples), "wake", 5).items():
        torch.testing.assert_close(slope, plain[name])


@pytest.mark.parametrize(("player", "still"), [("wake", "posterior_head"), ("sleep", "output")])
@pytest.mark.parametrize(("samples", "recognition"), [(1, "sleep"), (4, "wake")])
def test_each_phase_leaves_the_other_half_alone(player: str, still: str, samples: int, recognition: str) -> None:
    model = linear(samples=samples, recognition=recognition)
    loss = model.losses(batch(8), player, generator())["loss"]
    found = torch.autograd.grad(loss, list(getattr(model, still).parameters()), allow_unused=True)
    assert all(slope is None for slope in found)


def test_dreams_teach_the_exact_posterior() -> None:
    model = linear()
    w = model.output.weight.detach()
    precision = torch.eye(LATENT) + w.T @ w / STD**2
    optimiser = torch.optim.Adam(model.posterior_head.parameters(), 3e-2)
    for step in range(400):
        for group in optimiser.param_groups:
            group["lr"] = 3e-2 * (1 - step / 400)
        optimiser.zero_grad()
        model.losses(batch(500), "sleep", generator(step))["loss"].backward()
        optimiser.step()
    mean, log_std = model.gaussian(model.encoded(batch(50).x))
    torch.testing.assert_close(mean, batch(50).x @ torch.linalg.solve(precision, w.T / STD**2).T, atol=0.08, rtol=0)
    torch.testing.assert_close(log_std, (-0.5 * precision.diagonal().log()).expand(50, -1), atol=0.08, rtol=0)
    assert isinstance(model, Helmholtz)


def test_awake_the_encoder_descends_as_in_the_limit_of_many_samples() -> None:
    """With many samples, the slope is that of the divergence of the exact posterior from the encoder's."""
    model = linear(samples=20_000, recognition="wake")
    with torch.no_grad():  # codes are spread wide about the exact ones, so that weights are even
        model.posterior_head.weight.mul_(0.2)
        model.posterior_head.bias[LATENT:] = 0.2
    found = slopes(model, "sleep", 0, n=4)["posterior_head.bias"][:LATENT]
    w = model.output.weight.detach()
    precision = torch.eye(LATENT) + w.T @ w / STD**2
    exact = batch(4).x @ torch.linalg.solve(precision, w.T / STD**2).T
    mean, log_std = model.gaussian(model.encoded(batch(4).x))
    expected = ((mean - exact) * torch.exp(-2 * log_std)).mean(0)
    torch.testing.assert_close(found, expected.detach(), atol=0.05, rtol=0.05)


@pytest.mark.parametrize(
    "settings", [{"beta": 2.0}, {"recognition": "wake"}, {"recognition": "dream"}, {"free_bits": 1.0}]
)
def test_settings_without_a_meaning_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(InvalidSettings):
        make_model("helmholtz", (D,), **settings)  # type: ignore[arg-type]
