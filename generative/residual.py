"""Residual convolutions that halve an image and their mirror: encoder and decoder of a VAE for images.

References: Kingma et al. 2016, "Improving variational inference with inverse autoregressive flow", appendix B.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from generative.layers import Conv, Dense, UpConv
from generative.model import image_shape

BRANCH = 0.1  # deviation that the second convolution of a block first adds


def halves(shape: Sequence[int], times: int) -> list[tuple[int, int]]:
    """Returns height and width of an image, and after each of `times` halvings, rounded up: 28, 14, 7, 4."""
    _, *size = image_shape(shape)
    found = [(size[0], size[1])]
    for _ in range(times):
        height, width = found[-1]
        found.append((-(-height // 2), -(-width // 2)))
    return found


class Block(nn.Module):
    """A short cut and two convolutions beside it; `down` halves the image, `up` doubles it.

    Args:
        inputs: channels that come in.
        outputs: channels that leave.
        way: what becomes of the size.
    """

    def __init__(self, inputs: int, outputs: int, way: str = "same") -> None:
        super().__init__()
        if way == "up":
            self.short: nn.Module = UpConv(inputs, outputs, 3)
            self.first: nn.Module = UpConv(inputs, outputs, 3)
        else:
            stride = 2 if way == "down" else 1
            changes = way == "down" or inputs != outputs
            self.short = Conv(inputs, outputs, 3, stride=stride) if changes else nn.Identity()
            self.first = Conv(inputs, outputs, 3, stride=stride)
        self.second = Conv(outputs, outputs, 3, scale=BRANCH)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h2 w2"]:
        """Returns the sum of both ways."""
        return self.short(x) + self.second(F.elu(self.first(F.elu(x))))


class ConvEncoder(nn.Module):
    """Blocks that halve the image, one that keeps its size between each two, then fully connected layers.

    Args:
        shape: of an image.
        channels: after each halving.
        hidden: widths of the fully connected layers.
    """

    def __init__(self, shape: Sequence[int], channels: Sequence[int], hidden: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)
        blocks: list[nn.Module] = []
        for i, (before, after) in enumerate(pairwise((shape[0], *channels))):
            blocks += [Block(before, before)] if i else []
            blocks.append(Block(before, after, "down"))
        last = channels[-1] * prod(halves(shape, len(channels))[-1])
        self.blocks = nn.Sequential(*blocks)
        self.dense = _dense((last, *hidden))

    def forward(self, flat: Float[Tensor, "n size"]) -> Float[Tensor, "n h"]:
        """Returns the last hidden layer of images that come as rows."""
        return self.dense(F.elu(self.blocks(flat.unflatten(1, self.shape)).flatten(1)))


class ConvDecoder(nn.Module):
    """The mirror of `ConvEncoder`: fully connected layers, then blocks that double the size.

    Args:
        latent: numbers in a code.
        shape: of what comes out: that of an image, with as many channels as a pixel has parameters.
        channels: of the encoder.
        hidden: of the encoder.
    """

    def __init__(self, latent: int, shape: Sequence[int], channels: Sequence[int], hidden: Sequence[int]) -> None:
        super().__init__()
        self.sizes = halves(shape, len(channels))
        self.start = (channels[-1], *self.sizes[-1])
        self.dense = _dense((latent, *reversed(hidden), prod(self.start)))
        self.blocks = nn.ModuleList(Block(after, before, "up") for before, after in reversed([*pairwise(channels)]))
        self.same = nn.ModuleList(Block(before, before) for before, _ in reversed([*pairwise(channels)]))
        self.leave = UpConv(channels[0], shape[0], 5, scale=BRANCH, bias=False)

    def forward(self, z: Float[Tensor, "*k n d"]) -> Float[Tensor, "*k n outputs"]:
        """Returns what each code becomes, as rows."""
        flat = z.reshape(-1, z.shape[-1])
        x = self.dense(flat).unflatten(1, self.start)
        for i, (block, same) in enumerate(zip(self.blocks, self.same, strict=True)):
            x = same(_cut(block(x), self.sizes[-2 - i]))
        x = _cut(self.leave(F.elu(x)), self.sizes[0])
        return x.flatten(1).unflatten(0, z.shape[:-1])


class Bias(nn.Module):
    """A number for each entry, which is added to it."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(size))

    def forward(self, x: Float[Tensor, "*n size"]) -> Float[Tensor, "*n size"]:
        """Returns the sum."""
        return x + self.bias


def _cut(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Returns the upper left part of images that were doubled from odd sizes rounded up."""
    return x[..., : size[0], : size[1]]


def _dense(widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [Dense(before, after), nn.ELU()]
    return nn.Sequential(*layers)
