"""How many steps SAC needs with a world model beside it, and without: return by environment steps, seed by seed.

    python scripts/dyna.py --task InvertedPendulum-v5 --seeds 5 --out results/dyna/inverted_pendulum.json

The policy is judged without exploration every so many steps, by the mean return of a few episodes on an environment of
its own; a run ends where that reaches the goal, or at the last step. Two controls: SAC with the same networks, step
size and gradient steps, and nothing imagined (`same`), and SAC as Stable-Baselines3 has it (`plain`). As in MBPO's own
experiments the model learns the reward, and is told where an episode ends; `--learn-ends` leaves that to a head too.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from torch import Tensor

from agents import dyna, dyna_of

FUSED = {"optimizer_kwargs": {"fused": True}}
TASKS: Mapping[str, dict[str, Any]] = {
    "InvertedPendulum-v5": {
        "goal": 1000.0,
        "steps": 5000,
        "every": 250,
        "episodes": 3,
        "sac": {
            "learning_starts": 250,
            "gradient_steps": 4,
            "batch_size": 128,
            "learning_rate": 1e-3,
            "tau": 0.05,
            "ent_coef": "auto_0.1",
            "policy_kwargs": {"net_arch": [64, 64], **FUSED},
        },
        "dyna": {
            "hidden": (64, 64),
            "rollout": 2,
            "rollouts": 5000,
            "real_ratio": 0.1,
            "refit_every": 125,
            "updates": 150,
            "first_updates": 500,
        },
    },
    "Hopper-v5": {
        "goal": 1000.0,
        "steps": 20_000,
        "every": 1000,
        "episodes": 3,
        "sac": {
            "learning_starts": 1000,
            "gradient_steps": 12,
            "target_entropy": -1.0,
            "policy_kwargs": {"net_arch": [128, 128], **FUSED},
        },
        "dyna": {"hidden": (200, 200), "rollout": 1, "rollouts": 20_000, "updates": 250, "capacity": 25_000},
    },
}
"""What is measured on each task, and the settings of SAC and of `agents.dyna`."""


def fallen(state: Tensor, action: Tensor, following: Tensor) -> Tensor:
    """Returns where the pole of InvertedPendulum has fallen."""
    return following[:, 1].abs() > 0.2


def unhealthy(state: Tensor, action: Tensor, following: Tensor) -> Tensor:
    """Returns where Hopper is not healthy: too low, too tilted, or too fast."""
    return (following[:, 0] < 0.7) | (following[:, 1].abs() > 0.2) | (following[:, 1:].abs() > 100).any(1)


ENDS = {"InvertedPendulum-v5": fallen, "Hopper-v5": unhealthy}


def learner(kind: str, task: str, seed: int, changes: Mapping[str, Any], learn_ends: bool = False) -> SAC:
    """Returns a new model: `dyna`, or a control, `same` or `plain`."""
    settings = TASKS[task]
    own: dict[str, Any] = {} if kind == "plain" else json.loads(json.dumps(settings["sac"]))  # SB3 writes into them
    own |= {
        name: value
        for name, value in changes.items()
        if name in ("gradient_steps", "batch_size", "learning_rate", "target_entropy")
    }
    model = SAC("MlpPolicy", task, seed=seed, device="cpu", **own)
    if kind == "dyna":
        rest = {name: value for name, value in changes.items() if name not in own}
        dyna(model, **settings["dyna"] | rest, termination=None if learn_ends else ENDS[task])
    return model


class Judge(BaseCallback):
    """Plays without exploring, now and then, and ends the run at the goal."""

    def __init__(self, task: str, seed: int) -> None:
        super().__init__()
        self.settings = TASKS[task]
        self.env = Monitor(gymnasium.make(task))
        self.env.reset(seed=1000 + seed)
        self.curve: list[tuple[int, float]] = []
        self.started = time.process_time()
        self.judging = 0.0

    def _on_step(self) -> bool:
        step = self.model.num_timesteps
        if step % self.settings["every"]:
            return True
        start = time.process_time()
        scores, _ = evaluate_policy(self.model, self.env, self.settings["episodes"], return_episode_rewards=True)
        self.curve.append((step, float(np.mean(scores))))
        self.judging += time.process_time() - start
        found = dyna_of(self.model)
        error = "" if found is None else f"  model error {found.metrics.get('model_error', float('nan')):.3f}"
        sys.stderr.write(f"  {step:6d}  return {self.curve[-1][1]:8.1f}  {self.spent:6.0f} s{error}\n")
        return self.curve[-1][1] < self.settings["goal"]

    @property
    def spent(self) -> float:
        """CPU seconds of learning."""
        return time.process_time() - self.started - self.judging


def run(
    kind: str, task: str, seed: int, steps: int, changes: Mapping[str, Any], learn_ends: bool = False
) -> dict[str, Any]:
    """Returns how one run went."""
    sys.stderr.write(f"{task} {kind} seed {seed}\n")
    judge, wall = Judge(task, seed), time.monotonic()
    model = learner(kind, task, seed, changes, learn_ends)
    model.learn(steps, callback=judge, log_interval=10**9)
    reached = judge.curve and judge.curve[-1][1] >= judge.settings["goal"]
    found = dyna_of(model)
    return {
        "kind": kind,
        "seed": seed,
        "reached_at": judge.curve[-1][0] if reached else None,
        "last_return": judge.curve[-1][1],
        "best_return": max(score for _, score in judge.curve),
        "gradient_steps": model._n_updates,
        "cpu_seconds": round(judge.spent, 1),
        "wall_seconds": round(time.monotonic() - wall, 1),
        "curve": judge.curve,
        "metrics": {} if found is None else found.metrics,
    }


def main() -> None:
    """Runs every kind and seed that the file does not hold yet, prints and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=tuple(TASKS), default="InvertedPendulum-v5")
    parser.add_argument("--kinds", nargs="+", choices=("dyna", "same", "plain"), default=["dyna", "same", "plain"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--steps", type=int, help="the last step")
    parser.add_argument("--changes", type=json.loads, default={}, help="other settings, as JSON")
    parser.add_argument("--learn-ends", action="store_true", help="learn where an episode ends, too")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    settings = TASKS[arguments.task]
    steps = arguments.steps or settings["steps"]
    rows = json.loads(arguments.out.read_text())["rows"] if arguments.out.exists() else []
    known = {(row["kind"], row["seed"]) for row in rows}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        for kind in arguments.kinds:
            if (kind, seed) in known:
                continue
            rows.append(run(kind, arguments.task, seed, steps, arguments.changes, arguments.learn_ends))
            result = {"task": arguments.task, "steps": steps, "settings": settings | {"changes": arguments.changes}}
            result["learn_ends"] = arguments.learn_ends
            arguments.out.write_text(json.dumps(result | {"rows": rows}, indent=1) + "\n")
    for row in rows:
        at = "never" if row["reached_at"] is None else f"{row['reached_at']:,}"
        line = f"{row['kind']:6} seed {row['seed']}  goal at step {at:>7}  last return {row['last_return']:8.1f}"
        print(f"{line}  {row['gradient_steps']:,} gradient steps, {row['cpu_seconds']:.0f} CPU s")


if __name__ == "__main__":
    main()
