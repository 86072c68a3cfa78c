"""Where the agents went: visits of the cells of a plane, summed over the seeds, and as small pictures."""

import io
import math
from collections.abc import Iterable

import numpy as np

from agents.compare.records import RunRecord, read_arrays

COVERAGE_FILE = "coverage.npz"
SHADES = 255


def visits(records: Iterable[RunRecord], bins: tuple[int, int]) -> np.ndarray | None:
    """Returns the visits of every cell, all runs together; None where no run has counted any on such a plane."""
    read = (read_arrays(record.folder / COVERAGE_FILE) for record in records)
    counts = [arrays["counts"] for arrays in read if arrays is not None and "counts" in arrays]
    fitting = [cells for cells in counts if cells.shape == tuple(bins)]
    total = np.sum(fitting, axis=0) if fitting else None
    return total if total is not None and total.max() > 0 else None


def picture(cells: np.ndarray, top: int) -> bytes:
    """Returns the map as a PNG with one pixel a cell, the second axis upwards: brighter for more visits.

    Shades go by the logarithm of the visits, from 1 to `top`; cells never visited are transparent.
    """
    from matplotlib import colormaps
    from PIL import Image

    scale = math.log(max(2, top))
    with np.errstate(divide="ignore"):
        part = np.clip(np.log(cells.T[::-1].astype(float)) / scale, 0.0, 1.0)
    shades = np.where(cells.T[::-1] > 0, 1 + np.round(part * (SHADES - 1)), 0).astype(np.uint8)
    image = Image.fromarray(shades, mode="P")
    colours = (255 * colormaps["viridis"](np.linspace(0, 1, SHADES))[:, :3]).round().astype(int)
    image.putpalette([0, 0, 0, *colours.ravel().tolist()])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=0, optimize=True)
    return buffer.getvalue()
