"""A study from its question to its page."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Group

from agents.compare.display import Display
from agents.compare.launch import launch, study_lock
from agents.compare.report import SUMMARY_FILE, report
from agents.compare.study import CONTROL, Study, open_study, run_folder
from agents.compare.wording import table
from agents.compare.worker import Run, train_run
from agents.config import RunConfig

DEMO_TASK = "vime/SparseCartPoleSwingupWeak-v0"
DEMO_QUESTION = "Does information gain find the swing-up that plain reinforcement learning misses?"


def compare(
    study: Study, out: Path, *, jobs: int | None = None, display: bool = True, run: Run = train_run
) -> list[dict[str, Any]]:
    """Returns the summary rows of the study in `out`, after its unfinished runs have been run and its page written.

    Runs that fail are in the rows and on the page, and do not raise. `jobs` is how many run at a time, unless given
    one a core; `display` shows them on the terminal; `run` is what a worker does with a configuration and a folder.

    Raises:
        VimeError: a name or number of the study cannot be, or the folder holds something else.
        KeyboardInterrupt: Ctrl-C came; its text says what is finished and how to go on.
    """
    out = Path(out)
    study.check()
    open_study(study, out)
    runs = [(config, run_folder(out, config)) for config in study.runs()]
    with study_lock(out):
        try:
            if display:
                with Display(study.question) as watch:
                    launch(runs, jobs=jobs, run=run, watch=watch)
            else:
                launch(runs, jobs=jobs, run=run)
        except KeyboardInterrupt:
            finished = sum((folder / "result.json").exists() for _, folder in runs)
            raise KeyboardInterrupt(
                f"Stopped. {finished} of {len(runs)} runs are finished; the others go on from where they are with:\n"
                f"  {study.command(out)}"
            ) from None
        report(out)
    return json.loads((out / SUMMARY_FILE).read_text())


class Demonstration(NamedTuple):
    """What the demonstration ends with."""

    table: Group
    page: Path
    animation: Path | None
    """The first rewarded episode; None where no curious run was paid."""
    rows: list[dict[str, Any]]


def demo(out: Path, seeds: int = 5, steps: int = 100_000) -> Demonstration:
    """Returns the outcome of the study behind `make demo`: swing up a cart-pole whose motor is too weak to lift it."""
    base = RunConfig(task=DEMO_TASK, steps=steps)
    study = Study(
        question=DEMO_QUESTION, tasks=(DEMO_TASK,), bonuses=(CONTROL, "vime"), seeds=tuple(range(seeds)), base=base
    )
    rows = compare(study, out, display=True)
    moving = Path(out) / "first_reward.gif"
    return Demonstration(table(rows), Path(out) / "report.html", moving if moving.exists() else None, rows)
