"""The state of a training and one round of it: losses, gradients, steps, averages."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from generative.average import Average, averaged
from generative.data import Minibatches
from generative.errors import CheckpointError, InvalidSettings
from generative.model import Model, moved_by
from generative.parallel import Group, join
from generative.randomness import child

LAYERS = 64
"""Sizes of one kind of layer that are compiled, the most."""


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """Settings of a training; what belongs to a player, its optimiser above all, stands in the model's settings."""

    steps: int = 10_000
    """Rounds, in each of which every player moves."""
    batch_size: int = 128
    """Examples in a minibatch."""
    seed: int = 0
    """Of the order of the data and of all noise."""
    device: str = "cpu"
    """Where to train: `cpu`, `cuda`, `cuda:1`."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the products; weights, likelihoods and optimisers stay in float32."""
    compile: bool = False
    """Whether `torch.compile` fuses the losses; pays after a minute or so, and on a GPU most."""
    average: float | None = 0.999
    """Memory of the averaged weights that the trained model ends with; None ends with the last ones."""
    report_every: int = 100
    """Rounds between reports. What is lost at an interruption or a divergence is at most as many."""
    save_every: int = 2_000
    """Rounds between checkpoints, and between evaluations."""
    initial_examples: int = 500
    """Examples in the minibatch that a new model sets its first values from; 0 leaves those that it was built with."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "report_every", "save_every", "initial_examples"):
            value, least = getattr(self, name), int(name != "initial_examples")
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InvalidSettings(f"`{name}` must be a whole number, {least} at least; got {value!r}.")
        if self.average is not None and not 0 <= self.average < 1:
            raise InvalidSettings(f"`average` must be in [0, 1), or None; got {self.average}.")
        if self.precision not in ("float32", "bfloat16"):
            raise InvalidSettings(f"`precision` is float32 or bfloat16; got {self.precision!r}.")


class Training:
    """A model, its players' optimisers, the averaged weights, and the generator of all noise.

    Args:
        model: is moved to the device of the settings, and changed in place.
        settings: how to train.

    Raises:
        InvalidSettings: there is no such device, or the minibatch is too small for the model or the processes.
    """

    def __init__(self, model: Model, settings: FitSettings) -> None:
        self.group, own = join(settings.device)
        device = torch.device(own)
        share = self.group.share(settings.batch_size)
        if share < 2 and any(isinstance(part, nn.BatchNorm1d) for part in model.modules()):
            raise InvalidSettings(
                f"A {model.name} normalises by the minibatch, of which each process needs 2 examples at least; got "
                f"{share}. Raise `batch_size`."
            )
        self.model, self.settings = model.to(device).train(), settings
        stream = "training" if self.group.first else f"training {self.group.rank}"
        self.generator = torch.Generator(device).manual_seed(child(settings.seed, stream))
        self.players = [_Moves(model, i, self.group) for i in range(len(model.players))]
        self.average = None if settings.average is None else Average(averaged(model), settings.average)
        self.step, self.counted = 0, 0
        self.size = 0.0  # of all weights together, at the last look
        self.clock = torch.zeros((), device=device)
        self.sums: dict[str, Tensor] = {}
        self._losses: Callable[..., dict[str, Tensor]] = model.losses
        if settings.compile:
            # a layer is a frame of its own where noise is drawn between layers, and a size is a compilation
            torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, LAYERS)
            self._losses = torch.compile(model.losses)

    def start(self, minibatches: Minibatches | None) -> None:
        """Lets a new model set its first values from the first examples, if any; the mean of the weights begins there.

        A model that has begun before, by another training too, keeps what it has learned, and no example is taken.
        """
        if minibatches is not None and not self.model.begun:
            with torch.no_grad():
                self.model.initialise(minibatches.next(self.generator, self.clock), self.generator)
        self.model.begun.fill_(True)
        self.group.spread([*self.model.parameters(), *self.model.buffers()])
        if self.average is not None:
            self.average = Average(averaged(self.model), self.average.decay)

    def round(self, minibatches: Minibatches) -> None:
        """Lets every player move once or more, each time on a fresh minibatch."""
        self.clock.fill_(self.step)
        for moves in self.players:
            terms: dict[str, Tensor] = {}
            for _ in range(moves.player.updates):
                batch = minibatches.next(self.generator, self.clock)
                with torch.autocast(self.clock.device.type, torch.bfloat16, self.settings.precision == "bfloat16"):
                    terms = self._losses(batch, moves.player.name, self.generator)
                moves.descend(terms["loss"], self.step, self.settings.steps)
            prefix = f"{moves.player.name}/" if len(self.players) > 1 else ""
            for name, value in terms.items():
                self._count(prefix + name, value.detach())
        if self.average is not None:
            self.average.update(self.step)
        self.step += 1
        self.counted += 1

    def _count(self, name: str, value: Tensor) -> None:
        if name in self.sums:
            self.sums[name] += value
        else:
            self.sums[name] = value.float().clone()

    @torch.no_grad()
    def report(self) -> tuple[dict[str, float], bool]:
        """Returns the mean terms since the last report, and whether they and all weights are finite; counts anew."""
        self.group.spread(self.model.buffers())
        terms, finite = self.glimpse()
        self.sums, self.counted = {}, 0
        return terms, finite

    @torch.no_grad()
    def glimpse(self) -> tuple[dict[str, float], bool]:
        """Returns the mean terms since the last report, and whether they and all weights are finite."""
        norm = nn.utils.get_total_norm(self.model.parameters())
        found = torch.stack([*self.sums.values(), norm])
        self.group.add([found])
        *sums, self.size = (found / self.group.size).tolist()
        terms = {name: total / self.counted for name, total in zip(self.sums, sums, strict=True)}
        return terms, all(abs(value) < float("inf") for value in (*terms.values(), self.size))

    def use_average(self) -> None:
        """Exchanges the model's weights and their mean; a second call undoes the first."""
        if self.average is not None:
            self.average.swap()

    def state_dict(self) -> dict[str, Tensor]:
        """Returns everything that the next round depends on, but the data, as tensors of flat names."""
        state = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for rank, own in enumerate(self.group.gather(self.generator.get_state())):
            state[_generator_of(rank)] = own
        state["counters"] = torch.tensor([self.step, self.counted])
        state |= {f"sum.{name}": value for name, value in self.sums.items()}
        if self.average is not None:
            state |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for moves in self.players:
            state |= {f"optimiser.{moves.player.name}.{name}": value for name, value in moves.state_dict().items()}
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Takes over what `state_dict` gave.

        Raises:
            CheckpointError: it belongs to another model, other players, or another kind of device.
        """
        try:
            self.model.load_state_dict(_under("model.", state))
            if self.average is not None:
                self.average.load_state_dict(_under("average.", state))
            for moves in self.players:
                moves.load_state_dict(_under(f"optimiser.{moves.player.name}.", state))
            self.generator.set_state(state[_generator_of(self.group.rank)].cpu())
            self.step, self.counted = (int(value) for value in state["counters"])
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise CheckpointError(f"The saved training does not fit this model and device: {reason}.") from error
        self.sums = {name: value.to(self.clock.device).clone() for name, value in _under("sum.", state).items()}


class _Moves:
    """A player with the parameters it moves and their optimiser."""

    def __init__(self, model: Model, index: int, group: Group) -> None:
        self.player, self.group = model.players[index], group
        self.parameters = list(moved_by(model, self.player).values())
        self.optimiser = self.player.optimiser.build(self.parameters)

    def descend(self, loss: Tensor, step: int, steps: int) -> None:
        """Moves the parameters down the slope of `loss`; those of other players get no gradient at all."""
        settings = self.player.optimiser
        slopes = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        self.group.average(slopes)
        for parameter, slope in zip(self.parameters, slopes, strict=True):
            parameter.grad = slope
        if settings.clip is not None:
            nn.utils.clip_grad_norm_(self.parameters, settings.clip)
        if settings.changes:
            self.optimiser.param_groups[0]["lr"] = settings.rate_at(step, steps)
        self.optimiser.step()

    def state_dict(self) -> dict[str, Tensor]:
        """Returns what the optimiser remembers of each parameter."""
        state = self.optimiser.state_dict()["state"]
        return {f"{i}.{name}": value for i, entries in state.items() for name, value in entries.items()}

    def load_state_dict(self, flat: Mapping[str, Tensor]) -> None:
        """Takes over what `state_dict` gave."""
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in flat.items():
            i, name = key.split(".", 1)
            state.setdefault(int(i), {})[name] = value.clone()
        self.optimiser.load_state_dict({"state": state, "param_groups": self.optimiser.state_dict()["param_groups"]})


def _generator_of(rank: int) -> str:
    return "generator" if rank == 0 else f"generator.{rank}"


def _under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
