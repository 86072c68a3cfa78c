"""Disagreement of an ensemble about what comes next."""

from dataclasses import dataclass
from typing import ClassVar

import gymnasium
import torch
from jaxtyping import Float
from torch import Tensor

from vime.actions import Actions
from vime.ensemble import EnsembleMLP
from vime.errors import InvalidSettings
from vime.features import Standardiser
from vime.learned import Encoded, LearnedSettings, Trainer, moves
from vime.normalise import Scaling
from vime.replay import Pool
from vime.saved import Saved
from vime.transitions import Transitions


class Disagreement(Saved):
    r"""Variance of the predictions of `m` forward models, which fades where they have data, noise or not.

    .. math:: r_t = \frac1d \sum_{j=1}^d \mathrm{Var}_m\big[\hat f_m(x_t, a_t)_j\big]

    The models predict the standardised change of fixed features. Each has its own bootstrap sample: every transition
    is drawn into a member's data with probability `share`, once and for good.

    References: Pathak et al. 2019, "Self-supervised exploration via disagreement", arXiv:1906.04161, equation 1.

    Differs from the paper: bootstrap samples and a pool of past transitions, where the paper's members differ only in
        their starting weights and see the latest rollout; the bonus is not differentiated.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings(LearnedSettings):
        """Settings of the ensemble."""

        members: int = 5
        """How many models."""
        share: float = 0.5
        """Probability that a transition belongs to a member's data."""
        capacity: int = 100_000
        """Transitions kept for fitting; the oldest go first."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.members < 2:
                raise InvalidSettings(f"It takes at least 2 `members` to disagree; got {self.members}.")
            if not 0 < self.share <= 1:
                raise InvalidSettings(f"`share` must lie in (0, 1]; got {self.share}.")

    scaling: ClassVar[Scaling] = Scaling()
    parts = ("trainer", "pool")

    def __init__(
        self, observation_space: gymnasium.Space, action_space: gymnasium.Space, settings: Settings | None = None
    ) -> None:
        self.settings = s = settings or self.Settings()
        generator = torch.Generator().manual_seed(s.seed)
        self.encoded, self.actions = Encoded(observation_space, s.seed, s.encoder), Actions(action_space)
        features, inputs = self.encoded.features, self.encoded.features + self.actions.features
        self.ensemble = EnsembleMLP(s.members, (inputs, *s.hidden, features), generator)
        self.changes = Standardiser(features)
        nets = {"encoded": self.encoded, "actions": self.actions, "ensemble": self.ensemble, "changes": self.changes}
        self.trainer = Trainer(nets, s)
        widths = {"obs": features, "action": self.actions.features, "change": features, "mask": s.members}
        self.pool = Pool(s.capacity, widths, s.device)

    @torch.no_grad()
    def reward(self, batch: Transitions) -> Float[Tensor, "t b"]:
        """Returns the variance of the predictions, averaged over the features, in variances of their change."""
        data = moves(batch, self.settings.device)
        guesses = self.ensemble(torch.cat([self.encoded(data.obs), self.actions.encode(data.action)], 1))
        return torch.where(batch.valid, guesses.var(0, correction=0).mean(1).cpu().view(batch.shape), 0.0)

    def observe(self, batch: Transitions) -> None:
        """Does nothing: there is no memory beside the models."""

    @torch.no_grad()
    def learn(self, batch: Transitions) -> dict[str, float]:
        """Adds the batch to the pool and fits every member to its share of it, in `passes` over as many rows as came.

        Returns `forward_loss`, summed over the members.
        """
        s = self.settings
        data = moves(batch.flat(), s.device)
        obs, after = (self.encoded.encoder.encode(part) for part in (data.obs, data.next_obs))
        n = len(obs)
        mask = (torch.rand(n, s.members, generator=self.trainer.generator, device=s.device) < s.share).float()
        self.pool.add({"obs": obs, "action": self.actions.encode(data.action), "change": after - obs, "mask": mask})
        self.encoded.standardise.update(obs)
        self.changes.update(after - obs)

        def losses(index: Tensor) -> dict[str, Tensor]:
            rows = self.pool.sample(len(index), self.trainer.generator)
            x = torch.cat([self.encoded.standardise(rows["obs"]), rows["action"]], 1)
            return {"forward_loss": self.ensemble.loss(x, self.changes(rows["change"]), rows["mask"]).sum()}

        return self.trainer.fit(n, losses)
