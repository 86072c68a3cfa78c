"""What an outcome is expected to tell about a model, from the predictions of its members; every result is in nats.

Members `m` predict Gaussians. Their means differ where the model is in doubt (epistemic variance), and each has its own
idea of the noise (aleatoric variance). The quantity behind all measures is the mutual information of the outcome and
the member, the entropy of the mixture less the mean entropy of its parts: what VIME's realised gain is a sample of.

| measure | formula | cost | capped at log(members) |
|---|---|---|---|
| `log_determinant` | 1/2 Σ log(1 + epistemic / aleatoric) | m d | no |
| `variance` | 1/2 Σ epistemic / aleatoric, its first order | m d | no |
| `jensen_renyi` | the same with Rényi's entropy of order 2, in closed form | m² d | yes |
| `mixture_information` | the quantity itself, by sampling: the oracle of the tests | samples m d | yes |
| `trajectory_gain` | 1/2 log det(I + Φ'Φ / m) over all steps: a place revisited counts once | m² d, then m³ | no |

A capped measure is flat far from the data, where every member says something else: with five members it cannot tell 2
nats from 20, and gives a planner no slope there. `agents.planning.imagine` warns of it.
"""

import math
from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from vime.gaussian import log_density
from vime.information import expected_gain

Measure = Callable[[Float[Tensor, "m n d"], Float[Tensor, "#m n d"]], Float[Tensor, " n"]]
"""Takes the members' means and variances to nats of every row."""

SAMPLES = 256  # of `mixture_information`, for each member


def moments(
    mean: Float[Tensor, "m n d"], variance: Float[Tensor, "#m n d"]
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
    """Returns the epistemic and the aleatoric variance: of the members' means, and the mean of their variances.

    The first is the members' own: as an estimate of the belief behind them it is low by one part in `m`.
    """
    # by hand: torch's variance over the first axis is many times slower than sums over it
    return (mean - mean.mean(0)).square_().mean(0), variance[0] if len(variance) == 1 else variance.mean(0)


def log_determinant(mean: Float[Tensor, "m n d"], variance: Float[Tensor, "#m n d"]) -> Float[Tensor, " n"]:
    """Returns 1/2 Σ log(1 + epistemic / aleatoric): exact where the belief about the mean is Gaussian.

    References: MacKay 1992, "Information-based objective functions for active data selection"; Sukhija et al. 2023,
        "Optimistic active exploration of dynamical systems", arXiv:2306.12371, equation 7.
    """
    return expected_gain(*moments(mean, variance))


def variance(mean: Float[Tensor, "m n d"], variance: Float[Tensor, "#m n d"]) -> Float[Tensor, " n"]:
    """Returns 1/2 Σ epistemic / aleatoric, the first order of `log_determinant`.

    References: Sekar et al. 2020, "Planning to explore via self-supervised world models", arXiv:2005.05960, section 3.

    Differs from the paper: divided by the noise, without which noisy places keep paying.
    """
    epistemic, aleatoric = moments(mean, variance)
    return 0.5 * (epistemic / aleatoric).sum(-1)


def jensen_renyi(mean: Float[Tensor, "m n d"], variance: Float[Tensor, "#m n d"]) -> Float[Tensor, " n"]:
    r"""Returns the Jensen-Rényi divergence of order 2 of the members' predictions; at most log m.

    .. math:: -\log \frac{1}{m^2} \sum_{ij} N(\mu_i; \mu_j, S_i + S_j) - \frac1m \sum_i H_2(N(\mu_i, S_i))

    References: Shyam et al. 2019, "Model-based active exploration", arXiv:1810.12162, appendix A.
    """
    m, variance = len(mean), variance.expand_as(mean)
    # row by row: all at once would hold m x m x n x d numbers
    pairs = [log_density(mean[i].expand_as(mean), mean, variance[i] + variance) for i in range(m)]
    mixture = 2 * math.log(m) - torch.cat(pairs).logsumexp(0)
    parts = 0.5 * (4 * math.pi * variance).log().sum(-1).mean(0)
    return mixture - parts


def mixture_information(
    mean: Float[Tensor, "m n d"],
    variance: Float[Tensor, "#m n d"],
    generator: torch.Generator | None = None,
    samples: int = SAMPLES,
) -> Float[Tensor, " n"]:
    """Returns the mutual information of outcome and member, by `samples` outcomes of every member; at most log m.

    Its error falls with the root of `samples`: it is what the other measures are held against, and too slow to plan on.
    """
    m, variance = len(mean), variance.expand_as(mean)
    total = mean.new_zeros(mean.shape[1])
    for _ in range(samples):
        noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
        outcome = mean + variance.sqrt() * noise
        for i in range(m):
            logs = log_density(outcome[i].expand_as(mean), mean, variance)
            total += logs[i] - (logs.logsumexp(0) - math.log(m))
    return total / (samples * m)


def member_gram(mean: Float[Tensor, "m n d"], variance: Float[Tensor, "#m n d"]) -> Float[Tensor, "n m m"]:
    """Returns Φ'Φ / m of one step, Φ the members' deviations from their mean in deviations of the noise.

    Added up over the steps of a trajectory it is what `trajectory_gain` takes.
    """
    deviations = (mean - mean.mean(0)) / variance.mean(0).sqrt()
    rows = deviations.transpose(0, 1)
    return rows @ rows.transpose(1, 2) / len(mean)


def trajectory_gain(gram: Float[Tensor, "n m m"]) -> Float[Tensor, " n"]:
    """Returns 1/2 log det(I + Φ'Φ / m) of trajectories, whose steps `member_gram` took and a sum joined.

    The members span the belief, so that two visits to one place point the same way and are not counted twice. Its rank
    is at most m - 1, so more members see more.
    """
    identity = torch.eye(gram.shape[-1], device=gram.device, dtype=gram.dtype)
    return torch.linalg.cholesky_ex(identity + gram)[0].diagonal(dim1=-2, dim2=-1).log().sum(-1)


def gaussian_gain(
    epistemic: Float[Tensor, "*n d"], aleatoric: Float[Tensor, "*#n d"], error: Float[Tensor, "*n d"]
) -> Float[Tensor, "*n"]:
    r"""Returns the nats that an outcome did tell: the divergence of the Gaussian belief after it from that before.

    .. math:: \frac12 \sum_d \log(1 + r) - \frac{r}{1+r} + \left(\frac{r}{1+r}\right)^2 \frac{e^2}{\text{epistemic}}

    with r = epistemic / aleatoric. Averaged over errors of variance epistemic + aleatoric it is `expected_gain`:
    whether the two agree over a run says whether the model's doubt is of the right size.

    Args:
        error: the outcome less what was predicted.
    """
    ratio = epistemic / aleatoric
    kept = ratio / (1 + ratio)
    surprise = kept / (epistemic + aleatoric) * error.square()
    return 0.5 * (torch.log1p(ratio) - kept + surprise).sum(-1)


MEASURES: Mapping[str, Measure] = {
    "log-det": log_determinant,
    "variance": variance,
    "jensen-renyi": jensen_renyi,
}
"""Measures of one step by name; a planner knows "trajectory" beside them."""

CAPPED = ("jensen-renyi",)
"""Those that cannot exceed log(members)."""

FEW_MEMBERS = 10  # below which the cap bites at once
