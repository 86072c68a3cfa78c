"""Does the network behind the bonus learn? Held-out error, posterior width and the gain of a repeated transition.

HalfCheetah at its own time step of 0.01 s, uniform random actions, 20,000 transitions taken in as in training. Beside
the corrected model stands the published recipe, whose posterior falls back to the prior: its settings let the mean
prediction end at the mean of the pool, an error of one target variance.

    python scripts/model_quality.py --seeds 3 --out results/model_quality.json
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
import tyro

import envs  # noqa: F401  (registers the tasks)
import vime

BATCH = 2000  # transitions between two fits
HELD_OUT = 4000  # transitions of other episodes, never learnt from
REPEATED = 500  # transitions of the first batch whose gain is followed


@dataclass(frozen=True)
class Arguments:
    """Settings of the measurement."""

    task: str = "vime/HalfCheetah-v0"
    steps: int = 20_000
    seeds: int = 3
    faithful_rounds: int = 100
    """Fits of the published recipe, of 500 steps each, on the same transitions."""
    out: Path = Path("results/model_quality.json")


def collect(env: gymnasium.Env, steps: int) -> vime.Transitions:
    """Returns `steps` transitions of uniform random actions."""
    rows = []
    obs, _ = env.reset()
    for _ in range(steps):
        action = env.action_space.sample()
        next_obs, _, terminated, truncated, _ = env.step(action)
        rows.append((obs, action, next_obs, terminated, truncated))
        obs = env.reset()[0] if terminated or truncated else next_obs
    return vime.Transitions.from_numpy(*(np.array(column)[:, None] for column in zip(*rows, strict=True)))


def part(batch: vime.Transitions, start: int, stop: int) -> vime.Transitions:
    """Returns the steps from `start` to `stop`."""
    return batch.map_tensors(lambda column: column[start:stop])


@torch.no_grad()
def error(bonus: Any, batch: vime.Transitions) -> float:
    """Returns the squared error of the mean prediction over the variance of the target, averaged over its
    entries."""
    x, y = bonus.model.standardise(bonus.model.rows(batch))
    mean, _ = bonus.model.network.moments(x)
    moving = y.var(0) > 0  # the centre of mass of a flat cheetah never moves sideways
    return float(((mean - y).square().mean(0) / y.var(0))[moving].mean())


def corrected(data: vime.Transitions, held_out: vime.Transitions, spaces: tuple, seed: int) -> dict[str, Any]:
    """Returns the path of the default bonus's model over the transitions."""
    bonus = vime.make_bonus("vime", *spaces, seed=seed)
    repeated = part(data, 0, REPEATED)
    path = []
    for start in range(0, len(data.terminated), BATCH):
        batch = part(data, start, start + BATCH)
        bonus.observe(batch)
        metrics = bonus.learn(batch)
        path.append(
            {
                "transitions": start + BATCH,
                "held_out_error": error(bonus, held_out),
                "posterior_std": metrics["posterior_std"],
                "gain_of_repeated": float(bonus.reward(repeated).mean()),
            }
        )
    return {"bonus": "vime", "seed": seed, "path": path}


def faithful(data: vime.Transitions, spaces: tuple, seed: int, rounds: int) -> dict[str, Any]:
    """Returns where the published recipe ends after `rounds` fits on batches drawn from the same transitions."""
    bonus = vime.make_bonus("vime-faithful", *spaces, seed=seed)
    chunk = 500
    metrics: dict[str, float] = {}
    for number in range(rounds):
        start = number * chunk % len(data.terminated)
        batch = part(data, start, start + chunk)
        bonus.observe(batch)
        metrics = bonus.learn(batch)
    return {
        "bonus": "vime-faithful",
        "seed": seed,
        "model_error": metrics["model_error"],
        "posterior_std": metrics["posterior_std"],
    }


def main() -> None:
    """Measures every seed, prints and writes the rows."""
    arguments = tyro.cli(Arguments, description=__doc__)
    torch.set_num_threads(1)
    rows = []
    for seed in range(arguments.seeds):
        env = gymnasium.make(arguments.task)
        env.reset(seed=seed)
        env.action_space.seed(seed)
        spaces = (env.observation_space, env.action_space)
        data, held_out = collect(env, arguments.steps), collect(env, HELD_OUT)
        rows.append(corrected(data, held_out, spaces, seed))
        for point in rows[-1]["path"]:
            print(f"vime          seed {seed}  " + "  ".join(f"{k} {v:.4g}" for k, v in point.items()), flush=True)
        rows.append(faithful(data, spaces, seed, arguments.faithful_rounds))
        print(f"vime-faithful {rows[-1]}", flush=True)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    settings = {"task": arguments.task, "steps": arguments.steps, "torch": torch.__version__}
    arguments.out.write_text(json.dumps({"settings": settings, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
