"""The table of data sets, and those that need no files: scikit-learn's digits and mixtures in the plane."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from generative.data import Dataset, Split
from generative.errors import InvalidSettings, MissingData, choose
from generative.files import cifar10, mnist
from generative.randomness import child

DIGITS_TRAIN = 1297  # of 1797; the rest is for testing
MIXTURE_TRAIN, MIXTURE_TEST = 50_000, 10_000
MIXTURE_STD = 0.05  # of each Gaussian of a mixture
GRID_SPACING, RING_RADIUS = 1.0, 2.0


def digits() -> Dataset:
    """Returns scikit-learn's digits: 8x8 images of 17 grey levels, ten classes, 1297 to train with and 500 to test.

    The split is a fixed permutation, since the file is ordered by writer.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingData("The digits come with scikit-learn: `pip install scikit-learn`.") from error
    pixels, target = load_digits(return_X_y=True)
    x = torch.as_tensor(pixels).to(torch.uint8).view(-1, 1, 8, 8)
    y = torch.as_tensor(target).long()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(child(0, "digits")))
    train, test = order[:DIGITS_TRAIN], order[DIGITS_TRAIN:]
    return Dataset(
        name="digits", train=Split(x=x[train], label=y[train]), test=Split(x=x[test], label=y[test]), levels=17
    )


def ring_centres(modes: int = 8) -> Float[Tensor, "modes 2"]:
    """Returns the centres of Gaussians in a ring of radius 2."""
    angle = torch.arange(modes) * (2 * math.pi / modes)
    return RING_RADIUS * torch.stack([angle.cos(), angle.sin()], 1)


def grid_centres(side: int = 5) -> Float[Tensor, "modes 2"]:
    """Returns the centres of Gaussians in a square grid about the origin, 1 apart."""
    line = (torch.arange(side) - (side - 1) / 2) * GRID_SPACING
    return torch.cartesian_prod(line, line)


def mixture(name: str, centres: Float[Tensor, "modes d"], *, std: float = MIXTURE_STD, seed: int = 0) -> Dataset:
    """Returns draws of equal Gaussians about `centres`, labelled by their Gaussian."""
    generator = torch.Generator().manual_seed(child(seed, name))

    def split(n: int) -> Split:
        label = torch.randint(len(centres), (n,), generator=generator)
        return Split(x=centres[label] + std * torch.randn(n, centres.shape[1], generator=generator), label=label)

    return Dataset(name=name, train=split(MIXTURE_TRAIN), test=split(MIXTURE_TEST), support="real")


def ring(seed: int = 0) -> Dataset:
    """Returns points near a circle of radius 2."""
    return _curve("ring", lambda turn: RING_RADIUS * torch.stack([turn.cos(), turn.sin()], 1), 2 * math.pi, 0.0, seed)


def swiss_roll(seed: int = 0) -> Dataset:
    """Returns points near a spiral of one and a half turns, scaled to about 2."""

    def place(angle: Tensor) -> Tensor:
        return (angle / (2.25 * math.pi)).unsqueeze(1) * torch.stack([angle.cos(), angle.sin()], 1)

    return _curve("swiss-roll", place, 4.5 * math.pi, 1.5 * math.pi, seed)


def _curve(name: str, place: Callable[[Tensor], Tensor], high: float, low: float, seed: int) -> Dataset:
    generator = torch.Generator().manual_seed(child(seed, name))

    def split(n: int) -> Split:
        along = low + (high - low) * torch.rand(n, generator=generator)
        return Split(x=place(along) + MIXTURE_STD * torch.randn(n, 2, generator=generator))

    return Dataset(name=name, train=split(MIXTURE_TRAIN), test=split(MIXTURE_TEST), support="real")


BUILT_IN: dict[str, Callable[[], Dataset]] = {
    "digits": digits,
    "gaussians-8": lambda: mixture("gaussians-8", ring_centres()),
    "gaussians-25": lambda: mixture("gaussians-25", grid_centres()),
    "ring": ring,
    "swiss-roll": swiss_roll,
}
"""Name -> data set that needs no files."""


def halved(data: Dataset) -> Dataset:
    """Returns images of half the size, each pixel the mean of four: `mnist` at 14x14 costs a quarter."""

    def small(split: Split) -> Split:
        pooled = torch.nn.functional.avg_pool2d(split.x.float(), 2).round().to(torch.uint8)
        return Split(x=pooled, label=split.label)

    return replace(data, name=f"{data.name}-14", train=small(data.train), test=small(data.test))


FROM_FILES: dict[str, Callable[[Path], Dataset]] = {
    "mnist": mnist, "mnist-14": lambda folder: halved(mnist(folder)), "cifar10": cifar10,
}  # fmt: skip
"""Name -> reader of a folder."""


def load_data(name: str, folder: str | Path | None = None) -> Dataset:
    """Returns the data set of a name.

    Args:
        name: an entry of `BUILT_IN` or `FROM_FILES`.
        folder: where its files lie, for those that have some; nothing is downloaded.

    Raises:
        UnknownName: there is no such data set; the nearest is suggested.
        InvalidSettings: a folder is wanted, and none was given.
        MissingData: the folder lacks a file, or one is damaged; the message names what is expected.
    """
    choose("data set", name, {**BUILT_IN, **FROM_FILES})
    if name in BUILT_IN:
        return BUILT_IN[name]()
    if folder is None:
        raise InvalidSettings(f"The data set {name!r} is read from its original files; say in which folder they lie.")
    return FROM_FILES[name](Path(folder))
