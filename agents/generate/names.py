"""The generative models with a recipe for each data set, importable without torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

DATA: Mapping[str, str] = MappingProxyType(
    {
        "digits": "scikit-learn's digits: 8x8, 17 grey levels, 1,297 to train with and 500 to test; needs no files",
        "mnist": "28x28, grey, 60,000 and 10,000; read from the four original files in --data-dir",
        "mnist-14": "the same at 14x14, each pixel the mean of four, at a quarter of the cost",
        "cifar10": "32x32, in colour, 50,000 and 10,000; read from the original files in --data-dir",
    }
)
"""Name -> line about every data set that a run can be of."""

FEW, MANY = "digits", ("mnist", "mnist-14")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a model is trained on one data set unless told otherwise."""

    steps: int
    """Rounds of training."""
    batch_size: int = 128
    """Examples in a minibatch."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of the model, where they differ from its own defaults."""
    samples: int = 100
    """Codes of each test datum, for a bound of the likelihood."""
    examples: int | None = None
    """Test data that the likelihood is taken of; all unless given."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One model: what it is, and its plans."""

    summary: str
    """One line for a list."""
    figures: tuple[str, ...]
    """What it is measured by; the first is what it is known for."""
    few: Plan
    """For the digits: a minute or two on one core."""
    many: Plan
    """For MNIST and CIFAR-10: settings like the paper's."""
    coloured: Mapping[str, Any] = field(default_factory=dict)
    """What CIFAR-10 changes in the settings of `many`."""

    def plan(self, data: str) -> Plan:
        """Returns the plan for a data set."""
        if data == FEW:
            return self.few
        if data in MANY:
            return self.many
        return replace(self.many, settings={**self.many.settings, **self.coloured})


SAMPLES = ("score", "frechet", "classes")
LIKELIHOOD = ("nats", "bits_per_dim")
GREYS = {"likelihood": "discretised", "levels": 17}
COLOURS = {"likelihood": "discretised", "levels": 256}


def _adam(rate: float, first: float = 0.5, **more: Any) -> dict[str, Any]:
    return {"rate": rate, "betas": [first, 0.999], **more}


def _falling(rate: float, **more: Any) -> dict[str, Any]:
    return {"optimiser": {"rate": rate, "decay": "cosine", **more}}


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "gan": Recipe(
            summary="generator against discriminator, fully connected (Goodfellow et al. 2014)",
            figures=SAMPLES,
            few=Plan(
                steps=3000,
                batch_size=64,
                settings={
                    "noise": 0.3,
                    "minibatch_kernels": 8,
                    "generator": _adam(3e-4),
                    "discriminator": _adam(3e-4),
                },
            ),
            many=Plan(  # with less noise the discriminator is certain at once, and the generator stays lost
                steps=50_000,
                settings={"hidden": [512, 512], "noise": 0.8, "real_target": 0.9, "minibatch_kernels": 16},
            ),
        ),
        "dcgan": Recipe(
            summary="the same of convolutions (Radford et al. 2015)",
            figures=SAMPLES,
            few=Plan(steps=2000, batch_size=64, settings={"channels": 32, "noise": 0.2}),
            many=Plan(steps=12_000),
        ),
        "lapgan": Recipe(
            summary="GANs on the scales of an image, from coarse to fine (Denton et al. 2015)",
            figures=SAMPLES,
            few=Plan(
                steps=1200,
                batch_size=64,
                settings={
                    "channels": 24,
                    "dropout": 0.2,
                    "base": {"minibatch_kernels": 8, "noise": 0.2},
                    "discriminator": _adam(1e-3),
                    "generator": _adam(5e-4),
                },
            ),
            many=Plan(
                steps=20_000,
                settings={
                    "base": {
                        "latent": 100,
                        "hidden": [512, 512],
                        "noise": 0.6,
                        "real_target": 0.9,
                        "minibatch_kernels": 8,
                    },
                },
            ),
        ),
        "semi-supervised-gan": Recipe(
            summary="a classifier from few labels, matched features, ensembles (Salimans et al. 2016)",
            figures=("error_rate", "errors"),
            few=Plan(
                steps=3000,
                batch_size=64,
                settings={
                    "hidden": [256, 128, 64],
                    "noise": 0.15,
                    "hidden_noise": 0.3,
                    "latent": 32,
                    "generator_hidden": [128, 128],
                },
            ),
            many=Plan(steps=180_000, batch_size=100),
        ),
        "infogan": Recipe(
            summary="classes and directions found without labels (Chen et al. 2016)",
            figures=("clustering_error", "mutual_information", "information"),
            few=Plan(steps=2500, batch_size=64, settings={"channels": 24, "hidden": 128, "latent": 10}),
            many=Plan(  # half as wide as published: a quarter of the work
                steps=5000,
                settings={
                    "channels": 32,
                    "hidden": 512,
                    "agreement": 1.0,
                    "discriminator": _adam(2e-4, decay="linear", decay_from=0.5),
                    "generator": _adam(1e-3, decay="linear", decay_from=0.5),
                },
            ),
        ),
        "vae": Recipe(
            summary="variational autoencoder (Kingma and Welling 2014)",
            figures=LIKELIHOOD,
            few=Plan(steps=3000, settings={**GREYS, "latent": 16, "hidden": [256, 256], **_falling(1e-3)}),
            many=Plan(steps=150_000, settings=_falling(1e-3)),
            coloured=COLOURS,
        ),
        "iwae": Recipe(
            summary="the same with the importance-weighted bound (Burda et al. 2016)",
            figures=LIKELIHOOD,
            few=Plan(
                steps=2000,
                settings={**GREYS, "latent": 16, "hidden": [256, 256], "samples": 8, **_falling(1e-3)},
            ),
            many=Plan(steps=150_000, settings={"latent": 50, "hidden": [200, 200], **_falling(1e-3)}),
            coloured=COLOURS,
        ),
        "iaf-vae": Recipe(
            summary="the same with an inverse autoregressive posterior (Kingma et al. 2016)",
            figures=LIKELIHOOD,
            few=Plan(
                steps=2500,
                settings={**GREYS, "latent": 16, "hidden": [256, 256], "flow_hidden": [64, 64], **_falling(1e-3)},
            ),
            many=Plan(steps=150_000, settings=_falling(1e-3)),
            coloured=COLOURS,
        ),
        "resnet-vae": Recipe(
            summary="a hierarchy of convolutional codes with free bits (Kingma et al. 2016)",
            figures=LIKELIHOOD,
            few=Plan(
                steps=1500,
                batch_size=64,
                settings={**GREYS, "depth": 2, "filters": 32, "latent": 8, "flow_hidden": [32]},
                samples=50,
            ),
            many=Plan(steps=50_000, batch_size=64, samples=20, examples=500),
            coloured=COLOURS,
        ),
        "helmholtz": Recipe(
            summary="the VAE's networks taught by wake and sleep (Dayan et al. 1995)",
            figures=LIKELIHOOD,
            few=Plan(steps=3000, settings={**GREYS, "latent": 16, "hidden": [256, 256], **_falling(1e-3)}),
            many=Plan(steps=150_000, settings=_falling(1e-3)),
            coloured=COLOURS,
        ),
        "made": Recipe(
            summary="masked autoencoder: exact likelihoods in one pass (Germain et al. 2015)",
            figures=LIKELIHOOD,
            few=Plan(steps=1500, settings={**GREYS, "hidden": [256, 256], **_falling(1e-3)}),
            many=Plan(steps=50_000, batch_size=100, settings=_falling(1e-3)),
            coloured=COLOURS,
        ),
        "pixelcnn": Recipe(
            summary="an image pixel by pixel, gated, no blind spot (van den Oord et al. 2016)",
            figures=LIKELIHOOD,
            few=Plan(
                steps=500,
                batch_size=64,
                settings={**GREYS, "filters": 32, "blocks": 3, "kernel": 3, "components": 5, "dropout": 0.3},
            ),
            many=Plan(steps=100_000, batch_size=64),
            coloured=COLOURS,
        ),
    }
)
"""Name -> recipe of every generative model."""
