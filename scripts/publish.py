"""Copies what a finished study found into `results/`: its table, its scores, its curves seed by seed, its pictures.

vime compare --tasks vime/SparseMountainCar-v0 --bonuses none vime --seeds 10 --steps 60000 --out runs/mountain_car
python scripts/publish.py runs/mountain_car results/mountain_car
"""

import csv
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import tyro

KEPT = (
    "study.json",
    "summary.json",
    "ranking.json",
    "scores.csv",
    "table.md",
    "curves*.png",
    "coverage*.png",
    "first_reward*.gif",
)
MOST = 75
"""Points of the curve of one run that are kept."""
COLUMNS = ("step", "episode_return", "weight", "bonus_mean", "bonus_share", "model_error", "coverage")


@dataclass(frozen=True)
class Arguments:
    """A finished study, and where its findings go."""

    study: tyro.conf.Positional[Path]
    out: tyro.conf.Positional[Path]


def main() -> None:
    """Copies the files, joins the curves of all runs, thinned, and notes the machine."""
    arguments = tyro.cli(Arguments, description=__doc__)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for pattern in KEPT:
        for path in arguments.study.glob(pattern):
            shutil.copyfile(path, arguments.out / path.name)
    machine: dict[str, object] = {}
    with (arguments.out / "curves.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("task", "algorithm", "bonus", "seed", *COLUMNS))
        for result in sorted((arguments.study / "runs").glob("*/*/seed-*/result.json")):
            run = json.loads(result.read_text())
            machine = json.loads((result.parent / "versions.json").read_text())
            with (result.parent / "metrics.csv").open() as metrics:
                rows = list(csv.DictReader(metrics))
            stride = max(1, -(-len(rows) // MOST))
            for row in rows[::-stride][::-1]:  # the last one always
                values = [f"{float(row[name]):.6g}" if row.get(name) else "" for name in COLUMNS]
                writer.writerow((run["task"], run["algorithm"], run["bonus"], run["seed"], *values))
    (arguments.out / "machine.json").write_text(json.dumps(machine, indent=2) + "\n")


if __name__ == "__main__":
    main()
