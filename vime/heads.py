"""What a transition pays and whether it ends the episode, learned: what a model of states alone cannot tell."""

from abc import abstractmethod
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from vime.dynamics import spread_of, standardise_by
from vime.ensemble import EnsembleMLP
from vime.errors import InvalidData, InvalidSettings
from vime.normalise import RunningMoments
from vime.replay import Pool


@dataclass(frozen=True, kw_only=True)
class HeadSettings:
    """Settings of a head and of its training."""

    hidden: tuple[int, ...] = (64, 64)
    """Width of each hidden layer."""
    updates: int = 200
    """Gradient steps at every fit."""
    minibatch: int = 256
    """Transitions per gradient step."""
    learning_rate: float = 1e-3
    """Step size of Adam."""
    weight_decay: float = 0.1
    """Pull of the weights to zero, in each step, in step sizes: a policy soon goes where the head has seen nothing."""
    capacity: int = 100_000
    """Transitions kept for fitting; the oldest go first."""
    seed: int = 0
    """Seed of everything random in the head."""
    device: str = "cpu"
    """Where the head lives."""

    def __post_init__(self) -> None:
        for name in ("updates", "minibatch", "capacity"):
            if getattr(self, name) < 1:
                raise InvalidSettings(f"`{name}` must be at least 1; got {getattr(self, name)}.")
        if not self.learning_rate > 0:
            raise InvalidSettings(f"`learning_rate` must be positive; got {self.learning_rate}.")
        if not self.weight_decay >= 0:
            raise InvalidSettings(f"`weight_decay` must not be negative; got {self.weight_decay}.")
        if any(width < 1 for width in self.hidden):
            raise InvalidSettings(f"Every entry of `hidden` must be at least 1; got {self.hidden}.")


class Head:
    """A small network from what a transition is, or from where it led alone, to one number; what all heads share.

    Args:
        features: numbers in a state.
        actions: numbers in an encoded action.
        settings: of the network and its training.
    """

    next_alone = False
    """Whether the next state is all that it sees."""

    def __init__(self, features: int, actions: int, settings: HeadSettings | None = None) -> None:
        self.settings = s = settings or HeadSettings()
        inputs = features if self.next_alone else 2 * features + actions
        generator = torch.Generator().manual_seed(s.seed)
        self.network = EnsembleMLP(1, (inputs, *s.hidden, 1), generator, "silu").to(s.device)
        decay = {"lr": s.learning_rate, "weight_decay": s.weight_decay, "fused": True}
        self.optimiser = torch.optim.AdamW(self.network.parameters(), **decay)
        self.moments = RunningMoments((inputs,), s.device)
        self.pool = Pool(s.capacity, {"inputs": inputs, "value": 1}, s.device)
        self.generator = torch.Generator(s.device).manual_seed(s.seed + 1)

    def add(
        self,
        state: Float[Tensor, "n d"],
        action: Float[Tensor, "n a"],
        following: Float[Tensor, "n d"],
        value: Tensor,
    ) -> None:
        """Takes `n` transitions, and what the environment said of them, into the statistics and the pool.

        Raises:
            InvalidData: a number is not finite; then nothing was stored.
        """
        inputs = self._inputs(state, action, following).to(self.settings.device)
        self.pool.add({"inputs": inputs, "value": value.to(inputs).view(-1, 1)})
        self.moments.update(inputs)

    def fit(self, budget: int | None = None) -> dict[str, float]:
        """Takes `budget` gradient steps on minibatches of the pool; returns metrics.

        Raises:
            InvalidData: the pool is empty.
        """
        if len(self.pool) == 0:
            raise InvalidData("The pool is empty: add transitions before fitting a head to it.")
        stored = self.pool.rows()
        inputs, loss = standardise_by(stored["inputs"], self.moments), None
        value = self._prepare(stored["value"][:, 0])
        for _ in range(self.settings.updates if budget is None else budget):
            index = self._draw(value)
            with torch.enable_grad():
                loss = self._loss(self.network(inputs[index])[0, :, 0], value[index])
                self.optimiser.zero_grad()
                loss.backward()
            self.optimiser.step()
        return {} if loss is None else {"loss": float(loss.detach())}

    def _inputs(self, state: Tensor, action: Tensor, following: Tensor) -> Float[Tensor, "n i"]:
        return following if self.next_alone else torch.cat([state, action, following], 1)

    def _draw(self, value: Float[Tensor, " n"]) -> Tensor:
        """Returns the rows of a minibatch."""
        n = min(self.settings.minibatch, len(value))
        return torch.randint(len(value), (n,), generator=self.generator, device=value.device)

    @abstractmethod
    def _prepare(self, value: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Returns what the network is to give for the pool's rows; statistics of the pool are taken here."""

    @abstractmethod
    def _loss(self, output: Float[Tensor, " n"], value: Float[Tensor, " n"]) -> Float[Tensor, ""]:
        """Returns how far the network is off."""

    @torch.no_grad()
    def _output(self, state: Tensor, action: Tensor, following: Tensor) -> Float[Tensor, " n"]:
        inputs = standardise_by(self._inputs(state, action, following), self.moments)
        return self.network(inputs)[0, :, 0]

    def state_dict(self) -> dict[str, Any]:
        """Network, optimiser, statistics, pool and generator."""
        return {
            "network": {k: v.clone() for k, v in self.network.state_dict().items()},
            "optimiser": deepcopy(self.optimiser.state_dict()),
            "moments": self.moments.state_dict(),
            "pool": self.pool.state_dict(),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(deepcopy(state["optimiser"]))  # torch would share its tensors
        self.moments.load_state_dict(state["moments"])
        self.pool.load_state_dict(state["pool"])
        self.generator.set_state(state["generator"].cpu())


class RewardHead(Head):
    """The expected reward of a transition, by least squares. It can be the `reward` of a planner's objective.

    It never leaves the range of rewards that were seen: a policy would go where it promises most.
    """

    def __init__(self, features: int, actions: int, settings: HeadSettings | None = None) -> None:
        super().__init__(features, actions, settings)
        self.value_moments = RunningMoments((1,), self.settings.device)
        self.range = torch.tensor([torch.inf, -torch.inf], device=self.settings.device)
        """The smallest and the largest reward seen."""

    def add(self, state: Tensor, action: Tensor, following: Tensor, value: Tensor) -> None:
        """Takes `n` transitions and their rewards into the statistics and the pool."""
        super().add(state, action, following, value)
        if not len(value):
            return
        seen = value.to(self.settings.device).float()
        self.value_moments.update(seen.view(-1, 1))
        least, most = self.range
        self.range = torch.stack([torch.minimum(least, seen.min()), torch.maximum(most, seen.max())])

    def _prepare(self, value: Tensor) -> Tensor:
        # not cut, as the targets of a model are: a rare reward of a hundred deviations is what the task is about
        return (value - self.value_moments.mean.float()) / spread_of(self.value_moments)

    def _loss(self, output: Tensor, value: Tensor) -> Tensor:
        return F.mse_loss(output, value)

    def __call__(
        self, state: Float[Tensor, "n d"], action: Float[Tensor, "n a"], following: Float[Tensor, "n d"]
    ) -> Float[Tensor, " n"]:
        """Returns the expected reward of every row, in the environment's unit."""
        output = self._output(state, action, following)
        value = output * spread_of(self.value_moments) + self.value_moments.mean.float()
        return value.clamp(*self.range) if self.value_moments.count else value

    def state_dict(self) -> dict[str, Any]:
        """Network, optimiser, statistics, pool and generator."""
        return {**super().state_dict(), "value_moments": self.value_moments.state_dict(), "range": self.range.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        super().load_state_dict(state)
        self.value_moments.load_state_dict(state["value_moments"])
        self.range = state["range"].to(self.settings.device).clone()


class TerminationHead(Head):
    r"""The probability that an episode ends where a transition led: the `termination` of a planner's objective.

    It is told by the next state alone, as in nearly every task: from more it learns what happened to go with falling.
    Ends are rare, so half of every minibatch ends, and the odds are set right afterwards: with the share p of ends in
    the pool and the network's output o,

    .. math:: \mathrm{logit} P(\text{end}) = o + \log \frac{p}{1 - p}

    Where no episode has ended yet, none does.
    """

    next_alone = True

    def __init__(self, features: int, actions: int, settings: HeadSettings | None = None) -> None:
        super().__init__(features, actions, settings)
        self.share = torch.zeros((), device=self.settings.device)
        """Of the transitions in the pool at the last fit, those that ended an episode."""

    def _prepare(self, value: Tensor) -> Tensor:
        self._ended, self._went_on = value.nonzero()[:, 0], (value == 0).nonzero()[:, 0]
        self.share = value.mean()
        return value

    def _draw(self, value: Tensor) -> Tensor:
        if not (len(self._ended) and len(self._went_on)):
            return super()._draw(value)
        half = max(min(self.settings.minibatch, len(value)) // 2, 1)
        parts = (self._ended, self._went_on)
        drawn = (torch.randint(len(p), (half,), generator=self.generator, device=p.device) for p in parts)
        return torch.cat([part[index] for part, index in zip(parts, drawn, strict=True)])

    def _loss(self, output: Tensor, value: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(output, value)

    def probability(
        self, state: Float[Tensor, "n d"], action: Float[Tensor, "n a"], following: Float[Tensor, "n d"]
    ) -> Float[Tensor, " n"]:
        """Returns how likely each transition ends an episode."""
        return torch.sigmoid(self._output(state, action, following) + torch.logit(self.share))

    def __call__(
        self, state: Float[Tensor, "n d"], action: Float[Tensor, "n a"], following: Float[Tensor, "n d"]
    ) -> Bool[Tensor, " n"]:
        """Returns which transitions are taken to end an episode.

        Half way between even odds with the ends as rare as they are, which misses many, and with as many as not, which
        sees ends everywhere where nothing announces them: an end that is missed costs a learner more than a false one.
        """
        return self._output(state, action, following) + 0.5 * torch.logit(self.share) > 0

    def state_dict(self) -> dict[str, Any]:
        """Network, optimiser, statistics, pool and generator."""
        return {**super().state_dict(), "share": self.share.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        super().load_state_dict(state)
        self.share = state["share"].to(self.settings.device).clone()
