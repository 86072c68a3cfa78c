import io
from pathlib import Path

import fake_runs
import numpy as np
import pytest
from PIL import Image

from agents.compare import animation
from agents.compare.records import read_run
from agents.config import RunConfig

TASK = "vime/SparseCartPoleSwingupWeak-v0"


@pytest.fixture
def episode(tmp_path: Path) -> Path:
    """A pole that turns once in 500 steps, and is paid in the last tenth."""
    angle = np.linspace(0, 2 * np.pi, 500)
    still = np.zeros_like(angle)
    obs = np.stack([still, still, np.cos(angle), np.sin(angle), still], axis=1)
    np.savez(tmp_path / "first_reward.npz", obs=obs, reward=np.arange(500) >= 450)
    return tmp_path / "first_reward.npz"


def test_gif_moves_loops_and_is_small(episode: Path) -> None:
    content = animation.animate(TASK, episode)
    assert content is not None
    assert len(content) <= animation.MAX_BYTES
    image = Image.open(io.BytesIO(content))
    assert 0.6 * animation.MAX_FRAMES <= image.n_frames <= animation.MAX_FRAMES + 1  # type: ignore[attr-defined]
    assert max(image.size) <= animation.MAX_SIDE
    assert image.info["loop"] == 0


def test_bar_fills_and_turns_green_when_paid(episode: Path) -> None:
    content = animation.animate(TASK, episode)
    assert content is not None
    image = Image.open(io.BytesIO(content))
    bar = image.height - 2
    image.seek(image.n_frames // 2)  # type: ignore[attr-defined]
    red, green, blue = image.convert("RGB").getpixel((5, bar))  # type: ignore[misc]
    assert abs(red - green) < 20 > abs(green - blue)
    image.seek(image.n_frames - 1)  # type: ignore[attr-defined]
    red, green, blue = image.convert("RGB").getpixel((image.width - 5, bar))  # type: ignore[misc]
    assert green > red + 50


def test_an_episode_that_its_reward_ends_is_green_at_its_end(tmp_path: Path) -> None:
    """As the recorder writes it: the observations that the steps led to, each with the reward for coming there."""
    obs, reward = np.zeros((30, 5), np.float32), np.arange(30) == 29
    np.savez(tmp_path / "first_reward.npz", obs=obs, reward=reward)
    content = animation.animate(TASK, tmp_path / "first_reward.npz")
    assert content is not None
    image, greens = Image.open(io.BytesIO(content)), []
    for i in range(image.n_frames):  # type: ignore[attr-defined]
        image.seek(i)
        red, green, _ = image.convert("RGB").getpixel((1, image.height - 2))  # type: ignore[misc]
        greens.append(green > red + 50)
    assert greens == [False] * (len(greens) - 1) + [True]


def test_gif_too_large_is_made_with_fewer_frames(episode: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = animation.animate(TASK, episode)
    assert whole is not None
    monkeypatch.setattr(animation, "MAX_BYTES", len(whole) // 3)
    smaller = animation.animate(TASK, episode)
    assert smaller is not None
    assert len(smaller) <= len(whole) // 3


def test_tasks_that_cannot_be_drawn_have_no_gif(episode: Path) -> None:
    assert animation.animate("CartPole-v1", episode) is None


def test_an_empty_episode_has_no_gif(tmp_path: Path) -> None:
    np.savez(tmp_path / "empty.npz", obs=np.zeros((0, 5)), reward=np.zeros(0))
    assert animation.animate(TASK, tmp_path / "empty.npz") is None


def test_the_earliest_curious_run_is_chosen(tmp_path: Path) -> None:
    firsts = {("none", 0): 10, ("vime", 0): 300, ("vime", 1): 200, ("vime", 2): None}
    records = []
    for (bonus, seed), first in firsts.items():
        config = RunConfig(task=TASK, bonus=bonus, seed=seed)
        folder = tmp_path / f"{bonus}-{seed}"
        fake_runs.leave_run(config, folder, first=first)
        records.append(read_run(folder, config))
    chosen = animation.first_rewarded(records)
    assert chosen is not None
    assert (chosen.config.bonus, chosen.config.seed) == ("vime", 1)
    assert animation.first_rewarded(records[:1]) is None
