"""Exemplar discriminators: a place is new where it is easily told from all that was seen before."""

from dataclasses import dataclass
from typing import ClassVar

import gymnasium
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vime.errors import InvalidSettings
from vime.features import mlp
from vime.learned import Encoded, LearnedSettings, Trainer, moves
from vime.normalise import Scaling
from vime.replay import Pool
from vime.saved import Saved
from vime.spaces import make_action_encoder
from vime.transitions import Transitions, map_observation


class Ex2(Saved):
    r"""Implicit novelty -log p of the successor, from one discriminator for all exemplars.

    .. math:: D(x, x^*) \approx P(x \text{ is the exemplar } x^*), \quad
        r_t = \max\Big(\log\frac{D(s_{t+1}, s_{t+1})}{1 - D(s_{t+1}, s_{t+1})} - b, 0\Big)

    The discriminator compares noisy codes of both; positives are exemplars beside themselves, negatives beside what
    the pool of past observations holds. The optimum has D / (1 - D) in proportion to 1 / p, up to a factor that grows
    as the discriminator sharpens; so b is the median of what the past itself would earn, and the bonus is zero where a
    place is no rarer than that.

    References: Fu, Co-Reyes and Levine 2017, "EX2: Exploration with exemplar models for deep reinforcement learning",
        arXiv:1703.01260, equations 3 and 4; the amortised, latent version of section 4.

    Differs from the paper: the level b, and nothing below it; positives and negatives come from fixed features (the
        space's numbers, or random convolutions).
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings(LearnedSettings):
        """Settings of the discriminator."""

        width: int = 16
        """Length of a code."""
        passes: int = 2
        """How many times a fit goes over the new successors."""
        learning_rate: float = 1e-3
        """Step size of Adam."""
        bottleneck: float = 0.01
        """Weight of the divergence of a code from N(0, 1): how smooth the implied density is."""
        capacity: int = 100_000
        """Observations kept as negatives; the oldest go first."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.width < 1 or self.capacity < 1:
                raise InvalidSettings(
                    f"`width` and `capacity` must be at least 1; got {self.width} and {self.capacity}."
                )
            if self.bottleneck < 0:
                raise InvalidSettings(f"`bottleneck` must not be negative; got {self.bottleneck}.")

    scaling: ClassVar[Scaling] = Scaling()
    parts = ("trainer", "pool", "usual")

    def __init__(
        self, observation_space: gymnasium.Space, action_space: gymnasium.Space, settings: Settings | None = None
    ) -> None:
        self.settings = s = settings or self.Settings()
        make_action_encoder(action_space)  # actions do not enter, but what nobody serves is refused
        generator = torch.Generator().manual_seed(s.seed)
        self.encoded = Encoded(observation_space, s.seed, s.encoder)
        self.coder = mlp((self.encoded.features, *s.hidden, 2 * s.width), generator)
        self.judge = mlp((2 * s.width, *s.hidden, 1), generator)
        self.trainer = Trainer({"encoded": self.encoded, "coder": self.coder, "judge": self.judge}, s)
        self.pool = Pool(s.capacity, {"features": self.encoded.features}, s.device)
        self.usual = 0.0
        """The median of what the past would earn, in nats."""

    def _code(self, x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n w"], Float[Tensor, "n w"]]:
        mean, log_std = self.coder(x).chunk(2, 1)
        return mean, log_std.clamp(-5, 2)

    def _compare(self, x: Float[Tensor, "n w"], exemplar: Float[Tensor, "n w"]) -> Float[Tensor, " n"]:
        return self.judge(torch.cat([(x - exemplar).square(), exemplar], 1)).squeeze(1)

    @torch.no_grad()
    def _novelty(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        code, _ = self._code(x)
        return self._compare(code, code)

    @torch.no_grad()
    def reward(self, batch: Transitions) -> Float[Tensor, "t b"]:
        """Returns the novelty of every successor, in nats."""
        novelty = self._novelty(self.encoded(moves(batch, self.settings.device).next_obs)) - self.usual
        return torch.where(batch.valid, novelty.clamp_min(0).cpu().view(batch.shape), 0.0)

    def observe(self, batch: Transitions) -> None:
        """Does nothing: the pool is fed by `learn`."""

    def learn(self, batch: Transitions) -> dict[str, float]:
        """Adds the successors to the pool and fits the discriminator to exemplars among them.

        Returns `discriminator_loss` (nats) and `divergence` (weighted).
        """
        data = map_observation(lambda x: x.flatten(0, 1).to(self.settings.device), batch.flat().next_obs)
        with torch.no_grad():
            rows = self.encoded.encoder.encode(data)
        self.pool.add({"features": rows})
        self.encoded.standardise.update(rows)
        rows = self.encoded.standardise(rows)

        def losses(index: Tensor) -> dict[str, Tensor]:
            past = self.encoded.standardise(self.pool.sample(len(index), self.trainer.generator)["features"])
            mean, log_std = self._code(torch.cat([rows[index], past]))
            std = log_std.exp()
            n = len(index)
            one, two = (mean[:n] + std[:n] * self.trainer.noise(n, self.settings.width) for _ in range(2))
            other = mean[n:] + std[n:] * self.trainer.noise(n, self.settings.width)
            loss = F.softplus(-self._compare(two, one)).mean() + F.softplus(self._compare(other, one)).mean()
            divergence = 0.5 * (mean.square() + std.square() - 1 - 2 * log_std).sum(1).mean()
            return {"discriminator_loss": 0.5 * loss, "divergence": self.settings.bottleneck * divergence}

        metrics = self.trainer.fit(len(rows), losses)
        past = self.pool.sample(len(rows), self.trainer.generator)["features"]
        self.usual = float(self._novelty(self.encoded.standardise(past)).median())
        return metrics
