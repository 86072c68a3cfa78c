"""A hierarchy of convolutional codes, inferred from both directions: the ResNet VAE with autoregressive posteriors."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from generative.divergences import free_bits, log_mean_exp, normal_divergence, normal_log_prob
from generative.errors import InvalidData, InvalidSettings, choose
from generative.layers import Conv, UpConv, starting
from generative.likelihoods import Bernoulli, DiscretisedMixture, Likelihood
from generative.masked import conv_mask
from generative.model import Batch, Model
from generative.optimiser import Optimiser
from generative.randomness import normal, seeded

START = 0.1  # deviation that parameters of codes and of data first have, and the weight of a block's branch
ENTRANCE = 5  # width of the convolutions between an image and the codes
LOG_STD_LIMIT = 3.5  # log-deviations of codes are softly kept within ± this
STARTING_IMAGES = 64  # of the first minibatch, from which gains and biases are set


@dataclass(frozen=True, kw_only=True)
class ResNetVAESettings:
    """Settings of a ResNet VAE."""

    depth: int = 4
    """Layers of codes; the paper has up to 20."""
    filters: int = 64
    """Channels of the residual stream; 160 in the paper."""
    latent: int = 16
    """Feature maps of a layer's code; 32 in the paper."""
    stride: int = 2
    """How many times smaller than the image the codes are; it divides height and width."""
    posterior: Literal["gaussian", "iaf"] = "iaf"
    """Of a layer's code given those above it: independent entries, or with a step of autoregressive flow."""
    flow_hidden: tuple[int, ...] = (64,)
    """Channels of a step's hidden layers, multiples of `latent`; two of 160 in the paper. None makes it linear."""
    free_bits: float = 0.25
    """Nats of divergence that each feature map has free, over the whole image."""
    free_rounds: int = 0
    """Rounds over which they shrink to nothing, so that in the end the bound itself is climbed; 0 leaves them."""
    likelihood: Literal["bernoulli", "discretised"] = "bernoulli"
    """Of a pixel: 0 or 1; grey levels or colours, as a mixture of logistics."""
    levels: int = 256
    """Values of an entry, for the discretised likelihood; 17 for the digits of scikit-learn."""
    components: int = 1
    """Logistics in the mixture."""
    optimiser: Optimiser = field(default_factory=lambda: Optimiser(rule="adamax", rate=2e-3))
    """Of all parameters."""

    def __post_init__(self) -> None:
        sizes = (self.depth, self.filters, self.latent, self.stride, *self.flow_hidden)
        if min(sizes) < 1 or min(self.free_bits, self.free_rounds) < 0:
            raise InvalidSettings(
                "Sizes must be positive, `free_bits` and `free_rounds` not negative; "
                f"got {sizes}, {self.free_bits}, {self.free_rounds}."
            )
        if any(width % self.latent for width in self.flow_hidden):
            raise InvalidSettings(f"`flow_hidden` must be multiples of {self.latent} maps; got {self.flow_hidden}.")
        choose("likelihood", self.likelihood, LIKELIHOODS)
        if self.posterior not in ("gaussian", "iaf"):
            raise InvalidSettings(f"`posterior` is gaussian or iaf; got {self.posterior!r}.")


class ConvStep(nn.Module):
    """One step of inverse autoregressive flow over the entries of feature maps, pixel by pixel and map by map.

    Args:
        maps: of a code.
        hidden: channels of the hidden layers, multiples of `maps`; the context is added to the first.
    """

    def __init__(self, maps: int, hidden: Sequence[int]) -> None:
        super().__init__()
        widths = (maps, *hidden)
        self.inner = nn.ModuleList(_masked(widths[i], widths[i + 1], maps) for i in range(len(hidden)))
        self.last = _masked(widths[-1], 2 * maps, maps, strict=True, scale=START)
        self.maps = maps

    def forward(
        self, z: Float[Tensor, "n c h w"], context: Float[Tensor, "n k h w"] | None
    ) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, "n c h w"]]:
        """Returns where each code goes, and what each entry adds to the log-determinant of the way."""
        hidden = z
        for i, layer in enumerate(self.inner):
            hidden = layer(hidden)
            hidden = F.elu(hidden + context if context is not None and i == 0 else hidden)
        shift, log_scale = self.last(hidden).to(z.dtype).unflatten(1, (self.maps, 2)).unbind(2)
        return (z - shift) * torch.exp(-log_scale), -log_scale


class Layer(nn.Module):
    """One layer of codes: its part of the way up, and of the way down."""

    def __init__(self, s: ResNetVAESettings) -> None:
        super().__init__()
        flow = s.posterior == "iaf"
        context = s.flow_hidden[0] if flow and s.flow_hidden else 0
        self.sizes = (s.latent, s.latent, context, s.filters)
        self.up = Conv(s.filters, sum(self.sizes), 3, scale=START)
        self.up_end = Conv(s.filters, s.filters, 3)
        self.down = Conv(s.filters, 2 * s.latent + sum(self.sizes), 3, scale=START)
        self.down_end = Conv(s.latent + s.filters, s.filters, 3)
        self.step = ConvStep(s.latent, s.flow_hidden) if flow else None

    def climb(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        """Returns the stream above, and what this layer learned of the data: mean, log-deviation, context."""
        mean, log_std, context, hidden = self.up(F.elu(x)).split(self.sizes, 1)
        return x + START * self.up_end(F.elu(hidden)), (mean, log_std, context)

    def prior(self, x: Tensor) -> tuple[Tensor, Tensor, Sequence[Tensor]]:
        """Returns mean and log-deviation of the code given those above, and the rest of what comes down."""
        mean, log_std, *rest = self.down(F.elu(x)).split((*self.sizes[:2], *self.sizes), 1)
        return mean.float(), _limited(log_std), rest

    def infer(
        self, x: Tensor, told: tuple[Tensor, Tensor, Tensor], generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns the stream below; nats of divergence of every map; log p(z) - log q(z | x); and the code."""
        mean_0, log_std_0, rest = self.prior(x)
        mean, log_std = (told[0] + rest[0]).float(), _limited(told[1] + rest[1])
        start = mean if generator is None else mean + log_std.exp() * normal(mean.shape, generator, mean)
        z, change = start, torch.zeros_like(start)
        if self.step is not None:
            z, change = self.step(start, told[2] + rest[2] if self.sizes[2] else None)
        surplus = normal_log_prob(start, mean, log_std) - change - normal_log_prob(z, mean_0, log_std_0)
        nats = normal_divergence(mean, log_std, mean_0, log_std_0) if self.step is None else surplus
        return self.descend(x, z, rest), nats.sum((2, 3)), -surplus.sum((1, 2, 3)), z.flatten(1)

    def descend(self, x: Tensor, z: Tensor, rest: Sequence[Tensor]) -> Tensor:
        """Returns the stream below, given this layer's code."""
        return x + START * self.down_end(F.elu(torch.cat([z, rest[-1]], 1)))


class Inferred(NamedTuple):
    """What a pass down with data gives."""

    parameters: Float[Tensor, "n k h w"]
    """Of the likelihood."""
    divergence: Float[Tensor, "n maps"]
    """Of every feature map of every layer from its prior, in nats; exact for a Gaussian posterior, else one sample."""
    log_ratio: Float[Tensor, " n"]
    """log p(z) - log q(z | x) of the codes drawn, in nats."""
    codes: Float[Tensor, "n d"]
    """The codes, layer by layer from the top."""


class ResNetVAE(Model):
    """Bidirectional ResNet VAE: data go up, codes come down, and a posterior is made of both.

    Args:
        shape: of one image: `(channels, height, width)`.
        settings: see `ResNetVAESettings`.
        seed: of the first weights.

    References: Kingma et al. 2016, "Improving variational inference with inverse autoregressive flow", section 4.2.
    Differs from the paper: padding with zeros and no border channel; log-deviations are softly bounded; each pixel of
        the output has a bias, which begins at the mean of the data.
    """

    name: ClassVar[str] = "resnet-vae"
    Settings: ClassVar[type] = ResNetVAESettings
    settings: ResNetVAESettings
    centre: Tensor

    def __init__(self, shape: Sequence[int], settings: ResNetVAESettings | None = None, *, seed: int = 0) -> None:
        s = settings or ResNetVAESettings()
        likelihood = LIKELIHOODS[s.likelihood](shape, s)
        super().__init__(shape, s, support=likelihood.support, levels=likelihood.levels)
        if len(self.shape) != 3 or self.shape[1] % s.stride or self.shape[2] % s.stride:
            raise InvalidSettings(
                f"resnet-vae models images (channels, height, width) whose sides `stride` {s.stride} divides; "
                f"got {self.shape}."
            )
        if s.stride > ENTRANCE:
            raise InvalidSettings(f"`stride` must be at most {ENTRANCE}, or pixels go unseen; got {s.stride}.")
        self.likelihood = likelihood
        self.plane = (s.latent, self.shape[1] // s.stride, self.shape[2] // s.stride)
        with seeded(seed):
            self.enter = Conv(self.shape[0], s.filters, ENTRANCE, stride=s.stride)
            self.layers = nn.ModuleList(Layer(s) for _ in range(s.depth))
            self.top = nn.Parameter(torch.zeros(s.filters, 1, 1))
            self.leave = UpConv(s.filters, likelihood.channels, ENTRANCE, stride=s.stride, scale=START, bias=False)
        self.bias = nn.Parameter(torch.zeros(likelihood.parameter_shape))
        self.register_buffer("centre", torch.zeros(self.shape))

    @property
    def features(self) -> int:
        """Numbers in the codes of all layers."""
        return self.settings.depth * prod(self.plane)

    @torch.no_grad()
    def initialise(self, batch: Batch, generator: torch.Generator) -> None:
        """Sets gains and biases from some images, and lets the output begin at the mean of all."""
        mean = batch.x.mean(0)
        self.centre.copy_(mean)
        with starting(self):
            self.inferred(batch.x[:STARTING_IMAGES], generator)
        self.bias.copy_(self.likelihood.start(mean))

    def inferred(self, x: Float[Tensor, "n c h w"], generator: torch.Generator | None) -> Inferred:
        """Returns what data say about codes, drawn with `generator` or taken at their Gaussians' means without one."""
        up, told = self.enter(x - self.centre), []
        for layer in self.layers:
            up, here = layer.climb(up)  # type: ignore[operator, union-attr]
            told.append(here)
        down, found = self._top(len(x)), []
        for layer, here in zip(reversed(self.layers), reversed(told), strict=True):
            down, *one = layer.infer(down, here, generator)  # type: ignore[operator, union-attr]
            found.append(one)
        nats, ratios, codes = zip(*found, strict=True)
        return Inferred(self._output(down), torch.cat(nats, 1), torch.stack(ratios).sum(0), torch.cat(codes, 1))

    def _top(self, n: int) -> Tensor:
        return self.top.expand(n, self.settings.filters, *self.plane[1:])

    def _output(self, x: Tensor) -> Tensor:
        return self.leave(F.elu(x)).float() + self.bias

    def losses(self, batch: Batch, player: str, generator: torch.Generator) -> dict[str, Float[Tensor, ""]]:
        """Returns the negative bound with free bits, and its terms without, in nats."""
        found = self.inferred(batch.x, generator)
        reconstruction = -self.likelihood.log_prob(found.parameters, batch.x).mean()
        total = found.divergence.sum(1).mean()
        return {
            "loss": reconstruction + self._paid(found.divergence, batch.step),
            "bound": -(reconstruction + total),
            "reconstruction": reconstruction,
            "divergence": total,
        }

    def _paid(self, divergence: Float[Tensor, "n maps"], step: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """Returns the divergence as it is paid for after `step` rounds, where some of each map is free."""
        s = self.settings
        if not s.free_bits:
            return divergence.sum(1).mean()
        if not s.free_rounds:
            return free_bits(divergence, s.free_bits)
        left = 1 - step / s.free_rounds
        return free_bits(divergence, torch.where(left > 0, s.free_bits * left, -torch.inf))

    @torch.no_grad()
    def bound(self, x: Float[Tensor, "n *shape"], samples: int, generator: torch.Generator) -> Float[Tensor, " n"]:
        """Returns the importance-weighted bound of each datum's log-likelihood with `samples` codes, in nats."""
        x, weights = self.checked(x), []
        for _ in range(samples):
            found = self.inferred(x, generator)
            weights.append(self.likelihood.log_prob(found.parameters, x) + found.log_ratio)
        return log_mean_exp(torch.stack(weights))

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n *shape"]:
        """Returns `n` new images, drawn from the likelihood of codes drawn layer by layer."""
        down = self._top(n)
        for layer in reversed(self.layers):
            mean, log_std, rest = layer.prior(down)  # type: ignore[operator, union-attr]
            down = layer.descend(down, mean + log_std.exp() * normal(mean.shape, generator, mean), rest)  # type: ignore[operator, union-attr]
        return self.likelihood.sample(self._output(down), generator)

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n d"]:
        """Returns the codes of each image, layer by layer from the top, that its Gaussians' means become."""
        return self.inferred(self.checked(x, support="unit"), None).codes

    @torch.no_grad()
    def decode(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n *shape"]:
        """Returns the expected image of codes of all layers."""
        if z.ndim != 2 or z.shape[1] != self.features:
            raise InvalidData(f"{self.name} decodes codes of shape (n, {self.features}); got {tuple(z.shape)}.")
        down = self._top(len(z))
        codes = z.to(self.device).unflatten(1, (self.settings.depth, *self.plane)).unbind(1)
        for layer, code in zip(reversed(self.layers), codes, strict=True):
            down = layer.descend(down, code, layer.prior(down)[2])  # type: ignore[operator, union-attr]
        return self.likelihood.mean(self._output(down))


def _limited(log_std: Tensor) -> Tensor:
    return LOG_STD_LIMIT * torch.tanh(log_std.float() / LOG_STD_LIMIT)


def _masked(inputs: int, outputs: int, groups: int, *, strict: bool = False, scale: float = 1.0) -> Conv:
    mask = conv_mask(outputs, inputs, (3, 3), strict=strict, groups=groups)
    return Conv(inputs, outputs, 3, mask=mask, scale=scale)


def _bernoulli(shape: Sequence[int], settings: ResNetVAESettings) -> Likelihood:
    return Bernoulli(shape)


def _discretised(shape: Sequence[int], settings: ResNetVAESettings) -> Likelihood:
    return DiscretisedMixture(shape, settings.levels, settings.components)


LIKELIHOODS = {"bernoulli": _bernoulli, "discretised": _discretised}
