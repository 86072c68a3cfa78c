"""From observations and actions of any supported space to plain feature vectors."""

from math import prod
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from gymnasium import Space, spaces
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from vime.errors import InvalidData, UnsupportedSpace
from vime.transitions import Observation

IMAGE_FEATURES = 64
CHANNELS = (16, 32, 32)  # of the convolutions; a fourth and later one keeps the last
COARSE, FINE = 40, 10  # sides in pixels above which a convolution strides by 4 and by 2
SMALLEST_MAP = 3  # pixels on the shorter side below which no convolution makes it
LARGEST_MAP = 12  # pixels on the shorter side that the last, linear layer may still see
SMALLEST_IMAGE = 5  # pixels on the shorter side of a float array that passes for an image
MOST_CHANNELS = 16  # of a float array that passes for an image
CHUNK = 256  # images encoded at a time, so that a long rollout needs no gigabytes

SUPPORTED = {
    "observation": "Box, Discrete, MultiDiscrete, MultiBinary and a Dict of these are",
    "action": "Box, Discrete, MultiDiscrete and MultiBinary are",
}


@runtime_checkable
class Encoder(Protocol):
    """Turns observations into feature vectors that a dynamics model can predict.

    A bonus uses the one that it is handed as it is: it trains it not, and saves it not, which is its owner's to do. One
    that is named (`agents.attach(model, "vime", encoder="vae")`) learns in the run and is saved with it.
    """

    features: int
    """Length of a feature vector."""

    def encode(self, obs: Observation) -> Float[Tensor, "n d"]:
        """Returns float32 features of `n` observations; every tensor in `obs` leads with the axis `n`."""
        ...

    def fit(self, observations: Observation, budget: int) -> dict[str, float]:
        """Trains the encoder for `budget` gradient steps; returns metrics, none where nothing can be learnt."""
        ...


def _plain(obs: Observation, size: int, what: str) -> Shaped[Tensor, "n d"]:
    if isinstance(obs, dict):
        raise InvalidData(f"A mapping with the keys {', '.join(sorted(obs))} came where {what} was expected.")
    flat = obs.reshape(len(obs), -1)
    if flat.shape[1] != size:
        raise InvalidData(f"{what} has {size} numbers; the tensor that came has the shape {tuple(obs.shape)}.")
    return flat


class FlatEncoder(nn.Module):
    """The numbers themselves, flattened, as float32."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.features = size

    def encode(self, obs: Observation) -> Float[Tensor, "n d"]:
        """Returns the numbers of `n` arrays, in memory order.

        Raises:
            InvalidData: the arrays have another size.
        """
        return _plain(obs, self.features, "A box of this space").float()

    def fit(self, observations: Observation, budget: int) -> dict[str, float]:
        """Does nothing: there is nothing to learn."""
        return {}


class OneHotEncoder(nn.Module):
    """One indicator per value of every discrete entry."""

    counts: Tensor
    starts: Tensor
    offsets: Tensor

    def __init__(self, counts: np.ndarray, starts: np.ndarray) -> None:
        super().__init__()
        self.features = int(counts.sum())
        # Derived from the space alone, so no part of the state.
        self.register_buffer("counts", torch.as_tensor(counts, dtype=torch.int64), persistent=False)
        self.register_buffer("starts", torch.as_tensor(starts, dtype=torch.int64), persistent=False)
        self.register_buffer("offsets", torch.as_tensor(counts.cumsum() - counts, dtype=torch.int64), persistent=False)

    def encode(self, obs: Observation) -> Float[Tensor, "n d"]:
        """Returns `n` rows that are one at the values of the entries, and zero elsewhere.

        Raises:
            InvalidData: a value lies outside the space, or the number of entries differs.
        """
        values = _plain(obs, len(self.counts), "A discrete value of this space")
        index = values.long() - self.starts
        outside = (index < 0) | (index >= self.counts)
        if outside.any():
            row, entry = (int(i) for i in outside.nonzero()[0])
            low = int(self.starts[entry])
            raise InvalidData(
                f"The discrete value {values[row, entry].item()} lies outside its space, which holds the integers "
                f"{low} to {low + int(self.counts[entry]) - 1}."
            )
        hot = torch.zeros(len(index), self.features, device=index.device)
        return hot.scatter_(1, index + self.offsets, 1.0)

    def fit(self, observations: Observation, budget: int) -> dict[str, float]:
        """Does nothing: there is nothing to learn."""
        return {}


class ImageEncoder(nn.Module):
    """Frozen random convolutions: features of an image that are fixed, cheap, and keep similar images together.

    Convolutions with orthogonal weights and no bias, rectified, then an orthogonal linear map, normalised over the
    features of each image. Kernels and strides follow the size of the image, from 5 pixels up.

    References:
        Burda et al. 2018, Large-Scale Study of Curiosity-Driven Learning, section 2.2 (random features);
        Seo et al. 2021, State Entropy Maximization with Random Encoders, section 4.
    """

    def __init__(self, shape: tuple[int, ...], largest: float, seed: int = 0, features: int = IMAGE_FEATURES) -> None:
        super().__init__()
        self.features = features
        self.shape = shape
        self.scale = 1 / largest
        self.axes = _image_axes(shape)
        height, width = (shape[axis] for axis in self.axes)
        channels = prod(shape) // (height * width)
        generator = torch.Generator().manual_seed(seed)
        self.strides: list[int] = []
        self.weights = nn.ParameterList()
        while (len(self.strides) < len(CHANNELS) and min(height, width) > SMALLEST_MAP) or min(
            height, width
        ) > LARGEST_MAP:
            side = min(height, width)
            stride = 4 if side > COARSE else 2 if side >= FINE else 1
            kernel = 2 * stride if stride > 1 else 3
            out = CHANNELS[min(len(self.strides), len(CHANNELS) - 1)]
            self.weights.append(_orthogonal((out, channels, kernel, kernel), generator))
            self.strides.append(stride)
            height, width = ((side - kernel) // stride + 1 for side in (height, width))
            channels = out
        self.weights.append(_orthogonal((features, channels * height * width), generator))

    def encode(self, obs: Observation) -> Float[Tensor, "n d"]:
        """Returns the features of `n` images; over those of one image their mean is zero and their deviation one.

        Raises:
            InvalidData: the images have another size.
        """
        flat = _plain(obs, prod(self.shape), "An image of this space")
        with torch.no_grad():
            return torch.cat([self._encode(part) for part in flat.split(CHUNK)])

    def _encode(self, flat: Shaped[Tensor, "n p"]) -> Float[Tensor, "n d"]:
        images = flat.reshape(-1, *self.shape).movedim([axis + 1 for axis in self.axes], [-2, -1])
        hidden = images.flatten(1, -3) if images.ndim > 3 else images.unsqueeze(1)
        hidden = hidden.contiguous().float() * self.scale  # contiguous: three times as fast on a processor
        for weight, stride in zip(self.weights, self.strides, strict=False):
            hidden = F.relu(F.conv2d(hidden, weight, stride=stride))
        return F.layer_norm(F.linear(hidden.flatten(1), self.weights[-1]), (self.features,), eps=1e-12)

    def fit(self, observations: Observation, budget: int) -> dict[str, float]:
        """Does nothing: the features are frozen."""
        return {}


class DictEncoder(nn.Module):
    """The features of every entry of a mapping, one after another, in the order of the space's keys."""

    def __init__(self, parts: "dict[str, FlatEncoder | OneHotEncoder | ImageEncoder]") -> None:
        super().__init__()
        self.keys = tuple(parts)
        self.parts = nn.ModuleList(parts.values())
        self.features = sum(part.features for part in parts.values())

    def encode(self, obs: Observation) -> Float[Tensor, "n d"]:
        """Returns the joined features of `n` mappings.

        Raises:
            InvalidData: a key is missing, or an entry is refused by its own encoder.
        """
        if not isinstance(obs, dict) or not set(self.keys) <= set(obs):
            came = f"the keys {', '.join(sorted(obs))}" if isinstance(obs, dict) else "a single tensor"
            raise InvalidData(f"A mapping with the keys {', '.join(self.keys)} was expected; {came} came.")
        return torch.cat([part.encode(obs[key]) for key, part in zip(self.keys, self.parts, strict=True)], 1)  # type: ignore[operator]

    def fit(self, observations: Observation, budget: int) -> dict[str, float]:
        """Does nothing: there is nothing to learn."""
        return {}


SpaceEncoder: TypeAlias = FlatEncoder | OneHotEncoder | ImageEncoder | DictEncoder
"""Every one is an `Encoder` and a module: it moves between devices, and what it holds stands in its `state_dict`."""


def _orthogonal(shape: tuple[int, ...], generator: torch.Generator) -> nn.Parameter:
    gain = 2**0.5  # keeps the size of what a rectifier halves
    weight = nn.init.orthogonal_(torch.empty(shape), gain, generator)
    return nn.Parameter(weight, requires_grad=False)


def _image_axes(shape: tuple[int, ...]) -> tuple[int, int]:
    """Axes of height and width: the last axis is that of the channels unless an axis before is shorter."""
    if len(shape) == 2:
        return 0, 1
    first = len(shape) - 3
    return (first, first + 1) if shape[-1] <= shape[first] else (first + 1, first + 2)


def is_image(space: Space) -> bool:
    """Whether `space` holds images: bytes of two to four axes, or floats of three, two of them those of an image."""
    if not isinstance(space, spaces.Box) or len(space.shape) not in (2, 3, 4):
        return False
    height, width = (space.shape[axis] for axis in _image_axes(space.shape))
    if min(height, width) < SMALLEST_IMAGE:
        return False
    if space.dtype == np.uint8:
        return True
    channels = prod(space.shape) // (height * width)
    return len(space.shape) == 3 and channels <= MOST_CHANNELS and np.issubdtype(space.dtype, np.floating)


def _simple_encoder(space: Space, role: str, entry: str | None = None) -> FlatEncoder | OneHotEncoder:
    if isinstance(space, spaces.Discrete):
        return OneHotEncoder(np.array([space.n]), np.array([space.start]))
    if isinstance(space, spaces.MultiDiscrete):
        return OneHotEncoder(np.ravel(space.nvec), np.ravel(space.start))
    if isinstance(space, spaces.Box | spaces.MultiBinary):
        if prod(space.shape) == 0:
            raise UnsupportedSpace(f"The {role} space {space} holds no number at all.")
        return FlatEncoder(prod(space.shape))
    which = type(space).__name__ if entry is None else f"{type(space).__name__}, the entry {entry!r},"
    advice = "Convert it with gymnasium.wrappers.TransformAction."
    if role == "observation":
        advice = converter(space, entry)
    raise UnsupportedSpace(f"{which} is no {role} space that a bonus serves; {SUPPORTED[role]}. {advice}")


def converter(space: Space, entry: str | None = None) -> str:
    """Returns which wrapper makes observations of `space`, the `entry` of a `Dict` or a whole, into what is served."""
    try:
        flat = isinstance(spaces.flatten_space(space), spaces.Box)
    except NotImplementedError:  # what Gymnasium does not know, as the missions of MiniGrid
        flat = False
    if flat:
        return "Convert it with gymnasium.wrappers.FlattenObservation, or TransformObservation."
    if entry is None:
        return "Convert it to a Box with gymnasium.wrappers.TransformObservation."
    return (
        f"It cannot be flattened: leave {entry!r} out with gymnasium.wrappers.FilterObservation, or in MiniGrid keep "
        "the picture alone with minigrid.wrappers.ImgObsWrapper."
    )


def _entry_encoder(space: Space, seed: int, entry: str | None = None) -> FlatEncoder | OneHotEncoder | ImageEncoder:
    if is_image(space):
        largest = float(np.abs(space.high).max())  # type: ignore[attr-defined]
        return ImageEncoder(space.shape, largest if 1 < largest < 1e6 else 1.0, seed)  # type: ignore[arg-type]
    return _simple_encoder(space, "observation", entry)


def make_encoder(space: Space, seed: int = 0) -> SpaceEncoder:
    """Returns the encoder of one observation of `space`: numbers as they are, one-hot values, features of images.

    Args:
        seed: draws the frozen weights of image features; the global random state is not touched.

    Raises:
        UnsupportedSpace: `space` is of another kind.
    """
    if not isinstance(space, spaces.Dict):
        return _entry_encoder(space, seed)
    for key, part in space.spaces.items():
        if isinstance(part, spaces.Dict):
            raise UnsupportedSpace(
                f"The observation entry {key!r} is itself a Dict; only one level is supported. {converter(part, key)}"
            )
    if not space.spaces:
        raise UnsupportedSpace("The observation space is a Dict without entries.")
    return DictEncoder({key: _entry_encoder(part, seed + i, key) for i, (key, part) in enumerate(space.spaces.items())})


def make_action_encoder(space: Space) -> FlatEncoder | OneHotEncoder:
    """Returns the encoder of one action of `space`: numbers as they are, one-hot values.

    Raises:
        UnsupportedSpace: `space` is of another kind.
    """
    return _simple_encoder(space, "action")
