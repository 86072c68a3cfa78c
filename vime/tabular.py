"""An exact model of a world of few states: counts of what followed, and what they leave to learn."""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vime.errors import InvalidData, InvalidSettings

PRIOR = 0.005
"""Counts, over all successors, that a belief begins with: worlds are held deterministic until they show otherwise."""


class DirichletModel:
    r"""For every state and action a Dirichlet belief about which state follows; all that a Bayesian would know.

    With alpha the counts (the prior's share in them), alpha_0 their sum, p = alpha / alpha_0 and psi the digamma
    function, the next outcome is expected to tell

    .. math:: I = \sum_i p_i \big( \psi(\alpha_i + 1) - \psi(\alpha_0 + 1) - \log p_i \big)

    nats about the probabilities, and an outcome i did tell the term in brackets.

    Memory and time grow with what was seen, and with states times actions; never with the square of the states.

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
        self.states, self.actions, self.prior = states, actions, prior
        self.visits = torch.zeros(states, actions, dtype=torch.float64, device=device)
        """How often every action was taken in every state."""
        self.ended = torch.zeros(states, dtype=torch.bool, device=device)
        """Where an episode has ended."""
        # every successor that was seen: the place of state and action among all, its own number, and how often
        self._place, self._following = (torch.zeros(0, dtype=torch.long, device=device) for _ in range(2))
        self._times = torch.zeros(0, dtype=torch.float64, device=device)

    @property
    def counts(self) -> Float[Tensor, "s a s"]:
        """The counts of every successor, the prior's share in them; a whole table."""
        seen = torch.full((self.states * self.actions, self.states), self.prior, dtype=torch.float64)
        seen = seen.to(self.visits.device).index_put_((self._place, self._following), self._times, accumulate=True)
        return seen.view(self.states, self.actions, self.states)

    @property
    def _total(self) -> Float[Tensor, " sa"]:
        return self.visits.flatten() + self.prior * self.states

    def told(
        self, state: Int[Tensor, " n"], action: Int[Tensor, " n"], following: Int[Tensor, " n"]
    ) -> Float[Tensor, " n"]:
        """Returns the nats that each outcome would tell: the divergence of the belief after it from that before.

        Raises:
            InvalidData: a state or an action is none of those that the table has.
        """
        self._check(state, action, following)
        place = state * self.actions + action
        known, wanted = self._place * self.states + self._following, place * self.states + following
        times = torch.zeros(len(place), dtype=torch.float64, device=self.visits.device)
        if len(known):
            at = torch.searchsorted(known, wanted).clamp_max(len(known) - 1)
            times = torch.where(known[at] == wanted, self._times[at], 0.0)
        return _told(self.prior + times, self._total[place])

    def expected_gain(self) -> Float[Tensor, "s a"]:
        """Returns the nats that every action is expected to tell in every state."""
        total = self._total
        kinds = torch.zeros_like(total).index_add_(0, self._place, torch.ones_like(self._times))
        prior = torch.full_like(total, self.prior)
        unseen = (self.states - kinds) * prior / total * _told(prior, total)
        alpha, whole = self.prior + self._times, total[self._place]
        return unseen.index_add_(0, self._place, alpha / whole * _told(alpha, whole)).view_as(self.visits)

    def observe(
        self,
        state: Int[Tensor, " n"],
        action: Int[Tensor, " n"],
        following: Int[Tensor, " n"],
        terminated: Bool[Tensor, " n"] | None = None,
    ) -> None:
        """Counts `n` transitions, and notes which of them ended an episode by the rules of the world.

        Raises:
            InvalidData: a state or an action is none of those that the table has; then nothing is counted.
        """
        self._check(state, action, following)
        ones = torch.ones(len(state), dtype=torch.float64, device=self.visits.device)
        self.visits.index_put_((state, action), ones, accumulate=True)
        place = torch.cat([self._place, state * self.actions + action])
        keys = place * self.states + torch.cat([self._following, following])
        known, which = keys.unique(return_inverse=True)
        times = torch.zeros(len(known), dtype=torch.float64, device=self.visits.device)
        self._times = times.index_add_(0, which, torch.cat([self._times, ones]))
        self._place, self._following = known // self.states, known % self.states
        if terminated is not None:
            self.ended[following[terminated]] = True

    def _check(self, *parts: Int[Tensor, " n"]) -> None:
        sizes = {"state": self.states, "action": self.actions, "next state": self.states}
        for (name, size), part in zip(sizes.items(), parts, strict=True):
            wrong = part[(part < 0) | (part >= size)]
            if len(wrong):
                raise InvalidData(f"The {name} {int(wrong[0])} is none of the table's, which are 0 to {size - 1}.")

    def values(self, reward: Float[Tensor, "s a"], horizon: int, discount: float = 1.0) -> Float[Tensor, "s a"]:
        """Returns what every action is worth over `horizon` steps, by dynamic programming on the mean.

        Where an episode has ended, and nothing was ever done, nothing can be had.
        """
        over = (self.ended & (self.visits.sum(1) == 0)).unsqueeze(1)
        value = reward = reward.masked_fill(over, 0.0)
        for _ in range(horizon - 1):
            best = value.amax(1)
            expected = (self.prior * best.sum()).expand(self.visits.numel()).clone()
            expected.index_add_(0, self._place, self._times * best[self._following]).div_(self._total)
            value = (reward + discount * expected.view_as(reward)).masked_fill(over, 0.0)
        return value

    def state_dict(self) -> dict[str, Any]:
        """What was counted, and where episodes ended."""
        seen = {"place": self._place, "following": self._following, "times": self._times}
        return {name: part.clone() for name, part in (seen | {"visits": self.visits, "ended": self.ended}).items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from saved counts.

        Raises:
            KeyError, RuntimeError: they are of another kind or shape.
        """
        self.visits.copy_(state["visits"])
        self.ended.copy_(state["ended"])
        self._place, self._following, self._times = (
            state[name].to(self.visits.device).clone() for name in ("place", "following", "times")
        )


def _told(alpha: Float[Tensor, " n"], total: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    return torch.digamma(alpha + 1) - torch.digamma(total + 1) - (alpha / total).log()
