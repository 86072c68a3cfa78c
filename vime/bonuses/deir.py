"""Discriminative episodic novelty: distance from what the episode saw, in features that tell true steps from false."""

from dataclasses import dataclass
from typing import ClassVar

import gymnasium
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vime.actions import Actions
from vime.errors import InvalidSettings
from vime.features import FeatureNet, mlp
from vime.learned import LearnedSettings, Moves, Trainer, moves
from vime.normalise import Scaling
from vime.pairs import PairMemory
from vime.saved import Saved
from vime.transitions import Transitions


class Deir(Saved):
    r"""Episodic novelty, discounted where the way there was as new as the place itself.

    .. math:: r_t = \min_{i \le t} \frac{\|e_{t+1} - e_i\|^2}{\|h_t - h_{i-1}\| + \epsilon}

    e are the features of the observations of the episode so far, h those of its history; here h is e (and zero before
    the first observation), as in the release without its recurrent network. With `conditional=False` the bonus is the
    plain distance to the nearest. The features come from a discriminator that tells the true successor of an
    observation and action from another observation. Transitions that do not follow on each other (the minibatches of
    off-policy learning) each count as the first of an episode.

    References: Wan et al. 2023, "DEIR: Efficient and robust exploration through discriminative-model-based episodic
        intrinsic rewards", arXiv:2304.10770, equation 4.

    Differs from the paper: no recurrent network; false successors come from the same batch and
        not from a queue of novel observations; an episode remembers its last `memory` steps.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings(LearnedSettings):
        """Settings of features, discriminator and memory."""

        width: int = 32
        """Length of a feature vector."""
        memory: int = 1024
        """Steps of the running episode that are remembered."""
        conditional: bool = True
        """Divide by how far apart the ways were."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.width < 2 or self.memory < 1:
                raise InvalidSettings(
                    f"`width` must be at least 2 and `memory` at least 1; got {self.width} and {self.memory}."
                )

    scaling: ClassVar[Scaling] = Scaling()
    parts = ("trainer", "memory")

    def __init__(
        self, observation_space: gymnasium.Space, action_space: gymnasium.Space, settings: Settings | None = None
    ) -> None:
        self.settings = s = settings or self.Settings()
        generator = torch.Generator().manual_seed(s.seed)
        self.net = FeatureNet(observation_space, s.width, generator, hidden=s.hidden, encoder=s.encoder)
        self.actions = Actions(action_space)
        self.judge = mlp((2 * s.width + self.actions.features, *s.hidden, 1), generator)
        self.trainer = Trainer({"features": self.net, "actions": self.actions, "judge": self.judge}, s)
        self.memory = PairMemory(s.width, s.memory, s.device)

    def _embed(self, batch: Transitions) -> tuple[Float[Tensor, "t b w"], Float[Tensor, "t b w"]]:
        data = moves(batch, self.settings.device)
        valid = batch.valid.to(self.settings.device).unsqueeze(-1)
        scale = self.settings.width**-0.5
        before, after = (
            torch.where(valid, self.net.encode(part).view(*batch.shape, -1) * scale, 0.0)
            for part in (data.obs, data.next_obs)
        )
        return before, after

    @torch.no_grad()
    def reward(self, batch: Transitions) -> Float[Tensor, "t b"]:
        """Returns the novelty of every successor within its episode."""
        parts = (*self._embed(batch), batch.begins, batch.valid)
        novelty = self.memory.ask(*parts, conditional=self.settings.conditional)
        return torch.where(batch.valid, novelty.cpu(), 0.0)

    @torch.no_grad()
    def observe(self, batch: Transitions) -> None:
        """Takes the batch into the memory of each environment."""
        self.memory.advance(*self._embed(batch), batch.begins, batch.valid, batch.done[-1])

    def learn(self, batch: Transitions) -> dict[str, float]:
        """Fits features and discriminator to the batch; returns `discriminator_loss`, in nats."""
        data = moves(batch.flat(), self.settings.device)
        self.net.update(data.obs)
        ready = Moves(self.net.prepare(data.obs), self.actions.encode(data.action), self.net.prepare(data.next_obs))
        return self.trainer.fit(len(ready.action), lambda index: self._losses(ready.take(index)))

    def _losses(self, ready: Moves) -> dict[str, Tensor]:
        before, after = self.net.run_both(ready.obs, ready.next_obs)
        other = after.roll(1, 0)  # the minibatch is in random order
        differs = (other - after).detach().abs().sum(1) > 0
        true, false = (self.judge(torch.cat([before, x, ready.action], 1)).squeeze(1) for x in (after, other))
        loss = F.softplus(-true).mean() + (F.softplus(false) * differs).sum() / differs.sum().clamp_min(1)
        return {"discriminator_loss": 0.5 * loss}
