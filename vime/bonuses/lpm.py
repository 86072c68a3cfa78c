"""Learning-progress monitoring: what the model has lately learned to predict."""

from dataclasses import dataclass
from typing import ClassVar

import gymnasium
import torch
from jaxtyping import Float
from torch import Tensor

from vime.actions import Actions
from vime.errors import InvalidSettings
from vime.features import Standardiser, mlp
from vime.learned import Encoded, LearnedSettings, Trainer, moves
from vime.normalise import Scaling
from vime.replay import Pool
from vime.saved import Saved
from vime.transitions import Transitions

SMALLEST = 1e-2  # added to a squared error, in variances of the change: nothing counts as learned below it


class Lpm(Saved):
    r"""How much smaller the error of a forward model is than that of its former self was expected to be.

    .. math:: r_t = g(s_t, a_t) - \epsilon_t, \qquad
        \epsilon_t = \log \tfrac1d \|\hat f(s_t, a_t) - (\phi(s_{t+1}) - \phi(s_t))\|^2

    A queue holds the log errors of the last `queue` transitions as they were when they were met; the error model `g` is
    fitted to it, and so tells what the model was expected to get wrong before its latest fits. Noise, which no fit
    removes, cancels and earns zero on average; what was learned earns its gain. The reward may be negative. Nothing is
    paid before the first fit and before the queue is full.

    References: Hou, An and Du 2025, "Beyond noisy-TVs: noise-robust exploration via learning progress monitoring",
        arXiv:2509.25438 (ICLR 2026), section 4.

    Differs from the paper: `f` predicts the standardised change of fixed features and not pixels; the reward is not
        squashed, which would cut its negative half and so pay for noise.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings(LearnedSettings):
        """Settings of both models."""

        capacity: int = 100_000
        """Transitions kept for fitting; the oldest go first."""
        queue: int = 4000
        """Errors kept for the error model: the longer, the older the self that the model is compared with."""

        def __post_init__(self) -> None:
            super().__post_init__()
            for name in ("capacity", "queue"):
                if getattr(self, name) < 1:
                    raise InvalidSettings(f"`{name}` must be at least 1; got {getattr(self, name)}.")

    scaling: ClassVar[Scaling] = Scaling(squash=False)
    parts = ("trainer", "judge", "pool", "queue")

    def __init__(
        self, observation_space: gymnasium.Space, action_space: gymnasium.Space, settings: Settings | None = None
    ) -> None:
        self.settings = s = settings or self.Settings()
        generator = torch.Generator().manual_seed(s.seed)
        self.encoded, self.actions = Encoded(observation_space, s.seed, s.encoder), Actions(action_space)
        features, actions = self.encoded.features, self.actions.features
        self.dynamics = mlp((features + actions, *s.hidden, features), generator)
        self.expected = mlp((features + actions, *s.hidden, 1), generator)
        self.changes = Standardiser(features)
        frozen = {"encoded": self.encoded, "actions": self.actions, "changes": self.changes}
        self.trainer = Trainer({**frozen, "dynamics": self.dynamics}, s)
        self.judge = Trainer({"expected": self.expected}, s)
        self.pool = Pool(s.capacity, {"obs": features, "action": actions, "change": features}, s.device)
        self.queue = Pool(s.queue, {"obs": features, "action": actions, "error": 1}, s.device)

    def _inputs(self, obs: Float[Tensor, "n d"], action: Float[Tensor, "n a"]) -> Float[Tensor, "n i"]:
        return torch.cat([self.encoded.standardise(obs), action], 1)

    def _errors(self, rows: dict[str, Tensor]) -> Float[Tensor, "n 1"]:
        gap = self.dynamics(self._inputs(rows["obs"], rows["action"])) - self.changes(rows["change"])
        return (gap.square().mean(1, keepdim=True) + SMALLEST).log()

    def _columns(self, batch: Transitions) -> dict[str, Tensor]:
        data = moves(batch, self.settings.device)
        obs, after = (self.encoded.encoder.encode(part) for part in (data.obs, data.next_obs))
        return {"obs": obs, "action": self.actions.encode(data.action), "change": after - obs}

    @torch.no_grad()
    def reward(self, batch: Transitions) -> Float[Tensor, "t b"]:
        """Returns the progress at every transition, in nats of squared error; negative where the model got worse."""
        if not len(self.pool) or len(self.queue) < self.settings.queue:
            return torch.zeros(batch.shape)
        rows = self._columns(batch)
        progress = self.expected(self._inputs(rows["obs"], rows["action"])) - self._errors(rows)
        return torch.where(batch.valid, progress.cpu().view(batch.shape), 0.0)

    @torch.no_grad()
    def observe(self, batch: Transitions) -> None:
        """Notes how wrong the model is about the batch."""
        if batch.valid.any():
            rows = self._columns(batch.flat())
            self.queue.add({"obs": rows["obs"], "action": rows["action"], "error": self._errors(rows)})

    @torch.no_grad()
    def learn(self, batch: Transitions) -> dict[str, float]:
        """Fits the model to as many rows of the pool as came, and the error model to as many as the queue holds.

        Returns `forward_loss` and `error_loss`.
        """
        rows = self._columns(batch.flat())
        self.pool.add(rows)
        self.encoded.standardise.update(rows["obs"])
        self.changes.update(rows["change"])

        def forward_loss(index: Tensor) -> dict[str, Tensor]:
            part = self.pool.sample(len(index), self.trainer.generator)
            guess = self.dynamics(self._inputs(part["obs"], part["action"]))
            return {"forward_loss": (guess - self.changes(part["change"])).square().mean()}

        def error_loss(index: Tensor) -> dict[str, Tensor]:
            part = self.queue.sample(len(index), self.judge.generator)
            guess = self.expected(self._inputs(part["obs"], part["action"]))
            return {"error_loss": (guess - part["error"]).square().mean()}

        metrics = self.trainer.fit(len(rows["obs"]), forward_loss)
        return metrics | self.judge.fit(len(self.queue), error_loss)
