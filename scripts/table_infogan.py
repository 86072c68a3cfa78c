"""Which digits InfoGAN's categorical code finds without labels, over seeds: errors on MNIST's test set.

Clusters are named by digits one to one as well as can be (Hungarian), with the averaged weights at the end of the run;
no run is chosen. Killed and started again it goes on where it was.

    python scripts/table_infogan.py --data-dir DIR --device cuda                                          # as published
    python scripts/table_infogan.py --data-dir DIR --channels 32 --hidden 512 --steps 2500 --agreement 1  # on a CPU
"""

import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from agents.generate.pictures import grid
from agents.table import Table
from generative import FitSettings, fit, load, load_data
from generative.infogan import InfoGAN, InfoGANSettings
from generative.metrics import clustering_error, mutual_information
from generative.optimiser import Optimiser

EXTREMES = (-2.0, 2.0)
"""Where the continuous codes are looked at; training draws them from -1 to 1."""

SIZES = ("channels", "hidden", "noise", "agreement", "discriminator_rate", "generator_rate", "steps", "batch_size")


@dataclass(frozen=True)
class Arguments:
    """Settings of the measurement."""

    data_dir: Path
    """Folder of MNIST's four files."""
    seeds: int = 5
    first: int = 0
    """The first seed."""
    steps: int = 20_000
    batch_size: int = 128
    channels: int = 64
    hidden: int = 1024
    noise: float = 0.2
    """Before the discriminator: without, it soon tells what is made for certain, and the classes found are none."""
    discriminator_rate: float = 2e-4
    generator_rate: float = 1e-3
    agreement: float = 0.0
    """Weight of the agreement of the codes read off a digit and off the same one warped."""
    device: str = "cpu"
    runs: Path = Path("runs/table_infogan")
    """Where checkpoints lie."""
    out: Path = Path("results/generative/infogan.json")


def slant_and_width(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns for each image the shear of its ink in degrees, and the deviation of its ink sideways in pixels."""
    ink = x[:, 0].double()
    rows, columns = (torch.arange(size, dtype=torch.float64) for size in ink.shape[1:])
    mass = ink.sum((1, 2)).clamp_min(1e-9)
    down, across = (ink.sum(2) * rows).sum(1) / mass, (ink.sum(1) * columns).sum(1) / mass
    dy, dx = rows[None] - down[:, None], columns[None] - across[:, None]
    xy = torch.einsum("nyx,ny,nx->n", ink, dy, dx) / mass
    yy, xx = ((ink.sum(axis) * d.square()).sum(1) / mass for axis, d in ((2, dy), (1, dx)))
    return torch.rad2deg(torch.atan(-xy / yy.clamp_min(1e-9))), xx.sqrt()


def directions(model: InfoGAN) -> dict[str, Any]:
    """Returns how slant and width change from one extreme of each continuous code to the other, means over images."""
    found: dict[str, Any] = {}
    for code in range(1, 1 + model.settings.continuous):
        made = model.traverse(code, EXTREMES, 1000, torch.Generator(model.device).manual_seed(0)).cpu()
        measures = [slant_and_width(made[:, i]) for i in range(2)]
        found[f"code_{code}"] = {
            "slant_degrees": [round(float(slant.mean()), 2) for slant, _ in measures],
            "width_pixels": [round(float(width.mean()), 3) for _, width in measures],
        }
    return found


def traversals(model: InfoGAN) -> bytes:
    """Returns a picture in which only one code changes along a row: 4 rows the class, 3 rows each continuous code."""
    generator = torch.Generator(model.device).manual_seed(1)
    values = torch.linspace(*EXTREMES, 10).tolist()
    rows = [model.traverse(0, range(10), 4, generator)]
    rows += [model.traverse(code, values, 3, generator) for code in range(1, 1 + model.settings.continuous)]
    return grid(torch.cat(rows).flatten(0, 1), 10)


def main() -> None:
    """Measures every seed, and writes the table."""
    arguments = tyro.cli(Arguments, description=__doc__)
    torch.set_num_threads(1)
    data = load_data("mnist", arguments.data_dir)
    x = data.test.x.float() / 255
    table = Table(arguments.out, "What share of MNIST's test digits falls into a wrong cluster of InfoGAN's code?")

    def assess(model: Any) -> dict[str, float]:
        cluster = torch.cat([model.clusters(part).cpu() for part in x.split(1000)])
        return {
            "clustering_error": clustering_error(data.test.label, cluster),  # type: ignore[arg-type]
            "mutual_information": mutual_information(data.test.label, cluster),  # type: ignore[arg-type]
        }

    sizes = {name: getattr(arguments, name) for name in SIZES}

    def folder(seed: int) -> Path:
        return arguments.runs / "-".join(map(str, (*sizes.values(), seed)))

    def measure(seed: int) -> dict[str, Any]:
        discriminator, generator = (
            Optimiser(rate=rate, betas=(0.5, 0.999), decay="linear", decay_from=0.5)
            for rate in (arguments.discriminator_rate, arguments.generator_rate)
        )
        settings = InfoGANSettings(
            channels=arguments.channels,
            hidden=arguments.hidden,
            noise=arguments.noise,
            agreement=arguments.agreement,
            discriminator=discriminator,
            generator=generator,
        )
        model = InfoGAN(data.shape, settings, seed=seed)
        path: list[list[float]] = []
        last = fit(
            model,
            data,
            FitSettings(
                steps=arguments.steps, batch_size=arguments.batch_size, seed=seed, device=arguments.device,
                report_every=100, save_every=500,
            ),
            evaluate=assess,
            log=lambda step, terms: path.append([step, round(terms["clustering_error"], 4)])
            if not step % 500 else None,
            folder=folder(seed),
        )  # fmt: skip
        return {
            **assess(model),
            "information": last["generator/information"],
            "entropy": math.log(10),
            "path": path,
            "directions": directions(model),
        }

    for seed in range(arguments.first, arguments.first + arguments.seeds):
        table.row({**sizes, "seed": seed}, lambda seed=seed: measure(seed))
    if (folder(0) / "model.safetensors").is_file():
        drawn = load(folder(0), name="infogan").eval()
        arguments.out.with_suffix(".png").write_bytes(traversals(drawn))  # type: ignore[arg-type]
    alike = (row for row in table.rows if all(row[name] == value for name, value in sizes.items()))
    errors = [row["clustering_error"] for row in alike]
    table.summary(
        f"summary, agreement {arguments.agreement:g}",
        {**sizes, "seeds": len(errors), "median": statistics.median(errors), "best": min(errors), "worst": max(errors)},
    )


if __name__ == "__main__":
    main()
