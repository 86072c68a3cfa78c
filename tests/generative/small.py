"""Every model in a size for tests, and the data it is tried on."""

from typing import Any

import torch

from generative import Dataset, Model, fit, make_model
from generative.training import FitSettings

SMALL: dict[str, dict[str, Any]] = {
    "gan": {
        "latent": 8,
        "hidden": [64, 64],
        "game": "hinge",
        "noise": 0.3,
        "minibatch_kernels": 2,
        "historical_averaging": 1e-3,
        "generator": {"rate": 3e-3, "betas": [0.5, 0.99]},
        "discriminator": {"rate": 3e-3, "betas": [0.5, 0.99]},
    },
    "dcgan": {
        "latent": 16,
        "channels": 16,
        "discriminator": {"rate": 1e-3, "betas": [0.5, 0.99]},
        "generator": {"rate": 1e-3, "betas": [0.5, 0.99]},
    },
    "infogan": {"latent": 16, "channels": 16, "hidden": 64, "code_hidden": 32, "noise": 0.0},
    "lapgan": {
        "channels": 16,
        "dropout": 0.2,
        "game": "hinge",
        "base": {
            "latent": 8,
            "hidden": [64, 64],
            "game": "hinge",
            "noise": 0.3,
            "minibatch_kernels": 2,
            "historical_averaging": 1e-3,
            "generator": {"rate": 3e-3, "betas": [0.5, 0.99]},
            "discriminator": {"rate": 3e-3, "betas": [0.5, 0.99]},
        },
        "generator": {"rate": 3e-3, "betas": [0.5, 0.99]},
        "discriminator": {"rate": 3e-3, "betas": [0.5, 0.99]},
    },
    "semi-supervised-gan": {
        "hidden": [64, 32],
        "noise": 0.15,
        "hidden_noise": 0.3,
        "latent": 20,
        "generator_hidden": [48],
    },
    "vae": {"latent": 4, "hidden": [32], "optimiser": {"rate": 3e-3}},
    "iwae": {"latent": 4, "hidden": [32], "samples": 5, "optimiser": {"rate": 3e-3}},
    "iaf-vae": {"latent": 8, "hidden": [32], "flow_hidden": [16, 16], "context": 8, "optimiser": {"rate": 3e-3}},
    "resnet-vae": {
        "depth": 2,
        "filters": 16,
        "latent": 4,
        "flow_hidden": [8],
        "free_bits": 1.0,
        "optimiser": {"rate": 1e-2},
    },
    "helmholtz": {"latent": 4, "hidden": [32], "optimiser": {"rate": 1e-2}},
    "made": {"hidden": [64], "masks": 2, "optimiser": {"rate": 3e-3}},
    "pixelcnn": {"filters": 8, "blocks": 2, "kernel": 3, "dropout": 0.1, "optimiser": {"rate": 3e-3}},
}
"""Settings of each entry of the table that keep the contract quick; a new model adds its line."""

LABELLED: set[str] = {"semi-supervised-gan"}
"""Models that learn from a few labels."""

STEPS = 150


def small(name: str, data: Dataset, seed: int = 0) -> Model:
    return make_model(name, data.shape, seed=seed, **SMALL[name])


def data_for(name: str, data: Dataset) -> Dataset:
    labelled = data.with_labels(10, seed=0) if name in LABELLED else data
    return labelled.suited(small(name, data))


def settings(steps: int, **changes: Any) -> FitSettings:
    base: dict[str, Any] = {"batch_size": 32, "report_every": 10, "save_every": 20, "average": 0.9}
    return FitSettings(steps=steps, **(base | changes))


def trained(name: str, data: Dataset, steps: int = STEPS) -> tuple[Model, dict[str, float]]:
    model = small(name, data)
    return model, fit(model, data_for(name, data), settings(steps))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def weights(model: Model) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]
