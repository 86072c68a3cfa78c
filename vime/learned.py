"""What most learned bonuses share: their settings, rows of a batch, fixed features, and training by Adam."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium
import torch
from jaxtyping import Float
from torch import Tensor, nn

from vime.errors import InvalidSettings
from vime.features import Standardiser, minibatches
from vime.spaces import make_encoder
from vime.transitions import Observation, Transitions, map_observation

GENTLE = 10.0  # largest norm of a gradient: the first batches of a new region must not throw the networks about


@dataclass(frozen=True, kw_only=True)
class LearnedSettings:
    """Settings of a network and of its training, common to the learned bonuses."""

    hidden: tuple[int, ...] = (64,)
    """Width of each hidden layer of every network."""
    passes: int = 2
    """How many times a fit goes over the new transitions."""
    minibatch: int = 256
    """Transitions per gradient step."""
    learning_rate: float = 1e-3
    """Step size of Adam."""
    seed: int = 0
    """Seed of everything random in the bonus."""
    device: str = "cpu"
    """Where the networks live."""

    def __post_init__(self) -> None:
        for name in ("passes", "minibatch"):
            if getattr(self, name) < 1:
                raise InvalidSettings(f"`{name}` must be at least 1; got {getattr(self, name)}.")
        if not self.learning_rate > 0:
            raise InvalidSettings(f"`learning_rate` must be positive; got {self.learning_rate}.")
        if any(width < 1 for width in self.hidden):
            raise InvalidSettings(f"Every entry of `hidden` must be at least 1; got {self.hidden}.")


class Moves(NamedTuple):
    """The `n` transitions of a batch, step by step, on the device of the networks."""

    obs: Observation
    action: Tensor
    next_obs: Observation

    def take(self, index: Tensor) -> "Moves":
        """Returns the transitions at `index`, or those where it is true."""
        return Moves(*(map_observation(lambda x: x[index], part) for part in self))  # type: ignore[arg-type]


def moves(batch: Transitions, device: str) -> Moves:
    """Returns all `t * b` transitions of a batch, valid or not."""
    parts = (batch.obs, batch.action, batch.next_obs)
    return Moves(*(map_observation(lambda x: x.flatten(0, 1).to(device), x) for x in parts))  # type: ignore[arg-type]


class Encoded(nn.Module):
    """Fixed features of observations, standardised by all that was seen: numbers as they are, random convolutions.

    Small vectors, so that a model can keep and predict them.
    """

    def __init__(self, observation_space: gymnasium.Space, seed: int) -> None:
        super().__init__()
        self.encoder = make_encoder(observation_space, seed)
        self.features = self.encoder.features
        self.standardise = Standardiser(self.features)

    @torch.no_grad()
    def forward(self, obs: Observation) -> Float[Tensor, "n d"]:
        """Returns the features of `n` observations."""
        return self.standardise(self.encoder.encode(obs))

    @torch.no_grad()
    def update(self, obs: Observation) -> None:
        """Advances the statistics."""
        self.standardise.update(self.encoder.encode(obs))


class Trainer:
    """Networks with their optimiser and generator.

    Args:
        nets: moved to the device of the settings; those without gradients are kept and saved, not trained.
        settings: passes, size of the minibatches, step size, seed and device.
    """

    def __init__(self, nets: Mapping[str, nn.Module], settings: LearnedSettings) -> None:
        self.nets = nn.ModuleDict(nets).to(settings.device)
        self.settings = settings
        self.trained = [p for p in self.nets.parameters() if p.requires_grad]
        self.optimiser = torch.optim.Adam(self.trained, lr=settings.learning_rate, fused=True)
        self.generator = torch.Generator(settings.device).manual_seed(settings.seed + 1)

    def fit(self, n: int, losses: Callable[[Tensor], dict[str, Tensor]]) -> dict[str, float]:
        """Goes `passes` times over `n` rows in minibatches; returns the mean of every part of the loss over them.

        Args:
            losses: the parts of the loss, to be added up, of the rows at these indices.
        """
        s = self.settings
        totals: dict[str, Tensor] = {}
        steps = 0
        for index in minibatches(n, s.minibatch, s.passes, self.generator, s.device):
            with torch.enable_grad():
                parts = losses(index)
                loss = torch.stack(list(parts.values())).sum()
                self.optimiser.zero_grad()
                loss.backward()
            nn.utils.clip_grad_norm_(self.trained, GENTLE)
            self.optimiser.step()
            steps += 1
            for name, value in parts.items():
                totals[name] = totals.get(name, torch.zeros((), device=s.device)) + value.detach()
        return {name: float(value) / steps for name, value in totals.items()}

    def noise(self, *shape: int) -> Tensor:
        """Returns standard normal numbers from the generator, on the device of the networks."""
        return torch.randn(shape, generator=self.generator, device=self.settings.device)

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimiser and generator."""
        return {
            "nets": {name: value.clone() for name, value in self.nets.state_dict().items()},
            "optimiser": deepcopy(self.optimiser.state_dict()),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        self.nets.load_state_dict(state["nets"])
        self.optimiser.load_state_dict(deepcopy(state["optimiser"]))  # torch would share its tensors
        self.generator.set_state(state["generator"].cpu())
