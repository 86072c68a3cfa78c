"""Run functions that take no time, for workers to import; and what a run leaves behind."""

import json
import os
import signal
import time
from pathlib import Path

import numpy as np

from agents.config import RunConfig
from agents.folder import RunFolder
from agents.metrics import COLUMNS

HEADER = ",".join(COLUMNS)
ROWS = 20
BINS = 50


def leave_run(config: RunConfig, folder: Path, *, first: int | None = None, finished: bool = True) -> None:
    """Writes the folder of a run whose return rises to `seed + 10` after `first` and is 0 before."""
    rng = np.random.default_rng(config.seed)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config.to_json()))
    (folder / "versions.json").write_text(json.dumps({"python": "3.11", "threads": config.threads}))
    height = config.seed + 10.0
    lines = [HEADER]
    rows = ROWS if finished else ROWS // 2
    for row in range(1, rows + 1):
        step = row * config.steps // ROWS
        paid = first is not None and step > first
        score = height * min(1.0, (step - first) / (0.3 * config.steps)) if paid and first is not None else 0.0
        bonus = "" if config.bonus == "none" else f"{0.01 / row:.6f}"
        share = "" if config.bonus == "none" else f"{0.05 if paid else 1.0}"
        lines.append(f"{step},{row},{score if row % 2 else ''},500,1,{bonus},{share},,,,0.1")
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    spread = 3.0 if config.bonus == "none" else 9.0
    points = np.clip(rng.normal(size=(5000, 2)) * spread + BINS // 2, 0, BINS - 1).astype(int)
    counts = np.zeros((BINS, BINS), dtype=np.int64)
    np.add.at(counts, tuple(points.T), 1)
    np.savez(folder / "coverage.npz", counts=counts)
    if first is not None:
        np.savez(folder / "first_reward.npz", obs=rng.normal(size=(30, 4)), reward=np.arange(30) > 20)
    if finished:
        result = {
            **{name: getattr(config, name) for name in ("task", "algorithm", "bonus", "seed", "steps")},
            "final_return": height if first is not None else 0.0,
            "first_reward_step": first,
            "evaluation_return": height,
            "cpu_seconds": 16.5,
            "wall_seconds": 20.0,
            "resumed": 0,
        }
        (folder / "result.json").write_text(json.dumps(result))


def _begin(config: RunConfig, folder: Path) -> None:
    """Notes that a worker took the run up."""
    with open(folder / "begun.txt", "a") as file:
        file.write(f"{os.getpid()}\n")


def quick(config: RunConfig, folder: Path) -> None:
    _begin(config, folder)
    leave_run(config, folder, first=1000 if config.bonus == "vime" else None)


def one_raises(config: RunConfig, folder: Path) -> None:
    if config.seed == 1:
        _begin(config, folder)
        print("about to fail")
        raise ValueError("the pole fell off")
    quick(config, folder)


def refuses(config: RunConfig, folder: Path) -> None:
    """Fails as a run does whose settings cannot be: its folder has its configuration, and nothing that it learnt."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config.to_json()))
    raise ValueError("no such setting")


def takes_its_folder(config: RunConfig, folder: Path) -> None:
    """Runs as a real one does, which first sees to it that the folder is its own."""
    with RunFolder(folder, config):
        (folder / "error.txt").unlink(missing_ok=True)
        leave_run(config, folder)


def one_is_killed(config: RunConfig, folder: Path) -> None:
    if config.seed == 1:
        _begin(config, folder)
        (folder / "progress.json").write_text(json.dumps({"step": 700, "steps": config.steps}))
        print("last words", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    quick(config, folder)


def leaves_nothing(config: RunConfig, folder: Path) -> None:
    _begin(config, folder)


def saves_when_stopped(config: RunConfig, folder: Path) -> None:
    """Waits until it is stopped, as a long run would; takes up where it left, and then finishes."""
    if (folder / "saved.txt").exists():
        quick(config, folder)
        return
    try:
        _begin(config, folder)
        time.sleep(60)
    except KeyboardInterrupt:
        (folder / "saved.txt").write_text("here")
        raise


def reports_threads(config: RunConfig, folder: Path) -> None:
    import torch

    (folder / "threads.txt").write_text(f"{torch.get_num_threads()} {os.environ['OMP_NUM_THREADS']}")
    quick(config, folder)


def trains_with_checkpoints(config: RunConfig, folder: Path) -> None:
    """Trains for real, and saves so often that a run which is killed has something to go on from."""
    from agents.train import train

    _begin(config, folder)
    train(config, folder, checkpoint_seconds=0.3)


def ends_in_every_way(config: RunConfig, folder: Path) -> None:
    """Ends as runs end, by seed: well, with an exception, a broken memory, an exit, a kill, and with a full disk."""
    _begin(config, folder)
    if config.seed == 1:
        raise MemoryError("no room for the replay buffer")
    if config.seed == 2:
        import ctypes

        ctypes.string_at(0)
    if config.seed == 3:
        os._exit(7)
    if config.seed == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    if config.seed == 5:
        fills_the_disk(folder)
    leave_run(config, folder)


def fills_the_disk(folder: Path) -> None:
    """Writes a checkpoint that is larger than a file may be: torch tells of it in words that nobody understands."""
    import resource

    import torch

    from agents.checkpoint import write_checkpoint

    write_checkpoint(folder / "checkpoint.pt", {"run": torch.zeros(10)})
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    write_checkpoint(folder / "checkpoint.pt", {"run": torch.zeros(100_000)})
