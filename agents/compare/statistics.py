"""What a handful of seeds says, and how sure it is: pure functions on scores, no randomness but what is handed in.

Where several tasks count together, the scores of one contender come as a sequence with an array for every task
(`Strata`): a bootstrap draw takes as many runs of every task as there were, with replacement, and never a run of one
task for another (stratified). The tasks may have had different numbers of runs; over all of them each task weighs the
same, or a contender whose runs fail where it is bad would gain by it.

References:
    Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice", section 4.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, Shaped

TRIM = 0.25
"""Part of the runs that the interquartile mean leaves out at each end."""
LEVEL = 0.95
"""Coverage of every interval."""
REPETITIONS = 2000
"""Bootstrap draws of an interval; 95 % bounds move by about 2 % of its width from one generator to another."""

Strata = Sequence[Float[np.ndarray, " run"]]


def iqm(scores: Float[np.ndarray, "..."]) -> float:
    """Returns the interquartile mean of all scores: their mean without the lowest and the highest quarter.

    A quarter is rounded down to whole scores, so up to three scores give the plain mean.

    Raises:
        ValueError: there are no scores.
    """
    return float(iqm_of_rows(np.reshape(scores, -1)))


def iqm_of_rows(
    scores: Float[np.ndarray, "*rows score"], weights: Int[np.ndarray, " score"] | None = None
) -> Float[np.ndarray, "*rows"]:
    """Returns the interquartile mean of every row; with `weights`, as if each score stood there so many times.

    Raises:
        ValueError: there are no scores in a row.
    """
    count = scores.shape[-1] if weights is None else int(weights.sum())
    if count == 0:
        raise ValueError("The interquartile mean of no scores is not defined.")
    cut = int(TRIM * count)
    if weights is None:
        return np.sort(scores, axis=-1)[..., cut : count - cut].mean(axis=-1)
    order = np.argsort(scores, axis=-1)
    reached = np.cumsum(weights[order], axis=-1).clip(cut, count - cut)
    kept = np.diff(reached, axis=-1, prepend=cut)
    return (np.take_along_axis(scores, order, axis=-1) * kept).sum(axis=-1) / (count - 2 * cut)


def pooled(
    strata: Sequence[Float[np.ndarray, "*rows _"]],
) -> tuple[Float[np.ndarray, "*rows score"], Int[np.ndarray, " score"] | None]:
    """Returns the scores of all tasks in one row, and how many times each counts so that every task weighs the same.

    None stands for once: where every task has as many runs.
    """
    counts = [runs.shape[-1] for runs in strata]
    common = math.lcm(*counts)
    weights = None if len(set(counts)) == 1 else np.repeat([common // count for count in counts], counts)
    return np.concatenate(strata, axis=-1), weights


def iqm_of_tasks(strata: Sequence[Float[np.ndarray, "*rows _"]]) -> Float[np.ndarray, "*rows"]:
    """Returns the interquartile mean of the runs of all tasks together, each task with the same weight, row by row.

    Raises:
        ValueError: there are no scores.
    """
    return iqm_of_rows(*pooled(strata))


def resample(
    strata: Strata, *, rng: np.random.Generator, repetitions: int = REPETITIONS
) -> list[Float[np.ndarray, "draw run"]]:
    """Returns bootstrap draws of the runs, task by task; one run can only ever be drawn as itself."""
    return [runs[rng.integers(len(runs), size=(repetitions, len(runs)))] for runs in strata]


def bounds(draws: Float[np.ndarray, "draw *rest"], level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Returns lower and upper bound of the percentile interval of a statistic, from its value on every draw."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def iqm_interval(
    strata: Strata, *, rng: np.random.Generator, repetitions: int = REPETITIONS, level: float = LEVEL
) -> tuple[float, float]:
    """Returns the bounds of the interquartile mean of the runs of all tasks together."""
    low, high = bounds(iqm_of_tasks(resample(strata, rng=rng, repetitions=repetitions)), level)
    return float(low), float(high)


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
    # the runs on the last axis, where sorting is five times as fast
    draws = np.ascontiguousarray(curves.T)[:, picks].swapaxes(0, 1)
    return bounds(iqm_of_rows(draws), level)


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


def probability_of_improvement(scores: Strata, control: Strata) -> float:
    """Returns how probably a random run beats a random run of the control on a random task; a tie counts half.

    References:
        Agarwal et al. 2021, section 4.3; the Mann-Whitney statistic over the number of pairs, mean over the tasks.
    """
    return float(_improvement([runs[None] for runs in scores], [runs[None] for runs in control])[0])


def improvement_interval(
    scores: Strata,
    control: Strata,
    *,
    rng: np.random.Generator,
    repetitions: int = REPETITIONS,
    level: float = LEVEL,
) -> tuple[float, float]:
    """Returns the bounds of the probability of improvement; runs of both sides are resampled, each among its own."""
    mine = resample(scores, rng=rng, repetitions=repetitions)
    theirs = resample(control, rng=rng, repetitions=repetitions)
    low, high = bounds(_improvement(mine, theirs), level)
    return float(low), float(high)


def _improvement(
    mine: Sequence[Float[np.ndarray, "draw n"]], theirs: Sequence[Float[np.ndarray, "draw m"]]
) -> Float[np.ndarray, " draw"]:
    # comparisons, not differences: the difference of two infinities is not a number
    tasks = [
        ((a[:, :, None] > b[:, None, :]) + 0.5 * (a[:, :, None] == b[:, None, :])).mean(axis=(1, 2))
        for a, b in zip(mine, theirs, strict=True)
    ]
    return np.mean(tasks, axis=0)


def paired_difference(
    scores: Strata,
    control: Strata,
    *,
    rng: np.random.Generator,
    repetitions: int = REPETITIONS,
    level: float = LEVEL,
) -> tuple[float, float, float]:
    """Returns by how much the interquartile mean exceeds that of the control, and the bounds of this difference.

    Entry `i` of both sides is the same seed, and so the same draw of the task; a bootstrap draw takes both or neither.
    """
    picks = [rng.integers(len(runs), size=(repetitions, len(runs))) for runs in scores]
    drawn = [iqm_of_tasks([runs[pick] for runs, pick in zip(side, picks, strict=True)]) for side in (scores, control)]
    low, high = bounds(drawn[0] - drawn[1], level)
    return float(iqm_of_tasks(scores) - iqm_of_tasks(control)), float(low), float(high)


def mean(
    scores: Shaped[np.ndarray, "*rows score"], weights: Int[np.ndarray, " score"] | None = None
) -> Float[np.ndarray, "*rows"]:
    """Returns the mean of every row, be it of numbers or of yes and no; with `weights`, each so many times."""
    return scores.mean(axis=-1) if weights is None else np.average(scores, axis=-1, weights=weights)


def optimality_gap(
    scores: Float[np.ndarray, "*rows score"], weights: Int[np.ndarray, " score"] | None = None, best: float = 1.0
) -> Float[np.ndarray, "*rows"]:
    """Returns how far the scores of every row stay below `best` on average; what lies above it makes up for nothing."""
    return best - mean(np.minimum(scores, best), weights)


def profile(
    scores: Float[np.ndarray, "*rows score"],
    thresholds: Float[np.ndarray, " threshold"],
    weights: Int[np.ndarray, " score"] | None = None,
) -> Float[np.ndarray, "threshold *rows"]:
    """Returns which part of the scores of every row lies above each threshold: the performance profile."""
    return np.stack([mean(scores > threshold, weights) for threshold in thresholds])


def median_first_reward(steps: Sequence[float | None]) -> float:
    """Returns the median of the steps to the first reward; never counts as infinity, and so may the median.

    NaN where there is no run.
    """
    if not steps:
        return float("nan")
    found = sorted(float("inf") if step is None else float(step) for step in steps)
    half = len(found) // 2
    return found[half] if len(found) % 2 else (found[half - 1] + found[half]) / 2


def rank_distribution(draws: Float[np.ndarray, "draw contender"]) -> Float[np.ndarray, "contender rank"]:
    """Returns how probably every contender takes every rank, the first being the highest; ties share their ranks."""
    repetitions, contenders = draws.shape
    table = np.zeros((contenders, contenders))
    for i in range(contenders):
        above = (draws > draws[:, i : i + 1]).sum(axis=1)
        equal = (draws == draws[:, i : i + 1]).sum(axis=1)
        for rank in range(contenders):
            here = (above <= rank) & (rank < above + equal)
            table[i, rank] = (here / equal).sum() / repetitions
    return table


def mean_ranks(draws: Float[np.ndarray, "*rows contender"]) -> Float[np.ndarray, "*rows contender"]:
    """Returns the rank of every contender in its row, the first being the highest; ties get the mean of their ranks."""
    left, right = draws[..., :, None], draws[..., None, :]
    return (right > left).sum(axis=-1) + ((right == left).sum(axis=-1) + 1) / 2


def rank_bounds(distribution: Float[np.ndarray, " rank"], level: float = LEVEL) -> tuple[int, int]:
    """Returns the first and the last rank of the central interval of a distribution of ranks."""
    reached = np.cumsum(distribution)
    tail, slack = (1 - level) / 2, 1e-9
    low = int(np.searchsorted(reached, tail + slack)) + 1
    high = int(np.searchsorted(reached, 1 - tail - slack)) + 1
    return low, min(high, len(distribution))
