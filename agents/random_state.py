"""The generators that SB3 draws from, and the exploration noise that it has drawn already."""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from agents.encoding import decode, encode
from agents.environment_state import load_space, save_space

NOISE = ("exploration_mat", "exploration_matrices")


def save_volatile(model: BaseAlgorithm) -> dict[str, Any]:
    """Returns what the start of `learn` moves: generators, action noise and the matrices of state-dependent noise."""
    return {
        "python": encode(random.getstate()),
        "numpy": encode(np.random.get_state(legacy=False)),  # noqa: NPY002 - the generator that SB3 draws from
        "torch": torch.get_rng_state(),
        "cuda": [s.cpu() for s in torch.cuda.get_rng_state_all()] if torch.cuda.is_initialized() else [],
        "actions": save_space(model.action_space),
        "action_noise": [encode(noise.noise_prev) for noise in _noises(model) if hasattr(noise, "noise_prev")],
        "matrices": [{k: encode(getattr(d, k)) for k in NOISE if hasattr(d, k)} for d in _distributions(model)],
    }


def load_volatile(model: BaseAlgorithm, state: Mapping[str, Any]) -> None:
    """Sets back what `save_volatile` returned.

    Raises:
        ValueError: it is of another shape.
    """
    random.setstate(decode(state["python"]))
    np.random.set_state(decode(state["numpy"]))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    load_space(model.action_space, state["actions"])
    noises = [noise for noise in _noises(model) if hasattr(noise, "noise_prev")]
    for noise, saved in zip(noises, state["action_noise"], strict=True):
        noise.noise_prev = decode(saved)
    for distribution, saved in zip(_distributions(model), state["matrices"], strict=True):
        for name, value in saved.items():
            setattr(distribution, name, value.to(model.device))


def _noises(model: BaseAlgorithm) -> list[Any]:
    noise = model.action_noise
    return [] if noise is None else list(getattr(noise, "noises", [noise]))


def _distributions(model: BaseAlgorithm) -> list[Any]:
    owners: tuple[Any, ...] = (model.policy, getattr(model, "actor", None))
    return [owner.action_dist for owner in owners if hasattr(owner, "action_dist")]
