"""MNIST with 20, 50 or 100 labels by sorting first and naming after: errors on the 10,000 test digits.

The digits are sorted several times, without labels. Then labels are drawn, five times over for each number of them:
each draw names all sortings but one, another one each time, and the mean of their opinions classifies. All 60,000
training images are used without labels; the test images play no part but to be counted. Killed and started again it
goes on where it was.

    python scripts/table_few_labels.py --data-dir DIR        # half an hour on one core
    python scripts/table_few_labels.py --data-dir DIR --steps 2000 --members 2
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
from generative.few_labels import name, sort


@dataclass(frozen=True)
class Arguments:
    """Settings of the measurement."""

    data_dir: Path
    """Folder of MNIST's four files."""
    labels: tuple[int, ...] = (20, 50, 100)
    """Of all ten classes together."""
    members: int = 5
    """Sortings; each draw of labels leaves one of them out."""
    steps: int = 8000
    """Of a sorting."""
    batch_size: int = 250
    hidden: int = 500
    device: str = "cpu"
    runs: Path = Path("runs/table_few_labels")
    """Where checkpoints lie."""
    out: Path = Path("results/generative/few_labels.json")


def main() -> None:
    """Trains every sorting, and writes the table."""
    arguments = tyro.cli(Arguments, description=__doc__)
    torch.set_num_threads(1)
    data = load_data("mnist", arguments.data_dir)
    table = Table(arguments.out, "How many of MNIST's test digits are misnamed by a classifier of a few labels?")
    sizes = {part: getattr(arguments, part) for part in ("steps", "batch_size", "hidden", "members")}
    sortings = sort(
        data,
        FitSettings(
            steps=arguments.steps, batch_size=arguments.batch_size, seed=0, device=arguments.device,
            average=None, report_every=100, save_every=500,
        ),
        ClusteringSettings(hidden=(arguments.hidden, arguments.hidden)),
        members=arguments.members,
        folder=arguments.runs / "-".join(str(sizes[part]) for part in ("steps", "batch_size", "hidden")),
    )  # fmt: skip
    x = data.examples("test", torch.Generator())

    def errors(named: torch.Tensor) -> int:
        return int((named != data.test.label).sum())

    def measure(labels: int, draw: int) -> dict[str, Any]:
        found = name(sortings, data.with_labels(labels // 10, draw))
        opinions = [torch.cat([one.probabilities(part).cpu() for part in x.split(1000)]) for one in found.members]
        others = [opinion for i, opinion in enumerate(opinions) if i != draw or len(opinions) == 1]
        return {
            "errors": errors(torch.stack(others).mean(0).argmax(1)),
            "errors_of_all": errors(torch.stack(opinions).mean(0).argmax(1)),
            "errors_of_each": [errors(opinion.argmax(1)) for opinion in opinions],
        }

    for labels in arguments.labels:
        rows = [
            table.row({"labels": labels, **sizes, "draw": draw}, lambda n=labels, d=draw: measure(n, d))
            for draw in range(arguments.members)
        ]
        found = [row["errors"] for row in rows]
        spread = statistics.stdev(found) if len(found) > 1 else None
        alone = [row["errors_of_each"][i] for i, row in enumerate(rows)]
        told = {"errors": found, "mean": statistics.mean(found), "std": spread, "one_sorting": statistics.mean(alone)}
        table.summary(f"{labels} labels", {**sizes, **told})


if __name__ == "__main__":
    main()
