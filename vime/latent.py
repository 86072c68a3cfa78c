"""A world model that thinks in the features of an encoder which learns."""

from copy import deepcopy
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from jaxtyping import Float
from torch import Tensor

from vime.dynamics import DynamicsModel, DynamicsSettings, Rows
from vime.errors import InvalidData, InvalidSettings, UnsupportedSpace
from vime.members import Members, Prediction
from vime.replay import Pool
from vime.spaces import Encoder, make_action_encoder
from vime.transitions import Observation, Transitions, concatenate, map_observation
from vime.world import make_world


@runtime_checkable
class SavedEncoder(Encoder, Protocol):
    """An encoder whose state can be saved, and continues bit for bit."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that the future depends on, as tensors and plain Python values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Continues from a saved state, bit for bit."""
        ...


@runtime_checkable
class Decoder(Protocol):
    """Turns features back into observations."""

    def decode(self, features: Float[Tensor, "n d"]) -> Observation:
        """Returns the observations that `n` features stand for."""
        ...


class LatentWorld:
    """Any world model, in features that are learned from observations; itself a world model.

    The rows of a pool are features, and worth nothing once the encoder has moved. So the transitions are kept as they
    came as well, up to `kept` of them: `learn_features` trains the encoder on them, begins a fresh model and fills its
    pool with all of them in the new features. After `settle` they are dropped, and the features stay.

    Args:
        observation_space: of a single environment.
        action_space: of a single environment.
        encoder: turns observations into features, and learns; with `decode`, what is imagined can be looked at.
        world: the kind of model, from `vime.world.WORLDS`.
        kept: transitions that are kept as they came; the oldest batches go first.
        settings: of the model, as `hidden` or `seed`.

    Raises:
        UnknownName: there is no such kind of model.
        InvalidSettings: a setting is unknown or out of range, or the encoder cannot be saved.
        UnsupportedSpace: an action space that no model serves.
    """

    def __init__(
        self,
        observation_space: gymnasium.Space,
        action_space: gymnasium.Space,
        encoder: Encoder,
        world: str = "ensemble",
        kept: int = 20_000,
        **settings: Any,
    ) -> None:
        if not isinstance(encoder, SavedEncoder):
            raise InvalidSettings(
                "The encoder of a latent world has encode, fit, state_dict and load_state_dict; "
                f"{type(encoder).__name__} lacks some."
            )
        if kept < 1:
            raise InvalidSettings(f"`kept` must be at least 1; got {kept}.")
        self.observation_space, self.encoder, self.capacity = observation_space, encoder, kept
        self.features, self.actions = encoder.features, make_action_encoder(action_space).features
        space = spaces.Box(-np.inf, np.inf, (encoder.features,), np.float32)
        self._build = lambda: make_world(world, space, action_space, **settings)
        self.model: DynamicsModel = self._build()
        self.raw: list[Transitions] = []
        self.settled = False

    @property
    def settings(self) -> DynamicsSettings:
        """Those of the model."""
        return self.model.settings

    @property
    def pool(self) -> Pool:
        """The model's rows, in the present features."""
        return self.model.pool

    def observe(self, batch: Transitions) -> None:
        """Takes the valid transitions of a batch into the pool and, until `settle`, keeps them as they came."""
        batch = batch.flat().to("cpu")
        if not self.settled:
            self.raw.append(batch)
            while len(self.raw) > 1 and sum(part.shape[0] for part in self.raw[1:]) >= self.capacity:
                del self.raw[0]
        self.add(self.rows(batch))

    def learn_features(self, budget: int) -> dict[str, float]:
        """Trains the encoder for `budget` steps on what is kept, and begins a fresh model on it; returns metrics.

        Raises:
            InvalidData: nothing is kept: nothing was observed, or the features have settled.
        """
        if not self.raw:
            raise InvalidData(
                "There are no observations to learn features from: `observe` transitions first, before `settle`."
            )
        seen = concatenate(self.raw)
        found = self.encoder.fit(map_observation(lambda part: part.flatten(0, 1), seen.next_obs), budget)
        self.model = self._build()
        for batch in self.raw:
            self.add(self.rows(batch))
        return found

    def settle(self) -> None:
        """Drops what was kept: from now on the features stay as they are."""
        self.settled = True
        self.raw.clear()

    @torch.no_grad()
    def encode(self, obs: Observation) -> Float[Tensor, "n d"]:
        """Returns the states of `n` observations."""
        return self.encoder.encode(obs).to(self.model.settings.device)

    def decode(self, state: Float[Tensor, "n d"]) -> Observation:
        """Returns what is seen in `n` states.

        Raises:
            UnsupportedSpace: the encoder has no way back.
        """
        if not isinstance(self.encoder, Decoder):
            raise UnsupportedSpace(f"A {type(self.encoder).__name__} has no way back from features to observations.")
        return self.encoder.decode(state)

    def encode_action(self, action: Tensor) -> Float[Tensor, "n a"]:
        """Returns what stands for `n` actions of the environment."""
        return self.model.encode_action(action)

    def members(self, generator: torch.Generator | None = None, samples: int = 10) -> Members:
        """Returns the networks to imagine with, as the model now is."""
        return self.model.members(generator, samples)

    def predict(
        self, obs: Observation, action: Tensor, samples: int = 10, generator: torch.Generator | None = None
    ) -> Prediction:
        """Returns what every member predicts for the states after `n` observations and actions."""
        return self.model.predict(self.encode(obs), action, samples, generator)

    def step(self, obs: Observation, action: Tensor, generator: torch.Generator | None = None) -> Float[Tensor, "n d"]:
        """Returns a sample of the next state for each of `n` rows: member and noise are drawn."""
        return self.model.step(self.encode(obs), action, generator)

    def rows(self, batch: Transitions) -> Rows:
        """Returns the batch's `t * b` transitions as rows of the pool, in the present features."""
        t, b = batch.shape
        obs, next_obs = (
            self.encode(map_observation(lambda part: part.flatten(0, 1), o)).view(t, b, -1)
            for o in (batch.obs, batch.next_obs)
        )
        return self.model.rows(replace(batch, obs=obs, next_obs=next_obs))

    def add(self, rows: Rows) -> None:
        """Takes rows into the statistics and the pool."""
        self.model.add(rows)

    def fit(self, budget: int | None = None) -> dict[str, float]:
        """Takes `budget` gradient steps on the pool; returns metrics. The encoder stays as it is."""
        return self.model.fit(budget)

    def state_dict(self) -> dict[str, Any]:
        """Encoder, model, and what is kept."""
        return {
            "encoder": deepcopy(dict(self.encoder.state_dict())),
            "model": self.model.state_dict(),
            "raw": [dict(vars(batch)) for batch in self.raw],
            "settled": self.settled,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        self.encoder.load_state_dict(state["encoder"])
        self.model.load_state_dict(state["model"])
        self.raw = [Transitions(**batch) for batch in state["raw"]]
        self.settled = bool(state["settled"])
