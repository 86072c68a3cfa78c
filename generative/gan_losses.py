"""Costs of the two players of an adversarial game, as pure functions of logits; each is a mean over the minibatch.

References: Goodfellow et al. 2014, "Generative adversarial nets"; Mao et al. 2017, "Least squares GAN"; Lim and Ye
    2017, "Geometric GAN" (hinge); Salimans et al. 2016, "Improved techniques for training GANs" (smoothing, K + 1
    classes).
"""

from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from generative.errors import UnknownName, nearest

Game = Literal["non-saturating", "minimax", "hinge", "least-squares"]
GAMES: tuple[str, ...] = get_args(Game)


def discriminator_loss(
    game: str, real: Float[Tensor, " n"], fake: Float[Tensor, " m"], target: float = 1.0
) -> Float[Tensor, ""]:
    """Returns the discriminator's cost.

    Args:
        game: one of `GAMES`.
        real: logits of real data; for `least-squares` and `hinge`, scores.
        fake: the same of generated data.
        target: what a real datum counts as: below 1 for one-sided label smoothing. The target of generated data stays
            0, else the best discriminator would favour them where they are dense.
    """
    match game:
        case "non-saturating" | "minimax":
            return (F.softplus(-real) + (1 - target) * real).mean() + F.softplus(fake).mean()
        case "hinge":
            return F.relu(target - real).mean() + F.relu(1 + fake).mean()
        case "least-squares":
            return 0.5 * (real - target).square().mean() + 0.5 * fake.square().mean()
    raise UnknownName(f"No game is named {game!r}. {nearest(game, list(GAMES))}")


def generator_loss(game: str, fake: Float[Tensor, " m"]) -> Float[Tensor, ""]:
    """Returns the generator's cost: -log D for `non-saturating`, log(1 - D), which soon is flat, for `minimax`."""
    match game:
        case "non-saturating":
            return F.softplus(-fake).mean()
        case "minimax":
            return -F.softplus(fake).mean()
        case "hinge":
            return -fake.mean()
        case "least-squares":
            return 0.5 * (fake - 1).square().mean()
    raise UnknownName(f"No game is named {game!r}. {nearest(game, list(GAMES))}")


def realness(logits: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
    """Returns the logit of being real: of K + 1 classes, the last one, `generated`, has the fixed logit 0."""
    return torch.logsumexp(logits, 1)


def class_loss(logits: Float[Tensor, "n k"], label: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    """Returns the cost of naming the class of labelled examples, given that they are real, in nats."""
    return F.cross_entropy(logits, label)


def existence_loss(real: Float[Tensor, "n k"], fake: Float[Tensor, "m k"]) -> Float[Tensor, ""]:
    """Returns the cost of telling unlabelled data from generated ones, half of each kind, in nats.

    Differs from the paper: the halves are those of its code.
    """
    return 0.5 * F.softplus(-realness(real)).mean() + 0.5 * F.softplus(realness(fake)).mean()
