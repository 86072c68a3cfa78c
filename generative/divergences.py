"""Pure functions on distributions of codes: entropies, divergences, mean weights, free bits."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

LOG_2_PI = math.log(2 * math.pi)


def entropy(p: Float[Tensor, "*n k"]) -> Float[Tensor, "*n"]:
    """Returns the entropy of each distribution, in nats."""
    return -torch.special.xlogy(p, p).sum(-1)


def normal_log_prob(
    z: Float[Tensor, "*n d"], mean: Float[Tensor, "*m d"] | float = 0.0, log_std: Float[Tensor, "*m d"] | float = 0.0
) -> Float[Tensor, "*n d"]:
    """Returns the log-density of each entry of `z` under N(mean, exp(log_std)²), in nats."""
    log_std = torch.as_tensor(log_std, dtype=z.dtype, device=z.device)
    return -0.5 * (LOG_2_PI + ((z - mean) * torch.exp(-log_std)).square()) - log_std


def normal_divergence(
    mean: Float[Tensor, "*n d"],
    log_std: Float[Tensor, "*n d"],
    mean_0: Float[Tensor, "*n d"] | float = 0.0,
    log_std_0: Float[Tensor, "*n d"] | float = 0.0,
) -> Float[Tensor, "*n d"]:
    """Returns the divergence of N(mean, std²) from N(mean_0, std_0²), entry by entry, in nats."""
    log_std_0 = torch.as_tensor(log_std_0, dtype=mean.dtype, device=mean.device)
    ratio = ((log_std - log_std_0) * 2).exp() + ((mean - mean_0) * torch.exp(-log_std_0)).square()
    return 0.5 * (ratio - 1) - (log_std - log_std_0)


def log_mean_exp(log_weights: Float[Tensor, "k *n"]) -> Float[Tensor, "*n"]:
    """Returns the logarithm of the mean weight over the first axis: the importance-weighted bound, in nats.

    References: Burda et al. 2016, "Importance weighted autoencoders", equation 8.
    """
    return torch.logsumexp(log_weights, 0) - math.log(len(log_weights))


def free_bits(divergence: Float[Tensor, "n group"], floor: float | Float[Tensor, ""]) -> Float[Tensor, ""]:
    """Returns the sum over groups of their divergence, but at least `floor` nats each.

    Below the floor a group has no slope.
    The mean over the minibatch is taken first, the maximum after.

    References: Kingma et al. 2016, "Improving variational inference with inverse autoregressive flow", equation 15.
    """
    return divergence.mean(0).clamp(min=floor).sum()


def bits_per_dim(nats: Float[Tensor, "*n"], dimensions: int) -> Float[Tensor, "*n"]:
    """Returns bits per dimension of data with a log-likelihood of `nats` over `dimensions` sub-pixels."""
    return -nats / (math.log(2) * dimensions)
