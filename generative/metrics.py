"""How good a model is: likelihoods, clusterings, modes covered, and scores of samples by a classifier's opinion."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from generative.data import Binarisation, Dataset
from generative.divergences import bits_per_dim, log_mean_exp
from generative.errors import InvalidData, InvalidSettings
from generative.model import Bounded, Coder, Density, Model
from generative.randomness import child

ENTRIES = 200_000
"""Entries of data that an exact likelihood is taken of at once: about 250 images of MNIST, and less than a gigabyte."""
ACTIVE = 0.01  # a number of the code is active if its mean varies over the data by more than this


@dataclass(frozen=True, kw_only=True)
class Likelihood:
    """The log-likelihood of a test set, with all that is needed to compare it."""

    nats: float
    """Mean per datum."""
    standard_error: float
    """Of that mean, over data."""
    bits_per_dim: float
    """The same per entry of a datum, sign turned: less is better. For continuous data it is no code length."""
    samples: int | None
    """Importance samples of each datum: the figure is a lower bound. None: the likelihood is exact."""
    binarisation: Binarisation | None
    """How grey levels became 0 and 1."""
    examples: int
    """Data looked at."""


@torch.no_grad()
def likelihood(
    model: Model, data: Dataset, *, samples: int = 100, seed: int = 0, examples: int | None = None, chunk: int = 20_000
) -> Likelihood:
    """Returns the likelihood of the test data: exact where the model knows it, else by importance sampling.

    Args:
        model: has `log_prob` or `bound`.
        data: as the model takes them.
        samples: codes drawn for each datum.
        seed: of these, and of a dynamic binarisation.
        examples: how many test data, from the first; all by default.
        chunk: data times samples worked on at once; where the likelihood is exact, a tenth as many data, and no more
            than have `ENTRIES` entries together.

    Raises:
        InvalidData: the model gives no likelihood, or there are no test data.
        InvalidSettings: `samples` or `chunk` is below 1.
    """
    if min(samples, chunk) < 1:
        raise InvalidSettings(f"`samples` and `chunk` must be at least 1; got {samples}, {chunk}.")
    data.check_for(model)
    x = data.test.x[:examples]
    if not len(x):
        raise InvalidData(f"{data.name} has no test data.")
    if not isinstance(model, Density | Bounded):
        raise InvalidData(f"{model.name} has neither a likelihood nor a bound of one.")
    generator = torch.Generator(model.device).manual_seed(child(seed, "likelihood"))
    draws = torch.Generator().manual_seed(child(seed, "binarisation of the test data"))
    x = data.values(x, draws)
    model.eval()
    nats: list[Tensor] = []
    if isinstance(model, Density):
        nats += [model.log_prob(part) for part in x.split(max(1, min(chunk // 10, ENTRIES // x[0].numel())))]
    else:
        most = min(samples, chunk)  # codes at once; a datum's chunks are equal, so that their mean is that of all
        times = math.ceil(samples / most)
        most = math.ceil(samples / times)
        samples = times * most
        for part in x.split(max(1, chunk // most)):
            nats.append(log_mean_exp(torch.stack([model.bound(part, most, generator) for _ in range(times)])))
    found = torch.cat(nats).double().cpu()
    mean = float(found.mean())
    return Likelihood(
        nats=mean,
        standard_error=float(found.std() / math.sqrt(len(found))) if len(found) > 1 else math.nan,
        bits_per_dim=float(bits_per_dim(found.mean(), math.prod(model.shape))),
        samples=None if isinstance(model, Density) else samples,
        binarisation=data.binarisation,
        examples=len(found),
    )


def _table(label: Int[Tensor, " n"], cluster: Int[Tensor, " n"]) -> np.ndarray:
    if len(label) != len(cluster) or not len(label):
        raise InvalidData(f"As many labels as clusters are needed, and at least one; got {len(label)}, {len(cluster)}.")
    size = int(max(label.max(), cluster.max())) + 1
    flat = torch.bincount(label.long().cpu() * size + cluster.long().cpu(), minlength=size * size)
    return flat.view(size, size).numpy()


def clustering_error(label: Int[Tensor, " n"], cluster: Int[Tensor, " n"]) -> float:
    """Returns the share of data in a wrong cluster, once clusters are named by classes one to one as well as can be."""
    from scipy.optimize import linear_sum_assignment

    table = _table(label, cluster)
    return 1 - float(table[linear_sum_assignment(-table)].sum() / table.sum())


def mutual_information(label: Int[Tensor, " n"], cluster: Int[Tensor, " n"]) -> float:
    """Returns the mutual information of classes and clusters over the mean of their entropies: 1 where they agree."""
    joint = _table(label, cluster) / len(label)
    rows, columns = joint.sum(1), joint.sum(0)
    entropies = _entropy(rows), _entropy(columns)
    if not any(entropies):
        return 1.0
    return (sum(entropies) - _entropy(joint.ravel())) / (0.5 * sum(entropies))


def _entropy(shares: np.ndarray) -> float:
    positive = shares[shares > 0]
    return float(-(positive * np.log(positive)).sum())


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """What samples say about a mixture."""

    modes: int
    """Modes with a sample within three deviations."""
    of: int
    """Modes there are."""
    near: float
    """Share of samples within three deviations of some mode."""


def mode_coverage(
    samples: Float[Tensor, "n d"], centres: Float[Tensor, "modes d"], std: float, *, least: int = 1
) -> Coverage:
    """Returns which modes of a mixture of equal Gaussians the samples reach.

    Args:
        samples: of a model.
        centres: of the Gaussians.
        std: their deviation.
        least: samples that a mode needs to count as covered.
    """
    distance, mode = torch.cdist(samples, centres).min(1)
    close = distance < 3 * std
    counts = torch.bincount(mode[close], minlength=len(centres))
    return Coverage(modes=int((counts >= least).sum()), of=len(centres), near=float(close.float().mean()))


def active_units(model: Model, x: Float[Tensor, "n *shape"]) -> int:
    """Returns how many numbers of the code vary with the data: the variance of their mean is above 0.01.

    References: Burda et al. 2016, "Importance weighted autoencoders", section 5.
    """
    if not isinstance(model, Coder):
        raise InvalidData(f"{model.name} has no code.")
    return int((model.encode(x).var(0) > ACTIVE).sum())


def inception_score(probabilities: Float[Tensor, "n k"], splits: int = 10) -> tuple[float, float]:
    """Returns exp(mean divergence of each opinion from the mean opinion): the mean over splits, and its deviation.

    Between 1 and the number of classes. Scores of other classifiers, numbers of samples or splits cannot be compared.

    Args:
        probabilities: a classifier's opinion of every sample.
        splits: equal parts, in order, that are scored alone.

    References: Salimans et al. 2016, "Improved techniques for training GANs", section 4.
    """
    if splits < 1 or len(probabilities) < splits:
        raise InvalidData(f"{len(probabilities)} samples cannot be scored in {splits} splits.")
    scores = []
    for part in probabilities.double().tensor_split(splits):
        log = part.clamp_min(1e-300).log()
        mean = part.mean(0, keepdim=True)
        scores.append(float((part * (log - mean.clamp_min(1e-300).log())).sum(1).mean().exp()))
    return float(np.mean(scores)), float(np.std(scores))


def frechet_distance(real: Float[Tensor, "n d"], made: Float[Tensor, "m d"]) -> float:
    """Returns |m - m'|² + tr(C + C' - 2 (C C')^½) of the features of real and of generated data: less is better.

    With the features of Inception it is the Fréchet inception distance; with another network's, another scale.

    References: Heusel et al. 2017, "GANs trained by a two time-scale update rule converge to a local Nash equilibrium".
    """
    if min(len(real), len(made)) < 2 or real.shape[1] != made.shape[1]:
        raise InvalidData(
            f"Two features at least of one width are needed; got {tuple(real.shape)}, {tuple(made.shape)}."
        )
    real, made = real.double(), made.double()
    gap = (real.mean(0) - made.mean(0)).square().sum()
    first, second = (torch.atleast_2d(torch.cov(features.T)) for features in (real, made))
    values, vectors = torch.linalg.eigh(first)
    root = vectors * values.clamp_min(0).sqrt() @ vectors.T  # symmetric, so that C^½ C' C^½ is too
    shared = torch.linalg.eigvalsh(root @ second @ root).clamp_min(0).sqrt().sum()
    return max(0.0, float(gap + first.trace() + second.trace() - 2 * shared))
