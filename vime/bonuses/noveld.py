"""Steps from the familiar to the novel."""

from dataclasses import dataclass
from typing import ClassVar

import gymnasium
import torch
from jaxtyping import Float
from torch import Tensor

from vime.distillation import Distillation, DistillationSettings
from vime.episodic import flat_successors
from vime.errors import InvalidSettings
from vime.normalise import Scaling
from vime.saved import Saved
from vime.spaces import make_action_encoder
from vime.transitions import Transitions, map_observation
from vime.visits import Keys, Visits


class NovelD(Saved):
    r"""How much more novel the successor is than the state, on the first visit of the episode only.

    .. math:: r_t = \max(n(s_{t+1}) - \alpha\, n(s_t), 0) \cdot 1[N_{ep}(s_{t+1}) = 1], \qquad
        n(s) = \|\hat f(s) - f(s)\|

    `n` is the root of the error of `Rnd`. Visits are told apart exactly for images and discrete values; other numbers
    by cells of `cell` deviations, a grid that moves a little whenever the bonus learns. The first observation of an
    episode is no visit. Transitions that do not follow on each other (the minibatches of off-policy learning) each
    count as the first of an episode.

    References: Zhang et al. 2021, "NovelD: a simple yet effective exploration criterion", NeurIPS 34, equation 2.

    Differs from the paper: continuous observations have visits; the length is per feature (root of the mean square).
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings(DistillationSettings):
        """Settings of distillation and visits."""

        alpha: float = 0.5
        """Weight of the novelty of the state that is left."""
        cell: float = 0.5
        """Side of a cell in which continuous observations are one place, in deviations of the observation."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not 0 <= self.alpha <= 1:
                raise InvalidSettings(f"`alpha` must lie in 0 to 1; got {self.alpha}.")
            if not self.cell > 0:
                raise InvalidSettings(f"`cell` must be positive; got {self.cell}.")

    scaling: ClassVar[Scaling] = Scaling()
    parts = ("distillation", "keys", "visits")

    def __init__(
        self, observation_space: gymnasium.Space, action_space: gymnasium.Space, settings: Settings | None = None
    ) -> None:
        self.settings = s = settings or self.Settings()
        make_action_encoder(action_space)  # refuses what no bonus serves
        self.distillation = Distillation(observation_space, s)
        self.keys = Keys(observation_space, s.cell, s.seed, s.device)
        self.visits = Visits(s.device)

    def _visited(self, batch: Transitions) -> tuple[Tensor, Tensor, Tensor]:
        device = self.settings.device
        keys = self.keys(flat_successors(batch, device)).view(batch.shape)
        return keys, batch.begins.to(device), batch.valid.to(device)

    @torch.no_grad()
    def reward(self, batch: Transitions) -> Float[Tensor, "t b"]:
        """Returns the rise in novelty of every transition to a place new to its episode."""
        device = self.settings.device
        left = map_observation(lambda part: part.flatten(0, 1).to(device), batch.obs)
        before, after = (self.distillation.error(obs).sqrt() for obs in (left, flat_successors(batch, device)))
        rise = (after - self.settings.alpha * before).clamp_min(0).view(batch.shape)
        earned = torch.where(self.visits.count(*self._visited(batch)) == 1, rise, 0.0)
        return torch.where(batch.valid, earned.cpu(), 0.0)

    @torch.no_grad()
    def observe(self, batch: Transitions) -> None:
        """Counts the successors, and advances the statistics by which observations are standardised."""
        self.visits.advance(*self._visited(batch), batch.done[-1].to(self.settings.device))
        if batch.valid.any():
            self.distillation.update(flat_successors(batch.flat(), self.settings.device))

    def learn(self, batch: Transitions) -> dict[str, float]:
        """Fits the predictor to the successors; returns `distillation_loss`."""
        obs = flat_successors(batch.flat(), self.settings.device)
        self.keys.update(obs)
        return self.distillation.learn(obs)
