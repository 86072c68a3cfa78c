"""Curiosity of the intrinsic curiosity module: surprise in features of what the agent controls."""

from dataclasses import dataclass
from typing import ClassVar

import gymnasium
import torch
from jaxtyping import Float
from torch import Tensor

from vime.inverse import InverseFeatures, InverseSettings
from vime.normalise import Scaling
from vime.saved import Saved
from vime.transitions import Transitions


class Icm(Saved):
    r"""Error of a forward model in features that are learned by guessing the action.

    .. math:: r_t = \tfrac12 \|\hat\phi(\phi(s_t), a_t) - \phi(s_{t+1})\|^2

    References: Pathak et al. 2017, "Curiosity-driven exploration by self-supervised prediction", arXiv:1705.05363,
        equation 6.

    Differs from the paper: continuous actions are guessed with squared error; the models learn from whole batches and
        not alongside the policy.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings(InverseSettings):
        """Settings of features, inverse and forward model."""

    scaling: ClassVar[Scaling] = Scaling()
    parts = ("features",)

    def __init__(
        self, observation_space: gymnasium.Space, action_space: gymnasium.Space, settings: Settings | None = None
    ) -> None:
        self.settings = settings or self.Settings()
        self.features = InverseFeatures(observation_space, action_space, self.settings, forward=True)

    def reward(self, batch: Transitions) -> Float[Tensor, "t b"]:
        """Returns the error of every transition, in squared deviations of a feature."""
        return torch.where(batch.valid, self.features.errors(batch).cpu(), 0.0)

    def observe(self, batch: Transitions) -> None:
        """Does nothing: there is no memory beside the models."""

    def learn(self, batch: Transitions) -> dict[str, float]:
        """Fits the models to the batch; returns `inverse_loss` and `forward_loss`."""
        return self.features.learn(batch)
