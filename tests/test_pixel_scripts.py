"""The scripts on pixels: their runs are such that can be made, and their tables say what was found."""

from pathlib import Path

import pytest
import torch

from scripts import latent_world, pixel_features


@pytest.mark.parametrize("features", pixel_features.FEATURES)
def test_every_contender_can_be_run_and_differs_in_what_it_is_named_for(features: str) -> None:
    config = pixel_features.config(features, 3, 4096).check()
    assert (config.task, config.seed, config.steps) == (pixel_features.TASK, 3, 4096)
    named = config.bonus_settings.get("encoder", {"model": "random"})["model"]
    assert config.bonus == "none" or features == named


def test_the_table_counts_seeds_and_takes_what_never_came_for_late() -> None:
    def row(features: str, seed: int, end: float, first: int | None) -> dict:
        return {
            "features": features,
            "seed": seed,
            "final_return": end,
            "solved": end >= 0.5,
            "first_reward_step": first,
            "cpu_seconds": 10.0,
        }

    rows = [row("vae", 1, 0.25, 200), row("vae", 0, 1.0, 100), row("none", 0, 0.0, None)]
    lines = pixel_features.table(rows).splitlines()
    assert lines[2:] == ["| `none` | 0 of 1 | 0.00 | never | 10 |", "| `vae` | 1 of 2 | 1.00 0.25 | 150 | 10 |"]


def test_a_linear_map_tells_the_place_where_the_features_do() -> None:
    features = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    truth = features @ torch.tensor([1.0, -2.0, 0.5]) + 0.3
    torch.testing.assert_close(
        latent_world.told(features, latent_world.fit_map(features, truth)), truth, atol=1e-3, rtol=0
    )


@pytest.mark.slow
def test_a_small_world_is_measured(tmp_path: Path) -> None:
    arguments = latent_world.Arguments(steps=300, encoder_steps=20, updates=20)
    data = latent_world.pushes(300, 0)
    unseen = [latent_world.pushes(41, seed) for seed in (1, 2)]
    row, world = latent_world.measure("vae", data, unseen, arguments)
    assert row["still_0"] == 0
    assert all(0 < row[f"error_{step}"] < 3 for step in latent_world.SHOWN)
    latent_world.picture(world, unseen[0], tmp_path / "seen.png")
    assert (tmp_path / "seen.png").stat().st_size > 100
