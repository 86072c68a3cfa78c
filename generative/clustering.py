"""A classifier that sorts data without labels, and can be told the names of what it found by a few.

Its outputs are made certain of each datum, even over all data, and deaf to the worst small change of a datum.
`few_labels` has the whole way from few labels to a classifier.

References: Hu et al. 2017, "Learning discrete representations via information maximizing self-augmented training";
    Miyato et al. 2017, "Virtual adversarial training".
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import prod
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from generative.divergences import entropy
from generative.errors import InvalidData, InvalidSettings
from generative.model import Batch, Model
from generative.optimiser import Optimiser
from generative.randomness import normal, seeded

NEIGHBOUR = 3  # of the bank, whose distance sets the size of a change
SELF = 0.02  # a datum nearer to one of the bank than this share of that distance is that one
FAR = 1e3  # every number of a row of the bank that no datum has taken


@dataclass(frozen=True, kw_only=True)
class ClusteringSettings:
    """Settings of the classifier; the defaults are for MNIST, in minibatches of 250."""

    classes: int = 10
    """Number of classes."""
    hidden: tuple[int, ...] = (500, 500)
    """Widths of the hidden layers, each normalised by its minibatch."""
    radius: float = 0.2
    """Size of a change, as a share of the distance to the third nearest datum of the bank."""
    bank: int = 1000
    """Training data that are kept to measure distances with. A third of a thousand is about as near as a tenth of
    sixty thousand times 1.25: the paper's radius is a quarter of the latter."""
    probe: float = 10.0
    """Length of the step by which the worst direction is felt for, about the norm of a digit."""
    information: float = 0.1
    """Weight of the two entropies."""
    evenness: float = 4.0
    """Weight of the entropy over all data beside that of each datum."""
    optimiser: Optimiser = field(default_factory=lambda: Optimiser(rate=2e-3, decay="linear", decay_from=0.5))
    """Of all parameters."""

    def __post_init__(self) -> None:
        if self.classes < 2 or not self.hidden or min(self.hidden) < 1 or self.bank <= NEIGHBOUR:
            raise InvalidSettings(
                f"`classes` must be 2 at least, `hidden` positive and `bank` above {NEIGHBOUR}; got {self.classes}, "
                f"{self.hidden}, {self.bank}."
            )
        if min(self.radius, self.probe, self.information, self.evenness) < 0:
            raise InvalidSettings("`radius`, `probe`, `information` and `evenness` must not be negative.")


class Clustering(Model):
    """Fully connected classifier by information and virtual adversarial training.

    Args:
        shape: of one datum, which is read as a vector.
        settings: see `ClusteringSettings`.
        seed: of the first weights.

    Differs from the papers: the size of a change comes from a bank of data instead of all, and the entropy over all
        data is that of the minibatch.
    """

    name: ClassVar[str] = "clustering"
    Settings: ClassVar[type] = ClusteringSettings
    settings: ClusteringSettings
    bank: Tensor

    def __init__(self, shape: Sequence[int], settings: ClusteringSettings | None = None, *, seed: int = 0) -> None:
        s = settings or ClusteringSettings()
        super().__init__(shape, s, support="unit")
        size = prod(self.shape)
        with seeded(seed):
            layers: list[nn.Module] = []
            for before, after in pairwise((size, *s.hidden)):
                layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU()]
            self.trunk = nn.Sequential(*layers)
            self.head = nn.Linear(s.hidden[-1], s.classes)
            nn.init.normal_(
                self.head.weight, 0, 0.1 * s.hidden[-1] ** -0.5
            )  # no datum is sorted before it is looked at
        self.register_buffer("bank", torch.zeros(s.bank, size))

    @torch.no_grad()
    def initialise(self, batch: Batch, generator: torch.Generator) -> None:
        """Keeps some data to measure distances with.

        Raises:
            InvalidData: they are too few.
        """
        flat = batch.x.flatten(1)[: len(self.bank)]
        if len(flat) <= NEIGHBOUR:
            raise InvalidData(f"Distances are measured with {NEIGHBOUR + 1} data at least; the first are {len(flat)}.")
        self.bank.fill_(FAR)[: len(flat)].copy_(flat)

    def logits(self, x: Float[Tensor, "n *shape"], *, remember: bool = True) -> Float[Tensor, "n k"]:
        """Returns the outputs for each datum; in training, `remember` takes them into the running statistics."""
        found = x.flatten(1)
        for layer in self.trunk:
            if isinstance(layer, nn.BatchNorm1d) and self.training and not remember:
                found = F.batch_norm(found, None, None, layer.weight, layer.bias, training=True, eps=layer.eps)
            else:
                found = layer(found)
        return self.head(found).float()

    def losses(self, batch: Batch, player: str, generator: torch.Generator) -> dict[str, Float[Tensor, ""]]:
        """Returns the cost and its terms, in nats."""
        s, x = self.settings, batch.x.flatten(1)
        logits = self.logits(x)
        opinion = torch.softmax(logits, 1)
        doubt = entropy(opinion).mean()
        spread = entropy(opinion.mean(0))
        change = self.worst(x, logits.detach(), generator)
        swayed = divergence(logits.detach(), self.logits(x + change, remember=False))
        loss = swayed + s.information * (doubt - s.evenness * spread)
        return {"loss": loss, "swayed": swayed, "doubt": doubt, "spread": spread}

    def worst(
        self, x: Float[Tensor, "n d"], logits: Float[Tensor, "n k"], generator: torch.Generator
    ) -> Float[Tensor, "n d"]:
        """Returns the small change of each datum that sways the outputs most, felt for once."""
        direction = F.normalize(normal(x.shape, generator, x), dim=1).requires_grad_()
        with torch.enable_grad():
            felt = divergence(logits, self.logits(x + self.settings.probe * direction, remember=False))
        slope = torch.autograd.grad(felt, direction)[0]
        return self.radii(x).unsqueeze(1) * F.normalize(slope, dim=1, eps=1e-20)

    @torch.no_grad()
    def radii(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Returns the size of a change of each datum."""
        near = torch.cdist(x, self.bank).topk(NEIGHBOUR + 1, largest=False).values
        own = near[:, 0] < SELF * near[:, NEIGHBOUR]
        return self.settings.radius * torch.where(own, near[:, NEIGHBOUR], near[:, NEIGHBOUR - 1])

    @torch.no_grad()
    def probabilities(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n k"]:
        """Returns the probability of each class, or of each cluster as long as they have no names."""
        return torch.softmax(self.logits(self.checked(x)), 1)

    @torch.no_grad()
    def clusters(self, x: Float[Tensor, "n *shape"]) -> Int[Tensor, " n"]:
        """Returns the likeliest class of each datum."""
        return self.probabilities(x).argmax(1)

    @torch.no_grad()
    def name_clusters(self, x: Float[Tensor, "n *shape"], label: Int[Tensor, " n"]) -> None:
        """Puts the outputs in the order of the classes, by labelled data."""
        from scipy.optimize import linear_sum_assignment

        votes = torch.zeros(self.settings.classes, self.settings.classes)
        votes.index_add_(0, label.cpu(), self.probabilities(x).cpu())
        order = torch.as_tensor(linear_sum_assignment(-votes.numpy())[1], device=self.device)
        self.head.weight.copy_(self.head.weight[order].clone())
        self.head.bias.copy_(self.head.bias[order].clone())


def divergence(logits: Float[Tensor, "n k"], other: Float[Tensor, "n k"]) -> Float[Tensor, ""]:
    """Returns the divergence of the second distribution from the first, in nats, a mean over data."""
    first, second = F.log_softmax(logits, 1), F.log_softmax(other, 1)
    return (first.exp() * (first - second)).sum(1).mean()
