"""What a model makes, as PNG: samples, reconstructions, traversals of codes, and its learning curves."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from agents.compare.plots import COLOURS, figure_png, new_figure
from agents.generate.assess import some
from generative import Dataset, Model
from generative.infogan import InfoGAN
from generative.lapgan import LAPGAN
from generative.model import Bounded, Coder, Decoder, Sampler
from generative.randomness import child
from generative.vae import VAE

SIDE = 10
"""Pictures along each side of a grid."""
PIXELS = 56
"""Least width of one picture in a grid."""
REACH = 2.0
"""How far continuous codes of InfoGAN are moved; training draws them from -1 to 1."""
DEVIATIONS = 3.0
"""How far the code of a VAE is moved, in deviations of its prior."""
TRAVERSED = 10
"""Numbers of a VAE's code that are moved, those that vary most over the data."""
LOSSES, MEASURES = 6, 2
GAP = 1  # pixels between pictures, before they are enlarged


class Picture(NamedTuple):
    """One picture of a run."""

    name: str
    """File name."""
    content: bytes
    """PNG."""
    title: str
    caption: str


def pictures(model: Model, data: Dataset, seed: int, metrics: Path) -> Iterator[Picture]:
    """Yields every picture that the model allows.

    Args:
        model: a trained one.
        data: its data.
        seed: of all draws.
        metrics: the run's `metrics.csv`.
    """

    def draw(name: str) -> torch.Generator:
        return torch.Generator(model.device).manual_seed(child(seed, name))

    if isinstance(model, Sampler):
        made = model.sample(SIDE * SIDE, draw("pictures"))
        yield Picture("samples.png", grid(made, SIDE), "Samples", "Drawn one after another; none is chosen.")
    if isinstance(model, VAE):
        z = torch.randn(SIDE * SIDE, model.features, generator=draw("codes"), device=model.device)
        yield Picture(
            "expected.png", grid(model.decode(z), SIDE), "Expected images", "The means of codes drawn from the prior."
        )
    if isinstance(model, LAPGAN):
        yield _stages(model, draw("stages"))
    if isinstance(model, Coder) and isinstance(model, Decoder) and isinstance(model, Bounded) and len(data.test):
        yield _reconstructions(model, some(data, 5 * SIDE))
    if isinstance(model, InfoGAN):
        yield from _codes(model, draw)
    if isinstance(model, VAE) and len(data.test):
        yield _dimensions(model, some(data, 1000))
    curves = learning_curves(metrics)
    if curves is not None:
        yield Picture("curves.png", curves, "Learning curves", "Terms of the losses, and figures on some test data.")


def grid(x: Tensor, columns: int) -> bytes:
    """Returns images (n, channels, height, width) from 0 to 1 in rows of `columns`, as PNG, enlarged without blur."""
    from PIL import Image

    tiles = (x.detach().float().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
    tiles = tiles.expand(-1, 3, -1, -1) if tiles.shape[1] == 1 else tiles[:, :3]
    n, _, height, width = tiles.shape
    rows = -(-n // columns)
    sheet = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3), 110, np.uint8)
    for i, tile in enumerate(tiles.permute(0, 2, 3, 1).numpy()):
        top, left = GAP + i // columns * (height + GAP), GAP + i % columns * (width + GAP)
        sheet[top : top + height, left : left + width] = tile
    times = max(1, -(-PIXELS // width))
    image = Image.fromarray(sheet)
    buffer = io.BytesIO()
    image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


def _stages(model: LAPGAN, generator: torch.Generator) -> Picture:
    sizes = model.stages(SIDE, generator)
    full = sizes[-1].shape[-2:]
    rows = [torch.nn.functional.interpolate(size, size=full, mode="nearest") for size in sizes]
    return Picture(
        "stages.png", grid(torch.cat(rows), SIDE), "From coarse to fine", "A column is one image in every size it had."
    )


def _reconstructions(model: Any, x: Tensor) -> Picture:
    again = model.decode(model.encode(x)).cpu()
    pairs = torch.stack([x.unflatten(0, (-1, SIDE)), again.unflatten(0, (-1, SIDE))], 1).flatten(0, 2)
    return Picture(
        "reconstructions.png",
        grid(pairs, SIDE),
        "Reconstructions",
        "Rows in pairs: data of the test set, and below them what their codes give back.",
    )


def _codes(model: InfoGAN, draw: Any) -> Iterator[Picture]:
    kinds = model.settings.categories
    for code, values in enumerate(kinds):
        made = model.traverse(code, range(values), SIDE, draw(f"code {code}"))
        yield Picture(
            f"category-{code}.png",
            grid(made.flatten(0, 1), values),
            f"Categorical code {code}",
            "A column for each value; along a row nothing else changes.",
        )
    values = np.linspace(-REACH, REACH, SIDE).round(3).tolist()
    for code in range(len(kinds), len(kinds) + model.settings.continuous):
        made = model.traverse(code, values, SIDE, draw(f"code {code}"))
        yield Picture(
            f"continuous-{code}.png",
            grid(made.flatten(0, 1), SIDE),
            f"Continuous code {code}",
            f"From {-REACH:g} to {REACH:g}, twice as far as in training; along a row nothing else changes.",
        )


def _dimensions(model: VAE, x: Tensor) -> Picture:
    codes = model.encode(x)
    most = codes.var(0).argsort(descending=True)[:TRAVERSED]
    values = torch.linspace(-DEVIATIONS, DEVIATIONS, SIDE, device=codes.device)
    z = codes[:1].repeat(len(most) * SIDE, 1)
    z[torch.arange(len(z)), most.repeat_interleave(SIDE)] = values.repeat(len(most))
    return Picture(
        "traversal.png",
        grid(model.decode(z), SIDE),
        "Traversal of the code",
        f"The first test image; a row for each number that varies most, from {-DEVIATIONS:g} to {DEVIATIONS:g}.",
    )


def learning_curves(metrics: Path) -> bytes | None:
    """Returns the columns of a `metrics.csv` over steps, losses beside figures on test data; None without rows."""
    if not metrics.is_file():
        return None
    rows = list(csv.DictReader(io.StringIO(metrics.read_text())))
    if len(rows) < 2:
        return None
    names = [name for name in rows[0] | rows[-1] if name != "step"]
    tested = [name for name in names if name.startswith("test_")]
    terms = sorted((name for name in names if name not in tested), key=lambda name: ("loss" not in name, name))
    panels = [("terms of the losses", terms[:LOSSES]), ("on test data", tested[:MEASURES])]
    panels = [panel for panel in panels if panel[1]]
    figure = new_figure(2.6 * len(panels))
    for axes, (title, shown) in zip(np.atleast_1d(figure.subplots(len(panels), 1)), panels, strict=True):
        _plot(axes, title, shown, rows)
    return figure_png(figure)


def _plot(axes: Any, title: str, names: Sequence[str], rows: Sequence[dict[str, str]]) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    values = []
    for name, colour in zip(names, COLOURS, strict=False):
        points = [(int(row["step"]), float(row[name])) for row in rows if row.get(name)]
        axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.4, label=name)
        values += [value for _, value in points[len(points) // 10 :]]
    low, high = np.quantile(values, [0.0, 0.995])  # what comes before the first tenth may leave the picture
    room = 0.05 * max(high - low, 1e-6)
    axes.set_ylim(low - room, high + room)
    axes.set(title=title, xlabel="step")
    axes.legend(frameon=False, fontsize=7)
