"""MNIST with 20, 50 or 100 labels by sorting first and naming after: errors on the 10,000 test digits, over seeds.

All 60,000 training images are used without labels; the test images play no part but to be counted. Killed and started
again it goes on where it was. What is sorted before any label is seen is shared by all numbers of labels of a seed.

    python scripts/table_few_labels.py --data-dir DIR        # 20 labels, 5 seeds: 30 minutes on one core
    python scripts/table_few_labels.py --data-dir DIR --labels 20 50 100
    python scripts/table_few_labels.py --data-dir DIR --steps 2000 --seeds 1
"""

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from agents.table import Table
from generative import FitSettings, load_data
from generative.clustering import ClusteringSettings
from generative.few_labels import learn_few_labels


@dataclass(frozen=True)
class Arguments:
    """Settings of the measurement."""

    data_dir: Path
    """Folder of MNIST's four files."""
    labels: tuple[int, ...] = (20,)
    """Of all ten classes together."""
    seeds: int = 5
    steps: int = 9000
    """Of one training, the beginning included."""
    batch_size: int = 250
    hidden: int = 500
    restarts: int = 1
    """Beginnings, of which the most settled is gone on with."""
    before: float = 0.9
    """Share of the steps that a beginning takes: the look-alikes, fours and nines, part late in it."""
    device: str = "cpu"
    runs: Path = Path("runs/table_few_labels")
    """Where checkpoints lie."""
    out: Path = Path("results/generative/few_labels.json")


def main() -> None:
    """Trains every seed, and writes the table."""
    arguments = tyro.cli(Arguments, description=__doc__)
    torch.set_num_threads(1)
    data = load_data("mnist", arguments.data_dir)
    table = Table(arguments.out, "How many of MNIST's test digits are misnamed by a classifier of a few labels?")
    sizes = {name: getattr(arguments, name) for name in ("steps", "batch_size", "hidden", "restarts", "before")}

    def measure(labels: int, seed: int) -> dict[str, Any]:
        found = learn_few_labels(
            data.with_labels(labels // 10, seed),
            FitSettings(
                steps=arguments.steps, batch_size=arguments.batch_size, seed=seed, device=arguments.device,
                average=None, report_every=100, save_every=500, initial_examples=1000,
            ),
            ClusteringSettings(hidden=(arguments.hidden, arguments.hidden)),
            restarts=arguments.restarts,
            before=arguments.before,
            folder=arguments.runs / "-".join(map(str, (*sizes.values(), seed))),
        )  # fmt: skip
        x = data.examples("test", torch.Generator())
        named = torch.cat([found.model.clusters(part).cpu() for part in x.split(1000)])
        return {
            "errors": int((named != data.test.label).sum()),
            "unsettled": [round(value, 4) for value in found.unsettled],
            "chosen": found.chosen,
        }

    for seed in range(arguments.seeds):
        for labels in arguments.labels:
            table.row({"labels": labels, **sizes, "seed": seed}, lambda n=labels, s=seed: measure(n, s))
    for labels in arguments.labels:
        wanted = {"labels": labels, **sizes}
        errors = [row["errors"] for row in table.rows if all(row[name] == value for name, value in wanted.items())]
        spread = statistics.stdev(errors) if len(errors) > 1 else None
        table.summary(f"{labels} labels", {**sizes, "errors": errors, "mean": statistics.mean(errors), "std": spread})


if __name__ == "__main__":
    main()
