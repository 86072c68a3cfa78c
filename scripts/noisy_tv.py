"""How much more a bonus pays while a noisy television is on: the ratio of what it pays with the noise on and off.

One is perfect: the noise cannot be learnt, so it should earn nothing. Each seed explores with random actions, learns as
in training, and is then asked about transitions it never saw.

    python scripts/noisy_tv.py --seeds 5 --out results/noisy_tv.json
"""

import json
from dataclasses import dataclass
from pathlib import Path

import gymnasium
import numpy as np
import torch
import tyro

import envs
import vime

BATCH = 2000  # steps between two fits
HELD_OUT = 4000  # transitions, about half of them with the television on


@dataclass(frozen=True)
class Arguments:
    """Settings of the measurement."""

    tasks: tuple[str, ...] = ("vime/HalfCheetah-v0", "vime/MountainCar-v0")
    bonuses: tuple[str, ...] = ("vime", "expected-gain", "vime-faithful")
    seeds: int = 5
    steps: int = 20_000
    std: float = 3.0
    """Deviation of the noise; the other entries are of order one."""
    out: Path = Path("results/noisy_tv.json")


def collect(env: gymnasium.Env, steps: int) -> tuple[vime.Transitions, np.ndarray]:
    """Returns `steps` transitions of uniform random actions, and whether the television was on at each."""
    rows, on = [], []
    obs, _ = env.reset()
    for _ in range(steps):
        action = env.action_space.sample()
        next_obs, _, terminated, truncated, info = env.step(action)
        rows.append((obs, action, next_obs, terminated, truncated))
        on.append(bool(info["noisy_tv"]))
        obs = env.reset()[0] if terminated or truncated else next_obs
    columns = [np.array(column)[:, None] for column in zip(*rows, strict=True)]
    return vime.Transitions.from_numpy(*columns), np.array(on)


def ratio(task: str, name: str, seed: int, arguments: Arguments) -> float:
    """Returns the mean raw bonus of held-out transitions with the noise on over that with the noise off."""
    env = envs.NoisyTV(gymnasium.make(task), std=arguments.std)
    env.reset(seed=seed)
    env.action_space.seed(seed)
    bonus = vime.make_bonus(name, env.observation_space, env.action_space, seed=seed)
    for _ in range(0, arguments.steps, BATCH):
        batch, _ = collect(env, BATCH)
        bonus.observe(batch)
        bonus.learn(batch)
    batch, on = collect(env, HELD_OUT)
    paid = bonus.reward(batch).flatten().numpy()
    return float(paid[on].mean() / paid[~on].mean())


def main() -> None:
    """Measures every task and bonus, prints and writes the table."""
    arguments = tyro.cli(Arguments, description=__doc__)
    torch.set_num_threads(1)
    rows = []
    for task in arguments.tasks:
        for name in arguments.bonuses:
            ratios = [ratio(task, name, seed, arguments) for seed in range(arguments.seeds)]
            rows.append({"task": task, "bonus": name, "median": float(np.median(ratios)), "ratios": ratios})
            print(f"{task:24} {name:16} median {rows[-1]['median']:.3f}  " + " ".join(f"{r:.3f}" for r in ratios))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    settings = {"seeds": arguments.seeds, "steps": arguments.steps, "std": arguments.std, "torch": torch.__version__}
    arguments.out.write_text(json.dumps({"settings": settings, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
