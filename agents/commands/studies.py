"""Commands on studies: `compare`, `report` and `demo`."""

import contextlib
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, Suppress, arg

from agents.commands.printing import print_json
from agents.config import RunConfig

if TYPE_CHECKING:
    from agents.compare import Study
    from agents.compare.states import RunState


@dataclass(frozen=True, kw_only=True)
class _Shared(RunConfig):
    """What all runs of a study have in common."""

    task: Suppress[str] = ""
    bonus: Suppress[str] = "none"
    seed: Suppress[int] = 0


def compare_from(words: Sequence[str]) -> Callable[..., None]:
    """Returns the command `compare`; from the `words` of the command line it knows which options were given."""
    options = [word[2:].partition("=")[0].replace("-", "_") for word in words if word.startswith("--")]
    named = {*options, *(option.removeprefix("no_") for option in options)}

    def compare(
        out: Path,
        base: Annotated[_Shared, arg(name="")],
        tasks: tuple[str, ...] = (),
        suite: str = "",
        bonuses: tuple[str, ...] = ("none", "vime"),
        controls: tuple[str, ...] | None = None,
        seeds: int = 5,
        jobs: int | None = None,
        ray: str | None = None,
        only: int | None = None,
        count: bool = False,
        json: bool = False,
    ) -> None:
        """Compare bonuses: every task with every bonus and seed, in worker processes, then a table and a page.

        Finished runs are never run again, unfinished ones continue; more tasks, bonuses or seeds may be added later.
        `--out DIR` alone goes on with the study that is there. A suite brings its tasks, and for each the recipe that
        it needs; whatever option is given beside it replaces that of every recipe.

        Example: vime compare --tasks vime/SparseMountainCar-v0 --bonuses none vime --steps 60000 --out runs/study

        Example: vime compare --suite deep-sea --bonuses all --seeds 5 --out runs/deep-sea

        Args:
            out: Folder of the study.
            base: what all runs share.
            tasks: Names of the tasks; with a suite those of its tasks that are wanted.
            suite: Name of a suite, as `vime list` shows them.
            bonuses: Names of the bonuses, the control `none` among them; `all` stands for every one there is. Each gets
                the `--bonus-settings`; 'rnd={"hidden":[8]}' there is for `rnd` alone, and for mixtures with it.
            controls: Algorithms that run without a bonus beside the others; unless given those of the suite.
            seeds: How many seeds.
            jobs: Runs at a time; one a core unless given.
            ray: HOST:PORT of a Ray cluster that this machine is in, or auto; its machines must share the folder.
            only: Run this one run of the study alone, counted from 0 among those that the latest --count told of, and
                write no page: for batch systems.
            count: Only make the folder, and print how many runs the study has now, with those that it had before; what
                was asked for is said beside it where that is fewer.
            json: Print the summary as JSON, and no live display.
        """
        import agents.compare
        from vime.errors import InvalidSettings

        config = RunConfig(**{field.name: getattr(base, field.name) for field in fields(RunConfig)})
        grid: dict[str, Any] = {"bonuses": _bonuses(bonuses), "seeds": _seeds(seeds)}
        if suite:
            study = agents.compare.suite_study(suite, base=config, tasks=tasks, controls=controls, given=named, **grid)
        elif tasks:
            config = replace(config, task=tasks[0])
            study = agents.compare.Study(
                tasks=tasks, base=config, controls=dict.fromkeys(tasks, controls or ()), **grid
            )
        else:
            if controls is not None:
                grid["controls"] = controls
            study = _standing(out, config, {name: value for name, value in grid.items() if name in named}, named)
        if only is not None and (count or json or ray is not None or jobs is not None):
            raise InvalidSettings("`--only` makes one run, here: leave out --count, --json, --ray and --jobs.")
        if count:
            asked, there = len(study.check().runs()), len(agents.compare.open_study(study, out).runs())
            print(there)
            if asked < there:  # not on the output, which batch systems read
                print(f"{asked} runs asked for, {there} in the study.", file=sys.stderr)
        elif only is not None:
            _print_run(agents.compare.compare_one(study, out, only))
        else:
            rows = agents.compare.compare(study, out, jobs=jobs, ray=ray, display=not json)
            print_json(rows) if json else _print_study(rows, out / "report.html")
            if failed := sum(row["failed"] for row in rows):
                runs = "1 run failed; it" if failed == 1 else f"{failed} runs failed; each"
                raise SystemExit(f"vime: {runs} has its error.txt in its folder under {out}.")

    return compare


def _print_run(state: "RunState") -> None:
    """Tells how one run ended; the process fails with it, so that a batch system takes note."""
    config = state.config
    name = f"{config.task}, {config.algorithm} with bonus {config.bonus}, seed {config.seed}"
    if state.status != "finished":
        raise SystemExit(f"vime: {name}: {state.status}: {state.message} (see {state.folder})")
    print(f"{name}: finished; it lies in {state.folder}")


def _standing(out: Path, config: RunConfig, grid: dict[str, Any], named: Collection[str]) -> "Study":
    """The study in `out` with what was asked for beside it."""
    from agents.compare.store import read_study
    from agents.compare.study import other_agents
    from vime.errors import InvalidSettings

    study = read_study(out)
    if study is None:
        raise InvalidSettings(f"{out} holds no study to go on with: name `--tasks`, or a `--suite` (`vime list`).")
    settings = {field.name: getattr(config, field.name) for field in fields(RunConfig) if field.name in named}
    study = replace(study, base=replace(study.base, **settings))
    controls = {task: other_agents(names, study.configured(task)) for task, names in study.controls.items()}
    return replace(study, **{"controls": controls, **grid})


def _bonuses(names: tuple[str, ...]) -> tuple[str, ...]:
    from agents.names import BONUSES

    return tuple(part for name in names for part in (BONUSES if name == "all" else (name,)))


def _seeds(count: int) -> tuple[int, ...]:
    from vime.errors import InvalidSettings

    if count < 1:
        raise InvalidSettings(f"`--seeds` is how many seeds, at least 1; got {count}.")
    return tuple(range(count))


def report(out: Positional[Path], live: bool = False, port: int = 8765, json: bool = False) -> None:
    """Write table, plots and page of a study from what its folder holds now; or show the page while the study runs.

    Example: vime report runs/study

    Example: vime report runs/study --live

    Args:
        out: Folder of the study.
        live: Serve the page on this machine until Ctrl-C, always with what the runs have found so far; write nothing.
        port: Where the live page is served; 0 takes any free port.
        json: Print the summary as JSON.
    """
    if live:
        if json:
            from vime.errors import InvalidSettings

            raise InvalidSettings("`--live` serves a page and prints no summary: leave out --json or --live.")
        _serve(out, port)
        return
    import agents.compare
    from agents.folder import read_json

    page = agents.compare.report(out)
    rows = read_json(out / "summary.json")
    print_json(rows) if json else _print_study(rows, page)


def _serve(out: Path, port: int) -> None:
    from agents.compare.live import LivePage

    with LivePage(out, port) as page:
        print(f"The page of {out} is at {page.address} (on this machine alone); Ctrl-C ends it.", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            page.serve()
    print("The page is no longer served.")


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
    from agents.compare.content import mixed
    from agents.compare.records import read_runs
    from agents.compare.verdict import gaps
    from agents.folder import read_json

    told = read_json(page.with_name("ranking.json"))
    Console().print(table(rows, told))
    records = read_runs(page.parent)
    for sentence in [*headline(rows, told), *gaps(records), *mixed(records)]:
        print(sentence)
    print(f"Page: {page}")
