"""Curiosity on learned features: VIME with PPO on the weak sparse mountain car that is seen as pictures alone.

All contenders are the same learner (suite `pixels`); what differs is whether there is a bonus, and what features the
model of the world predicts. `random` are frozen random convolutions; the others learn in the run, from the agent's own
frames. An interrupted study goes on where it was when its command is given again.

    python scripts/pixel_features.py --seeds 5 --out results/pixels_weak
"""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from agents.config import RunConfig
from agents.references import is_solved
from agents.suites import RECIPES
from agents.train import train

TASK = "vime/PixelMountainCarWeak-v0"
SETTINGS = RECIPES[TASK]["algorithm_settings"]
FEATURES: dict[str, dict[str, Any]] = {
    "none": {"bonus": "none"},
    "random": {"bonus": "vime"},
    "vae": {"bonus": "vime", "bonus_settings": {"encoder": {"model": "vae", "frames": 2}}},
    "iaf-vae": {"bonus": "vime", "bonus_settings": {"encoder": {"model": "iaf-vae", "frames": 2}}},
    "inverse": {"bonus": "vime", "bonus_settings": {"encoder": {"model": "inverse"}}},
    "entropy": {"bonus": "none", "algorithm": "ppo-entropy"},
    "ten epochs": {"bonus": "none", "algorithm_settings": {**SETTINGS, "n_epochs": 10}},
}
"""What differs from one contender to the next; those without a bonus are controls."""
KEPT = ("final_return", "evaluation_return", "first_reward_step", "coverage", "episodes", "steps", "cpu_seconds")


@dataclass(frozen=True)
class Arguments:
    """Settings of the study."""

    task: str = TASK
    """`vime/PixelMountainCar-v0` is the car with the paper's motor, which plain PPO of ten epochs solves too."""
    features: tuple[str, ...] = tuple(FEATURES)
    seeds: int = 5
    first_seed: int = 0
    steps: int = RECIPES[TASK]["steps"]
    runs: Path = Path("runs/pixels_weak")
    """Where the folders of the runs are kept."""
    out: Path = Path("results/pixels_weak")


def config(features: str, seed: int, steps: int, task: str = TASK) -> RunConfig:
    """Returns the run of one contender and seed."""
    return RunConfig(**{"task": task, "seed": seed, **RECIPES[task], "steps": steps, **FEATURES[features]})


def run(features: str, seed: int, arguments: Arguments) -> dict[str, Any]:
    """Returns the row of one run; trains it unless that is done."""
    result = train(
        config(features, seed, arguments.steps, arguments.task), arguments.runs / f"{features.replace(' ', '-')}_{seed}"
    )
    row = {"features": features, "seed": seed, **{name: result[name] for name in KEPT}}
    return row | {"solved": is_solved(arguments.task, result["final_return"] or 0.0)}


def curves(arguments: Arguments) -> list[dict[str, str]]:
    """Returns the rows of all metrics, with features and seed."""
    rows = []
    for folder in sorted(arguments.runs.iterdir()):
        features, _, seed = folder.name.replace("ten-epochs", "ten epochs").rpartition("_")
        if (folder / "result.json").exists():
            with open(folder / "metrics.csv", newline="") as file:
                rows += [{"features": features, "seed": seed, **row} for row in csv.DictReader(file)]
    return rows


def picture(rows: list[dict[str, str]], path: Path) -> None:
    """Draws return and coverage over steps, a thin line a seed and a thick one for their mean."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 3.6), constrained_layout=True)
    names = [name for name in FEATURES if any(row["features"] == name for row in rows)]
    for number, name in enumerate(names):
        for axis, column in zip(axes, ("episode_return", "coverage"), strict=True):
            lines = []
            for seed in sorted({row["seed"] for row in rows if row["features"] == name}):
                own = [row for row in rows if (row["features"], row["seed"]) == (name, seed) and row[column]]
                steps, values = ([float(row[key]) for row in own] for key in ("step", column))
                axis.plot(steps, values, color=f"C{number}", alpha=0.25, linewidth=0.8)
                lines.append((steps, values))
            grid = np.linspace(0, max(steps[-1] for steps, _ in lines), 60)
            mean = np.mean([np.interp(grid, *line) for line in lines], axis=0)
            axis.plot(grid, mean, color=f"C{number}", linewidth=2, label=name)
            axis.set(xlabel="environment steps", ylabel=column.replace("_", " "))
    axes[0].legend(fontsize=8)
    figure.savefig(path, dpi=90)


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the table of the study, in Markdown."""
    lines = ["| features | solved | success at the end, by seed | first reward, median step | CPU seconds a run |"]
    lines.append("|---|---:|---|---:|---:|")
    for name in FEATURES:
        own = sorted((row for row in rows if row["features"] == name), key=lambda row: row["seed"])
        if own:
            firsts = [np.inf if row["first_reward_step"] is None else row["first_reward_step"] for row in own]
            first = "never" if np.isinf(np.median(firsts)) else f"{np.median(firsts):,.0f}"
            seconds = np.mean([row["cpu_seconds"] for row in own])
            ends = " ".join(f"{row['final_return'] or 0:.2f}" for row in own)
            solved = sum(row["solved"] for row in own)
            lines.append(f"| `{name}` | {solved} of {len(own)} | {ends} | {first} | {seconds:.0f} |")
    return "\n".join(lines)


def main() -> None:
    """Runs every contender seed by seed; after each run writes rows, curves, picture and table."""
    arguments = tyro.cli(Arguments, description=__doc__)
    arguments.out.mkdir(parents=True, exist_ok=True)
    kept = arguments.out / "rows.json"
    rows: list[dict[str, Any]] = json.loads(kept.read_text()) if kept.exists() else []
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        for features in arguments.features:
            row = run(features, seed, arguments)
            rows = [old for old in rows if (old["features"], old["seed"]) != (features, seed)] + [row]
            print(json.dumps(row), flush=True)
            kept.write_text("[\n" + ",\n".join(json.dumps(entry) for entry in rows) + "\n]\n")
            lines = curves(arguments)
            with open(arguments.out / "curves.csv", "w", newline="") as file:
                writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
                writer.writeheader()
                writer.writerows(lines)
            picture(lines, arguments.out / "curves.png")
    print(table(rows))


if __name__ == "__main__":
    main()
