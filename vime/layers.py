"""Layers whose weights are Gaussian."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vime.gaussian import divergence


class Weights(NamedTuple):
    """One draw of a layer's weights for each of `s` samples, and the standard normal noise behind it."""

    weight: Float[Tensor, "s k d"]
    bias: Float[Tensor, "s k"]
    weight_noise: Float[Tensor, "s k d"]
    bias_noise: Float[Tensor, "s k"]


class BayesianLinear(nn.Module):
    """Linear map whose weights and biases are independent Gaussians, N(mean, softplus(rho)²).

    Args:
        in_features: width d of the input.
        out_features: width k of the output.
        std: standard deviation that every weight starts with.
        mean_std: deviation of the starting means, of weights and biases; by default 1/sqrt(d) and zero.
        generator: source of the starting means.

    References: Blundell et al. 2015, "Weight uncertainty in neural networks", section 3.2; Kingma et al. 2015,
        "Variational dropout and the local reparameterization trick", section 2.3.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        std: float = 0.05,
        mean_std: float | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.weight_mean = nn.Parameter(torch.empty(out_features, in_features))
        self.bias_mean = nn.Parameter(torch.empty(out_features))
        self.weight_rho = nn.Parameter(torch.empty(out_features, in_features))
        self.bias_rho = nn.Parameter(torch.empty(out_features))
        self.std, self.mean_std = std, mean_std
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draws the means anew and sets every deviation back to `std`."""
        with torch.no_grad():
            spread = self.weight_mean.shape[1] ** -0.5 if self.mean_std is None else self.mean_std
            self.weight_mean.normal_(0, spread, generator=generator)
            self.bias_mean.normal_(0, 0.0 if self.mean_std is None else self.mean_std, generator=generator)
            for rho in (self.weight_rho, self.bias_rho):
                rho.fill_(math.log(math.expm1(self.std)))

    @property
    def weight_std(self) -> Float[Tensor, "k d"]:
        """Standard deviation of every weight."""
        return F.softplus(self.weight_rho)

    @property
    def bias_std(self) -> Float[Tensor, " k"]:
        """Standard deviation of every bias."""
        return F.softplus(self.bias_rho)

    def moments(self, x: Float[Tensor, "*n d"]) -> tuple[Float[Tensor, "*n k"], Float[Tensor, "*n k"]]:
        """Returns mean and variance of the output over the weights, for a fixed input."""
        variance = F.linear(x.square(), self.weight_std.square(), self.bias_std.square())
        return F.linear(x, self.weight_mean, self.bias_mean), variance

    def forward(self, x: Float[Tensor, "*n d"], noise: Float[Tensor, "*m k"]) -> Float[Tensor, "*n k"]:
        """Returns one sample of the output by local reparameterisation; `noise` is standard normal, one row per row
        of `x`, or a shape that broadcasts to it where rows are to share their draw."""
        mean, variance = self.moments(x)
        return mean + variance.sqrt() * noise

    def draw(self, samples: int, generator: torch.Generator | None = None) -> Weights:
        """Returns `samples` draws of the weights themselves."""
        device, dtype = self.weight_mean.device, self.weight_mean.dtype
        shape = self.weight_mean.shape
        weight_noise = torch.randn(samples, *shape, generator=generator, device=device, dtype=dtype)
        bias_noise = torch.randn(samples, shape[0], generator=generator, device=device, dtype=dtype)
        return Weights(
            self.weight_mean + self.weight_std * weight_noise,
            self.bias_mean + self.bias_std * bias_noise,
            weight_noise,
            bias_noise,
        )

    def divergence(self, prior_std: float) -> Float[Tensor, ""]:
        """Returns the divergence of the weights from N(0, prior_std²), in nats."""
        return divergence(self.weight_mean, self.weight_std, 0.0, prior_std) + divergence(
            self.bias_mean, self.bias_std, 0.0, prior_std
        )

    def set_gradients(
        self,
        entering: Float[Tensor, "n d"],
        slope: Float[Tensor, "n k"],
        variance_slope: Float[Tensor, "n k"],
        weight_std: Float[Tensor, "k d"],
        bias_std: Float[Tensor, " k"],
        divergence_weight: float,
        prior_std: float,
    ) -> None:
        """Sets the gradients of the parameters for a loss and `divergence_weight` x the divergence from the prior.

        Args:
            entering: the layer's input.
            slope: slope of the loss for the mean of the output.
            variance_slope: twice its slope for the variance of the output.
            weight_std: the deviations as they are.
            bias_std: the same for the biases.
            divergence_weight: weight of the divergence from N(0, prior_std²).
            prior_std: deviation of the prior.
        """
        pull = divergence_weight / prior_std**2
        self.weight_mean.grad = (slope.T @ entering).add_(self.weight_mean, alpha=pull)
        self.bias_mean.grad = slope.sum(0).add_(self.bias_mean, alpha=pull)
        widths = (
            (self.weight_rho, weight_std, variance_slope.T @ entering.square()),
            (self.bias_rho, bias_std, variance_slope.sum(0)),
        )
        for rho, std, square_slope in widths:
            std_slope = square_slope.add_(pull).mul_(std).sub_(divergence_weight / std)
            rho.grad = std_slope.mul_(-torch.expm1(-std))  # d softplus(rho) / d rho = 1 - exp(-softplus(rho))

    def extra_repr(self) -> str:
        """Sizes and starting deviation."""
        return f"{self.weight_mean.shape[1]}, {self.weight_mean.shape[0]}, std={self.std}"
