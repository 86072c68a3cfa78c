"""The convolutional flow's determinants, the bound of the hierarchy, and free bits of feature maps."""

import pytest
import torch
from torch import Tensor

from generative import InvalidSettings, make_model
from generative.divergences import normal_log_prob
from generative.model import Batch
from generative.randomness import seeded
from generative.resnet_vae import ConvStep, ResNetVAE
from tests.generative.small import generator

MAPS, SIDE = 2, 3


def resnet_vae(**settings: object) -> ResNetVAE:
    chosen = {"depth": 2, "filters": 8, "latent": MAPS, "flow_hidden": [8]} | settings
    model = make_model("resnet-vae", (1, 6, 6), **chosen)  # type: ignore[arg-type]
    assert isinstance(model, ResNetVAE)
    return model


def batch(n: int) -> Batch:
    x = (torch.rand(n, 1, 6, 6, generator=generator()) < 0.3).float()
    return Batch(x=x, step=torch.zeros(()))


@pytest.mark.parametrize("hidden", [(), (4,), (4, 8)])
def test_log_determinants_of_a_step_equal_those_of_the_jacobian(hidden: tuple[int, ...]) -> None:
    size = (MAPS, SIDE, SIDE)
    with seeded(0):
        step = ConvStep(MAPS, hidden).double()
        with torch.no_grad():
            for parameter in step.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    z = torch.randn(1, *size, generator=generator()).double()
    context = torch.randn(1, hidden[0], SIDE, SIDE, generator=generator(1)).double() if hidden else None
    change = step(z, context)[1]
    jacobian = torch.autograd.functional.jacobian(lambda z: step(z, context)[0].flatten(), z)
    assert isinstance(jacobian, Tensor)
    square = jacobian.reshape(MAPS * SIDE**2, -1)
    torch.testing.assert_close(change.sum(), torch.linalg.slogdet(square)[1])
    # entries are ordered pixel by pixel, and map by map within
    pixels_first = torch.arange(MAPS * SIDE**2).view(MAPS, -1).T.flatten()
    ordered = square[pixels_first][:, pixels_first]
    assert torch.equal(ordered.triu(1), torch.zeros_like(ordered))
    torch.testing.assert_close(ordered.diagonal().log(), change.flatten()[pixels_first])


def test_the_parts_of_a_bound_are_those_of_its_densities() -> None:
    """Ratios summed over layers equal log p(z) - log q(z | x), each recomputed from what the layers say."""
    model, x = resnet_vae(posterior="gaussian"), batch(5).x
    with torch.no_grad():
        found = model.inferred(x, generator(2))
        up, told = model.enter(x - model.centre), []
        for layer in model.layers:
            up, here = layer.climb(up)  # type: ignore[operator, union-attr]
            told.append(here)
        codes = found.codes.unflatten(1, (2, *model.plane)).unbind(1)
        down, total = model._top(5), torch.zeros(5)
        for layer, here, z in zip(reversed(model.layers), reversed(told), codes, strict=True):
            mean, log_std, rest = layer.prior(down)  # type: ignore[operator, union-attr]
            spread = 3.5 * torch.tanh((here[1] + rest[1]) / 3.5)
            log_q = normal_log_prob(z, here[0] + rest[0], spread)
            total += (normal_log_prob(z, mean, log_std) - log_q).sum((1, 2, 3))
            down = layer.descend(down, z, rest)  # type: ignore[operator, union-attr]
    torch.testing.assert_close(found.log_ratio, total, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("posterior", ["gaussian", "iaf"])
def test_divergences_of_maps_have_the_mean_of_the_ratio(posterior: str) -> None:
    model, x = resnet_vae(posterior=posterior), batch(1).x.repeat(4000, 1, 1, 1)
    with torch.no_grad():
        found = model.inferred(x, generator(2))
    assert found.divergence.shape == (4000, 2 * MAPS)
    error = found.log_ratio.std() / len(x) ** 0.5
    assert abs(float(found.divergence.sum(1).mean() + found.log_ratio.mean())) < 4 * float(error)


def test_maps_below_their_free_bits_have_no_slope() -> None:
    model, data = resnet_vae(free_bits=1e4), batch(8)
    model.initialise(data, generator())
    terms = model.losses(data, "model", generator(1))
    assert float((terms["loss"] - terms["reconstruction"]).detach()) == pytest.approx(1e4 * 2 * MAPS)
    priors = [layer.down.bias for layer in model.layers]  # type: ignore[union-attr]
    slopes = torch.autograd.grad(terms["loss"], priors)  # type: ignore[arg-type]
    assert all((slope[: 2 * MAPS] == 0).all() for slope in slopes)  # the prior acts through the divergence alone
    paid = resnet_vae(free_bits=0.0)
    paid.initialise(data, generator())
    terms = paid.losses(data, "model", generator(1))
    torch.testing.assert_close(terms["loss"], -terms["bound"])
    slopes = torch.autograd.grad(terms["loss"], [layer.down.bias for layer in paid.layers])  # type: ignore[union-attr, arg-type]
    assert all((slope[: 2 * MAPS] != 0).all() for slope in slopes)


def test_free_bits_shrink_to_nothing_over_their_rounds() -> None:
    model, x = resnet_vae(free_bits=1e4, free_rounds=10), batch(8).x
    model.initialise(batch(8), generator())
    for step, free in ((0, 1e4), (5, 5e3), (9, 1e3)):
        terms = model.losses(Batch(x=x, step=torch.tensor(float(step))), "model", generator(1))
        assert float((terms["loss"] - terms["reconstruction"]).detach()) == pytest.approx(free * 2 * MAPS)
    for step in (10, 11):
        terms = model.losses(Batch(x=x, step=torch.tensor(float(step))), "model", generator(1))
        torch.testing.assert_close(terms["loss"], -terms["bound"])


def test_the_start_lets_images_begin_at_their_mean() -> None:
    model, data = resnet_vae(), batch(200)
    model.initialise(data, generator())
    found = model.decode(torch.zeros(1, model.features))[0]
    assert (found - data.x.mean(0)).abs().max() < 0.15


@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((1, 7, 7), {}),
        ((5,), {}),
        ((1, 6, 6), {"flow_hidden": [3]}),
        ((1, 6, 6), {"stride": 6}),
        ((1, 6, 6), {"posterior": "flow"}),
    ],
)
def test_what_it_cannot_serve_is_refused(shape: tuple[int, ...], settings: dict[str, object]) -> None:
    with pytest.raises(InvalidSettings):
        make_model("resnet-vae", shape, **({"latent": 2} | settings))  # type: ignore[arg-type]
