"""Likelihood as a score of anomalies, and how it fails: images never seen can be likelier than those that were.

A model is trained on digits. Every kind of foreign image is then told from held-out digits by two scores: by its
likelihood, the lower the stranger; and by how far the likelihood lies from that of a usual digit (the mean of the other
half of the held-out ones), on either side, the farther the stranger. The figure is the area under the ROC curve: 1
tells all apart, 0.5 is chance, below it strange images look more usual than digits do.

    python scripts/likelihood_anomaly.py --out results/likelihood_anomaly.json
    python scripts/likelihood_anomaly.py --data mnist --data-dir DIR --model vae --classes 1

References: Nalisnick et al. 2019, "Do deep generative models know what they don't know?", arXiv:1810.09136;
    Nalisnick et al. 2019, "Detecting out-of-distribution inputs to deep generative models using typicality",
    arXiv:1906.02994.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro
from sklearn.metrics import roc_auc_score
from torch import Tensor

import generative
from generative.data import Dataset, Split
from generative.model import Bounded, Density, Model

SAMPLES = 64  # of the bound, where a likelihood is bounded
SETTINGS = {"made": {"hidden": [256], "likelihood": "discretised"}, "vae": {"latent": 16, "hidden": [200]}}


@dataclass(frozen=True)
class Arguments:
    """Settings of the measurement."""

    data: str = "digits"
    data_dir: Path | None = None
    model: str = "made"
    classes: tuple[int, ...] = ()
    """Which digits the model learns; all unless given. The others are then strangers too."""
    steps: int = 1000
    seed: int = 0
    out: Path = Path("results/likelihood_anomaly.json")


def chosen(split: Split, classes: tuple[int, ...], inside: bool) -> Split:
    """Returns the examples of these classes, or those of all others."""
    if split.label is None:
        raise SystemExit("These data have no classes to choose from.")
    among = torch.isin(split.label, torch.tensor(classes, dtype=torch.int64)) == inside
    return Split(x=split.x[among], label=split.label[among])


def scores(model: Model, x: Tensor, seed: int) -> Tensor:
    """Returns the log-likelihood of each image, or its bound, in nats."""
    if isinstance(model, Density):
        return torch.cat([model.log_prob(part) for part in x.split(500)])
    if isinstance(model, Bounded):
        generator = torch.Generator().manual_seed(seed)
        return torch.cat([model.bound(part, SAMPLES, generator) for part in x.split(500)])
    raise SystemExit(f"{model.name} tells no likelihood.")


def foreign(usual: Tensor, levels: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Returns images of each kind that the model has not seen, on the grey levels of the data."""
    n, pixels = len(usual), usual[0].numel()
    levels_of = torch.arange(n) % levels
    moved = torch.stack([image.flatten()[torch.randperm(pixels, generator=generator)] for image in usual])
    return {
        "black": torch.zeros_like(usual[:1]).expand(n, -1, -1, -1),
        "constant, any grey": (levels_of / (levels - 1)).view(-1, 1, 1, 1).expand_as(usual).clone(),
        "noise": torch.randint(levels, usual.shape, generator=generator) / (levels - 1),
        "pixels in another order": moved.view_as(usual),
        "turned by a quarter": usual.rot90(1, (2, 3)),
        "white for black": 1 - usual,
    }


def area(normal: Tensor, strange: Tensor) -> float:
    """Returns the area under the ROC curve of a score that should be lower for what is strange."""
    truth = [1] * len(normal) + [0] * len(strange)
    return float(roc_auc_score(truth, torch.cat([normal, strange]).tolist()))


def measure(data: Dataset, arguments: Arguments) -> list[dict[str, float | str]]:
    """Returns for each kind of images its mean score and both areas."""
    others = None
    if arguments.classes:
        others = chosen(data.test, arguments.classes, inside=False)
        train, test = (chosen(split, arguments.classes, inside=True) for split in (data.train, data.test))
        data = replace(data, train=train, test=test)
    settings = dict(SETTINGS.get(arguments.model, {}))
    if settings.get("likelihood") == "discretised":
        settings["levels"] = data.levels or 256
    model = generative.make_model(arguments.model, data.shape, seed=arguments.seed, **settings)
    data = data.suited(model)
    generative.fit(model, data, generative.FitSettings(steps=arguments.steps, seed=arguments.seed))
    generator = torch.Generator().manual_seed(arguments.seed)
    grey = replace(data, binarisation=None, support="unit")
    held_out = grey.examples("test", generator)
    half = len(held_out) // 2
    images = {"digits, trained on": grey.examples("train", generator), "digits, held out": held_out[half:]}
    if others is not None:
        images["digits of other classes"] = others.x.float() / ((data.levels or 256) - 1)
    images |= foreign(images["digits, held out"], data.levels or 256, generator)
    if model.support == "binary":
        images = {name: (torch.rand(x.shape, generator=generator) < x).float() for name, x in images.items()}
        held_out = (torch.rand(held_out.shape, generator=generator) < held_out).float()
    found = {name: scores(model, x, arguments.seed) for name, x in images.items()}
    usual, normal = scores(model, held_out[:half], arguments.seed).mean(), found["digits, held out"]
    return [
        {
            "images": name,
            "nats": float(score.mean()),
            "area_by_likelihood": area(normal, score),
            "area_by_typicality": area(-(normal - usual).abs(), -(score - usual).abs()),
        }
        for name, score in found.items()
    ]


def main() -> None:
    """Trains, prints the table and writes it."""
    arguments = tyro.cli(Arguments, description=__doc__)
    torch.set_num_threads(1)
    rows = measure(generative.load_data(arguments.data, arguments.data_dir), arguments)
    print(f"{'images':28} {'nats':>10}  area by likelihood  by typicality")
    for row in rows:
        areas = f"{row['area_by_likelihood']:18.3f}  {row['area_by_typicality']:13.3f}"
        print(f"{row['images']:28} {row['nats']:10.1f}  {areas}")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    told = {name: str(value) if isinstance(value, Path) else value for name, value in vars(arguments).items()}
    del told["out"], told["data_dir"]
    arguments.out.write_text(json.dumps({"settings": told, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
