"""Commands that look and measure: `list` and `bench`."""

from typing import Any, Literal

from tyro.conf import Positional

from agents.commands.printing import print_json


def show_names(json: bool = False) -> None:
    """Show the tasks, bonuses, encoders, algorithms and suites that can be named.

    Example: vime list --json

    Args:
        json: Print them as JSON.
    """
    from agents.names import ALGORITHMS, BONUSES, ENCODERS
    from agents.suites import SUITES
    from agents.tasks import tasks

    tables = {
        "tasks": tasks(),
        "bonuses": dict(BONUSES),
        "encoders": dict(ENCODERS),
        "algorithms": {name: recipe.summary for name, recipe in ALGORITHMS.items()},
    }
    if json:
        print_json(tables | {"suites": {name: suite.to_json() for name, suite in SUITES.items()}})
        return
    tables["suites"] = {name: suite.summary for name, suite in SUITES.items()}
    for title, entries in tables.items():
        print(f"{title.capitalize()}:")
        width = max(map(len, entries))
        for name, text in entries.items():
            print(f"  {name:<{width}}  {text}")
    print("Any other task that Gymnasium knows can be named too, as CartPole-v1 or package.module:Name-v0.")


def bench(
    what: Positional[Literal["information", "overhead", "bonuses", "envs", "imagination"]],
    json: bool = False,
    peer: str | None = None,
) -> None:
    """Measure speed on this machine: of the information gain, of curiosity in training, of each bonus, of the tasks, or
    of imagined futures.

    Example: vime bench bonuses --json

    Args:
        what: information, overhead, bonuses, envs or imagination.
        json: Print the figures as JSON.
        peer: For imagination, the interpreter of an environment with mbrl-lib, to measure it in the same run.
    """
    figures = _measure(what, peer)
    if json:
        print_json(figures)
        return
    if what == "envs":
        print("Steps per second of processor time, 4,096 copies at once where a task has them:")
    width = max(map(len, figures))
    for name, value in figures.items():
        shown = "  ".join(f"{key} {_number(part)}" for key, part in value.items()) if isinstance(value, dict) else value
        print(f"{name:<{width}}  {shown if isinstance(shown, str) else _number(shown)}")


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


def _measure(what: str, peer: str | None = None) -> dict[str, Any]:
    if what == "envs":
        from envs.bench import speeds

        return speeds()
    import torch

    torch.set_num_threads(1)
    if what == "information":
        from agents.bench.information import information

        return information()
    if what == "bonuses":
        return _measure_bonuses()
    if what == "imagination":
        from agents.bench.imagination import imagination

        return imagination(peer=peer)
    from agents.bench.overhead import overhead

    return overhead()


def _measure_bonuses() -> dict[str, Any]:
    """Measures every bonus, and says on standard error how far it is."""
    from rich.console import Console

    from agents.bench.bonuses import bonuses

    console = Console(stderr=True)
    if not console.is_terminal:
        return bonuses(progress=console.print)
    with console.status("starting") as status:
        return bonuses(progress=status.update)
