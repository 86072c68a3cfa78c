"""Random network distillation: how badly a trained network imitates a fixed random one."""

from dataclasses import dataclass
from typing import Any

import gymnasium
import torch
from jaxtyping import Float
from torch import Tensor

from vime.errors import InvalidSettings
from vime.features import FeatureNet
from vime.learned import LearnedSettings, Trainer
from vime.transitions import Observation, map_observation


@dataclass(frozen=True, kw_only=True)
class DistillationSettings(LearnedSettings):
    """Settings of the two networks and of their training."""

    width: int = 64
    """Length of the random features that are imitated."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width < 1:
            raise InvalidSettings(f"`width` must be at least 1; got {self.width}.")


class Distillation:
    r"""The error :math:`\|\hat f(o) - f(o)\|^2` of a predictor of fixed random features, averaged over the features.

    Arrays are standardised by their history and clipped, pixels divided by their largest value. The predictor has one
    hidden layer more than the target.

    References: Burda et al. 2018, "Exploration by random network distillation", arXiv:1810.12894, section 2.2.
    """

    def __init__(self, observation_space: gymnasium.Space, settings: DistillationSettings) -> None:
        self.settings = s = settings
        generator = torch.Generator().manual_seed(s.seed)
        self.target = FeatureNet(observation_space, s.width, generator, hidden=s.hidden).requires_grad_(False)
        self.predictor = FeatureNet(observation_space, s.width, generator, hidden=(*s.hidden, s.width))
        self.trainer = Trainer({"target": self.target, "predictor": self.predictor}, s)

    @torch.no_grad()
    def error(self, obs: Observation) -> Float[Tensor, " n"]:
        """Returns the error at `n` observations."""
        return (self.predictor.encode(obs) - self.target.encode(obs)).square().mean(1)

    def update(self, obs: Observation) -> None:
        """Advances the statistics by which both networks standardise their input."""
        self.target.update(obs)
        self.predictor.update(obs)

    def learn(self, obs: Observation) -> dict[str, float]:
        """Fits the predictor to `n` observations; returns `distillation_loss`."""
        goal = self.target.encode(obs)

        def losses(index: Tensor) -> dict[str, Tensor]:
            guess = self.predictor(map_observation(lambda part: part[index], obs))
            return {"distillation_loss": (guess - goal[index]).square().mean()}

        return self.trainer.fit(len(goal), losses)

    def state_dict(self) -> dict[str, Any]:
        """Networks, statistics, optimiser and generator."""
        return self.trainer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        self.trainer.load_state_dict(state)
