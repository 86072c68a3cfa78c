"""Features of images that are too small for SB3's convolutions, down to the 7x7 cells of a grid."""

from collections.abc import Mapping

import numpy as np
import torch
from gymnasium import Space, spaces
from jaxtyping import Float
from stable_baselines3.common.preprocessing import get_flattened_obs_dim, is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, NatureCNN
from torch import Tensor, nn
from torch.nn import functional as F

from vime.spaces import is_image

MIN_IMAGE = 36  # pixels on the shorter side that the convolutions of SB3's CnnPolicy need
MOST_KINDS = 32  # values of a number that stands for a kind of thing, and not for a brightness
KIND_FEATURES = 8  # numbers that stand for what is in a cell
CHANNELS = 16  # of a convolution
LARGEST_MAP = 8  # pixels on the shorter side of what the last, linear layer may still see
COARSE = 12  # pixels on the shorter side above which a convolution strides by two
WIDTH = 128  # features of a whole image


def is_small_image(space: Space) -> bool:
    """Returns whether `space` holds images of bytes that SB3's own networks cannot read."""
    if not isinstance(space, spaces.Box) or space.dtype != np.uint8 or len(space.shape) not in (2, 3):
        return False
    return is_image(space) and min(sorted(space.shape)[-2:]) < MIN_IMAGE


def images_last(images: Float[Tensor, "n ..."]) -> Float[Tensor, "n h w c"]:
    """Returns images `(n, h, w)`, `(n, h, w, c)` or `(n, c, h, w)` with the channels last."""
    if images.ndim == 3:
        return images.unsqueeze(-1)
    return images if images.shape[-1] <= images.shape[1] else images.movedim(1, -1)


def kinds(space: spaces.Box) -> list[int]:
    """Returns how many values each channel of an image has; nothing where its numbers are brightnesses.

    They stand for kinds of things where the bounds of the space leave few values, the same for every pixel.
    """
    low, high = (images_last(torch.from_numpy(part)[None]).flatten(0, -2) for part in (space.low, space.high))
    if low.any() or (high != high[0]).any() or int(high.max()) >= MOST_KINDS:
        return []
    return [value + 1 for value in high[0].tolist()]


class SmallImage(BaseFeaturesExtractor):
    """Features of small images, for any policy of SB3.

    Where a pixel holds kinds of things (a door, red, locked; see `kinds`), every kind has a learnt vector, and a pixel
    is the sum of its own; brightnesses are taken as they are. Then one rectified layer sees all pixels at once: on 7x7
    that learns as fast as convolutions do, at two thirds of the time. Larger images are convolved first.
    """

    first: Tensor

    def __init__(self, observation_space: spaces.Box, width: int = WIDTH) -> None:
        super().__init__(observation_space, width)
        counts = kinds(observation_space)
        shape = images_last(torch.zeros(1, *observation_space.shape)).shape[1:]
        # SB3 has divided by 255 what it takes for an image
        self.unit = 1.0 if is_image_space(observation_space) else 1 / max(float(observation_space.high.max()), 1.0)
        self.vectors = nn.Parameter(0.5 * torch.randn(sum(counts), KIND_FEATURES)) if counts else None
        self.register_buffer("first", torch.tensor([sum(counts[:i]) for i in range(len(counts))]), persistent=False)
        height, width_, channels = shape[0], shape[1], KIND_FEATURES if counts else shape[2]
        layers: list[nn.Module] = []
        while min(height, width_) > LARGEST_MAP:
            stride = 2 if min(height, width_) > COARSE else 1
            layers += [nn.Conv2d(channels, CHANNELS, 3, stride), nn.ReLU()]
            height, width_, channels = (height - 3) // stride + 1, (width_ - 3) // stride + 1, CHANNELS
        self.convolutions = nn.Sequential(*layers)
        self.head = nn.Linear(height * width_ * channels, width)

    def forward(self, observations: Tensor) -> Float[Tensor, "n w"]:
        """Returns the features of `n` images."""
        images = images_last(observations)
        if self.vectors is None:
            pixels = images.float() * self.unit
        else:
            index = images.long() + self.first
            pixels = F.embedding_bag(index.flatten(0, -2), self.vectors, mode="sum").view(*images.shape[:-1], -1)
        if len(self.convolutions):
            pixels = self.convolutions(pixels.movedim(-1, 1).contiguous())
        return F.relu(self.head(pixels.flatten(1)))


class Patches(BaseFeaturesExtractor):
    """Features of images cut into squares: one rectified layer of each square, then one of all.

    On 42x42 a training step takes a third of what SB3's convolutions take; it tells where things are, and no texture.
    """

    def __init__(
        self, observation_space: spaces.Box, width: int = WIDTH // 2, side: int = 6, channels: int = 16
    ) -> None:
        super().__init__(observation_space, width)
        height, width_, self.depth = images_last(torch.zeros(1, *observation_space.shape)).shape[1:]
        self.unit = 1.0 if is_image_space(observation_space) else 1 / max(float(observation_space.high.max()), 1.0)
        self.side, self.margins = side, (0, -width_ % side, 0, -height % side)
        squares = (-(-height // side)) * (-(-width_ // side))
        self.square = nn.Linear(self.depth * side * side, channels)
        self.head = nn.Linear(squares * channels, width)

    def forward(self, observations: Tensor) -> Float[Tensor, "n w"]:
        """Returns the features of `n` images."""
        images = images_last(observations).movedim(-1, 1).float()  # channels first, as SB3 has them: then nothing moves
        if any(self.margins):
            images = F.pad(images, self.margins)
        n, depth, height, width = images.shape
        squares = images.reshape(n, depth, height // self.side, self.side, width // self.side, self.side)
        rows = squares.permute(0, 2, 4, 1, 3, 5).reshape(-1, self.square.in_features)
        seen = F.relu(self.square(rows if self.unit == 1 else rows * self.unit))
        return F.relu(self.head(seen.reshape(n, -1)))


class Parts(BaseFeaturesExtractor):
    """Features of a `Dict` with small images in it: those of `SmallImage` and, as in SB3, of all other entries."""

    def __init__(self, observation_space: spaces.Dict) -> None:
        super().__init__(observation_space, 1)
        parts: dict[str, nn.Module] = {}
        total = 0
        for key, space in observation_space.spaces.items():
            if is_small_image(space):
                parts[key] = SmallImage(space)  # type: ignore[arg-type]
                total += WIDTH
            elif is_image_space(space):
                parts[key] = NatureCNN(space, 256)  # type: ignore[arg-type]
                total += 256
            else:
                parts[key] = nn.Flatten()
                total += get_flattened_obs_dim(space)
        self.parts = nn.ModuleDict(parts)
        self._features_dim = total

    def forward(self, observations: dict[str, Tensor]) -> Float[Tensor, "n w"]:
        """Returns the features of all entries, one after another."""
        return torch.cat([part(observations[key]) for key, part in self.parts.items()], 1)


EXTRACTORS: Mapping[str, type[BaseFeaturesExtractor]] = {"nature": NatureCNN, "small": SmallImage, "patches": Patches}
"""Networks for images that `policy_kwargs` may name as `features_extractor_class`."""


def extractor(space: Space) -> type[BaseFeaturesExtractor] | None:
    """Returns the features that policies on `space` need; None where those of SB3 serve it."""
    if is_small_image(space):
        return SmallImage
    if isinstance(space, spaces.Dict) and any(is_small_image(part) for part in space.values()):
        return Parts
    return None
