"""Rényi entropy of the visited states, by nearest neighbours in random features."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from vime.bonuses.re3 import Re3
from vime.errors import InvalidSettings


class Rise(Re3):
    r"""A power of the distance to the k-th nearest successor: the share of a step in the Rényi entropy of the states.

    .. math:: r_t = \|y_t - y_t^{k\text{-NN}}\|_2^{1 - \alpha}

    Searched is what `Re3` searches; an order `alpha` near one comes near it.

    References: Yuan, Pun and Wang 2022, "Rényi state entropy maximization for exploration acceleration in reinforcement
        learning", IEEE Transactions on Artificial Intelligence; arXiv:2203.04297.

    Differs from the paper: random features and not those of a variational autoencoder; `k` is fixed and not searched.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings(Re3.Settings):
        """Settings of encoder, search and order."""

        alpha: float = 0.5
        """Order of the entropy, between 0 and 1: the smaller, the more the rarest states count."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not 0 < self.alpha < 1:
                raise InvalidSettings(f"`alpha` must lie between 0 and 1; got {self.alpha}.")

    def _pay(self, distances: Float[Tensor, "t b"]) -> Float[Tensor, "t b"]:
        return distances ** (1 - self.settings.alpha)
