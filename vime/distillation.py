"""Random network distillation: how badly a trained network imitates a fixed random one."""

from dataclasses import dataclass

import gymnasium
import torch
from jaxtyping import Float
from torch import Tensor

from vime.errors import InvalidSettings
from vime.features import FeatureNet, regress
from vime.learned import LearnedSettings, Trainer
from vime.saved import Saved
from vime.transitions import Observation, map_observation


@dataclass(frozen=True, kw_only=True)
class DistillationSettings(LearnedSettings):
    """Settings of the two networks and of their training."""

    width: int = 64
    """Length of the random features that are imitated."""
    minibatch: int = 512
    """Transitions per gradient step."""
    learning_rate: float = 4e-3
    """Step size of Adam."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width < 1:
            raise InvalidSettings(f"`width` must be at least 1; got {self.width}.")


class Distillation(Saved):
    r"""The error :math:`\|\hat f(o) - f(o)\|^2` of a predictor of fixed random features, averaged over the features.

    Arrays are standardised by their history and clipped, pixels divided by their largest value. The predictor has one
    hidden layer more than the target.

    References: Burda et al. 2018, "Exploration by random network distillation", arXiv:1810.12894, section 2.2.
    """

    parts = ("trainer",)

    def __init__(self, observation_space: gymnasium.Space, settings: DistillationSettings) -> None:
        self.settings = s = settings
        generator = torch.Generator().manual_seed(s.seed)
        deeper = (*s.hidden, s.width)
        self.target = FeatureNet(observation_space, s.width, generator, hidden=s.hidden, encoder=s.encoder)
        self.predictor = FeatureNet(observation_space, s.width, generator, hidden=deeper, encoder=s.encoder)
        self.target.freeze()
        self.trainer = Trainer({"target": self.target, "predictor": self.predictor}, s)

    @torch.no_grad()
    def error(self, obs: Observation) -> Float[Tensor, " n"]:
        """Returns the error at `n` observations."""
        prepared = self.predictor.prepare(obs)
        return (self.predictor.apply_to(prepared) - self.target.apply_to(prepared)).square().mean(1)

    def update(self, obs: Observation) -> None:
        """Advances the statistics by which the input of both networks is standardised."""
        self.predictor.update(obs)

    def learn(self, obs: Observation) -> dict[str, float]:
        """Fits the predictor to `n` observations; returns `distillation_loss`."""
        prepared = self.predictor.prepare(obs)
        goal = self.target.apply_to(prepared)

        def losses(index: Tensor) -> dict[str, Tensor]:
            guess = self.predictor.run(map_observation(lambda part: part[index], prepared))
            return {"distillation_loss": (guess - goal[index]).square().mean()}

        def regression(index: Tensor) -> tuple[dict[str, Tensor], list[Tensor]]:
            rows, wanted = (part.index_select(0, index) for part in (prepared, goal))  # type: ignore[union-attr]
            loss, slopes = regress(self.predictor.head, rows, wanted)
            return {"distillation_loss": loss}, slopes

        if self.predictor.images:  # their convolutions are left to autograd
            return self.trainer.fit(len(goal), losses)
        return self.trainer.descend(len(goal), regression)
