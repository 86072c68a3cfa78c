"""How much of the time of many workers goes into runs: sleeping runs, which need no core, on 2 to 64 workers.

Efficiency is the time slept over what the workers had: runs x seconds / (workers x time of the launch), the loading of
libraries and the first start of every worker included. With `--ray` the workers are those of a Ray cluster on this
machine, which is told to have a core for each. Its workers are interpreters of their own, whose first start all on a
few cores takes long: a first round of runs, told as `first_round_seconds`, starts them and does not count.

    python scripts/scaling.py --out results/scaling.json
"""

import importlib
import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from agents.compare.launch import launch
from agents.config import RunConfig

Runs = list[tuple[RunConfig, Path]]
LIGHT = ("agents.compare.worker", "scaling", "tyro")
"""What the workers are born with: what this script imports, and they with it; a run that sleeps needs no learner."""


@dataclass(frozen=True)
class Arguments:
    """Settings of the measurement."""

    workers: tuple[int, ...] = (2, 4, 8, 16, 32, 64)
    rounds: int = 3
    """Runs for each worker, one after another."""
    seconds: float = 60.0
    """Length of a run."""
    ray: tuple[int, ...] = ()
    """Numbers of workers of a Ray cluster."""
    out: Path | None = None


def sleep(config: RunConfig, folder: Path) -> None:
    """A run of `config.steps` milliseconds that notes its beginning and its end."""
    with open(folder / "begun.txt", "a") as file:
        file.write(f"{time.time()}\n")
    time.sleep(config.steps / 1000)
    (folder / "result.json").write_text(json.dumps({"steps": config.steps}))


def sleepers(count: int, seconds: float, place: Path) -> Runs:
    """Returns `count` runs of `seconds` with their folders."""
    steps = round(1000 * seconds)
    return [(RunConfig(task="sleep", steps=steps, seed=seed), place / f"seed-{seed}") for seed in range(count)]


def measure(workers: int, rounds: int, seconds: float, *, ray: bool = False) -> dict[str, Any]:
    """Returns the efficiency of `workers`, and how many runs were begun more than once."""
    run = importlib.import_module("scaling").sleep  # not of __main__, which workers of Ray do not have
    told: dict[str, Any] = {"kind": "ray" if ray else "local"}
    with tempfile.TemporaryDirectory(prefix="scaling-") as folder:
        runs = sleepers(workers * rounds, seconds, Path(folder) / "runs")
        if ray:
            first = sleepers(workers, seconds, Path(folder) / "first")
            told["first_round_seconds"], spent = _on_ray(run, (first, runs), Path(folder), workers)
        else:
            began = time.monotonic()
            launch(runs, jobs=workers, run=run, preload=LIGHT)
            spent = time.monotonic() - began
        begun = [len((place / "begun.txt").read_text().split()) for _, place in runs]
    return told | {
        "workers": workers,
        "runs": len(runs),
        "seconds_of_a_run": seconds,
        "seconds": round(spent, 2),
        "efficiency": round(len(runs) * seconds / (workers * spent), 4),
        "overhead_seconds_of_a_run": round((workers * spent - len(runs) * seconds) / len(runs), 3),
        "begun_more_than_once": sum(count != 1 for count in begun),
        "load_before": round(os.getloadavg()[0], 2),
    }


def _on_ray(run: Any, launches: Sequence[Runs], folder: Path, workers: int) -> list[float]:
    """Returns the seconds of each launch on a cluster of one machine that says it has so many cores."""
    import ray

    from agents.compare.cluster import launch_on_cluster

    ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, object_store_memory=100 * 2**20)
    try:
        spent = []
        for runs in launches:
            began = time.monotonic()
            launch_on_cluster(runs, folder, ray=ray, run=run, preload=LIGHT)
            spent.append(round(time.monotonic() - began, 2))
        return spent
    finally:
        ray.shutdown()


if __name__ == "__main__":
    settings = tyro.cli(Arguments, description=__doc__)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    kinds = [(count, False) for count in settings.workers] + [(count, True) for count in settings.ray]
    rows = []
    for count, on_ray in kinds:
        rows.append(measure(count, settings.rounds, settings.seconds, ray=on_ray))
        print(json.dumps(rows[-1]), flush=True)
    if settings.out is not None:
        settings.out.write_text(json.dumps(rows, indent=2) + "\n")
