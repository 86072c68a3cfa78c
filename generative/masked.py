"""Masks and shifts that let an output see only what comes before it in some order.

`Dense(..., mask=...)` and `Conv(..., mask=...)` of `layers` use the masks. A stack of masked square convolutions misses
part of the past; `ShiftedConv` in two stacks, down and down-right, sees all of it.

References: Germain et al. 2015, "MADE"; van den Oord et al. 2016, "Conditional image generation with PixelCNN
    decoders"; Salimans et al. 2017, "PixelCNN++".
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from generative.errors import InvalidSettings
from generative.layers import Conv


def degrees(
    dimensions: int, hidden: Sequence[int], generator: torch.Generator | None = None
) -> list[Int[Tensor, " width"]]:
    """Returns, for every hidden layer, how many of the first dimensions each unit may see: 1 to `dimensions` - 1.

    Evenly spread without a generator; drawn with one, not below the least of the layer before.
    """
    most, low, found = max(1, dimensions - 1), 1, []
    for width in hidden:
        if generator is None:
            layer = 1 + torch.arange(width) * most // width
        else:
            layer = torch.randint(low, most + 1, (width,), generator=generator, device=generator.device).cpu()
            low = int(layer.min())
        found.append(layer)
    return found


def dense_masks(
    dimensions: int,
    hidden: Sequence[int],
    *,
    outputs: int = 1,
    order: Int[Tensor, " d"] | None = None,
    generator: torch.Generator | None = None,
) -> list[Float[Tensor, "out in"]]:
    """Returns the masks of a network whose outputs for a dimension depend on the dimensions before it alone.

    Args:
        dimensions: d, the inputs.
        hidden: widths of the hidden layers.
        outputs: numbers for each dimension; the last layer has `outputs * d`, all of the first number, then the second.
        order: position of each dimension, a permutation of 0 to d - 1; by default as they come.
        generator: draws what each hidden unit may see; spread evenly without one.
    """
    position = torch.arange(dimensions) if order is None else order.cpu()
    if sorted(position.tolist()) != list(range(dimensions)):
        raise InvalidSettings(f"`order` must be a permutation of 0 to {dimensions - 1}; got {position.tolist()}.")
    sees = [position + 1, *degrees(dimensions, hidden, generator)]
    masks = [(later[:, None] >= earlier[None]).float() for earlier, later in pairwise(sees)]
    masks.append((position.repeat(outputs)[:, None] >= sees[-1][None]).float())
    return masks


def conv_mask(
    outputs: int, inputs: int, kernel: tuple[int, int], *, strict: bool, groups: int = 1
) -> Float[Tensor, "out in height width"]:
    """Returns the mask of a convolution that sees what lies above, and to the left in its own row.

    At the centre channels are ordered in `groups`: a channel sees those of earlier groups, and of its own unless
    `strict`.

    Args:
        outputs: output channels, a multiple of `groups`, those of one group side by side.
        inputs: input channels, likewise.
        kernel: height and width, both odd.
        strict: whether an output must not see its own group (first and last layers); otherwise it may (hidden ones).
        groups: how many.
    """
    if outputs % groups or inputs % groups or not all(size % 2 for size in kernel):
        raise InvalidSettings(
            f"A masked convolution wants channels that {groups} groups divide and an odd kernel; "
            f"got {inputs} to {outputs} channels and {kernel}."
        )
    mask = torch.zeros(outputs, inputs, *kernel)
    row, column = kernel[0] // 2, kernel[1] // 2
    mask[:, :, :row] = 1
    mask[:, :, row, :column] = 1
    after = torch.arange(outputs) // (outputs // groups)
    before = torch.arange(inputs) // (inputs // groups)
    mask[:, :, row, column] = (after[:, None] > before if strict else after[:, None] >= before).float()
    return mask


def shift_down(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """Returns the image one row lower, zeros at the top."""
    return F.pad(x[:, :, :-1], (0, 0, 1, 0))


def shift_right(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """Returns the image one column further right, zeros at the left."""
    return F.pad(x[:, :, :, :-1], (1, 0))


class ShiftedConv(nn.Module):
    """A convolution that sees the rows above and its own row (`down`), of its own row only up to itself (`down-right`).

    Its output at a pixel may depend on that pixel: shift the first input by `shift_down` or `shift_right` to be strict.

    Args:
        inputs: input channels.
        outputs: output channels.
        kernel: height and width; the width of a `down` convolution is odd.
        direction: what it sees.
        kwargs: as of `layers.WeightNormal`.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: tuple[int, int] = (2, 3),
        direction: Literal["down", "down-right"] = "down",
        **kwargs: object,
    ) -> None:
        super().__init__()
        height, width = kernel
        if direction == "down" and width % 2 == 0:
            raise InvalidSettings(f"A `down` convolution is of odd width; got {kernel}.")
        side = (width // 2, width // 2) if direction == "down" else (width - 1, 0)
        self.pads = (*side, height - 1, 0)
        self.conv = Conv(inputs, outputs, kernel, padding=0, **kwargs)  # type: ignore[arg-type]

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        """Returns outputs of the same size."""
        return self.conv(F.pad(x, self.pads))
