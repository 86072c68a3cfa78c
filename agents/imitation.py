"""Learning from an expert's steps and no reward: a discriminator of a GAN says how much like the expert's each step is.

`docs/bonuses.md` has an example.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import gymnasium
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from generative.gan_losses import discriminator_loss
from vime.actions import Actions
from vime.errors import InvalidData, InvalidSettings
from vime.features import FeatureNet, mlp
from vime.learned import LearnedSettings, Moves, Trainer, moves
from vime.normalise import Scaling
from vime.saved import Saved
from vime.transitions import Transitions


class Imitation(Saved):
    r"""How much more likely a step is the expert's than the agent's, as a bonus for `agents.attach`.

    .. math:: r_t = -\log(1 - D(s_t, a_t)) \quad \text{(gail)} \qquad
        r_t = \log D(s_t, a_t) - \log(1 - D(s_t, a_t)) \quad \text{(logit)}

    The discriminator D is that of a GAN whose generator is the policy; it learns from the agent's latest steps and as
    many of the expert's. `gail` is never negative, so the agent lives as long as it can; `logit` may make it end an
    episode early. Neither matters where all episodes are equally long.

    Args:
        observation_space: of a single environment.
        action_space: of a single environment.
        expert: transitions to be imitated; `demonstrations` makes them. Kept out of what is saved.
        settings: of the discriminator and its training.

    References: Ho and Ermon 2016, "Generative adversarial imitation learning", arXiv:1606.03476, algorithm 1; Fu et al.
        2018, "Learning robust rewards with adversarial inverse reinforcement learning", arXiv:1710.11248 (`logit`).

    Differs from the papers: PPO or another learner of Stable-Baselines3 instead of TRPO; a penalty on the slope of D
        (Gulrajani et al. 2017, towards nothing instead of one) keeps it from being sure.

    Raises:
        InvalidData: the expert shows no transition, or observations or actions of another shape.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings(LearnedSettings):
        """Settings of the discriminator."""

        passes: int = 4
        width: int = 64
        """Length of the features of an observation."""
        reward: Literal["gail", "logit"] = "gail"
        """Which of the two rewards."""
        penalty: float = 1.0
        """Weight of the squared slope of the discriminator's logit for its input, between the expert and the agent."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.reward not in ("gail", "logit"):
                raise InvalidSettings(f"`reward` must be gail or logit; got {self.reward!r}.")
            if self.width < 1 or self.penalty < 0:
                raise InvalidSettings(
                    f"`width` must be positive and `penalty` not negative; got {self.width} and {self.penalty}."
                )

    scaling: ClassVar[Scaling] = Scaling(rule="none", squash=False, unit=1.0)
    parts = ("trainer",)

    def __init__(
        self,
        observation_space: gymnasium.Space,
        action_space: gymnasium.Space,
        expert: Transitions,
        settings: Settings | None = None,
    ) -> None:
        self.settings = s = settings or self.Settings()
        generator = torch.Generator().manual_seed(s.seed)
        self.actions = Actions(action_space)
        self.net = FeatureNet(observation_space, s.width, generator, hidden=s.hidden, encoder=s.encoder)
        self.head = nn.Sequential(nn.ReLU(), mlp((s.width + self.actions.features, s.width, 1), generator))
        nets = {"features": self.net, "actions": self.actions, "head": self.head}
        self.trainer = Trainer(nets, s)
        if not expert.valid.any():
            raise InvalidData("The expert shows no transition; there is nothing to imitate.")
        self.expert = moves(expert.flat(), s.device)
        try:
            self.net.update(self.expert.obs)
            self._logits(self.expert.take(torch.zeros(1, dtype=torch.int64)))
        except (RuntimeError, InvalidData) as error:
            raise InvalidData(f"The expert's steps are of another task: {str(error).splitlines()[0]}") from error

    def _logits(self, data: Moves) -> Float[Tensor, " n"]:
        return self._judge(self.net(data.obs), self.actions.encode(data.action))

    def _judge(self, features: Tensor, action: Tensor) -> Float[Tensor, " n"]:
        return self.head(torch.cat([features, action], 1)).squeeze(1)

    @torch.no_grad()
    def reward(self, batch: Transitions) -> Float[Tensor, "t b"]:
        """Returns how much like the expert's every step is, in nats."""
        logits = self._logits(moves(batch, self.settings.device))
        worth = F.softplus(logits) if self.settings.reward == "gail" else logits
        return torch.where(batch.valid, worth.cpu().view(batch.shape), 0.0)

    def observe(self, batch: Transitions) -> None:
        """Does nothing: observations are standardised by those of the expert."""

    def learn(self, batch: Transitions) -> dict[str, float]:
        """Fits the discriminator; returns `game`, nats, `slope`, and how often it is right of either: `accuracy`."""
        agent = moves(batch.flat(), self.settings.device)
        shown = len(self.expert.action)

        def losses(index: Tensor) -> dict[str, Tensor]:
            chosen = torch.randint(shown, (len(index),), generator=self.trainer.generator, device=self.settings.device)
            pairs = [self._entering(self.expert.take(chosen)), self._entering(agent.take(index))]
            real, fake = (self._judge(*pair) for pair in pairs)
            return {"game": discriminator_loss("non-saturating", real, fake), "slope": self._slope(*pairs)}

        found = self.trainer.fit(len(agent.action), losses)
        with torch.no_grad():
            right = (self._logits(agent) < 0).float().mean() + (self._logits(self.expert) > 0).float().mean()
        return found | {"accuracy": float(right) / 2}

    def _entering(self, data: Moves) -> tuple[Tensor, Tensor]:
        return self.net(data.obs), self.actions.encode(data.action)

    def _slope(self, real: tuple[Tensor, Tensor], fake: tuple[Tensor, Tensor]) -> Float[Tensor, ""]:
        """Returns the weighted squared slope of the logit for features and action, half way at random."""
        share = torch.rand(len(real[0]), 1, generator=self.trainer.generator, device=self.settings.device)
        between = [(share * r + (1 - share) * f).detach().requires_grad_() for r, f in zip(real, fake, strict=True)]
        slopes = torch.autograd.grad(self._judge(*between).sum(), between, create_graph=True)
        return self.settings.penalty * torch.cat(slopes, 1).square().sum(1).mean()
