"""What most learned bonuses share: their settings, rows of a batch, fixed features, and training by Adam."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim.adam import adam

from vime.errors import InvalidSettings
from vime.features import Flat, Standardiser, minibatches
from vime.spaces import Encoder, make_encoder
from vime.transitions import Observation, Transitions, map_observation

GENTLE = 10.0  # largest norm of a gradient: the first batches of a new region must not throw the networks about
TINY = 1e-6  # keeps the norm of a gradient from dividing by zero


@dataclass(frozen=True, kw_only=True)
class LearnedSettings:
    """Settings of a network and of its training, common to the learned bonuses."""

    hidden: tuple[int, ...] = (64,)
    """Width of each hidden layer of every network."""
    passes: int = 1
    """How many times a fit goes over the new transitions."""
    minibatch: int = 256
    """Transitions per gradient step."""
    learning_rate: float = 2e-3
    """Step size of Adam."""
    seed: int = 0
    """Seed of everything random in the bonus."""
    device: str = "cpu"
    """Where the networks live."""
    encoder: Encoder | None = None
    """Turns observations into features that the networks start from; by default what fits the space."""

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

    Small vectors, so that a model can keep and predict them. With `encoder`, its features take their place.
    """

    def __init__(self, observation_space: gymnasium.Space, seed: int, encoder: Encoder | None = None) -> None:
        super().__init__()
        self.encoder = make_encoder(observation_space, seed) if encoder is None else encoder
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

    The weights that are trained lie in one vector, of which the networks hold views: an update is then a few operations
    however many layers there are.

    Args:
        nets: moved to the device of the settings; those without gradients are kept and saved, not trained.
        settings: passes, size of the minibatches, step size, seed and device.
    """

    def __init__(self, nets: Mapping[str, nn.Module], settings: LearnedSettings) -> None:
        self.nets = nn.ModuleDict(nets).to(settings.device)
        self.settings = settings
        fixed = {id(p) for part in self.nets.modules() if isinstance(part, Encoded | Flat) for p in part.parameters()}
        self.trained = [p for p in self.nets.parameters() if p.requires_grad and id(p) not in fixed]
        self.vector = nn.Parameter(torch.cat([p.detach().reshape(-1) for p in self.trained]))
        self._share()
        self.optimiser = torch.optim.Adam([self.vector], lr=settings.learning_rate, fused=True)
        self.generator = torch.Generator(settings.device).manual_seed(settings.seed + 1)

    def _share(self) -> None:
        """Makes the trained weights views of the one vector."""
        parts = self.vector.detach().split([p.numel() for p in self.trained])
        for parameter, part in zip(self.trained, parts, strict=True):
            parameter.data = part.view_as(parameter)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._share()  # a copy, or what was pickled, has weights and vector of their own

    def fit(self, n: int, losses: Callable[[Tensor], dict[str, Tensor]]) -> dict[str, float]:
        """Goes `passes` times over `n` rows in minibatches; returns the mean of every part of the loss over them.

        Args:
            losses: the parts of the loss, to be added up, of the rows at these indices.
        """

        def differentiate(index: Tensor) -> tuple[dict[str, Tensor], Sequence[Tensor]]:
            with torch.enable_grad():
                parts = losses(index)
                total = torch.stack(list(parts.values())).sum()
                slopes = torch.autograd.grad(total, self.trained, materialize_grads=True)
            return {name: part.detach() for name, part in parts.items()}, slopes

        return self.descend(n, differentiate)

    def descend(
        self, n: int, differentiate: Callable[[Tensor], tuple[dict[str, Tensor], Sequence[Tensor]]]
    ) -> dict[str, float]:
        """Does what `fit` does, for a loss that comes with its slopes.

        Args:
            differentiate: the parts of the loss of the rows at these indices, and its slopes in the order of `trained`.
        """
        s = self.settings
        history: list[Tensor] = []
        names: list[str] = []
        for index in minibatches(n, s.minibatch, s.passes, self.generator, s.device):
            parts, slopes = differentiate(index)
            slope = torch.cat([part.reshape(-1) for part in slopes])
            self.vector.grad = slope.mul_((GENTLE / (slope.norm() + TINY)).clamp_(max=1.0))
            self._step()
            history.append(torch.stack(list(parts.values())))
            names = list(parts)
        return dict(zip(names, torch.stack(history).mean(0).tolist(), strict=True)) if history else {}

    @torch.no_grad()
    def _step(self) -> None:
        """Does what the optimiser's own step does, in half the time: its kernel, on its state."""
        kept = self.optimiser.state.get(self.vector)
        if not kept:  # the first step makes the state
            self.optimiser.step()
            return
        group = self.optimiser.param_groups[0]
        (beta1, beta2), same = group["betas"], ("amsgrad", "lr", "weight_decay", "eps", "maximize", "fused")
        slope, mean, square, steps = self.vector.grad, kept["exp_avg"], kept["exp_avg_sq"], kept["step"]
        options: dict[str, Any] = {name: group[name] for name in same}
        adam([self.vector], [slope], [mean], [square], [], [steps], beta1=beta1, beta2=beta2, **options)  # type: ignore[list-item]

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
