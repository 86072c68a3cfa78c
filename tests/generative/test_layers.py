"""Weight normalisation: what it computes, and how it starts from data."""

import pytest
import torch
from torch import nn

from generative.layers import Chain, Conv, Dense, Dropout, Noise, UpConv, WeightNormal, starting
from generative.randomness import seeded
from tests.generative.small import generator


def layers(**kwargs: object) -> list[tuple[WeightNormal, torch.Tensor]]:
    with seeded(0):
        return [
            (Dense(7, 5, **kwargs), torch.randn(40, 7, generator=generator())),
            (Conv(3, 5, 3, stride=2, **kwargs), torch.randn(40, 3, 8, 8, generator=generator())),  # type: ignore[arg-type]
            (UpConv(3, 5, 4, **kwargs), torch.randn(40, 3, 4, 4, generator=generator())),  # type: ignore[arg-type]
        ]


KINDS = pytest.mark.parametrize("kind", range(3), ids=["dense", "conv", "up-conv"])


@KINDS
def test_after_the_start_outputs_have_mean_zero_and_the_deviation_asked_for(kind: int) -> None:
    layer, x = layers(scale=0.3)[kind]
    with starting(layer):
        first = layer(x + 1)
    others = [axis for axis in range(first.ndim) if axis != 1]
    again = layer(x + 1)
    torch.testing.assert_close(first, again)
    torch.testing.assert_close(again.mean(others), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(again.std(others, correction=0), torch.full((5,), 0.3))


@KINDS
def test_the_length_of_the_weights_of_an_output_is_its_gain(kind: int) -> None:
    layer, _ = layers()[kind]
    with torch.no_grad():
        layer.gain.copy_(torch.arange(1.0, 6.0))
    per_output = layer.weight.transpose(0, layer.axis).flatten(1)
    torch.testing.assert_close(per_output.norm(dim=1), torch.arange(1.0, 6.0))


@KINDS
def test_a_frozen_gain_is_not_trained(kind: int) -> None:
    layer, x = layers(gain="frozen")[kind]
    with starting(layer):
        layer(x)
    layer(x).square().sum().backward()
    assert layer.gain.grad is None
    assert not layer.gain.requires_grad
    assert layer.v.grad is not None


@KINDS
def test_without_a_gain_a_layer_is_an_ordinary_one(kind: int) -> None:
    layer, x = layers(gain="none")[kind]
    torch.testing.assert_close(layer.weight, layer.v)
    with starting(layer):
        layer(x)
    torch.testing.assert_close(layer(x).std([0, *range(2, x.ndim)], correction=0), torch.ones(5))


def test_up_convolution_doubles_the_size() -> None:
    for kernel in (2, 3, 4, 5):
        assert UpConv(2, 3, kernel)(torch.zeros(1, 2, 7, 7)).shape == (1, 3, 14, 14)


def test_an_output_without_inputs_is_its_bias() -> None:
    layer = Dense(3, 2, mask=torch.tensor([[1.0, 1, 1], [0, 0, 0]]))
    with starting(layer):
        layer(torch.randn(9, 3, generator=generator()))
    out = layer(torch.randn(9, 3, generator=generator(1)))
    assert torch.isfinite(out).all()
    assert torch.equal(out[:, 1], torch.zeros(9))


def test_noise_comes_from_the_generator_and_in_training_alone() -> None:
    chain, x = Chain(Noise(0.5), nn.Identity(), Dropout(0.5)), torch.ones(2000)[:, None]
    assert torch.equal(chain(x, generator(1)), chain(x, generator(1)))
    assert abs(float(chain(x, generator(1)).mean()) - 1) < 0.1
    assert abs(float((chain(x, generator(1)) == 0).float().mean()) - 0.5) < 0.05
    assert torch.equal(chain.eval()(x, generator(1)), x)
