"""A quick exploration; and a world that is known exactly: positions move by their actions, doubt grows to the right."""

from typing import Any

import pytest
import torch

from agents.planning.settings import PlannerSettings
from vime.members import Members

CAR = "MountainCarContinuous-v0"
QUICK: dict[str, Any] = {
    "planner": PlannerSettings(horizon=8, candidates=12, iterations=1, elites=4),
    "model_settings": {"hidden": [16]},
    "warm_up": 6,
    "updates": 3,
    "fit_every": 5,
}


def line(members: int = 4, d: int = 2, doubt: float = 0.0, noise: float = 0.01) -> Members:
    """Members for which the state moves by a tenth of the action; they differ by `doubt` times the state."""
    weight = torch.zeros(members, 2 * d, d)
    weight[:, d:] = 0.1 * torch.eye(d)
    signs = torch.linspace(-1, 1, members).view(-1, 1, 1)
    weight[:, :d] = doubt * signs * torch.eye(d)
    return Members(
        weights=(weight,),
        biases=(torch.zeros(members, 1, d),),
        activation="relu",
        input_centre=torch.zeros(2 * d),
        input_spread=torch.ones(2 * d),
        target_centre=torch.zeros(d),
        target_spread=torch.ones(d),
        noise=torch.full((d,), noise),
        noise_floor=0.01,
        change=True,
    )


@pytest.fixture
def known() -> Members:
    return line()


@pytest.fixture
def doubtful() -> Members:
    return line(doubt=0.1)
