"""Learning-progress monitoring: what the model has just learned to predict."""

from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium
import torch
from jaxtyping import Float
from torch import Tensor

from vime.errors import InvalidSettings
from vime.features import Actions, Standardiser, mlp
from vime.learned import Encoded, LearnedSettings, Trainer, moves
from vime.normalise import Scaling
from vime.replay import Pool
from vime.transitions import Transitions

SMALLEST = 1e-6  # added to a squared error before its logarithm is taken: nothing is learned below it


class Lpm:
    r"""How much smaller the error of a forward model is than that of the model before its last fit was expected to be.

    .. math:: r_t = g(s_t, a_t) - \epsilon_t, \qquad
        \epsilon_t = \log \tfrac1d \|\hat f(s_t, a_t) - (\phi(s_{t+1}) - \phi(s_t))\|^2

    The error model `g` is fitted to the log errors of `f` as it was before its last fit, so noise, which no fit
    removes, cancels and earns zero on average; what was learned earns its gain. The reward may be negative. Nothing is
    paid before the first fit.

    References: Hou, An and Du 2025, "Beyond noisy-TVs: noise-robust exploration via learning progress monitoring",
        arXiv:2509.25438 (ICLR 2026).

    Written from the paper's abstract and public summaries, not from its code.

    Differs from the paper: `f` predicts the standardised change of fixed features and not pixels; the errors that `g`
        learns are measured anew on the pool before every fit, where the paper keeps a queue of those met on the way;
        the reward is not squashed, which would cut its negative half and so pay for noise.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings(LearnedSettings):
        """Settings of both models."""

        capacity: int = 100_000
        """Transitions kept for fitting; the oldest go first."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.capacity < 1:
                raise InvalidSettings(f"`capacity` must be at least 1; got {self.capacity}.")

    scaling: ClassVar[Scaling] = Scaling(squash=False)

    def __init__(
        self, observation_space: gymnasium.Space, action_space: gymnasium.Space, settings: Settings | None = None
    ) -> None:
        self.settings = s = settings or self.Settings()
        generator = torch.Generator().manual_seed(s.seed)
        self.encoded, self.actions = Encoded(observation_space, s.seed), Actions(action_space)
        features, inputs = self.encoded.features, self.encoded.features + self.actions.features
        self.dynamics = mlp((inputs, *s.hidden, features), generator)
        self.expected = mlp((inputs, *s.hidden, 1), generator)
        self.changes = Standardiser(features)
        frozen = {"encoded": self.encoded, "actions": self.actions, "changes": self.changes}
        self.trainer = Trainer({**frozen, "dynamics": self.dynamics, "expected": self.expected}, s)
        self.pool = Pool(s.capacity, {"obs": features, "action": self.actions.features, "change": features}, s.device)
        self.fits = 0

    def _inputs(self, obs: Float[Tensor, "n d"], action: Float[Tensor, "n a"]) -> Float[Tensor, "n i"]:
        return torch.cat([self.encoded.standardise(obs), action], 1)

    def _log_error(self, x: Float[Tensor, "n i"], change: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        return ((self.dynamics(x) - self.changes(change)).square().mean(1) + SMALLEST).log()

    @torch.no_grad()
    def _columns(self, batch: Transitions) -> dict[str, Tensor]:
        data = moves(batch, self.settings.device)
        obs, after = (self.encoded.encoder.encode(part) for part in (data.obs, data.next_obs))
        return {"obs": obs, "action": self.actions.encode(data.action), "change": after - obs}

    @torch.no_grad()
    def reward(self, batch: Transitions) -> Float[Tensor, "t b"]:
        """Returns the progress at every transition, in nats of squared error; negative where the model got worse."""
        if self.fits == 0:
            return torch.zeros(batch.shape)
        rows = self._columns(batch)
        x = self._inputs(rows["obs"], rows["action"])
        progress = self.expected(x).squeeze(1) - self._log_error(x, rows["change"])
        return torch.where(batch.valid, progress.cpu().view(batch.shape), 0.0)

    def observe(self, batch: Transitions) -> None:
        """Does nothing: there is no memory beside the models."""

    def learn(self, batch: Transitions) -> dict[str, float]:
        """Measures the errors of the model as it is, fits it to the pool, and the error model to those errors.

        Returns `forward_loss` and `error_loss`.
        """
        rows = self._columns(batch.flat())
        self.encoded.standardise.update(rows["obs"])
        self.changes.update(rows["change"])
        self.pool.add(rows)
        n = len(rows["obs"])
        with torch.no_grad():
            drawn = self.pool.sample(n, self.trainer.generator)
            x = self._inputs(*(torch.cat([rows[name], drawn[name]]) for name in ("obs", "action")))
            met = self._log_error(x, torch.cat([rows["change"], drawn["change"]]))

        def forward_loss(index: Tensor) -> dict[str, Tensor]:
            part = self.pool.sample(len(index), self.trainer.generator)
            guess = self.dynamics(self._inputs(part["obs"], part["action"]))
            return {"forward_loss": (guess - self.changes(part["change"])).square().mean()}

        def error_loss(index: Tensor) -> dict[str, Tensor]:
            return {"error_loss": (self.expected(x[index]).squeeze(1) - met[index]).square().mean()}

        metrics = self.trainer.fit(n, forward_loss) | self.trainer.fit(len(x), error_loss)
        self.fits += 1
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """Models, statistics, pool, optimiser, generator, and the number of fits."""
        return {"trainer": self.trainer.state_dict(), "pool": self.pool.state_dict(), "fits": self.fits}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        self.trainer.load_state_dict(state["trainer"])
        self.pool.load_state_dict(state["pool"])
        self.fits = int(state["fits"])
