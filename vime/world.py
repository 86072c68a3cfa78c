"""World models: what a planner and an expected gain need of a model of the environment, and the table of names."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import gymnasium
import torch
from jaxtyping import Float
from torch import Tensor

from vime.bayesian import BayesianDynamics, BayesianSettings
from vime.deep_ensemble import EnsembleDynamics, EnsembleSettings
from vime.dynamics import DynamicsModel, DynamicsSettings, Rows
from vime.errors import build_settings, choose
from vime.last_layer import LastLayerDynamics, LastLayerSettings
from vime.members import Members, Prediction
from vime.replay import Pool
from vime.transitions import Observation, Transitions


@runtime_checkable
class WorldModel(Protocol):
    """A model that predicts what an action leads to, and knows how far it is to be trusted.

    Its states are features of observations. Tensors alone go in and out, on the model's device.
    """

    features: int
    """Numbers in a state."""
    actions: int
    """Numbers in an encoded action."""

    @property
    def settings(self) -> DynamicsSettings:
        """How it learns; its `device` is where tensors go in and out."""
        ...

    @property
    def pool(self) -> Pool:
        """The rows that it learns from."""
        ...

    def encode(self, obs: Observation) -> Float[Tensor, "n d"]:
        """Returns the states of `n` observations."""
        ...

    def encode_action(self, action: Tensor) -> Float[Tensor, "n a"]:
        """Returns what stands for `n` actions of the environment."""
        ...

    def members(self, generator: torch.Generator | None = None, samples: int = 10) -> Members:
        """Returns the networks to imagine with, as the model now is."""
        ...

    def predict(
        self, obs: Observation, action: Tensor, samples: int = 10, generator: torch.Generator | None = None
    ) -> Prediction:
        """Returns what every member predicts for `n` observations and actions of the environment."""
        ...

    def step(self, obs: Observation, action: Tensor, generator: torch.Generator | None = None) -> Float[Tensor, "n d"]:
        """Returns a sample of the next state for each of `n` rows: member and noise are drawn."""
        ...

    def rows(self, batch: Transitions) -> Rows:
        """Returns the transitions of a batch as rows of the pool."""
        ...

    def add(self, rows: Rows) -> None:
        """Takes rows into the statistics and the pool."""
        ...

    def fit(self, budget: int | None = None) -> dict[str, float]:
        """Takes `budget` gradient steps on the pool; returns metrics."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that the future depends on, as tensors and plain Python values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        ...


WORLDS: Mapping[str, tuple[type[DynamicsModel], type[DynamicsSettings]]] = {
    "ensemble": (EnsembleDynamics, EnsembleSettings),
    "bayesian": (BayesianDynamics, BayesianSettings),
    "last-layer": (LastLayerDynamics, LastLayerSettings),
}
"""Name -> class and settings of every kind of model."""


def make_world(
    name: str, observation_space: gymnasium.Space, action_space: gymnasium.Space, **settings: Any
) -> DynamicsModel:
    """Returns the world model `name` for the spaces of one environment.

    Args:
        name: an entry of `WORLDS`.
        settings: fields of its settings dataclass, for example `seed`, `device`, `hidden`.

    Raises:
        UnknownName: no model is named so; the nearest is suggested.
        InvalidSettings: a setting is unknown or out of range.
        UnsupportedSpace: the model cannot serve a space.
    """
    cls, known = choose("world model", name, WORLDS)
    return cls(observation_space, action_space, build_settings(f"The world model {name!r}", known, settings))
