"""Historical averaging on games that gradient descent goes around: it converges where descent orbits or leaves.

Two games of two numbers, both players moving at once. The published one, `(f(x) - 1)(y - 1)` with `f(x) = x` below 0
and `x * x` above, whose solution is (1, 1); and the plainest of all, `x * y`, with the solution (0, 0). Each player
adds the weighted squared distance of its number from the mean of all that it was.

    python scripts/table_toy_games.py            # seconds
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor, nn

from agents.table import Table
from generative.techniques import HistoricalAverage

ESCAPED = 1e6
"""A distance from the solution that a game does not come back from."""
CLOSE, FAR = 0.05, 0.2
"""Who stays within the first converges; who leaves the second at times orbits."""
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
    starts: int = 10
    """Drawn between -1 and 2 for both numbers; the first is (0.3, 0.3)."""
    steps: int = 30_000
    rate: float = 0.01
    out: Path = Path("results/generative/toy_games.json")


def play(game: str, starts: list[tuple[float, float]], weight: float, steps: int, rate: float) -> dict[str, Any]:
    """Returns how each start ends: where it escapes, or the distances from the solution in the last tenth.

    All starts are played side by side; none sees another.
    """
    value, solution = GAMES[game]
    players = [nn.Parameter(numbers) for numbers in torch.tensor(starts, dtype=torch.float64).T.contiguous()]
    histories = [HistoricalAverage([player]) for player in players]
    nearest, farthest = torch.full((len(starts),), torch.inf), torch.zeros(len(starts))
    for step in range(steps):
        worth = value(*players).sum()
        first, second = (
            torch.autograd.grad(sign * worth + weight * history(), player, retain_graph=True)[0]
            for sign, history, player in zip((1, -1), histories, players, strict=True)
        )
        with torch.no_grad():
            for player, slope in zip(players, (first, second), strict=True):
                player.sub_(rate * slope)
            if step >= (1 - TAIL) * steps:
                distance = torch.hypot(*(player.detach() - solution for player in players)).nan_to_num(torch.inf)
                nearest, farthest = torch.minimum(nearest, distance), torch.maximum(farthest, distance)
    return {
        "ends": [_ending(far) for far in farthest.tolist()],
        "nearest": _rounded(nearest),
        "farthest": _rounded(farthest),
    }


def _ending(far: float) -> str:
    if not far < ESCAPED:
        return "escapes"
    return "converges" if far < CLOSE else "near" if far < FAR else "orbits"


def _rounded(distances: Tensor) -> list[float | None]:
    return [round(distance, 4) if distance < ESCAPED else None for distance in distances.tolist()]


def main() -> None:
    """Plays every game with every weight, and writes the table."""
    arguments = tyro.cli(Arguments, description=__doc__)
    torch.set_num_threads(1)
    table = Table(arguments.out, "Where do two players end who each descend their own cost, with and without a memory?")
    generator = torch.Generator().manual_seed(0)
    drawn = (3 * torch.rand(arguments.starts, 2, generator=generator, dtype=torch.float64) - 1).tolist()
    starts = [(0.3, 0.3), *((round(x, 3), round(y, 3)) for x, y in drawn[1:])]
    for game in GAMES:
        for weight in arguments.weights:
            key = {"game": game, "weight": weight, "starts": starts, "steps": arguments.steps, "rate": arguments.rate}
            table.row(key, lambda g=game, w=weight: play(g, starts, w, arguments.steps, arguments.rate))
    table.summary(
        "summary", {f"{row['game']}, weight {row['weight']:g}": dict(Counter(row["ends"])) for row in table.rows}
    )


if __name__ == "__main__":
    main()
