"""What uniform random actions score: mean return per episode of every task that `agents.references` lists.

python scripts/random_scores.py --out results/random_scores.json
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from agents.config import RunConfig
from agents.factory import make_task
from agents.references import REFERENCES


@dataclass(frozen=True)
class Arguments:
    """Settings of the measurement."""

    tasks: tuple[str, ...] = tuple(REFERENCES)
    steps: int = 200_000
    """Environment steps of a task, those of all copies counted."""
    copies: int = 8
    seed: int = 0
    out: Path = Path("results/random_scores.json")


def measure(task: str, arguments: Arguments) -> dict[str, float]:
    """Returns mean and deviation of the return, the share of episodes that were paid at all, and their number."""
    env = make_task(RunConfig(task=task, bonus="none", steps=arguments.steps, environments=arguments.copies))
    env.seed(arguments.seed)
    env.action_space.seed(arguments.seed)
    env.reset()
    returns: list[float] = []
    for _ in range(arguments.steps // arguments.copies):
        _, _, _, infos = env.step(np.array([env.action_space.sample() for _ in range(arguments.copies)]))
        returns += [float(info["episode"]["r"]) for info in infos if "episode" in info]
    env.close()
    paid = float(np.mean([total > 0 for total in returns]))
    return {"mean": float(np.mean(returns)), "std": float(np.std(returns)), "paid": paid, "episodes": len(returns)}


def main() -> None:
    """Measures every task, prints and writes the table; rows of other tasks that stand there are kept."""
    arguments = tyro.cli(Arguments, description=__doc__)
    rows = json.loads(arguments.out.read_text())["rows"] if arguments.out.exists() else {}
    for task in arguments.tasks:
        rows[task] = measure(task, arguments) | {"steps": arguments.steps, "seed": arguments.seed}
        row = rows[task]
        print(f"{task:42} {row['mean']:10.5f}  deviation {row['std']:.4f}  paid {row['paid']:.4f} of {row['episodes']}")
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps({"rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
