"""Information gain about a Bayesian model of the environment, realised by each transition."""

from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium
import torch
from jaxtyping import Float
from torch import Tensor

from vime.bayesian import BayesianDynamics, BayesianSettings
from vime.dynamics import Rows
from vime.errors import InvalidSettings
from vime.information import expected_gain, realised_gain
from vime.normalise import Scaling
from vime.saved import Saved
from vime.transitions import Transitions

METRIC_ROWS = 1024  # rows of a batch that the metrics look at


class Informed(Saved):
    """Nats about the weights of a Bayesian network that models the environment; what counts them is a bonus's own."""

    settings: Any
    parts = ("model", "observed")

    def __init__(
        self, observation_space: gymnasium.Space, action_space: gymnasium.Space, settings: BayesianSettings
    ) -> None:
        self.settings = settings
        self.model = BayesianDynamics(observation_space, action_space, settings)
        self.observed = 0

    def gain(self, rows: Rows) -> Float[Tensor, " n"]:
        """Returns the gain of standardised rows, in nats."""
        raise NotImplementedError

    @torch.no_grad()
    def reward(self, batch: Transitions) -> Float[Tensor, "t b"]:
        """Returns the gain of every transition, in nats."""
        gain = self.gain(self.model.standardise(self.model.rows(batch)))
        return torch.where(batch.valid, gain.cpu().view(batch.shape), 0.0)

    def observe(self, batch: Transitions) -> None:
        """Moves on to fresh posterior draws."""
        self.observed += 1

    @torch.no_grad()
    def learn(self, batch: Transitions) -> dict[str, float]:
        """Adds the batch to the pool and fits the model to it.

        Returns `model_error` (squared error of the mean prediction, before the fit, over the variance of the target),
        `predicted_gain` and `realised_gain` (nats per transition, before the fit), `loss`, `posterior_std`,
        `noise_std`.
        """
        rows = self.model.rows(batch.flat())
        seen = self.model.standardise(Rows(*(part[:: -(-len(part) // METRIC_ROWS)] for part in rows)))
        mean, variance = self.model.network.moments(seen.inputs)
        metrics = {
            "model_error": float((mean - seen.targets).square().mean()),
            "predicted_gain": float(expected_gain(variance, self.model.network.noise_variance).mean()),
            "realised_gain": float(self.gain(seen).mean()),
        }
        self.model.add(rows)
        return metrics | self.model.fit()


class Vime(Informed):
    """Nats that a transition tells about the weights of a Bayesian network that models the environment.

    The network predicts the standardised change of the features with learned noise, by an evidence lower bound whose
    divergence is weighted by minibatch over data. The gain is the second-order one of `information.realised_gain`, of
    one full Newton step.

    References: Houthooft et al. 2016, "VIME: Variational information maximizing exploration", arXiv:1605.09674.

    Differs from the paper: see `FaithfulVime` for the published recipe. This one weighs the bound correctly, learns
    the noise, predicts changes, starts with narrow posteriors and a draw per row, scores true successors at the end of
    an episode, and is scaled by the whole history of the bonus, so that it fades.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings(BayesianSettings):
        """Settings of the model, and of the gain."""

        samples: int = 1
        """Posterior draws per transition over which the slope is averaged."""
        step_size: float = 1.0
        """Length lambda of the Newton step; 1 is the whole step."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.samples < 1:
                raise InvalidSettings(f"`samples` must be at least 1; got {self.samples}.")
            if not self.step_size > 0:
                raise InvalidSettings(f"`step_size` must be positive; got {self.step_size}.")

    scaling: ClassVar[Scaling] = Scaling()

    def __init__(
        self, observation_space: gymnasium.Space, action_space: gymnasium.Space, settings: Settings | None = None
    ) -> None:
        super().__init__(observation_space, action_space, settings or self.Settings())

    def gain(self, rows: Rows) -> Float[Tensor, " n"]:
        """Returns the gain of standardised rows, in nats; the draws follow from seed and batches observed."""
        seed = (self.settings.seed << 32) + self.observed
        return realised_gain(
            self.model.network,
            rows.inputs,
            rows.targets,
            samples=self.settings.samples,
            step_size=self.settings.step_size,
            generator=torch.Generator(self.settings.device).manual_seed(seed),
        )
