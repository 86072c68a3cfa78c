"""Commands that look and measure: `list` and `bench`."""

from typing import Any, Literal

from tyro.conf import Positional

from agents.commands.printing import print_json


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
        print_json(tables)
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
        print_json(figures)
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
