"""How likely a datum is under what a decoder puts out: one small module for each kind of value.

A likelihood of data of shape `(c, *rest)` reads parameters of shape `(*n, channels, *rest)`, `channels` being its own;
the place (pixel) of a vector is the whole vector. `log_prob` sums over a datum, `log_prob_places` only over the
channels of a place. All work in float32, whatever the products before them were made in.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from generative.divergences import LOG_2_PI
from generative.errors import InvalidSettings
from generative.model import Support
from generative.randomness import normal, uniform

LOG_SCALE_FLOOR = -7.0  # of a logistic, in units of half the range, as in PixelCNN++
EDGE = 1e-4  # starting means are kept so far from 0 and 1 where their logit is taken
TINY = 1e-7  # uniform draws are kept so far from 0 and 1 where their logarithm is taken


class Likelihood(nn.Module):
    """What all likelihoods share: the shape of a datum, the number of parameter channels, the sum over places.

    Args:
        shape: of one datum.
        channels: parameter channels.
        support: of the values.
        levels: values an entry can take; None where it is continuous or does not matter.
    """

    support: Support

    def __init__(self, shape: Sequence[int], channels: int, support: Support, levels: int | None = None) -> None:
        super().__init__()
        self.shape, self.channels, self.support, self.levels = tuple(shape), channels, support, levels

    @property
    def parameter_shape(self) -> tuple[int, ...]:
        """Shape of the parameters of one datum."""
        return (self.channels, *self.shape[1:])

    def log_prob(self, parameters: Float[Tensor, "..."], x: Float[Tensor, "..."]) -> Float[Tensor, "*n"]:
        """Returns the log-likelihood of each datum, in nats."""
        places = self.log_prob_places(parameters.float(), x)
        return (
            places.sum(list(range(places.ndim - len(self.shape) + 1, places.ndim))) if len(self.shape) > 1 else places
        )

    def log_prob_places(self, parameters: Tensor, x: Tensor) -> Tensor:
        """Returns the log-likelihood of each place, in nats, of shape `(*n, *rest)`."""
        raise NotImplementedError

    def mean(self, parameters: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Returns the expected datum."""
        raise NotImplementedError

    def sample(self, parameters: Float[Tensor, "..."], generator: torch.Generator) -> Float[Tensor, "..."]:
        """Returns a datum drawn for each set of parameters."""
        raise NotImplementedError

    def start(self, mean: Float[Tensor, "c *rest"]) -> Float[Tensor, "k *rest"]:
        """Returns parameters under which the expected datum is `mean`: a decoder's first bias."""
        raise NotImplementedError

    @property
    def _channel_axis(self) -> int:
        return -len(self.shape)


class Bernoulli(Likelihood):
    """Values 0 and 1; the parameters are logits."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__(shape, shape[0], "binary")

    def log_prob_places(self, parameters: Tensor, x: Tensor) -> Tensor:
        """Returns the log-likelihood of each place, in nats."""
        target = x.expand_as(parameters)
        return -F.binary_cross_entropy_with_logits(parameters, target, reduction="none").sum(self._channel_axis)

    def mean(self, parameters: Tensor) -> Tensor:
        """Returns the probabilities of 1."""
        return torch.sigmoid(parameters.float())

    def sample(self, parameters: Tensor, generator: torch.Generator) -> Tensor:
        """Returns zeros and ones."""
        chance = self.mean(parameters)
        return (uniform(chance.shape, generator, chance) < chance).float()

    def start(self, mean: Tensor) -> Tensor:
        """Returns the logits of `mean`."""
        return torch.logit(mean, EDGE)


class Gaussian(Likelihood):
    """Any number; one deviation for all entries, one for each, or the best one of each minibatch.

    Args:
        shape: of one datum.
        deviation: `shared`: one learned number; `each`: the decoder gives one for every entry; `optimal`: in training
            the root mean square error of the minibatch, which is what the best `shared` one would be; outside of it,
            the running mean of its square, corrected for its start.

    References: Rybkin et al. 2021, "Simple and effective VAE training with calibrated decoders" (sigma-VAE).
    """

    variance: Tensor
    seen: Tensor
    MEMORY = 0.99  # of the running mean of `optimal`

    def __init__(self, shape: Sequence[int], deviation: Literal["shared", "each", "optimal"] = "shared") -> None:
        if deviation not in ("shared", "each", "optimal"):
            raise InvalidSettings(f"`deviation` is shared, each or optimal; got {deviation!r}.")
        super().__init__(shape, shape[0] * (2 if deviation == "each" else 1), "real")
        self.deviation = deviation
        if deviation == "shared":
            self.log_std = nn.Parameter(torch.zeros(()))
        if deviation == "optimal":
            self.register_buffer("variance", torch.ones(()))
            self.register_buffer("seen", torch.zeros(()))

    def _split(self, parameters: Tensor, x: Tensor | None) -> tuple[Tensor, Tensor]:
        if self.deviation == "each":
            mean, log_std = parameters.chunk(2, self._channel_axis)
            return mean, 7 * torch.tanh(log_std / 7)  # softly kept within exp(±7)
        if self.deviation == "shared":
            return parameters, self.log_std.clamp(-7, 7)
        if self.training and x is not None:
            variance = (x - parameters).square().mean().clamp_min(1e-6)
            if torch.is_grad_enabled():  # it is being trained, not only looked at
                self._remember(variance.detach())
            return parameters, 0.5 * variance.log()
        return parameters, 0.5 * self.variance.log()

    @torch.no_grad()
    def _remember(self, variance: Tensor) -> None:
        memory = torch.clamp((1 + self.seen) / (10 + self.seen), max=self.MEMORY)
        self.variance.lerp_(variance, torch.where(self.seen == 0, 1.0, 1 - memory))
        self.seen += 1

    def log_prob_places(self, parameters: Tensor, x: Tensor) -> Tensor:
        """Returns the log-density of each place, in nats."""
        mean, log_std = self._split(parameters, x)
        nats = -0.5 * (LOG_2_PI + ((x - mean) * torch.exp(-log_std)).square()) - log_std
        return nats.sum(self._channel_axis)

    def mean(self, parameters: Tensor) -> Tensor:
        """Returns the means."""
        return self._split(parameters.float(), None)[0]

    def sample(self, parameters: Tensor, generator: torch.Generator) -> Tensor:
        """Returns normal numbers."""
        mean, log_std = self._split(parameters.float(), None)
        return mean + log_std.exp() * normal(mean.shape, generator, mean)

    def start(self, mean: Tensor) -> Tensor:
        """Returns `mean`, with deviation 1."""
        return torch.cat([mean, torch.zeros_like(mean)]) if self.deviation == "each" else mean


def bin_log_prob(
    x: Float[Tensor, "..."], mean: Float[Tensor, "..."], log_scale: Float[Tensor, "..."], levels: int
) -> Float[Tensor, "..."]:
    """Returns the logarithm of the mass that a logistic has in the bin of each of `levels` values from -1 to 1.

    The outer bins reach to infinity. The difference of two sigmoids is taken as sigm(a) sigm(-b) (1 - exp(b - a)),
    which is exact at any scale.
    """
    half, inverse = 1 / (levels - 1), torch.exp(-log_scale)
    upper, lower = (x - mean + half) * inverse, (x - mean - half) * inverse
    width = (2 * half * inverse).clamp_min(1e-12)
    inner = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-width))
    edge = 1 - half
    return torch.where(x < -edge, F.logsigmoid(upper), torch.where(x > edge, F.logsigmoid(-lower), inner))


def logistic(mean: Tensor, log_scale: Tensor, generator: torch.Generator) -> Tensor:
    """Returns draws of a logistic distribution."""
    chance = uniform(mean.shape, generator, mean).clamp(TINY, 1 - TINY)
    return mean + log_scale.exp() * torch.logit(chance)


class DiscretisedMixture(Likelihood):
    """Values i / (levels - 1), each as likely as its bin under a mixture of logistics, or under one.

    Of images the components belong to the pixel, and a colour's means depend in a line on the colours before it.

    Args:
        shape: of one datum.
        levels: values an entry can take; 256 for images of bytes.
        components: of the mixture.

    References: Salimans et al. 2017, "PixelCNN++", sections 2.1 and 2.2.
    Differs from the paper: the mass of a narrow bin is exact instead of a density times a width; a vector (shape
        `(d,)`) is taken as d channels of one place, without the line.
    """

    def __init__(self, shape: Sequence[int], levels: int = 256, components: int = 1) -> None:
        if levels < 2 or components < 1:
            raise InvalidSettings(f"A likelihood needs 2 levels and 1 component at least; got {levels}, {components}.")
        self.coupled = len(shape) == 3 and shape[0] == 3
        numbers = 2 * shape[0] + (3 if self.coupled else 0)  # of a component: means, log-scales, slopes
        super().__init__(shape, components * (1 + numbers), "unit", levels)
        self.components, self.depth = components, levels

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Returns log-shares (*n, k, *rest), means and log-scales (*n, k, c, *rest), and slopes (*n, k, 3, *rest)."""
        k, c, axis = self.components, self.shape[0], self._channel_axis
        shares, rest = parameters.split([k, self.channels - k], axis)
        rest = rest.unflatten(axis, (k, -1))
        means, log_scales = rest.narrow(axis, 0, c), rest.narrow(axis, c, c).clamp(LOG_SCALE_FLOOR, -LOG_SCALE_FLOOR)
        slopes = torch.tanh(rest.narrow(axis, 2 * c, 3)) if self.coupled else None
        return F.log_softmax(shares, axis), means, log_scales, slopes

    def _shifted(self, means: Tensor, slopes: Tensor | None, x: Tensor) -> Tensor:
        """Returns the means given the colours of `x` (*n, 1 or k, 3, *rest), from -1 to 1."""
        if slopes is None:
            return means
        axis = self._channel_axis
        red, green = x.narrow(axis, 0, 1), x.narrow(axis, 1, 1)
        first, second, third = slopes.chunk(3, axis)
        line = torch.cat([torch.zeros_like(first * red), first * red, second * red + third * green], axis)
        return means + line

    def log_prob_places(self, parameters: Tensor, x: Tensor) -> Tensor:
        """Returns the log-likelihood of each place, in nats."""
        axis = self._channel_axis
        shares, means, log_scales, slopes = self._split(parameters)
        x = (2 * x - 1).unsqueeze(axis - 1)
        nats = bin_log_prob(x, self._shifted(means, slopes, x), log_scales, self.depth).sum(axis)
        return torch.logsumexp(shares + nats, axis)

    def mean(self, parameters: Tensor) -> Tensor:
        """Returns the mean of the underlying logistics, cut to 0 to 1; of colours, given the means of those before."""
        axis = self._channel_axis
        shares, means, _, slopes = self._split(parameters.float())
        means = self._in_line(means, slopes, lambda value: value.clamp(-1, 1))
        return ((shares.exp().unsqueeze(axis) * means).sum(axis - 1) + 1) / 2

    def _in_line(self, values: Tensor, slopes: Tensor | None, settle: Callable[[Tensor], Tensor]) -> Tensor:
        """Returns values from -1 to 1, each colour shifted by those before it once they are settled."""
        if slopes is None:
            return settle(values)
        axis = self._channel_axis
        red, green, blue = values.chunk(3, axis)
        first, second, third = slopes.chunk(3, axis)
        red = settle(red)
        green = settle(green + first * red)
        return torch.cat([red, green, settle(blue + second * red + third * green)], axis)

    def sample(self, parameters: Tensor, generator: torch.Generator) -> Tensor:
        """Returns values of `levels`, one colour after another."""
        axis = self._channel_axis
        shares, means, log_scales, slopes = self._split(parameters.float())
        chance = uniform(shares.shape, generator, shares).clamp(TINY, 1 - TINY)
        choice = (shares - torch.log(-torch.log(chance))).argmax(axis, keepdim=True).unsqueeze(axis)
        picked = [
            torch.take_along_dim(part, choice, axis - 1).squeeze(axis - 1)
            for part in (means, log_scales, *([] if slopes is None else [slopes]))
        ]
        drawn = logistic(picked[0], picked[1], generator)
        settled = self._in_line(drawn, picked[2] if len(picked) > 2 else None, self._nearest)
        return (settled + 1) / 2

    def _nearest(self, x: Tensor) -> Tensor:
        """Returns the nearest level to `x`, both from -1 to 1."""
        steps = self.depth - 1
        return ((x.clamp(-1, 1) + 1) * (0.5 * steps)).round() / (0.5 * steps) - 1

    def start(self, mean: Tensor) -> Tensor:
        """Returns means spread about `mean`, with scales of a few levels."""
        k = self.components
        spread = torch.linspace(-0.5, 0.5, k) if k > 1 else torch.zeros(1)
        blocks = [torch.zeros(k, *mean.shape[1:], device=mean.device)]
        for offset in spread.tolist():
            blocks += [(2 * mean - 1 + offset), torch.full_like(mean, math.log(0.25))]
            if self.coupled:
                blocks.append(torch.zeros_like(mean))
        return torch.cat(blocks)
