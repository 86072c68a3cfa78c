"""The commands of the command line, each a function whose signature makes its options and whose docstring its help.

Importing this module does not import torch: every command imports what it needs when it runs.
"""

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import Positional, Suppress, arg

from agents.config import RunConfig
from agents.live import Bar, number


@dataclass(frozen=True, kw_only=True)
class _Shared(RunConfig):
    """What all runs of a study have in common."""

    task: Suppress[str] = ""
    bonus: Suppress[str] = "none"
    seed: Suppress[int] = 0


def train_from(standing: RunConfig) -> Callable[..., None]:
    """Returns the command `train`, whose defaults are those of the configuration `standing`."""

    def train(
        out: Path,
        config: Annotated[RunConfig, arg(name="")] = standing,
        checkpoint_seconds: float = 30.0,
        json: bool = False,
    ) -> None:
        """Train one curious agent, or go on with an unfinished run.

        The same command on the same folder continues a run that was stopped or killed, bit for bit; `--out DIR` alone
        does so too. Ctrl-C stops where the run can continue.

        Example: vime train --task vime/SparseMountainCar-v0 --bonus vime --steps 60000 --out runs/car

        Args:
            out: Folder of the run.
            config: the run.
            checkpoint_seconds: Seconds between checkpoints.
            json: Print the result as JSON.
        """
        import agents.train

        with Bar() as bar:
            result = agents.train.train(config, out, progress=bar, checkpoint_seconds=checkpoint_seconds)
        _print_json(result) if json else _print_result(result, out)

    return train


def evaluate(out: Positional[Path], episodes: int = 10, seed: int | None = None, json: bool = False) -> None:
    """Let a trained agent play without exploring; the task's own reward is counted, and nothing else.

    Example: vime evaluate runs/car --episodes 20

    Args:
        out: Folder of the run.
        episodes: How many, each with a seed that training never used.
        seed: From which the episodes' seeds are drawn; that of the run unless given.
        json: Print the result as JSON.
    """
    import agents.evaluate

    result = agents.evaluate.evaluate(out, episodes, seed=seed)
    if json:
        _print_json(result)
        return
    print(
        f"{result['task']} after {result['step']:,} steps: return {number(result['mean'])} "
        f"(deviation {number(result['std'])}) over {result['episodes']} episodes"
    )


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
    _print_json(rows) if json else _print_study(rows, out / "report.html")


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
    _print_json(rows) if json else _print_study(rows, page)


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


def show_names(json: bool = False) -> None:
    """Show the tasks, bonuses and algorithms that can be named.

    Example: vime list --json

    Args:
        json: Print them as JSON.
    """
    from agents.names import ALGORITHMS, BONUSES
    from agents.tasks import tasks

    tables = {
        "tasks": tasks(),
        "bonuses": dict(BONUSES),
        "algorithms": {name: recipe.summary for name, recipe in ALGORITHMS.items()},
    }
    if json:
        _print_json(tables)
        return
    for title, entries in tables.items():
        print(f"{title.capitalize()}:")
        width = max(map(len, entries))
        for name, text in entries.items():
            print(f"  {name:<{width}}  {text}")
    print("Any other task that Gymnasium knows can be named too, as CartPole-v1 or package.module:Name-v0.")


def bench(what: Positional[Literal["information", "overhead", "envs"]], json: bool = False) -> None:
    """Measure speed on this machine: of the information gain, of curiosity in training, or of the tasks.

    Example: vime bench information --json

    Args:
        what: information, overhead or envs.
        json: Print the figures as JSON.
    """
    figures = _measure(what)
    if json:
        _print_json(figures)
        return
    width = max(map(len, figures))
    for name, value in figures.items():
        print(f"{name:<{width}}  {value if isinstance(value, (str, int)) else f'{value:,.3g}'}")


def _measure(what: str) -> dict[str, Any]:
    if what == "envs":
        from envs.bench import speeds

        return speeds()
    import torch

    torch.set_num_threads(1)
    if what == "information":
        from agents.bench.information import information

        return information()
    from agents.bench.overhead import overhead

    return overhead()


def _print_result(result: dict[str, Any], out: Path) -> None:
    first = result["first_reward_step"]
    print(f"{result['task']}, {result['algorithm']} with bonus {result['bonus']}, {result['steps']:,} steps")
    print(f"  return over the last tenth   {number(result['final_return'])}")
    print(f"  return without exploration   {number(result['evaluation_return'])}")
    print(f"  first reward                 {'never' if first is None else f'at step {first:,}'}")
    print(f"  processor time               {result['cpu_seconds']:.1f} s")
    print(f"All of it lies in {out}")


def _print_study(rows: list[dict[str, Any]], page: Path) -> None:
    from rich.console import Console

    from agents.compare import headline, table

    Console().print(table(rows))
    for sentence in headline(rows):
        print(sentence)
    print(f"Page: {page}")


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


def standing(words: Sequence[str]) -> RunConfig:
    """The configuration in `--out`, as default for a `train` that names no task: it goes on with that run."""
    fresh = RunConfig(task=tyro.MISSING)
    if not words or words[0] != "train" or any(word.split("=")[0] in ("--task", "--help", "-h") for word in words):
        return fresh
    outs = [after for word, after in itertools.pairwise(words) if word == "--out"]
    outs += [word.partition("=")[2] for word in words if word.startswith("--out=")]
    if not outs or not (Path(outs[-1]) / "config.json").is_file():
        return fresh
    from agents.folder import read_config

    return read_config(Path(outs[-1]))
