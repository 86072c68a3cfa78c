"""A Bayesian multilayer perceptron with a Gaussian likelihood."""

import itertools
import math
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vime.errors import InvalidSettings
from vime.gaussian import log_density, rectified_moments
from vime.layers import BayesianLinear

Sampling = Literal["local", "weights"]
"""How posterior samples are drawn: of each layer's output (local reparameterisation), or of the weights."""


class BayesianMLP(nn.Module):
    """Multilayer perceptron (ReLU) with Gaussian weights; predicts y ~ N(f(x), noise²) for every output.

    Args:
        in_features: width of the input.
        out_features: width of the output.
        hidden: width of each hidden layer; empty for a linear model.
        bayesian: which layers have Gaussian weights, the output layer last; all by default.
        std: posterior deviation that every weight starts with.
        prior_std: deviation of every weight under the prior.
        mean_std: see `BayesianLinear`.
        noise_std: deviation of the observation noise, in units of the output; the start of it where it is learned.
        learn_noise: learn one deviation per output.
        noise_floor: a learned deviation never falls below this.
        generator: source of the starting weights.

    Raises:
        InvalidSettings: a width or deviation is not positive, or `bayesian` has another length than there are layers.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        hidden: Sequence[int] = (64,),
        *,
        bayesian: Sequence[bool] | None = None,
        std: float = 0.05,
        prior_std: float = 0.5,
        mean_std: float | None = None,
        noise_std: float = 1.0,
        learn_noise: bool = True,
        noise_floor: float = 0.01,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        widths = (in_features, *hidden, out_features)
        if min(widths) < 1:
            raise InvalidSettings(f"Every layer needs a width of at least 1; got {widths}.")
        if not (std > 0 and prior_std > 0 and noise_std > 0 and noise_floor > 0):
            raise InvalidSettings(
                "`std`, `prior_std`, `noise_std` and `noise_floor` must be positive; "
                f"got {std}, {prior_std}, {noise_std}, {noise_floor}."
            )
        if learn_noise and noise_std <= noise_floor:
            raise InvalidSettings(f"`noise_std` must start above `noise_floor` = {noise_floor}; got {noise_std}.")
        flags = tuple(bayesian) if bayesian is not None else (True,) * (len(widths) - 1)
        if len(flags) != len(widths) - 1:
            raise InvalidSettings(f"`bayesian` needs one flag for each of {len(widths) - 1} layers; got {len(flags)}.")
        self.layers = nn.ModuleList()
        for (d, k), flag in zip(itertools.pairwise(widths), flags, strict=True):
            if flag:
                self.layers.append(BayesianLinear(d, k, std=std, mean_std=mean_std, generator=generator))
            else:
                self.layers.append(_plain_linear(d, k, mean_std, generator))
        self.prior_std, self.noise_floor, self.learn_noise = prior_std, noise_floor, learn_noise
        start = math.log(math.expm1(noise_std - noise_floor)) if learn_noise else noise_std
        self.noise = nn.Parameter(torch.full((out_features,), start), requires_grad=learn_noise)

    @property
    def stack(self) -> list[BayesianLinear | nn.Linear]:
        """The layers, input first."""
        return list(self.layers)  # type: ignore[arg-type]

    @property
    def noise_variance(self) -> Float[Tensor, " k"]:
        """Variance of the observation noise of every output."""
        std = self.noise_floor + F.softplus(self.noise) if self.learn_noise else self.noise
        return std.square()

    def forward(
        self,
        x: Float[Tensor, "n d"],
        generator: torch.Generator | None = None,
        *,
        samples: int = 1,
        sampling: Sampling = "local",
        shared_noise: bool = False,
    ) -> Float[Tensor, "s n k"]:
        """Returns f(x) under `samples` draws from the posterior.

        Args:
            generator: source of the draws.
            sampling: `local` draws every layer's output, row by row; `weights` draws weights once for all rows.
            shared_noise: let all rows share a local draw (the published code does).
        """
        h = x.unsqueeze(0)
        for i, layer in enumerate(self.stack):
            h = h if i == 0 else F.relu(h)
            if not isinstance(layer, BayesianLinear):
                h = layer(h)
            elif sampling == "local":
                mean, variance = layer.moments(h)
                rows = 1 if shared_noise else len(x)
                noise = torch.randn(
                    samples, rows, mean.shape[-1], generator=generator, device=x.device, dtype=mean.dtype
                )
                h = mean + variance.sqrt() * noise
            else:
                drawn = layer.draw(samples, generator)
                h = h @ drawn.weight.transpose(1, 2) + drawn.bias.unsqueeze(1)
        return h.expand(samples, -1, -1)

    def moments(self, x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n k"], Float[Tensor, "n k"]]:
        """Returns mean and variance of f(x) over the posterior, without the observation noise.

        Exact for at most one hidden layer; deeper networks take the units of a layer as independent Gaussians
        (assumed-density filtering: Hernández-Lobato & Adams 2015, "Probabilistic backpropagation", section 3).
        """
        first, second = x, x.square()
        mean = variance = x
        for i, layer in enumerate(self.stack):
            if i > 0:
                first, second = rectified_moments(mean, variance)
            spread = (second - first.square()).clamp_min(0) if i > 0 else torch.zeros_like(x)
            if isinstance(layer, BayesianLinear):
                mean = F.linear(first, layer.weight_mean, layer.bias_mean)
                variance = F.linear(spread, layer.weight_mean.square()) + F.linear(
                    second, layer.weight_std.square(), layer.bias_std.square()
                )
            else:
                mean, variance = layer(first), F.linear(spread, layer.weight.square())
        return mean, variance

    def divergence(self) -> Float[Tensor, ""]:
        """Returns the divergence of the posterior from the prior N(0, prior_std²), in nats."""
        terms = [layer.divergence(self.prior_std) for layer in self.stack if isinstance(layer, BayesianLinear)]
        return torch.stack(terms).sum() if terms else self.noise.new_zeros(())

    def negative_bound(
        self,
        x: Float[Tensor, "n d"],
        y: Float[Tensor, "n k"],
        divergence_weight: float,
        generator: torch.Generator | None = None,
        *,
        samples: int = 1,
        shared_noise: bool = False,
    ) -> Float[Tensor, ""]:
        """Returns minus the evidence lower bound of a minibatch, in nats: `divergence_weight` x divergence, less the
        log-likelihood of its rows. The weight that fits the bound to N rows of data is n/N."""
        output = self(x, generator, samples=samples, shared_noise=shared_noise)
        likelihood = log_density(y.expand_as(output), output, self.noise_variance).mean(0).sum()
        return divergence_weight * self.divergence() - likelihood

    @torch.no_grad()
    def set_gradients(
        self,
        x: Float[Tensor, "n d"],
        y: Float[Tensor, "n k"],
        divergence_weight: float,
        generator: torch.Generator | None = None,
        *,
        samples: int = 1,
        shared_noise: bool = False,
    ) -> None:
        """Sets the gradient of every parameter to that of `negative_bound`, in closed form.

        The same draws give the numbers that autograd gives, at a fraction of its cost: a network this small spends
        most of its time between the operations.
        """
        rows = len(x)
        if samples > 1:
            x, y = x.repeat(samples, 1), y.repeat(samples, 1)
        trace: list[tuple[Tensor, Tensor, Tensor, Tensor, Tensor] | tuple[Tensor]] = []
        h = x
        for i, layer in enumerate(self.stack):
            h = h.relu_() if i else h
            if isinstance(layer, BayesianLinear):
                weight_std, bias_std = layer.weight_std, layer.bias_std
                std = F.linear(h.square(), weight_std.square(), bias_std.square()).sqrt_()
                drawn = (samples, 1 if shared_noise else rows, std.shape[-1])
                noise = torch.randn(drawn, generator=generator, device=x.device, dtype=std.dtype)
                noise = noise.expand(samples, rows, -1).reshape(std.shape)
                trace.append((h, std, noise, weight_std, bias_std))
                h = F.linear(h, layer.weight_mean, layer.bias_mean).addcmul_(std, noise)
            else:
                trace.append((h,))
                h = layer(h)
        error, variance = h.sub_(y), self.noise_variance
        if self.learn_noise:
            slope_variance = (len(x) - error.square().sum(0) / variance) / variance * (0.5 / samples)
            self.noise.grad = slope_variance * 2 * variance.sqrt() * torch.sigmoid(self.noise)
        slope = error.mul_(1 / (variance * samples))
        for i, layer in reversed(list(enumerate(self.stack))):
            entering, *drawn = trace[i]
            if isinstance(layer, BayesianLinear):
                std, noise, weight_std, bias_std = drawn
                twice = (slope * noise).div_(std)  # the slope for the variance of the output, twice
                layer.set_gradients(entering, slope, twice, weight_std, bias_std, divergence_weight, self.prior_std)
                back = torch.addcmul(slope @ layer.weight_mean, twice @ weight_std.square(), entering) if i else None
            else:
                layer.weight.grad, layer.bias.grad = slope.T @ entering, slope.sum(0)
                back = slope @ layer.weight if i else None
            if back is not None:
                slope = back.mul_(entering.sign())  # a ReLU: 1 where something entered, else 0

    @torch.no_grad()
    def posterior_std(self) -> float:
        """Returns the mean posterior deviation over all Gaussian weights and biases."""
        parts = [
            part.flatten()
            for layer in self.stack
            if isinstance(layer, BayesianLinear)
            for part in (layer.weight_std, layer.bias_std)
        ]
        return float(torch.cat(parts).mean()) if parts else 0.0


def _plain_linear(d: int, k: int, mean_std: float | None, generator: torch.Generator | None) -> nn.Linear:
    layer = nn.Linear(d, k, device="meta").to_empty(device="cpu")  # without a draw from torch's own generator
    with torch.no_grad():
        layer.weight.normal_(0, d**-0.5 if mean_std is None else mean_std, generator=generator)
        layer.bias.zero_()
    return layer
