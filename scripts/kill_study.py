"""What launching costs a run of a study of many small ones, and whether kills change its table.

The study is run twice, by the command line in a process of its own: once in peace, and once killed by SIGKILL at random
moments, now the launcher alone and now with all its workers. Both must end with the same table, and no run that was
finished at a kill may be run again.

    python scripts/kill_study.py --seeds 100 --kills 5 --out results/kill_study.json
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

CLOCKS = ("cpu_seconds", "wall_seconds", "peak_memory_mb", "resumed")
"""What differs from one run of the same configuration to the next."""
NET = ("--algorithm-settings", "n_steps=64", "batch_size=64", "n_epochs=2", 'policy_kwargs={"net_arch":[16]}')


@dataclass(frozen=True)
class Arguments:
    """Settings of the measurement; the study has two bonuses, so twice as many runs as seeds."""

    seeds: int = 100
    kills: int = 5
    steps: int = 512
    jobs: int = 2
    task: str = "CartPole-v1"
    bonuses: tuple[str, str] = ("none", "counts")
    seed: int = 0
    """From which the moments of the kills are drawn."""
    folder: Path | None = None
    """Where the two studies go; a temporary folder unless given."""
    out: Path | None = None


def start(arguments: Arguments, folder: Path) -> subprocess.Popen[bytes]:
    """Starts the study, or goes on with it, in a session of its own."""
    words = ["--tasks", arguments.task, "--bonuses", *arguments.bonuses, "--seeds", str(arguments.seeds), "--steps"]
    words += [str(arguments.steps), "--environments", "2", *NET, "--jobs", str(arguments.jobs), "--out", str(folder)]
    return subprocess.Popen(
        [sys.executable, "-m", "agents", "compare", *words, "--json"],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        cwd=Path(__file__).parents[1],
    )


def finish(process: subprocess.Popen[bytes]) -> None:
    if process.wait() != 0:
        raise SystemExit(f"the study ended with exit code {process.returncode}")


def kill_at_random(arguments: Arguments, folder: Path, seconds: float) -> list[dict[str, Any]]:
    """Runs the study to its end through all its kills; returns what stood at each. `seconds`: its length in peace."""
    rng = random.Random(arguments.seed)
    kills = []
    for _ in range(arguments.kills):
        process = start(arguments, folder)
        time.sleep(rng.uniform(0, 1.5 * seconds / arguments.kills))
        whole = rng.random() < 0.5
        (os.killpg if whole else os.kill)(process.pid, signal.SIGKILL)
        process.wait()
        kills.append({"finished": len(finished(folder)), "workers_too": whole, "standing": finished(folder)})
    finish(start(arguments, folder))
    after = finished(folder)
    for kill in kills:
        kill["run_again"] = sum(after[path] != when for path, when in kill.pop("standing").items())
    return kills


def finished(folder: Path) -> dict[str, int]:
    """Returns when each finished run of the study was finished, in ns."""
    return {str(path): path.stat().st_mtime_ns for path in folder.glob("runs/*/*/*/result.json")}


def results(folder: Path) -> dict[str, dict[str, Any]]:
    """Returns the results of all runs, clocks aside."""
    found = {}
    for path in sorted(folder.glob("runs/*/*/*/result.json")):
        values = json.loads(path.read_text())
        found[str(path.relative_to(folder))] = {name: values[name] for name in values if name not in CLOCKS}
    return found


def table(folder: Path) -> list[dict[str, Any]]:
    """Returns the rows of the summary, clocks aside."""
    rows = json.loads((folder / "summary.json").read_text())
    return [{name: row[name] for name in row if not any(clock in name for clock in CLOCKS)} for row in rows]


def measure(arguments: Arguments) -> dict[str, Any]:
    """Returns the figures of both studies."""
    place = arguments.folder or Path(tempfile.mkdtemp(prefix="kill_study-"))
    calm, killed = place / "calm", place / "killed"
    load = os.getloadavg()[0]
    began = time.monotonic()
    finish(start(arguments, calm))
    seconds = time.monotonic() - began
    ran = [json.loads(Path(path).read_text())["wall_seconds"] for path in finished(calm)]
    kills = kill_at_random(arguments, killed, seconds)
    return {
        "runs": len(ran),
        "steps": arguments.steps,
        "jobs": arguments.jobs,
        "load_before": round(load, 2),
        "seconds": round(seconds, 1),
        "seconds_of_a_run": round(sum(ran) / len(ran), 3),
        "overhead_seconds_of_a_run": round((seconds * arguments.jobs - sum(ran)) / len(ran), 3),
        "kills": kills,
        "same_table": table(calm) == table(killed),
        "same_results": results(calm) == results(killed),
        "run_again": sum(kill["run_again"] for kill in kills),
    }


if __name__ == "__main__":
    settings = tyro.cli(Arguments, description=__doc__)
    text = json.dumps(measure(settings), indent=2)
    print(text)
    if settings.out is not None:
        settings.out.write_text(text + "\n")
