"""Random network distillation: novelty over the whole of training."""

from dataclasses import dataclass
from typing import ClassVar

import gymnasium
import torch
from jaxtyping import Float
from torch import Tensor

from vime.distillation import Distillation, DistillationSettings
from vime.episodic import flat_successors
from vime.normalise import Scaling
from vime.saved import Saved
from vime.spaces import make_action_encoder
from vime.transitions import Transitions


class Rnd(Saved):
    r"""Error of a network that learns to imitate a fixed random one; large where it has seen little.

    .. math:: r_t = \tfrac1d \|\hat f(s_{t+1}) - f(s_{t+1})\|^2

    References: Burda et al. 2018, "Exploration by random network distillation", arXiv:1810.12894.

    Differs from the paper: statistics start with the first batch and not with a random agent's steps; inputs are
        clipped at ten deviations, not five; the error is divided by the whole history of the bonus (see `Scaling`).
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings(DistillationSettings):
        """Settings of the two networks."""

    scaling: ClassVar[Scaling] = Scaling()
    parts = ("distillation",)

    def __init__(
        self, observation_space: gymnasium.Space, action_space: gymnasium.Space, settings: Settings | None = None
    ) -> None:
        self.settings = settings or self.Settings()
        make_action_encoder(action_space)  # refuses what no bonus serves
        self.distillation = Distillation(observation_space, self.settings)

    def reward(self, batch: Transitions) -> Float[Tensor, "t b"]:
        """Returns the squared error at the successor of every transition, averaged over the random features."""
        error = self.distillation.error(flat_successors(batch, self.settings.device))
        return torch.where(batch.valid, error.cpu().view(batch.shape), 0.0)

    def observe(self, batch: Transitions) -> None:
        """Advances the statistics by which observations are standardised."""
        if batch.valid.any():
            self.distillation.update(flat_successors(batch.flat(), self.settings.device))

    def learn(self, batch: Transitions) -> dict[str, float]:
        """Fits the predictor to the successors; returns `distillation_loss`."""
        return self.distillation.learn(flat_successors(batch.flat(), self.settings.device))
