"""Residual convolutions as encoder and decoder of the VAE and its kin."""

from pathlib import Path
from typing import Any

import pytest
import torch

from generative import Dataset, InvalidSettings, fit, load, make_model, save
from generative.data import Minibatches
from generative.layers import starting
from generative.residual import Block, ConvDecoder, ConvEncoder, halves
from generative.vae import VAE
from tests.generative.small import generator, settings

SMALL: dict[str, Any] = {"latent": 4, "channels": [4, 6, 6], "hidden": [12], "optimiser": {"rate": 3e-3}}


def test_an_image_is_halved_rounding_up() -> None:
    assert halves((1, 28, 28), 3) == [(28, 28), (14, 14), (7, 7), (4, 4)]
    assert halves((3, 9, 6), 2) == [(9, 6), (5, 3), (3, 2)]


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 9, 6)])
def test_the_decoder_gives_back_the_shape_of_what_the_encoder_took(shape: tuple[int, int, int]) -> None:
    encoder, decoder = (
        ConvEncoder(shape, (4, 6), (12, 10)),
        ConvDecoder(3, (2 * shape[0], *shape[1:]), (4, 6), (12, 10)),
    )
    flat = torch.rand(5, shape[0] * shape[1] * shape[2], generator=generator())
    assert encoder(flat).shape == (5, 10)
    z = torch.randn(2, 5, 3, generator=generator())
    made = decoder(z)
    assert made.shape == (2, 5, 2 * flat.shape[1])
    torch.testing.assert_close(made[1], decoder(z[1]))


@pytest.mark.parametrize("way", ["same", "down", "up"])
def test_a_block_first_adds_little_to_its_short_cut(way: str) -> None:
    block = Block(4, 4, way)
    x = torch.randn(64, 4, 8, 8, generator=generator())
    with torch.no_grad(), starting(block):
        made = block(x)
        added = made - block.short(x)
    assert float(added.std()) == pytest.approx(0.1, rel=0.05)
    assert made.shape[2] == {"same": 8, "down": 4, "up": 16}[way]


def test_images_begin_near_the_mean_of_the_data(digits: Dataset) -> None:
    model = make_model("vae", digits.shape, **SMALL)
    batch = Minibatches(digits.suited(model), 500, seed=0).next(generator(), torch.zeros(()))
    model.initialise(batch, generator())
    assert isinstance(model, VAE)
    mean = model.decode(torch.randn(200, 4, generator=generator())).mean(0)
    assert float((mean - batch.x.mean(0)).abs().max()) < 0.1


@pytest.mark.parametrize("name", ["vae", "iaf-vae", "iwae", "helmholtz"])
def test_it_is_saved_exactly(name: str, digits: Dataset, tmp_path: Path) -> None:
    extra: dict[str, Any] = {"iaf-vae": {"flow_hidden": [8], "context": 4}, "iwae": {"samples": 3}}.get(name, {})
    model = make_model(name, digits.shape, **SMALL, **extra)
    data = digits.suited(model)
    fit(model, data, settings(2))
    save(model, tmp_path)
    again = load(tmp_path)
    x = data.examples("test", generator())[:20]
    assert torch.equal(model.bound(x, 2, generator()), again.bound(x, 2, generator()))  # type: ignore[operator]


@pytest.mark.slow
def test_it_learns(digits: Dataset) -> None:
    model = make_model("vae", digits.shape, latent=4, channels=[8, 16], hidden=[32], optimiser={"rate": 3e-3})
    path: list[float] = []
    data = digits.binarised("threshold")
    fit(model, data, settings(200, average=None), log=lambda _, terms: path.append(terms["loss"]))
    assert path[-1] < path[0] - 1


def test_what_they_cannot_serve_is_refused() -> None:
    with pytest.raises(InvalidSettings, match="images of shape"):
        make_model("vae", (64,), **SMALL)
    with pytest.raises(InvalidSettings, match="activation elu"):
        make_model("vae", (1, 8, 8), activation="relu", channels=[4])
    with pytest.raises(InvalidSettings, match="`channels` must be positive"):
        make_model("vae", (1, 8, 8), channels=[0])
