"""Trainable features of any observation, and heads that predict actions and successors from them."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import prod

import numpy as np
import torch
from gymnasium import Space, spaces
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from vime.spaces import CHUNK, FlatEncoder, ImageEncoder, OneHotEncoder, make_action_encoder, make_encoder
from vime.transitions import Observation, map_observation

CLIP = 10.0  # standardised numbers beyond this many deviations are cut
CONSTANT = 1e-6  # an entry whose deviation is below this is taken as constant, and not divided by it


def draw_seed(generator: torch.Generator) -> int:
    """Returns a fresh seed for an object that wants a number instead of a generator."""
    return int(torch.randint(2**62, (), generator=generator, device=generator.device))


def linear(inputs: int, outputs: int, generator: torch.Generator, gain: float = 2**0.5) -> nn.Linear:
    """Returns a linear map with orthogonal weights and no offset, drawn from `generator` alone."""
    layer = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")  # nothing is drawn on `meta`
    with torch.no_grad():
        nn.init.orthogonal_(layer.weight, gain, generator)
        layer.bias.zero_()
    return layer


def mlp(widths: Sequence[int], generator: torch.Generator) -> nn.Sequential:
    """Returns linear maps from width to width with rectifiers between them; the last one starts small (gain 1)."""
    layers: list[nn.Module] = []
    for i, (inputs, outputs) in enumerate(pairwise(widths)):
        last = i == len(widths) - 2
        layers.append(linear(inputs, outputs, generator, 1.0 if last else 2**0.5))
        if not last:
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def minibatches(
    n: int, size: int, passes: int, generator: torch.Generator, device: torch.device | str = "cpu"
) -> Iterator[Int[Tensor, " m"]]:
    """Yields the indices of minibatches that go `passes` times over `n` rows, each time in a new order.

    A pass is cut into equal parts of at most `size` rows.
    """
    parts = -(-n // size)
    for _ in range(passes):
        order = torch.randperm(n, generator=generator, device=generator.device).to(device)
        yield from order.tensor_split(parts)


class Standardiser(nn.Module):
    """Vectors in deviations from the mean of all that `update` saw, cut at ±10; as they come before it saw any."""

    count: Tensor
    mean: Tensor
    square: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("square", torch.zeros(size, dtype=torch.float64))

    @torch.no_grad()
    def update(self, values: Float[Tensor, "n d"]) -> None:
        """Takes `n` more vectors into account (Chan's parallel update)."""
        n = len(values)
        values = values.double()
        mean = values.mean(0)
        gap = mean - self.mean
        total = self.count + n
        self.square += (values - mean).square().sum(0) + gap.square() * (self.count * n / total)
        self.mean += gap * (n / total)
        self.count.copy_(total)

    def forward(self, values: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Returns the standardised vectors; an entry that never changed is only shifted."""
        deviation = (self.square / self.count.clamp_min(1)).sqrt().float()
        deviation = torch.where(deviation > CONSTANT, deviation, 1.0)
        return ((values - self.mean.float()) / deviation).clamp(-CLIP, CLIP)


class Flat(nn.Module):
    """The numbers of an array, standardised by all that was seen."""

    def __init__(self, encoder: FlatEncoder) -> None:
        super().__init__()
        self.features = encoder.features
        self.encoder = encoder
        self.standardise = Standardiser(encoder.features)

    def update(self, obs: Tensor) -> None:
        """Advances the statistics."""
        self.standardise.update(self.encoder.encode(obs))

    def forward(self, obs: Tensor) -> Float[Tensor, "n d"]:
        """Returns the standardised numbers."""
        return self.standardise(self.encoder.encode(obs))


class Fixed(nn.Module):
    """One-hot values, which need no statistics."""

    def __init__(self, encoder: OneHotEncoder) -> None:
        super().__init__()
        self.features = encoder.features
        self.encoder = encoder

    def update(self, obs: Tensor) -> None:
        """Does nothing."""

    def forward(self, obs: Tensor) -> Float[Tensor, "n d"]:
        """Returns the indicators."""
        return self.encoder.encode(obs)


class Image(nn.Module):
    """The convolutions of `spaces.ImageEncoder`, trained."""

    def __init__(self, encoder: ImageEncoder) -> None:
        super().__init__()
        self.features = encoder.features
        self.encoder = encoder.requires_grad_()

    def update(self, obs: Tensor) -> None:
        """Does nothing: pixels are divided by the largest value that the space allows."""

    def forward(self, obs: Tensor) -> Float[Tensor, "n d"]:
        """Returns rectified features of the images; before that, over those of one image their mean is zero."""
        return F.relu(self.encoder._encode(obs.reshape(len(obs), -1)))


def _part(encoder: nn.Module) -> Flat | Fixed | Image:
    if isinstance(encoder, FlatEncoder):
        return Flat(encoder)
    if isinstance(encoder, OneHotEncoder):
        return Fixed(encoder)
    if isinstance(encoder, ImageEncoder):
        return Image(encoder)
    raise TypeError(f"no part for a {type(encoder).__name__}")


class FeatureNet(nn.Module):
    """A network from observations of any supported space to vectors of length `width`.

    Arrays are standardised by their own history, discrete values become indicators, images (7x7 and 84x84 alike) go
    through small convolutions, the entries of a `Dict` are joined; then come `depth` rectified layers and a linear one.

    Args:
        observation_space: of a single environment.
        width: length of the features.
        generator: source of the starting weights; the global random state is not touched.
        depth: hidden layers of this many features.
        hidden: their widths, where they differ from `width`; `depth` is then without effect.
        normalise: bring every output vector to mean 0 and deviation 1, so that features cannot collapse or explode.

    Raises:
        UnsupportedSpace: the space is of another kind.
    """

    def __init__(
        self,
        observation_space: Space,
        width: int,
        generator: torch.Generator,
        depth: int = 1,
        *,
        hidden: Sequence[int] | None = None,
        normalise: bool = False,
    ) -> None:
        super().__init__()
        self.keys = tuple(observation_space.spaces) if isinstance(observation_space, spaces.Dict) else None
        encoder = make_encoder(observation_space, draw_seed(generator))
        parts = [_part(part) for part in (encoder.parts if self.keys is not None else [encoder])]  # type: ignore[union-attr]
        self.parts = nn.ModuleList(parts)
        hidden = (width,) * depth if hidden is None else hidden
        self.head = mlp((sum(part.features for part in parts), *hidden, width), generator)
        self.width = width
        self.normalise = normalise

    def _split(self, obs: Observation) -> list[Tensor]:
        return [obs] if self.keys is None else [obs[key] for key in self.keys]  # type: ignore[list-item, index]

    @torch.no_grad()
    def update(self, obs: Observation) -> None:
        """Advances the statistics by which arrays are standardised, by `n` observations."""
        for part, values in zip(self.parts, self._split(obs), strict=True):
            part.update(values)  # type: ignore[operator]

    def forward(self, obs: Observation) -> Float[Tensor, "n w"]:
        """Returns the features of `n` observations, through which gradients flow."""
        joined = torch.cat([part(x) for part, x in zip(self.parts, self._split(obs), strict=True)], 1)
        out = self.head(joined)
        return F.layer_norm(out, (self.width,), eps=1e-5) if self.normalise else out

    @torch.no_grad()
    def encode(self, obs: Observation) -> Float[Tensor, "n w"]:
        """Returns the features without gradients, a few hundred observations at a time where they are images."""
        n = len(next(iter(obs.values())) if isinstance(obs, dict) else obs)
        if n <= CHUNK or not any(isinstance(part, Image) for part in self.parts):
            return self.forward(obs)
        starts = range(0, n, CHUNK)
        return torch.cat([self.forward(map_observation(lambda x, i=i: x[i : i + CHUNK], obs)) for i in starts])


class Actions(nn.Module):
    """Actions of one space as network inputs and as targets: indicators, or numbers brought to [-1, 1].

    `features` is the length of both. Boxes without bounds are taken as they are, cut at ±10.
    """

    centre: Tensor
    reach: Tensor

    def __init__(self, action_space: Space) -> None:
        super().__init__()
        self.encoder = make_action_encoder(action_space)
        self.features = self.encoder.features
        self.counts: list[int] = []
        self.binary = isinstance(action_space, spaces.MultiBinary)
        centre, reach = np.zeros(self.features), np.ones(self.features)
        if isinstance(self.encoder, OneHotEncoder):
            self.counts = self.encoder.counts.tolist()
        elif isinstance(action_space, spaces.Box) and np.issubdtype(action_space.dtype, np.number):
            low, high = (
                np.asarray(bound, np.float64).reshape(prod(action_space.shape))
                for bound in (action_space.low, action_space.high)
            )
            bounded = np.isfinite(low) & np.isfinite(high) & (high > low)
            centre[bounded] = (high + low)[bounded] / 2
            reach[bounded] = (high - low)[bounded] / 2
        self.register_buffer("centre", torch.as_tensor(centre, dtype=torch.float32), persistent=False)
        self.register_buffer("reach", torch.as_tensor(reach, dtype=torch.float32), persistent=False)

    def encode(self, action: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n a"]:
        """Returns what stands for `n` actions in a network's input."""
        numbers = self.encoder.encode(action)
        return numbers if self.counts else ((numbers - self.centre) / self.reach).clamp(-CLIP, CLIP)

    def likely(self, guess: Float[Tensor, "n a"]) -> Float[Tensor, "n a"]:
        """Returns guesses as inputs of a network: probabilities of discrete parts, numbers as they are."""
        if self.binary:
            return guess.sigmoid()
        return torch.cat([part.softmax(1) for part in guess.split(self.counts, 1)], 1) if self.counts else guess

    def loss(self, guess: Float[Tensor, "n a"], action: Shaped[Tensor, "n ..."]) -> Float[Tensor, " n"]:
        """Returns how wrong each guess is: nats summed over discrete parts, else half the squared error summed."""
        target = self.encode(action)
        if self.binary:
            return F.binary_cross_entropy_with_logits(guess, target, reduction="none").sum(1)
        if not self.counts:
            return 0.5 * (guess - target).square().sum(1)
        parts = zip(guess.split(self.counts, 1), target.split(self.counts, 1), strict=True)
        nats = [-(F.log_softmax(logits, 1) * hot).sum(1) for logits, hot in parts]
        return torch.stack(nats).sum(0)


class InverseModel(nn.Module):
    """Guesses the action from the features before and after it, for any action space."""

    def __init__(self, width: int, action_space: Space, hidden: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        self.actions = Actions(action_space)
        self.net = mlp((2 * width, *hidden, self.actions.features), generator)

    def forward(self, before: Float[Tensor, "n w"], after: Float[Tensor, "n w"]) -> Float[Tensor, "n a"]:
        """Returns logits of discrete actions, or the numbers of continuous ones in units of their range."""
        return self.net(torch.cat([before, after], 1))

    def loss(
        self, before: Float[Tensor, "n w"], after: Float[Tensor, "n w"], action: Shaped[Tensor, "n ..."]
    ) -> Float[Tensor, " n"]:
        """Returns the error of each guess, as `Actions.loss`."""
        return self.actions.loss(self(before, after), action)


class ForwardModel(nn.Module):
    """Predicts the features after an action, as a change of those before it."""

    def __init__(self, width: int, action_space: Space, hidden: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        self.actions = Actions(action_space)
        self.net = mlp((width + self.actions.features, *hidden, width), generator)

    def forward(self, before: Float[Tensor, "n w"], action: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n w"]:
        """Returns the predicted features of the successors."""
        return before + self.net(torch.cat([before, self.actions.encode(action)], 1))
