"""A study from its question to its page."""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Group

from agents.compare.cluster import launch_on_cluster
from agents.compare.display import Display
from agents.compare.launch import launch, study_lock
from agents.compare.machines import joined
from agents.compare.report import SUMMARY_FILE, report
from agents.compare.rerun import study_command
from agents.compare.states import RunState
from agents.compare.store import grown_study, make_folder, open_study
from agents.compare.study import CONTROL, Study
from agents.compare.wording import table
from agents.compare.worker import Run, train_run
from agents.config import RunConfig
from vime.errors import InvalidSettings

DEMO_TASK = "vime/SparseCartPoleSwingupWeak-v0"
DEMO_QUESTION = "Does information gain find the swing-up that plain reinforcement learning misses?"


def compare(
    study: Study,
    out: Path,
    *,
    jobs: int | None = None,
    ray: str | None = None,
    display: bool = True,
    run: Run = train_run,
) -> list[dict[str, Any]]:
    """Returns the summary rows of the study in `out`, after its unfinished runs have been run and its page written.

    Runs that fail are in the rows and on the page, and do not raise. `jobs` is how many run at a time, unless given
    one a core; `ray` is the address of the cluster that runs them, which must share `out`, unless given they run here;
    `display` shows them on the terminal; `run` is what a worker does with a configuration and a folder.

    Raises:
        VimeError: a name or number of the study cannot be, or the folder holds something else.
        ClusterError: the cluster cannot be reached, or its machines cannot serve; nothing finished is lost.
        KeyboardInterrupt: Ctrl-C or SIGTERM came; its text says what is finished and how to go on.
    """
    out = Path(out)
    grown_study(study.check(), out)  # or says why not, before the folder is made
    with contextlib.nullcontext() if ray is None else joined(ray) as cluster:  # before anything is written
        make_folder(out)
        with study_lock(out):
            open_study(study, out)
            runs = [(config, study.folder(out, config)) for config in study.runs()]
            try:
                with Display(study.question) if display else contextlib.nullcontext(_unseen) as watch:
                    if cluster is None:
                        launch(runs, jobs=jobs, run=run, watch=watch)
                    else:
                        launch_on_cluster(runs, out, ray=cluster, jobs=jobs, run=run, watch=watch)
            except KeyboardInterrupt:
                finished = sum((folder / "result.json").exists() for _, folder in runs)
                raise KeyboardInterrupt(
                    f"Stopped. {finished} of {len(runs)} runs are finished; the others go on from where they are "
                    f"with:\n  {study_command(study, out)}{'' if ray is None else f' --ray {ray}'}"
                    f"{'' if jobs is None else f' --jobs {jobs}'}"
                ) from None
            report(out)
    return json.loads((out / SUMMARY_FILE).read_text())


def compare_one(study: Study, out: Path, index: int, *, run: Run = train_run) -> RunState:
    """Returns how run number `index` of the study in `out`, counted from 0, ended; `study` is added to it first.

    For batch systems that start every run by itself, several at a time; the page is written by `report` afterwards.

    Raises:
        InvalidSettings: the study has no run of that number.
        VimeError: a name or number of the study cannot be, or the folder holds something else.
        KeyboardInterrupt: Ctrl-C or SIGTERM came, and the run was saved.
    """
    out = Path(out)
    count = len(grown_study(study.check(), out).runs())
    if not 0 <= index < count:
        raise InvalidSettings(f"The study has {count} runs, numbered 0 to {count - 1}; there is no run {index}.")
    study = open_study(study, out)
    config = study.runs()[index]
    (state,) = launch([(config, study.folder(out, config))], jobs=1, run=run)
    return state


def _unseen(states: Sequence[RunState]) -> None:
    """Watches a study that nobody looks at."""


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
