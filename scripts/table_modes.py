"""How many of 25 Gaussians a GAN covers with and without minibatch discrimination: the collapse, and its cure.

The same fully connected GAN on a grid of 5x5 Gaussians, whose samples are looked at all along; a mode counts where at
least one in a hundred of 10,000 samples lies within three deviations of it.

    python scripts/table_modes.py                # 3 seeds of each, some 10 minutes on one core
"""

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from agents.table import Table
from generative import FitSettings, fit, load_data
from generative.datasets import MIXTURE_STD, grid_centres
from generative.gan import GAN, GANSettings
from generative.metrics import mode_coverage
from generative.optimiser import Optimiser

SAMPLES, LEAST = 10_000, 100


@dataclass(frozen=True)
class Arguments:
    """Settings of the measurement."""

    kernels: tuple[int, ...] = (0, 8)
    """Closenesses of minibatch discrimination; 0 leaves it out."""
    group: int = 16
    """Examples that are compared with each other; 0 for the whole minibatch."""
    seeds: int = 3
    steps: int = 10_000
    batch_size: int = 64
    hidden: int = 128
    layers: int = 2
    latent: int = 2
    noise: float = 0.0
    rate: float = 1e-3
    runs: Path = Path("runs/table_modes")
    """Where checkpoints lie."""
    out: Path = Path("results/generative/modes.json")


def main() -> None:
    """Trains every seed with and without, and writes the table."""
    arguments = tyro.cli(Arguments, description=__doc__)
    torch.set_num_threads(1)
    data, centres = load_data("gaussians-25"), grid_centres()
    table = Table(
        arguments.out, "How many of 25 Gaussians does a GAN cover with minibatch discrimination, and without?"
    )
    names = ("group", "steps", "batch_size", "hidden", "layers", "latent", "noise", "rate")
    sizes = {name: getattr(arguments, name) for name in names}

    def assess(model: Any) -> dict[str, float]:
        samples = model.sample(SAMPLES, torch.Generator().manual_seed(1))
        found = mode_coverage(samples, centres, MIXTURE_STD, least=LEAST)
        return {"modes": found.modes, "near": found.near}

    def measure(kernels: int, seed: int) -> dict[str, Any]:
        optimiser = Optimiser(rate=arguments.rate, betas=(0.5, 0.999), decay="linear", decay_from=0.5)
        settings = GANSettings(
            latent=arguments.latent, hidden=(arguments.hidden,) * arguments.layers, support="real",
            noise=arguments.noise, minibatch_kernels=kernels, minibatch_group=arguments.group,
            generator=optimiser, discriminator=optimiser,
        )  # fmt: skip
        path: list[list[float]] = []
        model = GAN(data.shape, settings, seed=seed)
        fit(
            model,
            data,
            FitSettings(
                steps=arguments.steps, batch_size=arguments.batch_size, seed=seed,
                report_every=500, save_every=500,
            ),
            evaluate=assess,
            log=lambda step, terms: path.append([step, terms["modes"], round(terms["near"], 3)]),
            folder=arguments.runs / "-".join(map(str, (kernels, *sizes.values(), seed))),
        )  # fmt: skip
        return {**assess(model), "path": path}

    for seed in range(arguments.seeds):
        for kernels in arguments.kernels:
            table.row({"kernels": kernels, **sizes, "seed": seed}, lambda k=kernels, s=seed: measure(k, s))
    for kernels in arguments.kernels:
        wanted = {"kernels": kernels, **sizes}
        rows = [row for row in table.rows if all(row[name] == value for name, value in wanted.items())]
        modes = [row["modes"] for row in rows]
        near = [row["near"] for row in rows]
        table.summary(
            f"summary, {kernels} kernels",
            {"modes": modes, "median": statistics.median(modes), "share_near_a_mode": [round(x, 3) for x in near]},
        )


if __name__ == "__main__":
    main()
