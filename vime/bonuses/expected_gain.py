"""Information that a transition was expected to give, before its outcome was known."""

from typing import ClassVar

import gymnasium
from jaxtyping import Float
from torch import Tensor

from vime.bayesian import BayesianSettings
from vime.bonuses.vime import Informed
from vime.dynamics import Rows
from vime.information import expected_gain
from vime.normalise import Scaling


class ExpectedGain(Informed):
    """Nats that observation and action promised about the weights: 1/2 sum log(1 + epistemic / noise variance).

    The same model as that of `Vime`, asked before the fact: the outcome does not enter, so unpredictable noise earns
    nothing once its variance is learned. The epistemic variance comes from the network's moments, without sampling.

    References: MacKay 1992, "Information-based objective functions for active data selection"; Sukhija et al. 2023,
        "Optimistic active exploration of dynamical systems", arXiv:2306.12371, equation 7.
    """

    Settings: ClassVar[type] = BayesianSettings
    scaling: ClassVar[Scaling] = Scaling()

    def __init__(
        self,
        observation_space: gymnasium.Space,
        action_space: gymnasium.Space,
        settings: BayesianSettings | None = None,
    ) -> None:
        super().__init__(observation_space, action_space, settings or BayesianSettings())

    def gain(self, rows: Rows) -> Float[Tensor, " n"]:
        """Returns the expected gain of standardised rows, in nats; nothing is drawn for it."""
        _, variance = self.model.network.moments(rows.inputs)
        return expected_gain(variance, self.model.network.noise_variance)
