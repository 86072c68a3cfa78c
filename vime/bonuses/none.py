"""The control: no bonus at all."""

from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium
import torch
from jaxtyping import Float
from torch import Tensor

from vime.normalise import Scaling
from vime.spaces import make_action_encoder, make_encoder
from vime.transitions import Transitions


class NoBonus:
    """Pays nothing and learns nothing: what every other bonus is compared with."""

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Accepted by every bonus; without effect here."""

        seed: int = 0
        device: str = "cpu"

    scaling: ClassVar[Scaling] = Scaling(rule="none", squash=False)

    def __init__(
        self, observation_space: gymnasium.Space, action_space: gymnasium.Space, settings: Settings | None = None
    ) -> None:
        self.settings = settings or self.Settings()
        make_encoder(observation_space)  # refuses what no bonus serves
        make_action_encoder(action_space)

    def reward(self, batch: Transitions) -> Float[Tensor, "t b"]:
        """Returns zeros."""
        return torch.zeros(batch.shape)

    def observe(self, batch: Transitions) -> None:
        """Does nothing."""

    def learn(self, batch: Transitions) -> dict[str, float]:
        """Does nothing; returns no metrics."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Empty."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Does nothing."""
