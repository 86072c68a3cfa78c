"""Models of the environment: from features and action to the change of the features."""

from abc import abstractmethod
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import gymnasium
import torch
from jaxtyping import Float
from torch import Tensor, nn

from vime.errors import InvalidData, InvalidSettings, check_device
from vime.members import Activation, Members, Prediction
from vime.normalise import CLIP, CONSTANT, RunningMoments
from vime.replay import Pool
from vime.spaces import Encoder, make_action_encoder, make_encoder
from vime.transitions import Observation, Transitions, map_observation


class Rows(NamedTuple):
    """Encoded transitions: what goes into the model, and what it is to predict; both as they come, not standardised."""

    inputs: Float[Tensor, "n i"]
    targets: Float[Tensor, "n d"]


@dataclass(frozen=True, kw_only=True)
class DynamicsSettings:
    """Settings that every model of the environment has, and of its training."""

    hidden: tuple[int, ...] = (64,)
    """Width of each hidden layer."""
    updates: int = 200
    """Gradient steps at every fit."""
    minibatch: int = 256
    """Transitions per gradient step."""
    learning_rate: float = 1e-3
    """Step size of Adam."""
    capacity: int = 100_000
    """Transitions kept for fitting; the oldest go first."""
    target: Literal["change", "next"] = "change"
    """Predict the change of the features, or the next features themselves."""
    noise_floor: float = 0.01
    """The learned noise never falls below this: without a floor, gains explode where the world is deterministic."""
    seed: int = 0
    """Seed of everything random in the model."""
    device: str = "cpu"
    """Where the model lives."""
    encoder: Encoder | None = None
    """Turns observations into features; by default one that fits the space (`vime.spaces.make_encoder`)."""

    def __post_init__(self) -> None:
        for name in ("updates", "minibatch", "capacity"):
            if getattr(self, name) < 1:
                raise InvalidSettings(f"`{name}` must be at least 1; got {getattr(self, name)}.")
        for name in ("learning_rate", "noise_floor"):
            if not getattr(self, name) > 0:
                raise InvalidSettings(f"`{name}` must be positive; got {getattr(self, name)}.")
        if any(width < 1 for width in self.hidden):
            raise InvalidSettings(f"Every entry of `hidden` must be at least 1; got {self.hidden}.")
        if self.target not in ("change", "next"):
            raise InvalidSettings(f"`target` must be 'change' or 'next'; got {self.target!r}.")


class DynamicsModel:
    """Learns `next features = f(features, action)` from a pool of transitions; what all kinds of networks share.

    Inputs and targets are standardised with the statistics of everything seen. A kind of model says how its network is
    built (`_build`), how it learns (`_learn`), and what its members are (`members`).

    Raises:
        UnsupportedSpace: there is no encoder for a space.
        InvalidSettings: a setting is out of range.
    """

    def __init__(
        self, observation_space: gymnasium.Space, action_space: gymnasium.Space, settings: DynamicsSettings
    ) -> None:
        self.settings = settings
        device = settings.device
        check_device(device)
        self.encoder = settings.encoder or make_encoder(observation_space, settings.seed)
        self.action_encoder = make_action_encoder(action_space)
        for encoder in (self.encoder, self.action_encoder):
            if isinstance(encoder, nn.Module):
                encoder.to(device)
        self.features, self.actions = self.encoder.features, self.action_encoder.features
        inputs = self.features + self.actions
        self.network, self.optimiser = self._build(inputs)
        self.input_moments = RunningMoments((inputs,), device)
        self.target_moments = RunningMoments((self.features,), device)
        self.pool = Pool(settings.capacity, {"inputs": inputs, "targets": self.features}, device)
        self.generator = torch.Generator(device).manual_seed(settings.seed + 1)

    @abstractmethod
    def _build(self, inputs: int) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Returns the network, on its device, and what trains it."""

    @abstractmethod
    def _learn(self, updates: int) -> dict[str, float]:
        """Takes gradient steps on minibatches of the pool, which is not empty; returns metrics."""

    @abstractmethod
    def members(self, generator: torch.Generator | None = None, samples: int = 10) -> Members:
        """Returns networks to predict and to imagine with; `samples` says how many where the model draws them."""

    @torch.no_grad()
    def encode(self, obs: Observation) -> Float[Tensor, "n d"]:
        """Returns the features of `n` observations: the states in which the model thinks."""
        return self.encoder.encode(map_observation(lambda part: part.to(self.settings.device), obs))

    @torch.no_grad()
    def encode_action(self, action: Tensor) -> Float[Tensor, "n a"]:
        """Returns what stands for `n` actions in the model's input."""
        return self.action_encoder.encode(action.to(self.settings.device))

    def rows(self, batch: Transitions) -> Rows:
        """Returns the batch's `t * b` transitions as rows, step by step; all of them, whether valid or not."""
        obs, next_obs = (map_observation(lambda part: part.flatten(0, 1), o) for o in (batch.obs, batch.next_obs))
        state, target = self.encode(obs), self.encode(next_obs)
        inputs = torch.cat([state, self.encode_action(batch.action.flatten(0, 1))], 1)
        return Rows(inputs, target - state if self.settings.target == "change" else target)

    def standardise(self, rows: Rows) -> Rows:
        """Returns the rows in deviations from the mean of everything seen, cut at ±10."""
        return Rows(standardise_by(rows.inputs, self.input_moments), standardise_by(rows.targets, self.target_moments))

    def add(self, rows: Rows) -> None:
        """Takes `n` rows into the statistics and the pool."""
        self.pool.add(rows._asdict())
        self.input_moments.update(rows.inputs)
        self.target_moments.update(rows.targets)

    def fit(self, budget: int | None = None) -> dict[str, float]:
        """Takes `budget` gradient steps on minibatches of the pool; returns metrics.

        Raises:
            InvalidData: the pool is empty.
        """
        if len(self.pool) == 0:
            raise InvalidData("The pool is empty: add transitions before fitting a model to it.")
        return self._learn(self.settings.updates if budget is None else budget)

    @torch.no_grad()
    def predict(
        self, obs: Observation, action: Tensor, samples: int = 10, generator: torch.Generator | None = None
    ) -> Prediction:
        """Returns what every member predicts for the next features of `n` rows."""
        prediction = self.members(generator, samples).predict(self.encode(obs), self.encode_action(action))
        return Prediction(prediction.mean, prediction.variance.expand_as(prediction.mean))

    def step(self, obs: Observation, action: Tensor, generator: torch.Generator | None = None) -> Float[Tensor, "n d"]:
        """Returns one sample of the next features of `n` rows: a member for each and the noise, both drawn."""
        mean, variance = self.predict(obs, action, generator=generator)
        chosen = torch.randint(len(mean), (mean.shape[1],), generator=generator, device=mean.device)
        rows = torch.arange(mean.shape[1], device=mean.device)
        noise = torch.randn(mean.shape[1:], generator=generator, device=mean.device)
        return mean[chosen, rows] + variance[chosen, rows].sqrt() * noise

    def _frozen(
        self, weights: Sequence[Tensor], biases: Sequence[Tensor], *, activation: Activation, noise: Tensor | None
    ) -> Members:
        """Returns copies of stacked weights as members, with the statistics as they are now."""
        return Members(
            weights=tuple(part.detach().clone(memory_format=torch.contiguous_format) for part in weights),
            biases=tuple(part.detach().clone() for part in biases),
            activation=activation,
            input_centre=self.input_moments.mean.float(),
            input_spread=spread_of(self.input_moments),
            target_centre=self.target_moments.mean.float(),
            target_spread=spread_of(self.target_moments),
            noise=None if noise is None else noise.detach().clone(),
            noise_floor=self.settings.noise_floor,
            change=self.settings.target == "change",
        )

    def state_dict(self) -> dict[str, Any]:
        """Network, optimiser, statistics, pool, encoder and generator."""
        encoder = deepcopy(self.encoder.state_dict()) if isinstance(self.encoder, nn.Module) else {}
        return {
            "network": {k: v.clone() for k, v in self.network.state_dict().items()},
            "optimiser": deepcopy(self.optimiser.state_dict()),
            "input_moments": self.input_moments.state_dict(),
            "target_moments": self.target_moments.state_dict(),
            "pool": self.pool.state_dict(),
            "encoder": encoder,
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(deepcopy(state["optimiser"]))  # torch would share its tensors
        self.input_moments.load_state_dict(state["input_moments"])
        self.target_moments.load_state_dict(state["target_moments"])
        self.pool.load_state_dict(state["pool"])
        if isinstance(self.encoder, nn.Module):
            self.encoder.load_state_dict(state["encoder"])
        self.generator.set_state(state["generator"].cpu())


def spread_of(moments: RunningMoments) -> Tensor:
    """Returns what to divide each entry by: its deviation, or one where it is constant."""
    deviation = moments.deviation.float()
    return torch.where(deviation > CONSTANT, deviation, 1.0)


def standardise_by(values: Tensor, moments: RunningMoments) -> Tensor:
    """Returns values in deviations from their mean, cut at ±10."""
    return ((values - moments.mean.float()) / spread_of(moments)).clamp_(-CLIP, CLIP)
