"""How much more each bonus pays while a noisy television is on: the ratio of what it pays with the noise on and off.

One is perfect: the noise cannot be learnt, so it should earn nothing. Each seed explores with random actions; every
bonus learns from the same steps as in training, and is then asked about transitions that it never saw. `gap` is the
difference of the two means in deviations of the bonus with the noise off: what a policy feels, and the only measure for
a bonus that can be negative, which has no ratio.

    python scripts/noisy_tv.py --seeds 5 --out results/noisy_tv.json
"""

import json
import sys
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
    bonuses: tuple[str, ...] = tuple(name for name in vime.BONUSES if name != "none")
    seeds: int = 5
    steps: int = 20_000
    """Random steps that a bonus learns from."""
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


def paid(
    name: str, env: gymnasium.Env, seed: int, data: list[vime.Transitions], held_out: vime.Transitions
) -> np.ndarray:
    """Returns the raw bonus of every held-out transition, once the bonus has learnt from the batches of `data`."""
    bonus = vime.make_bonus(name, env.observation_space, env.action_space, seed=seed)
    for batch in data:
        bonus.observe(batch)
        bonus.learn(batch)
    return bonus.reward(held_out).flatten().double().numpy()


def compare(task: str, seed: int, arguments: Arguments) -> dict[str, tuple[float | None, float]]:
    """Returns for every bonus the ratio of its means, none where one of them is not positive, and their gap."""
    env = envs.NoisyTV(gymnasium.make(task), std=arguments.std)
    env.reset(seed=seed)
    env.action_space.seed(seed)
    data = [collect(env, BATCH)[0] for _ in range(0, arguments.steps, BATCH)]
    held_out, on = collect(env, HELD_OUT)
    found: dict[str, tuple[float | None, float]] = {}
    for name in arguments.bonuses:
        sys.stderr.write(f"\r{task} seed {seed}: {name:<16}")
        bonus = paid(name, env, seed, data, held_out)
        with_noise, without = bonus[on].mean(), bonus[~on].mean()
        ratio = float(with_noise / without) if min(with_noise, without) > 0 else None
        found[name] = (ratio, float((with_noise - without) / max(bonus[~on].std(), 1e-12)))
    sys.stderr.write("\n")
    return found


def main() -> None:
    """Measures every task and bonus, prints and writes the table."""
    arguments = tyro.cli(Arguments, description=__doc__)
    torch.set_num_threads(1)
    rows = []
    for task in arguments.tasks:
        seeds = [compare(task, seed, arguments) for seed in range(arguments.seeds)]
        for name in arguments.bonuses:
            ratios, gaps = ([seed[name][i] for seed in seeds] for i in (0, 1))
            median = None if None in ratios else float(np.median(np.array(ratios, float)))
            row = {"task": task, "bonus": name, "median": median, "ratios": ratios}
            rows.append(row | {"gap": float(np.median(np.array(gaps, float))), "gaps": gaps})
            shown = " ".join("-" if ratio is None else f"{ratio:.3f}" for ratio in ratios)
            print(f"{task:24} {name:16} median {'-' if median is None else f'{median:.3f}'}  {shown}")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    settings = {"seeds": arguments.seeds, "steps": arguments.steps, "std": arguments.std, "torch": torch.__version__}
    arguments.out.write_text(json.dumps({"settings": settings, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
