"""Commands on studies: `compare`, `report` and `demo`."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, Suppress, arg

from agents.commands.printing import print_json
from agents.config import RunConfig


@dataclass(frozen=True, kw_only=True)
class _Shared(RunConfig):
    """What all runs of a study have in common."""

    task: Suppress[str] = ""
    bonus: Suppress[str] = "none"
    seed: Suppress[int] = 0


def compare(
    tasks: list[str],
    out: Path,
    base: Annotated[_Shared, arg(name="")],
    bonuses: tuple[str, ...] = ("none", "vime"),
    seeds: int = 5,
    jobs: int | None = None,
    json: bool = False,
) -> None:
    """Compare bonuses: every task with every bonus and seed, in worker processes, then a table and a page.

    Finished runs are never run again, unfinished ones continue; more tasks, bonuses or seeds may be added later.

    Example: vime compare --tasks vime/SparseMountainCar-v0 --bonuses none vime --seeds 5 --steps 60000 --out runs/study

    Args:
        tasks: Names of the tasks.
        out: Folder of the study.
        base: what all runs share.
        bonuses: Names of the bonuses, the control `none` among them.
        seeds: How many seeds.
        jobs: Runs at a time; one a core unless given.
        json: Print the summary as JSON, and no live display.
    """
    import agents.compare

    shared: dict[str, Any] = {field.name: getattr(base, field.name) for field in fields(RunConfig)}
    shared["task"] = next(iter(tasks), "")
    base_run = RunConfig(**shared)
    study = agents.compare.Study(tasks=tuple(tasks), bonuses=bonuses, seeds=_seeds(seeds), base=base_run)
    rows = agents.compare.compare(study, out, jobs=jobs, display=not json)
    print_json(rows) if json else _print_study(rows, out / "report.html")


def _seeds(count: int) -> tuple[int, ...]:
    from vime.errors import InvalidSettings

    if count < 1:
        raise InvalidSettings(f"`--seeds` is how many seeds, at least 1; got {count}.")
    return tuple(range(count))


def report(out: Positional[Path], json: bool = False) -> None:
    """Write table, plots and page of a study from what its folder holds now.

    Example: vime report runs/study

    Args:
        out: Folder of the study.
        json: Print the summary as JSON.
    """
    import agents.compare
    from agents.folder import read_json

    page = agents.compare.report(out)
    rows = read_json(out / "summary.json")
    print_json(rows) if json else _print_study(rows, page)


def demo(out: Path = Path("runs/demo"), seeds: int = 5, steps: int = 100_000) -> None:
    """Show in a few minutes that information gain finds a swing-up which plain reinforcement learning misses.

    Example: vime demo

    Args:
        out: Folder of the study.
        seeds: How many seeds of each.
        steps: Environment steps of each run.
    """
    from rich.console import Console

    import agents.compare

    shown = agents.compare.demo(out, len(_seeds(seeds)), steps)
    Console().print(shown.table)
    print(f"Page: {shown.page}")
    if shown.animation is not None:
        print(f"The first swing-up: {shown.animation}")


def _print_study(rows: list[dict[str, Any]], page: Path) -> None:
    from rich.console import Console

    from agents.compare import headline, table

    Console().print(table(rows))
    for sentence in headline(rows):
        print(sentence)
    print(f"Page: {page}")
