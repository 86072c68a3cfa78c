import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.compare import animation, plots
from agents.compare.store import open_study
from agents.compare.study import Study, run_folder
from agents.config import RunConfig

sys.path.insert(0, str(Path(__file__).parent))  # workers import `fake_runs` by this name too

import fake_runs

TASK = "vime/SparseMountainCar-v0"
CHROMIUM = "/usr/bin/chromium"
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
FLAGS += ("--disable-component-update", "--disable-sync")


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of a size that nobody looks at, in a fraction of the time."""
    monkeypatch.setattr(plots, "DOTS_PER_INCH", 25)
    monkeypatch.setattr(animation, "MAX_FRAMES", 40)


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what is not about pictures: they take most of the time of a report."""
    module = sys.modules["agents.compare.report"]  # the attribute of that name is the function
    monkeypatch.setattr(module, "draw", lambda found: iter(()))


@pytest.fixture
def study() -> Study:
    """Two bonuses, three seeds, no work."""
    return Study(tasks=(TASK,), bonuses=("none", "vime"), seeds=(0, 1, 2), base=RunConfig(task=TASK, steps=20_000))


@pytest.fixture
def make_finished(tmp_path: Path) -> Callable[..., Path]:
    """Makes the folder of a study whose runs are all there: `vime` finds the reward and the control does not."""

    def make(study: Study, *, without: int = 0) -> Path:
        out = tmp_path / "study"
        open_study(study, out)
        for config in study.runs()[: len(study.runs()) - without]:
            first = 3000 + 1000 * config.seed if config.bonus != "none" else None
            fake_runs.leave_run(config, run_folder(out, config), first=first)
        return out

    return make


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not Path(CHROMIUM).exists():
        pytest.skip(f"there is no {CHROMIUM}")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()
