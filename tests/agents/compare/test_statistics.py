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


def test_interquartile_mean_of_columns_is_that_of_each() -> None:
    matrix = rng().normal(size=(7, 3))
    columns = [statistics.iqm(matrix[:, i]) for i in range(3)]
    np.testing.assert_array_equal(statistics.iqm_of_columns(matrix), columns)


def test_interquartile_mean_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no scores"):
        statistics.iqm(np.array([]))


@given(scores)
def test_interval_holds_only_values_between_the_extremes(values: np.ndarray) -> None:
    low, high = statistics.interval(values[:, None], statistics.iqm, rng=rng(), repetitions=20)
    slack = 1e-9 * max(1.0, float(np.abs(values).max()))
    assert values.min() - slack <= low <= high <= values.max() + slack


def test_interval_of_equal_scores_is_a_point() -> None:
    assert statistics.interval(np.full((6, 2), 3.0), statistics.iqm, rng=rng()) == (3.0, 3.0)


def test_interval_resamples_within_each_task_only() -> None:
    # constant tasks: with runs of one task never taken for another, every draw has the same mean
    constant = np.tile([1.0, 100.0], (5, 1))
    assert statistics.interval(constant, lambda x: float(x.mean()), rng=rng()) == (50.5, 50.5)


def test_interval_of_two_runs_by_hand() -> None:
    # a quarter of the draws takes the low run twice and a quarter the high one: both bounds lie at the extremes
    assert statistics.interval(np.array([[2.0], [4.0]]), statistics.iqm, rng=rng()) == (2.0, 4.0)


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(1)
    hits = 0
    for _ in range(100):
        low, high = statistics.interval(generator.normal(size=(30, 1)), statistics.iqm, rng=generator, repetitions=200)
        hits += low <= 0 <= high
    assert 85 <= hits <= 100


def test_same_generator_gives_the_same_interval() -> None:
    values = rng().normal(size=(5, 2))
    first = statistics.interval(values, statistics.iqm, rng=rng())
    assert first == statistics.interval(values, statistics.iqm, rng=rng())


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


def test_probability_of_improvement_counts_pairs_and_half_the_ties() -> None:
    # pairs of (1, 2, 3) against (2, 2): lost twice, tied twice, won twice
    assert statistics.probability_of_improvement(np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0])) == 0.5
    assert statistics.probability_of_improvement(np.array([3.0, 2.0]), np.array([0.0, 2.0])) == 3.5 / 4


@given(scores, scores)
def test_improvement_over_the_control_and_back_sum_to_one(a: np.ndarray, b: np.ndarray) -> None:
    both = statistics.probability_of_improvement(a, b) + statistics.probability_of_improvement(b, a)
    assert both == pytest.approx(1.0)


def test_improvement_interval_of_separate_scores_is_certain() -> None:
    bounds = statistics.improvement_interval(np.array([5.0, 6.0]), np.array([1.0, 2.0, 3.0]), rng=rng())
    assert bounds == (1.0, 1.0)


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
    mine, theirs = rng().integers(4, size=(2, 9, 1)).astype(float)
    expected = metrics.probability_of_improvement(mine, theirs)
    assert statistics.probability_of_improvement(mine[:, 0], theirs[:, 0]) == pytest.approx(expected)


def test_interval_equals_that_of_rliable_to_the_noise_of_the_draws(metrics: Any) -> None:
    library = pytest.importorskip("rliable.library", reason="rliable is not installed")
    matrix = rng().normal(size=(10, 3))
    _, bounds = library.get_interval_estimates({"x": matrix}, lambda x: np.array([metrics.aggregate_iqm(x)]), reps=4000)
    mine = statistics.interval(matrix, statistics.iqm, rng=rng(), repetitions=4000)
    width = float(bounds["x"][1, 0] - bounds["x"][0, 0])
    np.testing.assert_allclose(mine, bounds["x"][:, 0], atol=0.1 * width)
