"""What every model is: a module of `players`, each with its share of the parameters, its losses and its optimiser.

A model is built from the shape of one datum and from a settings dataclass that stands beside its class::

    model = VAE((1, 28, 28), VAE.Settings(latent=32), seed=0)

and gives

- `support` and `levels`: which values it accepts (see `Support`);
- `players`: who trains what, in which order. A model of one cost has one player; a GAN has two, and may let one of them
  move several times in a round;
- `losses(batch, player, generator)`: named scalar terms; `loss`, the mean over the minibatch, is what the player
descends;
- `initialise(batch, generator)`: what a model sets from its first minibatch, before the first step; `begun` is
true from then on;
- `sample(n, generator)` and, where it can, `log_prob`, `bound`, `encode` and `decode` (protocols below).

A new model is a file of its own with a settings dataclass and a class, a line in `models.MODELS`, and a small size in
`tests/generative/small.py`, on which the contract in `tests/generative/test_models.py` then runs.

Every number that is drawn comes from the generator handed in, so `generative.fit` can train any model, save it at any
step and continue bit for bit. The weights of a new model come from `seed` alone (`randomness.seeded`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from generative.errors import InvalidData, InvalidSettings
from generative.optimiser import Optimiser

Support = Literal["binary", "unit", "real"]
"""Values of the data: 0 or 1; between 0 and 1, as images of grey levels are; any finite number."""

WIDER: dict[Support, tuple[Support, ...]] = {
    "binary": ("binary",), "unit": ("binary", "unit"), "real": ("binary", "unit", "real"),
}  # fmt: skip
"""Which data a model of a support accepts."""

BEGUN = "begun"  # name of the buffer that tells that a model has begun to learn


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One minibatch, on the model's device."""

    x: Float[Tensor, "n *shape"]
    """Examples; images have a leading channel and lie between 0 and 1."""
    step: Float[Tensor, ""]
    """Rounds of training done before this one, for terms that are faded in."""
    label: Int[Tensor, " n"] | None = None
    """Class of each example, where the data have them and do not hide them."""
    labelled: "Batch | None" = None
    """A second minibatch, with labels, where only some examples have one (`Dataset.with_labels`)."""


@dataclass(frozen=True, kw_only=True)
class Player:
    """One of those who train: which parameters it moves, by which optimiser, how often in a round."""

    name: str = "model"
    """What `losses` is asked for."""
    parts: tuple[str, ...] = ()
    """Names of the model's attributes whose parameters it moves; none means all."""
    optimiser: Optimiser = field(default_factory=Optimiser)
    """Its rule of descent."""
    updates: int = 1
    """Updates in a round, each on a minibatch of its own."""

    def __post_init__(self) -> None:
        if self.updates < 1:
            raise InvalidSettings(f"`updates` of player {self.name!r} must be at least 1; got {self.updates}.")


class Model(nn.Module):
    """What all models share: the shape of a datum, the check of what comes in, and where the model lives.

    Args:
        shape: of one datum: `(channels, height, width)` for images, `(size,)` for vectors.
        settings: of the class's own `Settings`.
        support: which values the model accepts.
        levels: how many values each entry can take, where the likelihood counts on it; None where it does not.
    """

    name: ClassVar[str]
    Settings: ClassVar[type]
    wants_labels: ClassVar[bool] = False  # it learns from labels, of some data at least
    settings: Any
    support: Support
    begun: Tensor
    """Whether training has begun: first values are set from the data then, and not again."""

    def __init__(
        self, shape: Sequence[int], settings: Any, *, support: Support = "unit", levels: int | None = None
    ) -> None:
        super().__init__()
        if not shape or any(isinstance(size, bool) or not isinstance(size, int) or size < 1 for size in shape):
            raise InvalidSettings(f"`shape` must be positive whole numbers, as (1, 28, 28); got {tuple(shape)}.")
        if not isinstance(settings, self.Settings):
            raise InvalidSettings(
                f"The settings of {self.name} are a {self.Settings.__qualname__}; got {type(settings).__name__}."
            )
        self.shape, self.settings, self.support, self.levels = tuple(shape), settings, support, levels
        self.register_buffer(BEGUN, torch.tensor(False))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        """Takes a model that was saved before it could tell for one that has learned."""
        state_dict.setdefault(prefix + BEGUN, torch.tensor(True))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    @property
    def players(self) -> tuple[Player, ...]:
        """Who trains, in the order of a round; by default one player that moves everything."""
        return (Player(optimiser=self.settings.optimiser),)

    def losses(self, batch: Batch, player: str, generator: torch.Generator) -> dict[str, Float[Tensor, ""]]:
        """Returns the terms of a player's cost, `loss` the total, each a mean over the minibatch."""
        raise NotImplementedError

    def initialise(self, batch: Batch, generator: torch.Generator) -> None:
        """Sets what depends on the data from a first minibatch; called once, without gradients, before training."""

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    def checked(self, x: Shaped[Tensor, "n *shape"], *, support: Support | None = None) -> Float[Tensor, "n *shape"]:
        """Returns `x` as float32, on the model's device.

        Args:
            x: data that a user handed in.
            support: what is accepted here, where it is more than the model's own.

        Raises:
            InvalidData: `x` is empty, of another shape, not finite, or outside of what the model accepts.
        """
        if not isinstance(x, Tensor) or not x.is_floating_point():
            kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
            raise InvalidData(f"{self.name} takes a tensor of floating-point numbers; got {kind}.")
        if tuple(x.shape[1:]) != self.shape or not len(x):
            raise InvalidData(
                f"{self.name} takes examples of shape (n, {', '.join(map(str, self.shape))}), n at least 1; "
                f"got {tuple(x.shape)}."
            )
        check_values(x, support or self.support, self.name)
        return x.to(self.device, torch.float32)


def check_values(x: Tensor, support: Support, who: str) -> None:
    """Checks that every entry of `x` is finite and lies in `support`.

    Raises:
        InvalidData: one does not; the message says what `who` takes and what came.
    """
    low, high = (float(value) for value in torch.aminmax(x))
    if not torch.isfinite(torch.tensor([low, high])).all():
        raise InvalidData(f"{who} takes finite numbers; got NaN or infinity among {tuple(x.shape)} values.")
    if support != "real" and (low < 0 or high > 1):
        raise InvalidData(
            f"{who} takes values between 0 and 1; got {low:.4g} to {high:.4g}. Divide images of bytes by 255."
        )
    if support == "binary" and not ((x == 0) | (x == 1)).all():
        raise InvalidData(f"{who} takes the values 0 and 1 alone; got others between. Binarise the data first.")


def checked_labels(label: Shaped[Tensor, "*labels"] | Shaped[np.ndarray, "*labels"]) -> Int[Tensor, " n"]:
    """Returns classes as int64.

    Raises:
        InvalidData: they are not whole numbers of at least 0 in one row.
    """
    label = label if isinstance(label, Tensor) else torch.as_tensor(np.asarray(label))
    if label.is_floating_point() or label.is_complex() or label.dtype == torch.bool or label.ndim != 1:
        raise InvalidData(
            "Labels are whole numbers in one row, one for each example; got "
            f"{str(label.dtype).removeprefix('torch.')} of shape {tuple(label.shape)}. Where the values are classes, "
            "use `label.long().flatten()`."
        )
    label = label.long()
    if len(label) and int(label.min()) < 0:
        raise InvalidData(
            f"Classes are numbered from 0 on; got {int(label.min())}. Name the examples that have a class in "
            "`Dataset.labelled`, and give the others the label 0."
        )
    return label


def moved_by(model: Model, player: Player) -> dict[str, nn.Parameter]:
    """Returns the parameters that `player` moves, by name; frozen ones are left out.

    Raises:
        InvalidSettings: there are none.
    """
    prefixes = tuple(f"{part}." for part in player.parts)
    chosen = {
        name: parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and (not player.parts or name.startswith(prefixes) or name in player.parts)
    }
    if not chosen:
        raise InvalidSettings(f"Player {player.name!r} of {model.name} has no parameters under {player.parts}.")
    return chosen


def image_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """Returns `shape` as channels, height and width.

    Raises:
        InvalidSettings: it is not that of an image.
    """
    if len(shape) != 3:
        raise InvalidSettings(f"This takes images of shape (channels, height, width); got {tuple(shape)}.")
    return shape[0], shape[1], shape[2]


@runtime_checkable
class Sampler(Protocol):
    """A model that makes data."""

    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n *shape"]:
        """Returns `n` new data, without gradients."""
        ...


@runtime_checkable
class Density(Protocol):
    """A model that knows how likely a datum is."""

    def log_prob(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, " n"]:
        """Returns the log-likelihood of each datum, in nats."""
        ...


@runtime_checkable
class Bounded(Protocol):
    """A model that bounds the likelihood from below, the closer the more samples it draws."""

    def bound(self, x: Float[Tensor, "n *shape"], samples: int, generator: torch.Generator) -> Float[Tensor, " n"]:
        """Returns the logarithm of the mean of `samples` importance weights of each datum, in nats."""
        ...


@runtime_checkable
class Coder(Protocol):
    """A model with a code for every datum."""

    @property
    def features(self) -> int:
        """Numbers in a code."""
        ...

    def encode(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n d"]:
        """Returns the code of each datum: the mean, where the code is random."""
        ...


@runtime_checkable
class Decoder(Protocol):
    """A model that turns codes into data."""

    def decode(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n *shape"]:
        """Returns the datum of each code: the mean, where it is random."""
        ...
