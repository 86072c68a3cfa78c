"""Trainable features of any observation."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from gymnasium import Space
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from vime.normalise import CLIP, CONSTANT
from vime.spaces import CHUNK, DictEncoder, Encoder, FlatEncoder, ImageEncoder, OneHotEncoder, make_encoder
from vime.transitions import Observation, map_observation


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


@torch.no_grad()
def regress(
    net: nn.Sequential, inputs: Float[Tensor, "n d"], goal: Float[Tensor, "n w"]
) -> tuple[Float[Tensor, ""], list[Tensor]]:
    """Returns the mean squared error of an `mlp`, and its slopes in the order of the parameters.

    By hand, for networks this small wait for autograd more than they compute.
    """
    seen = [inputs]
    for layer in net:
        seen.append(layer(seen[-1]))
    gap = seen.pop() - goal
    slope = gap * (2 / gap.numel())
    slopes: list[Tensor] = []
    for layer, values in zip(reversed(net), reversed(seen), strict=True):
        if isinstance(layer, nn.Linear):
            slopes += [slope.sum(0), slope.t() @ values]
            slope = slope @ layer.weight if layer is not net[0] else slope
        else:
            slope = torch.ops.aten.threshold_backward(slope, values, 0)
    return gap.square().mean(), slopes[::-1]


def minibatches(
    n: int, size: int, passes: int, generator: torch.Generator, device: torch.device | str = "cpu"
) -> Iterator[Int[Tensor, " m"]]:
    """Yields the indices of minibatches that go `passes` times over `n` rows, each time in a new order.

    A pass is cut into equal parts of at most `size` rows; where there is no row, there is none.
    """
    parts = -(-n // size)
    for _ in range(passes if n else 0):
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
        if n == 0:
            return
        values = values.double()
        mean = values.mean(0)
        gap = mean - self.mean
        total = self.count + n
        self.square += (values - mean).square().sum(0) + gap.square() * (self.count * n / total)
        self.mean += gap * (n / total)
        self.count.copy_(total)

    def forget(self) -> None:
        """Begins anew, as if `update` had seen nothing."""
        for buffer in self.buffers():
            buffer.zero_()

    def forward(self, values: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Returns the standardised vectors; an entry that never changed is only shifted."""
        deviation = (self.square / self.count.clamp_min(1)).sqrt().float()
        deviation = torch.where(deviation > CONSTANT, deviation, 1.0)
        return ((values - self.mean.float()) / deviation).clamp(-CLIP, CLIP)


class Flat(nn.Module):
    """The numbers of an array, or the features that an encoder gives, standardised by all that was seen."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.features = encoder.features
        self.encoder = encoder
        self.standardise = Standardiser(encoder.features)

    def update(self, obs: Observation) -> None:
        """Advances the statistics."""
        self.standardise.update(self.encoder.encode(obs))

    def prepare(self, obs: Observation) -> Float[Tensor, "n d"]:
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

    def prepare(self, obs: Tensor) -> Float[Tensor, "n d"]:
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
        encoder: takes the place of all that comes before the layers; its features are standardised, not trained.

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
        encoder: Encoder | None = None,
    ) -> None:
        super().__init__()
        self.keys: tuple[str, ...] | None = None
        if encoder is not None:
            parts = [Flat(encoder)]
        else:
            built = make_encoder(observation_space, draw_seed(generator))
            self.keys = built.keys if isinstance(built, DictEncoder) else None
            parts = [_part(part) for part in (built.parts if isinstance(built, DictEncoder) else [built])]
        self.parts = nn.ModuleList(parts)
        self.images = tuple(i for i, part in enumerate(parts) if isinstance(part, Image))
        hidden = (width,) * depth if hidden is None else hidden
        self.head = mlp((sum(part.features for part in parts), *hidden, width), generator)
        self.width = width

    def _split(self, obs: Observation) -> list[Any]:
        return [obs] if self.keys is None else [obs[key] for key in self.keys]  # type: ignore[index]

    @torch.no_grad()
    def update(self, obs: Observation) -> None:
        """Advances the statistics by which arrays are standardised, by `n` observations."""
        for part, values in zip(self.parts, self._split(obs), strict=True):
            part.update(values)  # type: ignore[operator]

    def forget(self) -> None:
        """Forgets the statistics; what was learned stays."""
        for part in self.modules():
            if isinstance(part, Standardiser):
                part.forget()

    @torch.no_grad()
    def prepare(self, obs: Observation) -> Observation:
        """Returns what `run` takes of `n` observations, all that is not learned done: so it is done once for a fit.

        Numbers and indicators are joined in one tensor; where there are images too, they stay as they are, by number.
        """
        split = self._split(obs)
        vectors = [part.prepare(x) for part, x in zip(self.parts, split, strict=True) if not isinstance(part, Image)]  # type: ignore[operator]
        joined = torch.cat(vectors, 1) if len(vectors) > 1 else vectors[0] if vectors else None
        if not self.images:
            return joined  # type: ignore[return-value]
        rest = {} if joined is None else {"": joined}
        return rest | {str(i): split[i] for i in self.images}

    def run(self, prepared: Observation) -> Float[Tensor, "n w"]:
        """Returns the features of `n` prepared observations, through which gradients flow."""
        if isinstance(prepared, dict):
            seen = [self.parts[i](prepared[str(i)]) for i in self.images]
            prepared = torch.cat([prepared[""], *seen] if "" in prepared else seen, 1)
        return self.head(prepared)

    def run_both(self, one: Observation, two: Observation) -> tuple[Float[Tensor, "n w"], Float[Tensor, "n w"]]:
        """Returns what `run` does of two batches of `n` prepared observations each, in one go."""
        joined = {k: torch.cat([one[k], two[k]]) for k in one} if isinstance(one, dict) else torch.cat([one, two])  # type: ignore[index, list-item]
        first, second = self.run(joined).chunk(2)
        return first, second

    def forward(self, obs: Observation) -> Float[Tensor, "n w"]:
        """Returns the features of `n` observations, through which gradients flow."""
        return self.run(self.prepare(obs))

    @torch.no_grad()
    def apply_to(self, prepared: Observation) -> Float[Tensor, "n w"]:
        """Returns what `run` does, without gradients; a few hundred observations at a time where they are images."""
        n = len(next(iter(prepared.values())) if isinstance(prepared, dict) else prepared)
        if n <= CHUNK or not self.images:
            return self.run(prepared)
        starts = range(0, n, CHUNK)
        return torch.cat([self.run(map_observation(lambda x, i=i: x[i : i + CHUNK], prepared)) for i in starts])

    def encode(self, obs: Observation) -> Float[Tensor, "n w"]:
        """Returns the features of `n` observations, without gradients."""
        return self.apply_to(self.prepare(obs))

    def freeze(self) -> None:
        """Takes the layers, and the convolutions of images, out of training; an encoder that was given stays as is."""
        for part in (self.head, *(self.parts[i] for i in self.images)):
            part.requires_grad_(False)
