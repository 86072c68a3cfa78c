"""The tables that are made of whole runs of `vime generate`, in three sizes: seconds, a CPU's, and the paper's.

    python scripts/table_models.py likelihood --size quick                                     # digits, minutes
    python scripts/table_models.py posterior --size cpu --data-dir DIR                         # MNIST, cut for a CPU
    python scripts/table_models.py semi-supervised --size paper --data-dir DIR --device cuda   # MNIST, as published

A run is a folder under `--runs` that `vime generate evaluate` takes; what was killed goes on, what is done is kept.
"""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro
from tyro.conf import Positional

from agents.generate.config import ModelRun
from agents.generate.train import train_model
from agents.table import Table

Size = Literal["quick", "cpu", "paper"]
Variants = Mapping[str, Mapping[str, Any]]

PAPER_NETWORK = {"channels": [16, 32, 32], "hidden": [450]}
IWAE = {"latent": 50, "hidden": [400, 400], "activation": "silu"}
LONE = {"minibatch_kernels": 0}
ADAMAX = {"rule": "adamax", "rate": 2e-3}
TABLES: Mapping[str, tuple[str, tuple[str, ...], Mapping[Size, Variants]]] = {
    "semi-supervised": (
        "How many test data does a semi-supervised GAN of few labels get wrong, alone and as an ensemble of ten?",
        ("errors", "error_rate"),
        {
            "quick": {
                "100 labels": {"model": "semi-supervised-gan", "labels": 100},
                "100 labels, labels alone": {
                    "model": "semi-supervised-gan", "labels": 100, "settings": {"unlabelled": 0.0},
                },
            },
            "cpu": {"100 labels, a tenth": {"model": "semi-supervised-gan", "labels": 100, "steps": 18_000}},
            "paper": {
                f"{labels} labels, {members} together": {
                    "model": "semi-supervised-gan", "labels": labels, "members": members,
                }
                for labels in (20, 50, 100, 200) for members in (1, 10)
            },
        },
    ),
    "samples": (
        "How good are the samples of a plain GAN, a DCGAN and a LAPGAN by a classifier's opinion?",
        ("score", "frechet", "classes"),
        {
            "quick": {name: {"model": name} for name in ("gan", "dcgan", "lapgan")},
            "cpu": {
                "gan": {"model": "gan", "steps": 3000},
                "dcgan": {"model": "dcgan", "steps": 3000, "batch_size": 64, "settings": {"channels": 32}},
                "lapgan": {"model": "lapgan", "steps": 3000, "batch_size": 64, "settings": {"channels": 16}},
            },
            "paper": {name: {"model": name} for name in ("gan", "dcgan", "lapgan")},
        },
    ),
    "diversity": (
        "What does a plain GAN's generator make with minibatch discrimination, and without?",
        ("score", "frechet", "classes"),
        {
            "quick": {"without": {"model": "gan", "settings": LONE}, "with": {"model": "gan"}},
            "cpu": {
                "without": {"model": "gan", "settings": LONE, "steps": 5000},
                "with": {"model": "gan", "steps": 5000},
            },
            "paper": {"without": {"model": "gan", "settings": LONE}, "with": {"model": "gan"}},
        },
    ),
    "likelihood": (
        "How likely are test data to each density model?",
        ("nats", "bits_per_dim"),
        {
            "quick": {
                name: {"model": name}
                for name in ("vae", "iwae", "iaf-vae", "resnet-vae", "helmholtz", "made", "pixelcnn")
            },
            "cpu": {
                "vae": {"model": "vae", "steps": 12_000},
                "iwae, 5 samples": {
                    "model": "iwae", "steps": 80_000,
                    "settings": {**IWAE, "samples": 5, "optimiser": {"decay": "constant"}},
                },
                "iwae, 50 samples": {
                    "model": "iwae", "steps": 16_000, "begin": "iwae, 5 samples",
                    "settings": {**IWAE, "samples": 50, "optimiser": {"rate": 5e-4}},
                },
                "made": {"model": "made", "steps": 8000},
                "pixelcnn": {
                    "model": "pixelcnn", "data": "mnist-14", "steps": 4000, "batch_size": 16,
                    "settings": {"filters": 24, "blocks": 4, "kernel": 3, "dropout": 0.0},
                },
            },
            "paper": {name: {"model": name} for name in ("vae", "iwae", "made", "pixelcnn")},
        },
    ),
    "posterior": (
        "What does an inverse autoregressive posterior gain over a diagonal one, encoder and decoder the same?",
        ("nats", "bound_nats", "active_units"),
        {
            "quick": {"diagonal": {"model": "vae"}, "iaf": {"model": "iaf-vae", "steps": 3000}},
            "cpu": {
                "diagonal": {"model": "vae", "data": "mnist-14", "steps": 8000, "settings": {"hidden": [200, 200]}},
                "iaf, T=2, W=320": {
                    "model": "iaf-vae", "data": "mnist-14", "steps": 8000, "settings": {"hidden": [200, 200]},
                },
                "28x28: diagonal": {"model": "vae", "steps": 24_000},
                "28x28: iaf, T=2, W=320": {"model": "iaf-vae", "steps": 24_000},
                "28x28: iaf, T=4, W=320": {"model": "iaf-vae", "steps": 24_000, "settings": {"steps": 4}},
            },
            "paper": {
                "diagonal": {"model": "vae", "settings": {**PAPER_NETWORK, "optimiser": ADAMAX}},
                **{
                    f"iaf, T={steps}, W={width}": {
                        "model": "iaf-vae",
                        "settings": {
                            **PAPER_NETWORK, "optimiser": ADAMAX, "steps": steps, "flow_hidden": [width, width],
                        },
                    }
                    for steps, width in ((2, 320), (2, 1920), (4, 1920), (8, 1920))
                },
            },
        },
    ),
    "free-bits": (
        "Do free bits keep more of a ResNet VAE's code in use, and is its bound better for them?",
        ("nats", "bound_nats", "active_units"),
        {
            "quick": {
                f"{floor:g} nats a map": {"model": "resnet-vae", "steps": 1500, "settings": {"free_bits": floor}}
                for floor in (0.0, 0.25, 1.0)
            },
            "cpu": {
                f"{floor:g} nats a map": {
                    "model": "resnet-vae", "data": "mnist-14", "steps": 3000, "batch_size": 32,
                    "settings": {"depth": 3, "filters": 24, "latent": 8, "flow_hidden": [24], "free_bits": floor},
                }
                for floor in (0.0, 0.25, 1.0)
            }
            | {
                f"{floor:g} nats a map, shrinking": {
                    "model": "resnet-vae", "data": "mnist-14", "steps": 9000, "batch_size": 32,
                    "settings": {
                        "depth": 3, "filters": 24, "latent": 8, "flow_hidden": [24],
                        "free_bits": floor, "free_rounds": 2500,
                    },
                }
                for floor in (0.0, 0.25)
            },
            "paper": {
                f"{floor:g} nats a map": {"model": "resnet-vae", "settings": {"free_bits": floor}}
                for floor in (0.0, 0.125, 0.25, 0.5, 1.0, 2.0)
            },
        },
    ),
}  # fmt: skip
"""Name -> question, figures, and by size the runs that differ in it."""


@dataclass(frozen=True)
class Arguments:
    """Settings of the measurement."""

    table: Positional[str]
    """semi-supervised, samples, diversity, likelihood, posterior or free-bits."""
    size: Size = "quick"
    """quick: digits; cpu: MNIST, some at 14x14, with small networks or few steps; paper: MNIST, the published sizes."""
    seeds: int = 3
    data_dir: str = ""
    """Folder of MNIST's four files."""
    only: tuple[str, ...] = ()
    """Names of the runs that are wanted; all unless given."""
    device: str = "cpu"
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False
    runs: Path = Path("runs/table_models")
    """Where the runs lie."""
    out: Path | None = None
    """results/generative/TABLE.json unless given."""


def main() -> None:
    """Runs what is missing of a table, and writes it."""
    arguments = tyro.cli(Arguments, description=__doc__)
    if arguments.table not in TABLES:
        raise SystemExit(f"No table is named {arguments.table!r}. Known: {', '.join(TABLES)}.")
    question, figures, sizes = TABLES[arguments.table]
    table = Table(arguments.out or Path(f"results/generative/{arguments.table.replace('-', '_')}.json"), question)
    variants = sizes[arguments.size]
    data = "digits" if arguments.size == "quick" else "mnist"
    folders = arguments.runs / f"{arguments.table}-{arguments.size}"
    for seed in range(arguments.seeds):
        for name, changes in variants.items():
            if arguments.only and name not in arguments.only:
                continue
            begin = {"begin": str(folders / _slug(changes["begin"], seed))} if "begin" in changes else {}
            run = ModelRun(
                **{"data": data, **changes, **begin, "data_dir": arguments.data_dir, "seed": seed,
                   "device": arguments.device, "precision": arguments.precision, "compile": arguments.compile},
            )  # fmt: skip
            folder = folders / _slug(name, seed)
            key = {"name": name, "size": arguments.size, "data": run.data, "seed": seed, "steps": run.plan.steps}
            table.row(key, lambda run=run, folder=folder: _measured(run, folder))
    for name in variants:
        rows = [row for row in table.rows if (row["name"], row["size"]) == (name, arguments.size)]
        if rows:
            table.summary(f"{arguments.size}: {name}", {figure: _over(rows, figure) for figure in figures})


def _slug(name: str, seed: int) -> str:
    return f"{name.replace(' ', '-')}-{seed}"


def _measured(run: ModelRun, folder: Path) -> dict[str, Any]:
    told = train_model(run, folder)
    left = ("training", "out", "model", "data", "seed", "steps", "cpu_seconds")
    where = {"data_dir": "", "begin": Path(run.begin).name}
    return {"run": run.to_json() | where, **{key: value for key, value in told.items() if key not in left}}


def _over(rows: list[dict[str, Any]], figure: str) -> dict[str, Any]:
    values = [row[figure] for row in rows]
    spread = statistics.stdev(values) if len(values) > 1 else None
    return {"seeds": len(values), "mean": statistics.mean(values), "std": spread}


if __name__ == "__main__":
    main()
