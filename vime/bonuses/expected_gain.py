"""Information that a transition was expected to give, before its outcome was known."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from vime.bonuses.vime import Vime
from vime.dynamics import Rows
from vime.information import expected_gain
from vime.normalise import Scaling


class ExpectedGain(Vime):
    """Nats that observation and action promised about the weights: 1/2 sum log(1 + epistemic / noise variance).

    The same model as `Vime`, asked before the fact: the outcome does not enter, so unpredictable noise earns nothing
    once its variance is learned. The epistemic variance comes from the network's moments, without sampling.

    References: MacKay 1992, "Information-based objective functions for active data selection"; Sukhija et al. 2023,
        "Optimistic active exploration of dynamical systems", arXiv:2306.12371, equation 7.
    """

    scaling: ClassVar[Scaling] = Scaling()

    def gain(self, rows: Rows) -> Float[Tensor, " n"]:
        """Returns the expected gain of standardised rows, in nats."""
        _, variance = self.model.network.moments(rows.inputs)
        return expected_gain(variance, self.model.network.noise_variance)
