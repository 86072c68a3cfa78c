"""Pure functions on diagonal Gaussians."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def divergence(
    mean: Float[Tensor, "*w"],
    std: Float[Tensor, "*w"],
    mean_0: Float[Tensor, "*w"] | float,
    std_0: Float[Tensor, "*w"] | float,
) -> Float[Tensor, ""]:
    r"""Returns the divergence of N(mean, std²) from N(mean_0, std_0²), in nats, summed over all entries.

    .. math:: \sum_i \log\frac{s_{0,i}}{s_i} + \frac{s_i^2 + (m_i - m_{0,i})^2}{2 s_{0,i}^2} - \frac12
    """
    ratio = std / std_0
    return (0.5 * (ratio.square() + ((mean - mean_0) / std_0).square() - 1) - ratio.log()).sum()


def log_density(
    value: Float[Tensor, "*n d"], mean: Float[Tensor, "*n d"], variance: Float[Tensor, "*n d"] | Float[Tensor, " d"]
) -> Float[Tensor, "*n"]:
    """Returns log N(value; mean, variance) in nats, summed over the last axis."""
    return -0.5 * ((value - mean).square() / variance + variance.log() + math.log(2 * math.pi)).sum(-1)


def entropy(variance: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
    """Returns the differential entropy of N(·, variance) in nats, summed over the last axis."""
    return 0.5 * (variance.log() + math.log(2 * math.pi * math.e)).sum(-1)


def rectified_moments(
    mean: Float[Tensor, "*n"], variance: Float[Tensor, "*n"]
) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
    """Returns mean and second moment of max(0, z) for z ~ N(mean, variance), exact.

    References: Frey & Hinton 1999, "Variational learning in nonlinear Gaussian belief networks", appendix.
    """
    std = variance.clamp_min(torch.finfo(mean.dtype).tiny).sqrt()
    ratio = mean / std
    below = 0.5 * torch.special.erfc(-ratio * math.sqrt(0.5))
    density = torch.exp(-0.5 * ratio.square()) * (1 / math.sqrt(2 * math.pi))
    first = mean * below + std * density
    second = (mean.square() + variance) * below + mean * std * density
    return first, second
