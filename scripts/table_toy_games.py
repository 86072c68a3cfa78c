"""Historical averaging on games that gradient descent goes around: it converges where descent orbits or leaves.

Two games of two numbers, both players moving at once. The published one, `(f(x) - 1)(y - 1)` with `f(x) = x` below 0
and `x * x` above, whose solution is (1, 1); and the plainest of all, `x * y`, with the solution (0, 0). Each player
adds the weighted squared distance of its number from the mean of all that it was.

    python scripts/table_toy_games.py            # seconds
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor, nn

from agents.generate.table import Table
from generative.techniques import HistoricalAverage

ESCAPED = 1e6
"""A distance from the solution that a game does not come back from."""
TAIL = 0.1
"""Share of the steps, at the end, over which the distance is looked at."""


def published(x: Tensor, y: Tensor) -> Tensor:
    """Returns the value of the game of the paper, which x minimises and y maximises."""
    return (torch.where(x < 0, x, x * x) - 1) * (y - 1)


def bilinear(x: Tensor, y: Tensor) -> Tensor:
    """Returns the value of the plainest game, which x minimises and y maximises."""
    return x * y


GAMES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], float]] = {
    "published": (published, 1.0), "bilinear": (bilinear, 0.0),
}  # fmt: skip
"""Name -> game and the number that solves it for both players."""


@dataclass(frozen=True)
class Arguments:
    """Settings of the measurement."""

    weights: tuple[float, ...] = (0.0, 0.1, 0.5, 1.0)
    """Of historical averaging; 0 is gradient descent."""
    starts: int = 5
    """Drawn between -1 and 2 for both numbers; the first is (0.3, 0.3)."""
    steps: int = 20_000
    rate: float = 0.01
    out: Path = Path("results/generative/toy_games.json")


def play(game: str, start: tuple[float, float], weight: float, steps: int, rate: float) -> dict[str, Any]:
    """Returns how far from the solution a game ends: the nearest and the farthest of the last tenth of its steps."""
    value, solution = GAMES[game]
    players = [nn.Parameter(torch.tensor(number, dtype=torch.float64)) for number in start]
    histories = [HistoricalAverage([player]) for player in players]
    far: list[float] = []
    for step in range(steps):
        worth = value(*players)
        costs = [sign * worth + weight * history() for sign, history in zip((1, -1), histories, strict=True)]
        slopes = [
            torch.autograd.grad(cost, player, retain_graph=True)[0] for cost, player in zip(costs, players, strict=True)
        ]
        with torch.no_grad():
            for player, slope in zip(players, slopes, strict=True):
                player -= rate * slope
        distance = sum((player.item() - solution) ** 2 for player in players) ** 0.5
        if not distance < ESCAPED:
            return {"ends": "escapes", "at_step": step, "nearest": None, "farthest": None}
        if step >= (1 - TAIL) * steps:
            far.append(distance)
    ends = "converges" if max(far) < 0.05 else "orbits" if max(far) > 0.2 else "near"
    return {"ends": ends, "at_step": None, "nearest": min(far), "farthest": max(far)}


def main() -> None:
    """Plays every game from every start with every weight, and writes the table."""
    arguments = tyro.cli(Arguments, description=__doc__)
    torch.set_num_threads(1)
    table = Table(arguments.out, "Where do two players end who each descend their own cost, with and without a memory?")
    generator = torch.Generator().manual_seed(0)
    drawn = (3 * torch.rand(arguments.starts, 2, generator=generator, dtype=torch.float64) - 1).tolist()
    starts = [(0.3, 0.3), *(tuple(round(number, 3) for number in pair) for pair in drawn[1:])]
    for game in GAMES:
        for weight in arguments.weights:
            for start in starts:
                key = {"game": game, "weight": weight, "start": start, "steps": arguments.steps, "rate": arguments.rate}
                table.row(key, lambda g=game, s=start, w=weight: play(g, s, w, arguments.steps, arguments.rate))
    table.summary(
        "summary",
        {
            f"{game}, weight {weight:g}": sorted(
                row["ends"] for row in table.rows if row["game"] == game and row["weight"] == weight
            )
            for game in GAMES
            for weight in arguments.weights
        },
    )


if __name__ == "__main__":
    main()
