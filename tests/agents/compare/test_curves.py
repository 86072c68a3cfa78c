import io
from pathlib import Path

import fake_runs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from agents.compare import curves, maps
from agents.compare.records import read_run
from agents.config import RunConfig


def records(tmp_path: Path, bonus: str, seeds: int = 3) -> list:
    found = []
    for seed in range(seeds):
        config = RunConfig(task="CartPole-v1", bonus=bonus, seed=seed, steps=20_000)
        fake_runs.leave_run(config, tmp_path / f"{bonus}{seed}", first=3000)
        found.append(read_run(tmp_path / f"{bonus}{seed}", config))
    return found


def test_few_points_are_joined_by_straight_lines() -> None:
    steps, values = np.array([0.0, 10.0, 20.0]), np.array([0.0, 4.0, 0.0])
    np.testing.assert_allclose(curves.thinned(steps, values, 0, 20, 5), [0, 2, 4, 2, 0])


def test_many_points_become_the_mean_around_each() -> None:
    # a square wave between 0 and 2: its mean height is 1 wherever the window spans whole periods
    steps = np.arange(1001.0)
    thin = curves.thinned(steps, 2.0 * (steps % 2), 0, 1000, 11)
    np.testing.assert_allclose(thin, 1.0, atol=0.03)


@given(st.integers(2, 300), st.integers(2, 50))
def test_a_straight_line_stays_one_and_nothing_leaves_the_range(length: int, points: int) -> None:
    steps = np.linspace(5, 95, length)
    thin = curves.thinned(steps, 3 * steps, 5, 95, points)
    assert thin.shape == (points,)
    np.testing.assert_allclose(thin[1:-1], 3 * np.linspace(5, 95, points)[1:-1], rtol=1e-9)
    assert (thin >= 15 - 1e-9).all()
    assert (thin <= 285 + 1e-9).all()


def test_bands_hold_the_middle_and_fit_a_page(tmp_path: Path) -> None:
    found = curves.bands(records(tmp_path, "vime"))
    assert set(found) == set(curves.QUANTITIES)
    for curve in found.values():
        assert len(curve["middle"]) == len(curve["low"]) == len(curve["high"]) < 200
        assert (np.array(curve["low"]) <= np.array(curve["middle"]) + 1e-3).all()
        assert (np.array(curve["middle"]) <= np.array(curve["high"]) + 1e-3).all()
    assert found["episode_return"]["middle"][-1] == pytest.approx(11)  # of seeds that end at 10, 11 and 12


def test_the_control_has_no_bonus_to_show(tmp_path: Path) -> None:
    assert "bonus_mean" not in curves.bands(records(tmp_path, "none"))


def test_a_run_without_an_episode_has_no_curve(tmp_path: Path) -> None:
    record = read_run(tmp_path / "nowhere", RunConfig(task="CartPole-v1"))
    assert curves.single(record, 20) is None
    assert curves.bands([record]) == {}


def test_numbers_are_short() -> None:
    assert curves.short(np.array([0.123456, 2.0, 123456.0, -0.0])) == [0.1235, 2, 123500, 0]


def test_the_curves_of_all_seeds_fit_the_page_however_many() -> None:
    for runs in (1, 100, 1000, 2000):
        assert runs * curves.seed_points(runs) <= max(curves.SEED_NUMBERS, runs * curves.FEWEST)
        assert curves.seed_points(runs) >= curves.FEWEST


def test_the_bands_of_all_rows_fit_the_page_however_many(tmp_path: Path) -> None:
    whole = 3 * sum(curves.POINTS.values())
    least = whole * curves.FEWEST / min(curves.POINTS.values())
    for rows in (1, 50, 110, 1000):
        share = curves.band_share(rows)
        numbers = 3 * sum(round(share * points) for points in curves.POINTS.values())
        assert rows * numbers <= 1.01 * max(curves.BAND_NUMBERS, rows * least)
        assert min(round(share * points) for points in curves.POINTS.values()) >= curves.FEWEST
    assert curves.band_share(50) == 1
    found = curves.bands(records(tmp_path, "vime"), 0.5)
    assert {name: len(band["middle"]) for name, band in found.items()} == {
        name: curves.POINTS[name] // 2 for name in found
    }


def test_a_map_is_bright_where_visits_are_many_and_empty_where_there_are_none() -> None:
    cells = np.zeros((3, 2), dtype=int)
    cells[0, 0], cells[2, 1] = 1, 1000
    image = Image.open(io.BytesIO(maps.picture(cells, 1000))).convert("RGBA")
    assert image.size == (3, 2)
    assert image.getpixel((1, 0))[3] == 0  # type: ignore[index]
    rare, often = image.getpixel((0, 1)), image.getpixel((2, 0))  # the second axis points upwards
    assert rare == (68, 1, 84, 255)
    assert often == (253, 231, 37, 255)


def test_visits_of_other_planes_and_broken_files_are_left_out(tmp_path: Path) -> None:
    found = records(tmp_path, "vime", seeds=2)
    alone = maps.visits(found[:1], (50, 50))
    assert alone is not None
    assert alone.sum() == 5000
    (found[1].folder / "coverage.npz").write_bytes(b"half a file")
    both = maps.visits(found, (50, 50))
    assert both is not None
    assert both.sum() == 5000
    assert maps.visits(found, (10, 10)) is None
