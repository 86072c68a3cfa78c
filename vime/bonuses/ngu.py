"""Never give up: novelty in the episode, modulated by novelty over the whole of training."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import gymnasium
import torch
from jaxtyping import Float
from torch import Tensor

from vime.bonuses.pseudo_counts import PseudoCounts
from vime.distillation import Distillation, DistillationSettings
from vime.episodic import flat_successors
from vime.errors import InvalidSettings
from vime.normalise import TINY, RunningMoments, Scaling
from vime.saved import Saved
from vime.transitions import Transitions


class Ngu(Saved):
    r"""Episodic pseudo-count times a lifelong modulator from random network distillation.

    .. math:: r_t = r_t^{ep} \cdot \min\{\max\{\alpha_t, 1\}, L\}, \qquad \alpha_t = 1 + \frac{e_t - \mu_e}{\sigma_e}

    :math:`r^{ep}` is `PseudoCounts`, :math:`e_t` the error of `Rnd`, its mean and deviation those of all errors so far.

    References: Badia et al. 2020, "Never give up: learning directed exploration strategies", arXiv:2002.06038,
        equation 1.

    Differs from the paper: as `PseudoCounts`; one discount and one weight, not a family of policies.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings(DistillationSettings):
        """Settings of distillation, memory and modulator; an inverse model of the features learns at its own pace."""

        features: Literal["random", "inverse"] = "random"
        """Of the pseudo-counts: fixed random ones, or those of an inverse model."""
        k: int = 10
        """How many neighbours are counted."""
        capacity: int = 1024
        """Steps of an episode that are remembered."""
        largest: float = 5.0
        """L: the largest factor of the modulator."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not self.largest >= 1:
                raise InvalidSettings(f"`largest` must be at least 1; got {self.largest}.")

    scaling: ClassVar[Scaling] = Scaling()
    parts = ("episodic", "distillation", "errors")

    def __init__(
        self, observation_space: gymnasium.Space, action_space: gymnasium.Space, settings: Settings | None = None
    ) -> None:
        self.settings = s = settings or self.Settings()
        names = ("features", "k", "capacity", "hidden", "seed", "device", "encoder")
        kernel = PseudoCounts.Settings(**{name: getattr(s, name) for name in names})
        self.episodic = PseudoCounts(observation_space, action_space, kernel)
        self.distillation = Distillation(observation_space, s)
        self.errors = RunningMoments((), s.device)

    def reward(self, batch: Transitions) -> Float[Tensor, "t b"]:
        """Returns the modulated pseudo-count bonus of every transition."""
        error = self.distillation.error(flat_successors(batch, self.settings.device)).double()
        above = (error - self.errors.mean) / self.errors.deviation.clamp_min(TINY)
        factor = (1 + above).clamp(1.0, self.settings.largest) if self.errors.count else torch.ones_like(error)
        return self.episodic.reward(batch) * factor.float().cpu().view(batch.shape)

    def observe(self, batch: Transitions) -> None:
        """Remembers the successors, and takes their errors into account."""
        if batch.valid.any():
            obs = flat_successors(batch.flat(), self.settings.device)
            self.errors.update(self.distillation.error(obs))
            self.distillation.update(obs)
        self.episodic.observe(batch)

    def learn(self, batch: Transitions) -> dict[str, float]:
        """Fits the predictor to the successors; returns `distillation_loss` and `distance`."""
        obs = flat_successors(batch.flat(), self.settings.device)
        return self.distillation.learn(obs) | self.episodic.learn(batch)
