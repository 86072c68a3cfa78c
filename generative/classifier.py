"""A small classifier, whose features and opinions judge what generative models make."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from generative.errors import InvalidData, InvalidSettings
from generative.layers import Chain, Dropout
from generative.model import Batch, Model
from generative.optimiser import Optimiser
from generative.randomness import seeded


@dataclass(frozen=True, kw_only=True)
class ClassifierSettings:
    """Settings of a classifier."""

    classes: int = 10
    """Number of classes."""
    channels: tuple[int, int] = (32, 64)
    """Of the two convolutions, where the data are images."""
    features: int = 128
    """Width of the last hidden layer."""
    dropout: float = 0.3
    """Share of the last features that training leaves out."""
    optimiser: Optimiser = field(default_factory=lambda: Optimiser(rate=2e-3, decay="cosine"))
    """Of all parameters."""

    def __post_init__(self) -> None:
        if self.classes < 2 or self.features < 1 or min(self.channels) < 1 or not 0 <= self.dropout < 1:
            raise InvalidSettings(
                "`classes` must be 2 at least, `channels` and `features` positive, `dropout` in [0, 1); got "
                f"{self.classes}, {self.channels}, {self.features}, {self.dropout}."
            )


class Classifier(Model):
    """Two convolutions that halve the image and a hidden layer; of vectors, two hidden layers.

    Args:
        shape: of one datum.
        settings: see `ClassifierSettings`.
        seed: of the first weights.
    """

    name: ClassVar[str] = "classifier"
    Settings: ClassVar[type] = ClassifierSettings
    wants_labels: ClassVar[bool] = True
    settings: ClassifierSettings

    def __init__(self, shape: Sequence[int], settings: ClassifierSettings | None = None, *, seed: int = 0) -> None:
        s = settings or ClassifierSettings()
        super().__init__(shape, s, support="real")
        with seeded(seed):
            if len(self.shape) == 3:
                first, second = s.channels
                size = second * -(-self.shape[1] // 4) * -(-self.shape[2] // 4)
                below: list[nn.Module] = [
                    nn.Conv2d(self.shape[0], first, 3, stride=2, padding=1), nn.ReLU(),
                    nn.Conv2d(first, second, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(),
                ]  # fmt: skip
            else:
                size = s.features
                below = [nn.Flatten(), nn.Linear(torch.Size(self.shape).numel(), size), nn.ReLU()]
            self.trunk = Chain(*below, nn.Linear(size, s.features), nn.ReLU())
            self.thin = Dropout(s.dropout)
            self.head = nn.Linear(s.features, s.classes)

    @property
    def features(self) -> int:
        """Width of what `encode` returns."""
        return self.settings.features

    def losses(self, batch: Batch, player: str, generator: torch.Generator) -> dict[str, Float[Tensor, ""]]:
        """Returns the cross-entropy, in nats, and the share of errors."""
        known = batch.labelled or batch
        if known.label is None:
            raise InvalidData("A classifier learns from labels; these data have none.")
        logits = self.head(self.thin(self.trunk(known.x), generator)).float()
        errors = (logits.argmax(1) != known.label).float().mean()
        return {"loss": F.cross_entropy(logits, known.label), "errors": errors.detach()}

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n d"]:
        """Returns the last features of each datum."""
        return self.trunk(self.checked(x))

    @torch.no_grad()
    def probabilities(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n k"]:
        """Returns the probability of each class of each datum."""
        return torch.softmax(self.head(self.encode(x)).float(), 1)
