"""The convolutional GAN: sizes, normalisation, and its two stacks."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from generative import Dataset, InvalidSettings, make_model
from generative.data import Minibatches
from generative.dcgan import DCGAN, downwards, scales, upwards
from generative.gan_losses import discriminator_loss, generator_loss
from tests.generative.small import SMALL, generator

SHAPES = [(1, 8, 8), (1, 16, 16), (1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 21, 42), (2, 5, 6)]


def build(shape: tuple[int, ...] = (1, 8, 8), **changes: Any) -> DCGAN:
    model = make_model("dcgan", shape, **(SMALL["dcgan"] | changes))
    assert isinstance(model, DCGAN)
    return model


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_size_of_image_goes_both_ways(shape: tuple[int, ...]) -> None:
    up = upwards(10, shape, 4)
    assert up(torch.randn(3, 10, generator=generator())).shape == (3, *shape)
    down, features = downwards(shape, 4)
    assert down(torch.rand(3, *shape, generator=generator())).shape == (3, features)


def test_images_are_halved_down_to_seven_or_less() -> None:
    assert scales((1, 28, 28)) == [(28, 28), (14, 14), (7, 7)]
    assert scales((3, 32, 32)) == [(32, 32), (16, 16), (8, 8), (4, 4)]
    assert scales((3, 64, 64))[-1] == (4, 4)
    assert scales((1, 4, 4)) == [(4, 4), (2, 2)]
    for shape in ((1, 8, 80), (1, 1, 8), (1, 3, 16), (1, 7, 49), (64,)):
        with pytest.raises(InvalidSettings, match=r"Images must|takes images"):
            scales(shape)


def test_the_published_size_has_the_published_number_of_weights() -> None:
    """4x4 kernels: 100 to 1024x4x4, then 1024, 512, 256 and 128 channels to 3, but for gains and biases."""
    expected = 100 * 1024 * 16 + sum(16 * a * b for a, b in pairwise([1024, 512, 256, 128, 3]))
    shaped = [parameter for parameter in upwards(100, (3, 64, 64), 128).parameters() if parameter.ndim > 1]
    assert sum(parameter.numel() for parameter in shaped) == expected


def test_all_but_the_outermost_layers_are_normalised() -> None:
    kinds = [type(layer).__name__ for layer in build((1, 28, 28)).generator]
    assert kinds[-1] == "ConvTranspose2d"
    assert kinds.count("BatchNorm2d") == kinds.count("ConvTranspose2d")
    kinds = [type(layer).__name__ for layer in build((1, 28, 28)).trunk]
    assert kinds[1:3] == ["Conv2d", "LeakyReLU"]
    assert kinds.count("BatchNorm2d") == kinds.count("Conv2d") - 1


def test_weights_start_as_published() -> None:
    model = build((1, 32, 32))
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.15)
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.weight.mean().item() == pytest.approx(1, abs=0.02)
            assert layer.bias.abs().max() == 0


def test_the_costs_are_the_game_s_with_real_and_generated_images_apart(digits: Dataset) -> None:
    model = build(game="least-squares", real_target=0.9)
    batch = Minibatches(digits, 32, seed=0).next(generator(), torch.zeros(()))
    seen: list[int] = []
    handle = model.trunk.register_forward_hook(lambda *call: seen.append(len(call[1][0])))
    loss = model.losses(batch, "discriminator", generator(3))["loss"]
    assert seen == [32, 32]
    handle.remove()
    made = model._make(32, generator(3))
    real, fake = (model.head(model.trunk(2 * x - 1)).squeeze(1) for x in (batch.x, made))
    torch.testing.assert_close(loss, discriminator_loss("least-squares", real, fake, 0.9))
    torch.testing.assert_close(
        model.losses(batch, "generator", generator(3))["loss"], generator_loss("least-squares", fake)
    )


def test_a_sample_does_not_depend_on_its_neighbours() -> None:
    model = build().eval()
    z = torch.randn(5, 16, generator=generator())
    torch.testing.assert_close(model.generator(z)[2:3], model.generator(z[2:3]))


@pytest.mark.parametrize("changes", [{"latent": 0}, {"game": "chess"}, {"real_target": 0.0}, {"noise": -0.1}])
def test_settings_out_of_range_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidSettings, match=next(iter(changes))):
        build(**changes)
