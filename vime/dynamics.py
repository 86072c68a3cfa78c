"""A model of the environment: from features and action to the change of the features."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import gymnasium
import torch
from jaxtyping import Float
from torch import Tensor

from vime.errors import InvalidSettings
from vime.network import BayesianMLP
from vime.normalise import RunningMoments
from vime.replay import Pool
from vime.spaces import Encoder, make_action_encoder, make_encoder
from vime.transitions import Observation, Transitions, map_observation

CLIP = 10.0  # standardised numbers beyond this many deviations are cut: one wild number must not shake the model
CONSTANT = 1e-6  # an entry whose deviation is below this is taken as constant, and not divided by it


class Prediction(NamedTuple):
    """What `m` posterior samples say of the next features of `n` rows: mean and noise variance, in feature units."""

    mean: Float[Tensor, "m n d"]
    variance: Float[Tensor, "m n d"]


class Rows(NamedTuple):
    """Encoded transitions: what goes into the model, and what it is to predict; both as they come, not standardised."""

    inputs: Float[Tensor, "n i"]
    targets: Float[Tensor, "n d"]


@dataclass(frozen=True, kw_only=True)
class DynamicsSettings:
    """Settings of the Bayesian model of the environment and of its training."""

    hidden: tuple[int, ...] = (64,)
    """Width of each hidden layer."""
    updates: int = 200
    """Gradient steps at every fit."""
    minibatch: int = 256
    """Transitions per gradient step."""
    learning_rate: float = 1e-3
    """Step size of Adam."""
    width_rate: float = 10.0
    """How much faster the deviations move, of weights and noise: on a logarithmic scale they have a long way to go."""
    capacity: int = 100_000
    """Transitions kept for fitting; the oldest go first."""
    target: Literal["change", "next"] = "change"
    """Predict the change of the features, or the next features themselves."""
    std: float = 0.05
    """Posterior deviation that every weight starts with."""
    prior_std: float = 0.5
    """Deviation of every weight under the prior."""
    noise_std: float = 1.0
    """Deviation of the observation noise to start from, in deviations of the target."""
    noise_floor: float = 0.01
    """The learned noise never falls below this: without a floor, gains explode where the world is deterministic."""
    seed: int = 0
    """Seed of everything random in the bonus."""
    device: str = "cpu"
    """Where the model lives."""
    encoder: Encoder | None = None
    """Turns observations into features; by default one that fits the space (`vime.spaces.make_encoder`)."""

    def __post_init__(self) -> None:
        for name in ("updates", "minibatch", "capacity"):
            if getattr(self, name) < 1:
                raise InvalidSettings(f"`{name}` must be at least 1; got {getattr(self, name)}.")
        for name in ("learning_rate", "width_rate", "std", "prior_std", "noise_std", "noise_floor"):
            if not getattr(self, name) > 0:
                raise InvalidSettings(f"`{name}` must be positive; got {getattr(self, name)}.")
        if any(width < 1 for width in self.hidden):
            raise InvalidSettings(f"Every entry of `hidden` must be at least 1; got {self.hidden}.")
        if self.target not in ("change", "next"):
            raise InvalidSettings(f"`target` must be 'change' or 'next'; got {self.target!r}.")


class DynamicsModel:
    """A Bayesian network that learns `next features = f(features, action)` from a pool of transitions.

    Inputs and targets are standardised with the statistics of everything seen. The evidence lower bound weighs the
    divergence by minibatch over pool, so that the posterior tightens as data comes in.

    Raises:
        UnsupportedSpace: there is no encoder for a space.
        InvalidSettings: a setting is out of range.
    """

    def __init__(
        self, observation_space: gymnasium.Space, action_space: gymnasium.Space, settings: DynamicsSettings
    ) -> None:
        self.settings = settings
        device = settings.device
        self.encoder = settings.encoder or make_encoder(observation_space, settings.seed)
        self.action_encoder = make_action_encoder(action_space)
        for encoder in (self.encoder, self.action_encoder):
            if isinstance(encoder, torch.nn.Module):
                encoder.to(device)
        self.features, actions = self.encoder.features, self.action_encoder.features
        inputs = self.features + actions
        self.network = BayesianMLP(
            inputs,
            self.features,
            settings.hidden,
            std=settings.std,
            prior_std=settings.prior_std,
            noise_std=settings.noise_std,
            noise_floor=settings.noise_floor,
            generator=torch.Generator().manual_seed(settings.seed),
        ).to(device)
        widths = [p for name, p in self.network.named_parameters() if name == "noise" or name.endswith("rho")]
        means = [p for name, p in self.network.named_parameters() if name != "noise" and not name.endswith("rho")]
        groups = [{"params": means}, {"params": widths, "lr": settings.learning_rate * settings.width_rate}]
        self.optimiser = torch.optim.Adam(groups, lr=settings.learning_rate, fused=True)
        self.input_moments = RunningMoments((inputs,), device)
        self.target_moments = RunningMoments((self.features,), device)
        self.pool = Pool(settings.capacity, {"inputs": inputs, "targets": self.features}, device)
        self.generator = torch.Generator(device).manual_seed(settings.seed + 1)

    def encode(self, obs: Observation, action: Tensor) -> Float[Tensor, "n i"]:
        """Returns the model's input for `n` observations and actions."""
        device = self.settings.device
        features = self.encoder.encode(map_observation(lambda part: part.to(device), obs))
        return torch.cat([features, self.action_encoder.encode(action.to(device))], 1)

    def rows(self, batch: Transitions) -> Rows:
        """Returns the batch's `t * b` transitions as rows, step by step; all of them, whether valid or not."""
        obs, next_obs = (map_observation(lambda part: part.flatten(0, 1), o) for o in (batch.obs, batch.next_obs))
        inputs = self.encode(obs, batch.action.flatten(0, 1))
        target = self.encoder.encode(map_observation(lambda part: part.to(self.settings.device), next_obs))
        if self.settings.target == "change":
            target = target - inputs[:, : self.features]
        return Rows(inputs, target)

    def standardise(self, rows: Rows) -> Rows:
        """Returns the rows in deviations from the mean of everything seen, cut at ±10."""
        return Rows(_standardise(rows.inputs, self.input_moments), _standardise(rows.targets, self.target_moments))

    def add(self, rows: Rows) -> None:
        """Takes `n` rows into the statistics and the pool."""
        self.pool.add(rows._asdict())
        self.input_moments.update(rows.inputs)
        self.target_moments.update(rows.targets)

    def fit(self, pool: Pool | None = None, budget: int | None = None) -> dict[str, float]:
        """Takes `budget` gradient steps on minibatches of `pool` (its own by default); returns metrics.

        Raises:
            InvalidData: the pool is empty.
        """
        pool = self.pool if pool is None else pool
        settings = self.settings
        share = min(settings.minibatch / max(len(pool), 1), 1.0)
        budget = settings.updates if budget is None else budget
        rows = None
        for _ in range(budget):
            rows = self.standardise(Rows(**pool.sample(settings.minibatch, self.generator)))
            self.network.set_gradients(*rows, share, self.generator)
            self.optimiser.step()
        if rows is None:
            return {}
        loss = self.network.negative_bound(*rows, share, self.generator).detach()
        return {
            "loss": float(loss) / settings.minibatch,
            "posterior_std": self.network.posterior_std(),
            "noise_std": float(self.network.noise_variance.detach().sqrt().mean()),
        }

    @torch.no_grad()
    def predict(
        self, obs: Observation, action: Tensor, samples: int = 10, generator: torch.Generator | None = None
    ) -> Prediction:
        """Returns what `samples` draws of the weights predict for the next features of `n` rows."""
        inputs = self.encode(obs, action)
        output = self.network(_standardise(inputs, self.input_moments), generator, samples=samples, sampling="weights")
        spread, centre = _spread(self.target_moments), self.target_moments.mean.float()
        mean = output * spread + centre
        if self.settings.target == "change":
            mean = mean + inputs[:, : self.features]
        return Prediction(mean, (self.network.noise_variance * spread.square()).expand_as(mean))

    def step(
        self, state: Observation, action: Tensor, generator: torch.Generator | None = None
    ) -> Float[Tensor, "n d"]:
        """Returns one sample of the next features of `n` rows: weights and noise both drawn."""
        mean, variance = (part[0] for part in self.predict(state, action, 1, generator))
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        return mean + variance.sqrt() * noise

    def state_dict(self) -> dict[str, Any]:
        """Network, optimiser, statistics, pool, encoder and generator."""
        encoder = deepcopy(self.encoder.state_dict()) if isinstance(self.encoder, torch.nn.Module) else {}
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
        if isinstance(self.encoder, torch.nn.Module):
            self.encoder.load_state_dict(state["encoder"])
        self.generator.set_state(state["generator"].cpu())


def _spread(moments: RunningMoments) -> Tensor:
    deviation = moments.deviation.float()
    return torch.where(deviation > CONSTANT, deviation, 1.0)


def _standardise(values: Tensor, moments: RunningMoments) -> Tensor:
    return ((values - moments.mean.float()) / _spread(moments)).clamp_(-CLIP, CLIP)
