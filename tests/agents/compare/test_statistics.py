import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.compare import statistics

scores = st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=1, max_size=20).map(np.array)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([7.0], 7.0),
        ([0.0, 0.0, 9.0], 3.0),  # a quarter of three is no whole score: the plain mean
        ([0.0, 1.0, 3.0, 100.0], 2.0),
        ([5.0, -100.0, 1.0, 3.0, 100.0], 3.0),
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 800.0], 4.5),
    ],
)
def test_interquartile_mean_by_hand(values: list[float], expected: float) -> None:
    assert statistics.iqm(np.array(values)) == expected


def test_interquartile_mean_of_a_matrix_takes_all_scores_together() -> None:
    assert statistics.iqm(np.array([[0.0, 1.0], [100.0, 3.0]])) == 2.0


def test_interquartile_mean_of_rows_is_that_of_each() -> None:
    matrix = rng().normal(size=(2, 3, 7))
    rows = [[statistics.iqm(row) for row in part] for part in matrix]
    np.testing.assert_array_equal(statistics.iqm_of_rows(matrix), rows)


def test_interquartile_mean_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no scores"):
        statistics.iqm(np.array([]))


@given(scores)
def test_interval_holds_only_values_between_the_extremes(values: np.ndarray) -> None:
    low, high = statistics.iqm_interval([values], rng=rng(), repetitions=20)
    slack = 1e-9 * max(1.0, float(np.abs(values).max()))
    assert values.min() - slack <= low <= high <= values.max() + slack


def test_interval_of_equal_scores_is_a_point() -> None:
    assert statistics.iqm_interval([np.full(6, 3.0), np.full(4, 3.0)], rng=rng()) == (3.0, 3.0)


def test_runs_are_resampled_within_their_task_only() -> None:
    first, second = statistics.resample([np.arange(5.0), np.arange(10.0, 13.0)], rng=rng(), repetitions=50)
    assert (first.shape, second.shape) == ((50, 5), (50, 3))
    assert set(first.flat) == set(range(5))
    assert set(second.flat) == {10, 11, 12}


def test_interval_of_two_runs_by_hand() -> None:
    # a quarter of the draws takes the low run twice and a quarter the high one: both bounds lie at the extremes
    assert statistics.iqm_interval([np.array([2.0, 4.0])], rng=rng()) == (2.0, 4.0)


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(1)
    hits = 0
    for _ in range(100):
        low, high = statistics.iqm_interval([generator.normal(size=30)], rng=generator, repetitions=200)
        hits += low <= 0 <= high
    assert 85 <= hits <= 100


def test_same_generator_gives_the_same_interval() -> None:
    values = list(rng().normal(size=(2, 5)))
    assert statistics.iqm_interval(values, rng=rng()) == statistics.iqm_interval(values, rng=rng())


def test_curve_interval_at_a_point_is_bounded_by_the_runs_there() -> None:
    curves = rng().normal(size=(6, 4))
    low, high = statistics.curve_interval(curves, rng=rng(), repetitions=200)
    assert (curves.min(axis=0) <= low).all()
    assert (low <= high).all()
    assert (high <= curves.max(axis=0)).all()


@pytest.mark.parametrize(
    ("steps", "values", "expected"),
    [
        ([50.0], [4.0], 4.0),  # level before and after its only point
        ([0.0, 100.0], [0.0, 10.0], 5.0),
        ([0.0, 50.0, 100.0], [0.0, 0.0, 10.0], 2.5),
        ([50.0], [0.0], 0.0),
        ([0.0, 200.0], [0.0, 10.0], 2.5),  # points beyond the budget only give the slope up to it
    ],
)
def test_area_by_hand(steps: list[float], values: list[float], expected: float) -> None:
    assert statistics.area(np.array(steps), np.array(values), 100) == pytest.approx(expected)


def test_area_of_no_points_is_not_a_number() -> None:
    assert math.isnan(statistics.area(np.array([]), np.array([]), 100))


def improvement(*pairs: tuple[list[float], list[float]]) -> float:
    mine, theirs = zip(*pairs, strict=True)
    return statistics.probability_of_improvement([np.array(x) for x in mine], [np.array(x) for x in theirs])


def test_probability_of_improvement_counts_pairs_and_half_the_ties() -> None:
    # pairs of (1, 2, 3) against (2, 2): lost twice, tied twice, won twice
    assert improvement(([1.0, 2.0, 3.0], [2.0, 2.0])) == 0.5
    assert improvement(([3.0, 2.0], [0.0, 2.0])) == 3.5 / 4


def test_probability_of_improvement_is_averaged_over_the_tasks_whatever_their_runs() -> None:
    assert improvement(([3.0, 2.0], [0.0, 2.0]), ([0.0], [1.0, 1.0, 2.0])) == 3.5 / 8


@given(scores, scores)
def test_improvement_over_the_control_and_back_sum_to_one(a: np.ndarray, b: np.ndarray) -> None:
    both = statistics.probability_of_improvement([a], [b]) + statistics.probability_of_improvement([b], [a])
    assert both == pytest.approx(1.0)


def test_improvement_interval_of_separate_scores_is_certain() -> None:
    bounds = statistics.improvement_interval([np.array([5.0, 6.0])], [np.array([1.0, 2.0, 3.0])], rng=rng())
    assert bounds == (1.0, 1.0)


def test_paired_seeds_tell_apart_what_loose_ones_do_not() -> None:
    luck = np.array([0.0, 100.0, 200.0, 300.0, 400.0])
    found, low, high = statistics.paired_difference([luck + 1], [luck], rng=rng())
    assert (found, low, high) == (1.0, 1.0, 1.0)
    shuffled = luck[[2, 0, 1, 4, 3]]
    found, low, high = statistics.paired_difference([shuffled + 1], [luck], rng=rng())
    assert found == pytest.approx(1.0)
    assert low < 0 < high


def test_paired_difference_is_that_of_the_interquartile_means_over_all_tasks() -> None:
    mine, theirs = [np.array([1.0, 2.0, 6.0]), np.array([4.0])], [np.array([0.0, 0.0, 0.0]), np.array([2.0])]
    found, _, _ = statistics.paired_difference(mine, theirs, rng=rng())
    # the only run of the second task counts three times, so that both tasks weigh the same
    assert found == (2 + 4 + 4 + 4) / 4 - (0 + 0 + 2 + 2) / 4


def test_optimality_gap_by_hand() -> None:
    gaps = statistics.optimality_gap(np.array([[0.0, 0.5, 3.0], [1.0, 1.0, 2.0]]))
    np.testing.assert_allclose(gaps, [0.5, 0.0])


def test_profile_is_the_part_of_the_runs_above_each_threshold() -> None:
    found = statistics.profile(np.array([[0.0, 0.5, 0.5, 1.0], [2.0, 2.0, 2.0, 2.0]]), np.array([-1.0, 0.0, 0.5, 1.0]))
    np.testing.assert_array_equal(found, [[1, 1], [0.75, 1], [0.25, 1], [0, 1]])


def test_ranks_of_certain_draws_are_certain_and_ties_share_theirs() -> None:
    certain = statistics.rank_distribution(np.tile([5.0, 1.0, 1.0], (7, 1)))
    np.testing.assert_allclose(certain, [[1, 0, 0], [0, 0.5, 0.5], [0, 0.5, 0.5]])
    np.testing.assert_array_equal(statistics.mean_ranks(np.array([5.0, 1.0, 1.0, 7.0])), [2, 3.5, 3.5, 1])


@given(st.integers(1, 6), st.integers(1, 9), st.integers(0, 3))
def test_every_rank_is_taken_and_every_contender_has_one(contenders: int, draws: int, values: int) -> None:
    drawn = rng().integers(values + 1, size=(draws, contenders)).astype(float)
    table = statistics.rank_distribution(drawn)
    np.testing.assert_allclose(table.sum(axis=0), 1)
    np.testing.assert_allclose(table.sum(axis=1), 1)
    np.testing.assert_allclose(table @ np.arange(1, contenders + 1), statistics.mean_ranks(drawn).mean(axis=0))


@pytest.mark.parametrize(
    ("distribution", "expected"),
    [
        ([1.0, 0.0, 0.0], (1, 1)),
        ([0.0, 0.02, 0.98], (3, 3)),
        ([0.03, 0.94, 0.03], (1, 3)),
        ([1 / 3, 1 / 3, 1 / 3], (1, 3)),
        ([0.5, 0.5, 0.0], (1, 2)),
    ],
)
def test_interval_of_ranks_by_hand(distribution: list[float], expected: tuple[int, int]) -> None:
    assert statistics.rank_bounds(np.array(distribution)) == expected


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([300, 100, 200], 200.0),
        ([100, 200], 150.0),
        ([100, None, 200], 200.0),
        ([100, None], math.inf),
        ([None, None, 5], math.inf),
    ],
)
def test_median_first_reward_counts_never_as_infinity(steps: list[int | None], expected: float) -> None:
    assert statistics.median_first_reward(steps) == expected


def test_median_first_reward_of_no_runs_is_not_a_number() -> None:
    assert math.isnan(statistics.median_first_reward([]))


@pytest.fixture
def metrics() -> Any:
    return pytest.importorskip("rliable.metrics", reason="rliable is not installed")


@pytest.mark.parametrize("runs", [1, 2, 3, 4, 5, 8, 10])
def test_interquartile_mean_equals_that_of_rliable(runs: int, metrics: Any) -> None:
    matrix = rng().normal(size=(runs, 3))
    assert statistics.iqm(matrix) == pytest.approx(metrics.aggregate_iqm(matrix), abs=1e-14)


def test_probability_of_improvement_equals_that_of_rliable(metrics: Any) -> None:
    mine, theirs = rng().integers(4, size=(2, 9, 3)).astype(float)
    expected = metrics.probability_of_improvement(mine, theirs)
    assert statistics.probability_of_improvement(list(mine.T), list(theirs.T)) == pytest.approx(expected)


def test_optimality_gap_equals_that_of_rliable(metrics: Any) -> None:
    matrix = rng().normal(size=(9, 3)) + 1
    assert statistics.optimality_gap(matrix.ravel()) == pytest.approx(metrics.aggregate_optimality_gap(matrix))


@pytest.fixture
def library() -> Any:
    return pytest.importorskip("rliable.library", reason="rliable is not installed")


def estimated(library: Any, scores: Any, statistic: Any, reps: int = 4000) -> np.ndarray:
    """Bounds by rliable, whose bootstrap draws from the global state of numpy."""
    np.random.seed(0)  # noqa: NPY002
    _, found = library.get_interval_estimates({"x": scores}, statistic, reps=reps)
    return found["x"]


def test_intervals_equal_those_of_rliable_to_the_noise_of_the_draws(metrics: Any, library: Any) -> None:
    matrix = rng().normal(size=(10, 3))
    theirs = estimated(library, matrix, lambda x: np.array([metrics.aggregate_iqm(x)]))[:, 0]
    mine = statistics.iqm_interval(list(matrix.T), rng=rng(), repetitions=4000)
    np.testing.assert_allclose(mine, theirs, atol=0.1 * (theirs[1] - theirs[0]))


def test_improvement_interval_equals_that_of_rliable_to_the_noise_of_the_draws(metrics: Any, library: Any) -> None:
    mine, control = rng().normal(size=(10, 2)) + 0.5, rng().normal(size=(8, 2))

    def improvement(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.array([metrics.probability_of_improvement(x, y)])

    theirs = estimated(library, [mine, control], improvement, reps=500)  # each draw takes it a millisecond or more
    found = statistics.improvement_interval(list(mine.T), list(control.T), rng=rng(), repetitions=4000)
    np.testing.assert_allclose(found, theirs[:, 0], atol=0.2 * (theirs[1, 0] - theirs[0, 0]))


def test_profile_and_its_band_equal_those_of_rliable(library: Any) -> None:
    matrix, thresholds = rng().normal(size=(10, 3)), np.linspace(-2, 2, 9)
    np.random.seed(0)  # noqa: NPY002
    shares, bands = library.create_performance_profile({"x": matrix}, thresholds, reps=2000)
    np.testing.assert_allclose(statistics.profile(matrix.ravel(), thresholds), shares["x"])
    drawn = np.concatenate(statistics.resample(list(matrix.T), rng=rng(), repetitions=2000), axis=1)
    low, high = statistics.bounds(statistics.profile(drawn, thresholds).T)
    np.testing.assert_allclose([low, high], bands["x"], atol=1.01 / matrix.size)  # a run more or less


def test_every_task_weighs_the_same_however_many_of_its_runs_there_are() -> None:
    many, few = rng().normal(size=12), rng().normal(size=4)
    repeated = np.concatenate([many, np.repeat(few, 3)])
    row, weights = statistics.pooled([many, few])
    assert statistics.iqm_of_tasks([many, few]) == pytest.approx(statistics.iqm(repeated))
    assert statistics.optimality_gap(row, weights) == pytest.approx(statistics.optimality_gap(repeated))
    thresholds = np.array([-1.0, 0.0, 1.0])
    np.testing.assert_allclose(statistics.profile(row, thresholds, weights), statistics.profile(repeated, thresholds))
    assert statistics.pooled([many, many])[1] is None  # equal numbers of runs are pooled as they are


def test_weights_hold_row_by_row() -> None:
    strata = [rng().normal(size=(5, 7)), rng().normal(size=(5, 3))]
    each = [statistics.iqm_of_tasks([runs[i] for runs in strata]) for i in range(5)]
    np.testing.assert_allclose(statistics.iqm_of_tasks(strata), each)
