"""How many of 25 Gaussians a GAN covers with and without minibatch discrimination: the collapse, and its cure.

The same fully connected GAN on a grid of 5x5 Gaussians, whose samples are looked at all along. A mode is found where
one of 2,500 samples lies within three deviations of it, as usual in the literature (Lin et al. 2018, "PacGAN"), and
covered where at least one in a hundred of 10,000 does: a quarter of its share.

    python scripts/table_modes.py                # 3 seeds of each, some 20 minutes on one core
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

FEW, SAMPLES, LEAST = 2500, 10_000, 100

SIZES = (
    "group", "steps", "batch_size", "hidden", "layers", "latent", "noise", "generator_rate", "discriminator_rate",
)  # fmt: skip


@dataclass(frozen=True)
class Arguments:
    """Settings of the measurement."""

    kernels: tuple[int, ...] = (0, 4)
    """Closenesses of minibatch discrimination; 0 leaves it out."""
    group: int = 16
    """Examples that are compared with each other; 0 for the whole minibatch."""
    seeds: int = 3
    first: int = 0
    """The first seed."""
    steps: int = 25_000
    batch_size: int = 64
    hidden: int = 128
    layers: int = 2
    latent: int = 2
    noise: float = 0.0
    generator_rate: float = 1e-3
    discriminator_rate: float = 1e-4
    """A slow discriminator lets the generator run ahead: it collapses unless closeness is judged, too."""
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
    sizes = {name: getattr(arguments, name) for name in SIZES}

    def assess(model: Any) -> dict[str, float]:
        samples = model.sample(SAMPLES, torch.Generator().manual_seed(1))
        found = mode_coverage(samples[:FEW], centres, MIXTURE_STD)
        covered = mode_coverage(samples, centres, MIXTURE_STD, least=LEAST)
        return {"found": found.modes, "covered": covered.modes, "near": covered.near}

    def measure(kernels: int, seed: int) -> dict[str, Any]:
        generator, discriminator = (
            Optimiser(rate=rate, betas=(0.5, 0.999), decay="linear", decay_from=0.5)
            for rate in (arguments.generator_rate, arguments.discriminator_rate)
        )
        settings = GANSettings(
            latent=arguments.latent, hidden=(arguments.hidden,) * arguments.layers, support="real",
            noise=arguments.noise, minibatch_kernels=kernels, minibatch_group=arguments.group,
            generator=generator, discriminator=discriminator,
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
            log=lambda step, terms: path.append([step, terms["found"], terms["covered"], round(terms["near"], 3)]),
            folder=arguments.runs / "-".join(map(str, (kernels, *sizes.values(), seed))),
        )  # fmt: skip
        return {**assess(model), "path": path}

    for seed in range(arguments.first, arguments.first + arguments.seeds):
        for kernels in arguments.kernels:
            table.row({"kernels": kernels, **sizes, "seed": seed}, lambda k=kernels, s=seed: measure(k, s))
    for kernels in arguments.kernels:
        wanted = {"kernels": kernels, **sizes}
        rows = [row for row in table.rows if all(row[name] == value for name, value in wanted.items())]
        found, covered, near = ([row[name] for row in rows] for name in ("found", "covered", "near"))
        table.summary(
            f"summary, {kernels} kernels",
            {
                "modes_found": found,
                "median": statistics.median(found),
                "modes_covered": covered,
                "share_near_a_mode": [round(x, 3) for x in near],
            },
        )


if __name__ == "__main__":
    main()
