"""Generative intrinsic reward module: how badly a generative model of transitions rebuilds the successor."""

from dataclasses import dataclass
from typing import ClassVar

import gymnasium
import torch
from jaxtyping import Float
from torch import Tensor

from vime.actions import Actions
from vime.errors import InvalidSettings
from vime.features import Standardiser, mlp
from vime.learned import Encoded, LearnedSettings, Moves, Trainer, moves
from vime.normalise import Scaling
from vime.saved import Saved
from vime.transitions import Transitions


class Girm(Saved):
    r"""Error of a successor rebuilt from the action taken, mixed with the one that a variational encoder infers.

    .. math:: r_t = \tfrac{1}{2d} \|\hat x(s_t, \alpha a_t + (1 - \alpha) \hat a_t) - x_{t+1}\|^2, \quad
        \hat a_t = E[z],\ z \sim q(z \mid s_t, s_{t+1})

    Encoder and decoder minimise the rebuilding error of a sample z, its divergence from N(0, 1), and the error of z as
    a guess of the action. They see the standardised change of fixed features.

    References: Yu, Lyu and Tsang 2020, "Intrinsic reward driven imitation learning via generative model",
        arXiv:2006.15061, section 4.

    Written from descriptions of the method, not from its code.

    Differs from the paper: there the model is trained on demonstrations, here on the agent's own transitions, as
        exploration libraries do; the mixing weight is fixed.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings(LearnedSettings):
        """Settings of the generative model."""

        taken: float = 0.5
        """Share alpha of the action that was taken; the inferred one has the rest."""
        divergence_weight: float = 0.1
        """Weight of the divergence of z from N(0, 1)."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not 0 <= self.taken <= 1:
                raise InvalidSettings(f"`taken` must lie in [0, 1]; got {self.taken}.")
            if self.divergence_weight < 0:
                raise InvalidSettings(f"`divergence_weight` must not be negative; got {self.divergence_weight}.")

    scaling: ClassVar[Scaling] = Scaling()
    parts = ("trainer",)

    def __init__(
        self, observation_space: gymnasium.Space, action_space: gymnasium.Space, settings: Settings | None = None
    ) -> None:
        self.settings = s = settings or self.Settings()
        generator = torch.Generator().manual_seed(s.seed)
        self.encoded, self.actions = Encoded(observation_space, s.seed, s.encoder), Actions(action_space)
        d, a = self.encoded.features, self.actions.features
        self.changes = Standardiser(d)
        self.inference = mlp((2 * d, *s.hidden, 2 * a), generator)
        self.decoder = mlp((d + a, *s.hidden, d), generator)
        nets = {"encoded": self.encoded, "actions": self.actions, "changes": self.changes}
        self.trainer = Trainer(nets | {"inference": self.inference, "decoder": self.decoder}, s)

    def _inputs(self, data: Moves) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
        with torch.no_grad():
            change = self.encoded.encoder.encode(data.next_obs) - self.encoded.encoder.encode(data.obs)
            return self.encoded(data.obs), self.changes(change)

    def _infer(self, x: Tensor, change: Tensor) -> tuple[Float[Tensor, "n a"], Float[Tensor, "n a"]]:
        mean, spread = self.inference(torch.cat([x, change], 1)).chunk(2, 1)
        return mean, spread.clamp(-5, 2)

    @torch.no_grad()
    def reward(self, batch: Transitions) -> Float[Tensor, "t b"]:
        """Returns the error of every rebuilt successor, in variances of the features' change."""
        data = moves(batch, self.settings.device)
        x, change = self._inputs(data)
        guess = self.actions.likely(self._infer(x, change)[0])
        mixed = self.settings.taken * self.actions.encode(data.action) + (1 - self.settings.taken) * guess
        error = 0.5 * (self.decoder(torch.cat([x, mixed], 1)) - change).square().mean(1)
        return torch.where(batch.valid, error.cpu().view(batch.shape), 0.0)

    def observe(self, batch: Transitions) -> None:
        """Does nothing: there is no memory beside the model."""

    def learn(self, batch: Transitions) -> dict[str, float]:
        """Fits the model to the batch; returns `rebuilding_loss`, `divergence` (weighted) and `action_loss`."""
        data = moves(batch.flat(), self.settings.device)
        with torch.no_grad():
            before, after = (self.encoded.encoder.encode(part) for part in (data.obs, data.next_obs))
        self.encoded.standardise.update(before)
        self.changes.update(after - before)
        x, change = self.encoded.standardise(before), self.changes(after - before)
        return self.trainer.fit(len(x), lambda index: self._losses(x[index], change[index], data.action[index]))

    def _losses(self, x: Tensor, change: Tensor, action: Tensor) -> dict[str, Tensor]:
        mean, log_std = self._infer(x, change)
        z = mean + log_std.exp() * self.trainer.noise(*mean.shape)
        rebuilt = self.decoder(torch.cat([x, self.actions.likely(z)], 1))
        divergence = 0.5 * (mean.square() + (2 * log_std).exp() - 1 - 2 * log_std).sum(1).mean()
        return {
            "rebuilding_loss": 0.5 * (rebuilt - change).square().mean(),
            "divergence": self.settings.divergence_weight * divergence,
            "action_loss": self.actions.loss(mean, action).mean(),
        }
