"""An exact model of a world of few states: counts of what followed, and what they leave to learn."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vime.errors import InvalidSettings

PRIOR = 0.005
"""Counts, over all successors, that a belief begins with: worlds are held deterministic until they show otherwise."""


class DirichletModel:
    r"""For every state and action a Dirichlet belief about which state follows; all that a Bayesian would know.

    With alpha the counts (the prior's share in them), alpha_0 their sum, p = alpha / alpha_0 and psi the digamma
    function, the next outcome is expected to tell

    .. math:: I = \sum_i p_i \big( \psi(\alpha_i + 1) - \psi(\alpha_0 + 1) - \log p_i \big)

    nats about the probabilities, and an outcome i did tell the term in brackets.

    Args:
        states: how many there are.
        actions: how many there are.
        prior: counts of every successor before anything was seen, all together `PRIOR` unless given; the smaller, the
            more a world is believed to repeat itself, and the sooner one visit settles a matter.

    Raises:
        InvalidSettings: a number is not positive.
    """

    def __init__(self, states: int, actions: int, prior: float | None = None, device: str = "cpu") -> None:
        prior = PRIOR / max(states, 1) if prior is None else prior
        if states < 1 or actions < 1 or not prior > 0:
            raise InvalidSettings(
                f"`states`, `actions` and `prior` must be positive; got {states}, {actions} and {prior}."
            )
        self.counts = torch.full((states, actions, states), prior, dtype=torch.float64, device=device)
        self.prior = prior

    @property
    def visits(self) -> Float[Tensor, "s a"]:
        """How often every action was taken in every state."""
        return (self.counts - self.prior).sum(2)

    @property
    def mean(self) -> Float[Tensor, "s a s"]:
        """Expected probability of every successor."""
        return self.counts / self.counts.sum(2, keepdim=True)

    def told(self) -> Float[Tensor, "s a s"]:
        """Returns the nats that every outcome would tell: the divergence of the belief after it from that before."""
        total = self.counts.sum(2, keepdim=True)
        return torch.digamma(self.counts + 1) - torch.digamma(total + 1) - (self.counts / total).log()

    def expected_gain(self) -> Float[Tensor, "s a"]:
        """Returns the nats that every action is expected to tell in every state."""
        return (self.mean * self.told()).sum(2)

    def observe(self, state: Int[Tensor, " n"], action: Int[Tensor, " n"], following: Int[Tensor, " n"]) -> None:
        """Counts `n` transitions."""
        ones = torch.ones(len(state), dtype=self.counts.dtype, device=self.counts.device)
        self.counts.index_put_((state, action, following), ones, accumulate=True)

    def values(self, reward: Float[Tensor, "s a"], horizon: int, discount: float = 1.0) -> Float[Tensor, "s a"]:
        """Returns what every action is worth over `horizon` steps, by dynamic programming on the mean."""
        mean, value = self.mean, reward
        for _ in range(horizon - 1):
            value = reward + discount * mean @ value.amax(1)
        return value

    def state_dict(self) -> dict[str, Any]:
        """The counts."""
        return {"counts": self.counts.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from saved counts.

        Raises:
            RuntimeError: they are of another shape.
        """
        self.counts.copy_(state["counts"])
