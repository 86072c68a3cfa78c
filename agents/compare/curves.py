"""Learning curves thinned out for the eye: the middle of the seeds with a band, and every seed by itself."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from agents.compare import statistics
from agents.compare.records import RunRecord
from agents.compare.scores import rng

QUANTITIES = ("episode_return", "bonus_mean", "bonus_share", "coverage")
"""What the page can show over the steps: columns of `metrics.csv`."""
POINTS = {"episode_return": 100, "bonus_mean": 60, "bonus_share": 60, "coverage": 60}
"""Of each line of a band, where the page holds few."""
BAND_NUMBERS = 60_000
"""How many numbers the bands of all rows may take together on one page."""
REPETITIONS = 400
"""Bootstrap draws of the band of the returns; the band of the others is the middle half of the seeds."""
SEED_NUMBERS = 60_000
"""How many numbers all curves of single seeds may take together on one page."""
FEWEST, MOST = 20, 80
"""Points of the curve of a single seed; a line of a band has no fewer than `FEWEST` either."""


def bands(records: Sequence[RunRecord], share: float = 1.0) -> dict[str, dict[str, Any]]:
    """Returns by quantity `from`, `to` (steps), and `middle`, `low`, `high` at equal distances between the two.

    `share` is that of `POINTS` which each line gets; see `band_share`.

    The middle is the interquartile mean over the seeds. Runs under way wait until there is none that has finished, or
    one of them would cut the curve of all.
    """
    complete = [record for record in records if record.status == "finished"] or records
    found = {}
    for name in QUANTITIES:
        curves = [curve for record in complete if len((curve := record.curve(name))[0])]
        if not curves:
            continue
        end = min(float(steps[-1]) for steps, _ in curves)  # beyond it some seeds have nothing yet
        start = min(max(float(steps[0]) for steps, _ in curves), end)
        heights = np.stack([thinned(*curve, start, end, round(share * POINTS[name])) for curve in curves])
        low, high = np.quantile(heights, [0.25, 0.75], axis=0)
        if name == "episode_return":
            low, high = statistics.curve_interval(heights, rng=rng(), repetitions=REPETITIONS)
        lines = {"middle": statistics.iqm_of_rows(heights.T), "low": low, "high": high}
        found[name] = {"from": start, "to": end} | {line: short(values) for line, values in lines.items()}
    return found


def single(record: RunRecord, points: int) -> dict[str, Any] | None:
    """Returns the return of one run over its steps as `from`, `to` and `middle`; None where no episode has ended."""
    steps, values = record.curve("episode_return")
    if not len(steps):
        return None
    start, end = float(steps[0]), float(steps[-1])
    return {"from": start, "to": end, "middle": short(thinned(steps, values, start, end, points), 3)}


def band_share(rows: int) -> float:
    """Returns which share of its points each line of so many rows' bands may have; none gets less than `FEWEST`."""
    lines = 3  # middle, low and high
    return min(1.0, max(FEWEST / min(POINTS.values()), BAND_NUMBERS / (max(1, rows) * lines * sum(POINTS.values()))))


def seed_points(runs: int) -> int:
    """Returns how many points each of so many curves of single seeds may have."""
    return int(min(MOST, max(FEWEST, SEED_NUMBERS // max(1, runs))))


def thinned(steps: np.ndarray, values: np.ndarray, start: float, end: float, points: int) -> np.ndarray:
    """Returns the curve at `points` equally far apart, each the mean height of the curve around it.

    Where the curve has fewer points than that, they are joined by straight lines and nothing is averaged away.
    """
    grid = np.linspace(start, end, points)
    if end <= start or len(steps) <= points:
        return np.interp(grid, steps, values)
    half = (end - start) / (points - 1) / 2
    left, right = np.maximum(grid - half, start), np.minimum(grid + half, end)
    knots = np.union1d(steps, np.concatenate([left, right]))
    heights = np.interp(knots, steps, values)
    areas = np.concatenate([[0.0], np.cumsum(np.diff(knots) * (heights[1:] + heights[:-1]) / 2)])
    return (np.interp(right, knots, areas) - np.interp(left, knots, areas)) / (right - left)


def short(values: np.ndarray, digits: int = 4) -> list[float | int]:
    """Returns the values with so many significant digits, whole ones as integers: a third of the text."""
    rounded = (float(f"{value:.{digits}g}") for value in values)
    return [int(value) if value == int(value) else value for value in rounded]
