"""The script on likelihood as a score of anomalies: its areas, its strangers, and the failure that it shows."""

import pytest
import torch

import generative
from scripts import likelihood_anomaly as script


def test_the_area_counts_how_often_the_usual_scores_higher() -> None:
    usual, strange = torch.tensor([3.0, 2.0]), torch.tensor([1.0, 2.5, 4.0])
    assert script.area(usual, strange) == pytest.approx(3 / 6)
    assert script.area(usual, usual - 9) == 1


def test_strangers_are_on_the_levels_of_the_data_and_as_many() -> None:
    usual = torch.rand(20, 1, 8, 8)
    for name, images in script.foreign((usual * 16).round() / 16, 17, torch.Generator().manual_seed(0)).items():
        assert images.shape == usual.shape, name
        torch.testing.assert_close((images * 16).round() / 16, images)


@pytest.mark.slow
def test_a_black_image_is_likelier_than_digits() -> None:
    rows = script.measure(generative.load_data("digits"), script.Arguments(steps=200))
    found = {row["images"]: row for row in rows}
    assert found["black"]["area_by_likelihood"] < 0.4
    assert found["noise"]["area_by_likelihood"] > 0.99
    assert found["digits, held out"]["area_by_likelihood"] == pytest.approx(0.5)
