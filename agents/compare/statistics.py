"""What a handful of seeds says, and how sure it is: pure functions on scores, no randomness but what is handed in."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

TRIM = 0.25
"""Part of the runs that the interquartile mean leaves out at each end."""
LEVEL = 0.95
"""Coverage of every interval."""
REPETITIONS = 2000
"""Bootstrap draws of an interval; 95 % bounds move by about 2 % of its width from one generator to another."""


def iqm(scores: Float[np.ndarray, "..."]) -> float:
    """Returns the interquartile mean of all scores: their mean without the lowest and the highest quarter.

    A quarter is rounded down to whole scores, so up to three scores give the plain mean.

    Raises:
        ValueError: there are no scores.

    References:
        Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice", section 4.3.
    """
    return float(iqm_of_columns(np.reshape(scores, (-1, 1)))[0])


def iqm_of_columns(scores: Float[np.ndarray, "run point"]) -> Float[np.ndarray, " point"]:
    """Returns the interquartile mean over the runs, at every point.

    Raises:
        ValueError: there are no runs.
    """
    runs = len(scores)
    if runs == 0:
        raise ValueError("The interquartile mean of no scores is not defined.")
    cut = int(TRIM * runs)
    return np.sort(scores, axis=0)[cut : runs - cut].mean(axis=0)


def interval(
    scores: Float[np.ndarray, "run task"],
    statistic: Callable[[Float[np.ndarray, "run task"]], float],
    *,
    rng: np.random.Generator,
    repetitions: int = REPETITIONS,
    level: float = LEVEL,
) -> tuple[float, float]:
    """Returns the bounds of the percentile bootstrap interval of `statistic`, resampling runs within each task.

    One run says nothing about its own spread: its interval is that one point.
    """
    runs, tasks = scores.shape
    picks = rng.integers(runs, size=(repetitions, runs, tasks))
    draws = [statistic(np.take_along_axis(scores, pick, axis=0)) for pick in picks]
    return _bounds(np.asarray(draws), level)


def curve_interval(
    curves: Float[np.ndarray, "run point"],
    *,
    rng: np.random.Generator,
    repetitions: int = REPETITIONS,
    level: float = LEVEL,
) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"]]:
    """Returns the bounds of the interquartile mean at every point; whole runs are resampled, not single points."""
    runs = len(curves)
    picks = rng.integers(runs, size=(repetitions, runs))
    draws = np.stack([iqm_of_columns(curves[pick]) for pick in picks])
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def area(steps: Float[np.ndarray, " n"], values: Float[np.ndarray, " n"], total: float) -> float:
    """Returns the mean height of a learning curve over 0 to `total` steps, in the unit of `values`.

    The curve is straight between its points and level before the first and after the last; NaN where it has none.
    """
    if len(steps) == 0:
        return float("nan")
    inside = np.asarray(steps) < total
    grid = np.concatenate([[0.0], np.asarray(steps, dtype=float)[inside], [float(total)]])
    heights = np.interp(grid, steps, values)
    return float(np.sum(np.diff(grid) * (heights[1:] + heights[:-1]) / 2) / total)


def probability_of_improvement(scores: Float[np.ndarray, " n"], control: Float[np.ndarray, " m"]) -> float:
    """Returns how probably a random run beats a random run of the control; a tie counts half.

    References:
        Agarwal et al. 2021, section 4.3; the Mann-Whitney statistic over the number of pairs.
    """
    # comparisons, not differences: the difference of two infinities is not a number
    left, right = np.asarray(scores)[:, None], np.asarray(control)[None, :]
    return float(np.mean((left > right) + 0.5 * (left == right)))


def improvement_interval(
    scores: Float[np.ndarray, " n"],
    control: Float[np.ndarray, " m"],
    *,
    rng: np.random.Generator,
    repetitions: int = REPETITIONS,
    level: float = LEVEL,
) -> tuple[float, float]:
    """Returns the bounds of the probability of improvement; runs of both sides are resampled, each among its own."""
    mine = scores[rng.integers(len(scores), size=(repetitions, len(scores)))]
    theirs = control[rng.integers(len(control), size=(repetitions, len(control)))]
    draws = [probability_of_improvement(a, b) for a, b in zip(mine, theirs, strict=True)]
    return _bounds(np.asarray(draws), level)


def median_first_reward(steps: list[int | None]) -> float:
    """Returns the median of the steps to the first reward; never counts as infinity, and so may the median.

    NaN where there is no run.
    """
    if not steps:
        return float("nan")
    found = sorted(float("inf") if step is None else float(step) for step in steps)
    half = len(found) // 2
    return found[half] if len(found) % 2 else (found[half - 1] + found[half]) / 2


def _bounds(draws: Float[np.ndarray, " n"], level: float) -> tuple[float, float]:
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
