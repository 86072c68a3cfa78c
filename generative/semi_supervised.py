"""A classifier that learns from a few labels and from telling data from generated ones; alone, or several as one."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import prod
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from generative.errors import InvalidData, InvalidSettings
from generative.gan_losses import class_loss, existence_loss, realness
from generative.layers import Chain, Noise, WeightNormal, starting
from generative.model import Batch, Model, Player
from generative.optimiser import Optimiser
from generative.randomness import normal, seeded, uniform
from generative.techniques import feature_matching


def _adam() -> Optimiser:
    return Optimiser(rate=3e-3, betas=(0.5, 0.999), epsilon=1e-4, decay="linear", decay_from=2 / 3)


@dataclass(frozen=True, kw_only=True)
class SemiSupervisedGANSettings:
    """Settings of a semi-supervised GAN; the defaults are the published ones for MNIST, in minibatches of 100."""

    classes: int = 10
    """Number of classes."""
    hidden: tuple[int, ...] = (1000, 500, 250, 250, 250)
    """Widths of the classifier's hidden layers; the last one's features are what the generator matches."""
    noise: float = 0.3
    """Deviation of the noise added to what the classifier sees."""
    hidden_noise: float = 0.5
    """Deviation of the noise added after each of its hidden layers."""
    latent: int = 100
    """Numbers that a datum is made from, uniform between 0 and 1."""
    generator_hidden: tuple[int, ...] = (500, 500)
    """Widths of the generator's hidden layers."""
    unlabelled: float = 1.0
    """Weight of telling data from generated ones; with 0 the classifier learns from labels alone."""
    members: int = 1
    """Models trained as one, whose opinions are averaged; number i begins as a lone model of seed + i does."""
    classifier: Optimiser = field(default_factory=_adam)
    """Of the classifier. A `clip` would bind the members of an ensemble together."""
    generator: Optimiser = field(default_factory=_adam)
    """Of the generator."""

    def __post_init__(self) -> None:
        if self.classes < 2 or min(self.members, self.latent) < 1:
            raise InvalidSettings(
                "`classes` must be 2 at least, `members` and `latent` positive; got "
                f"{self.classes}, {self.members}, {self.latent}."
            )
        for name in ("hidden", "generator_hidden"):
            if not getattr(self, name) or min(getattr(self, name)) < 1:
                raise InvalidSettings(f"`{name}` must be positive widths, one at least; got {getattr(self, name)}.")
        if min(self.noise, self.hidden_noise, self.unlabelled) < 0:
            raise InvalidSettings("`noise`, `hidden_noise` and `unlabelled` must not be negative.")


class SideBySide(WeightNormal):
    """Fully connected layers of as many members, each on its own share of the columns.

    Args:
        members: how many; what comes in and goes out are rows of theirs, one after another.
        inputs: of each member.
        outputs: of each member.
        kwargs: as of `WeightNormal`.
    """

    def __init__(self, members: int, inputs: int, outputs: int, **kwargs: object) -> None:
        super().__init__((members * outputs, inputs), outputs=members * outputs, axis=0, **kwargs)  # type: ignore[arg-type]
        self.members = members

    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Returns `weight @ x + bias` for every row and member."""
        if self.members == 1:
            return F.linear(x, weight, bias)
        stacked = x.unflatten(1, (self.members, -1)).transpose(0, 1)
        weights = weight.unflatten(0, (self.members, -1)).transpose(1, 2)
        made = torch.bmm(stacked, weights).transpose(0, 1).flatten(1)
        return made if bias is None else made + bias


class SharedNoise(Noise):
    """Noise that is the same for all members."""

    def __init__(self, std: float, members: int) -> None:
        super().__init__(std)
        self.members = members

    def forward(self, x: Float[Tensor, "n d"], generator: torch.Generator | None) -> Float[Tensor, "n d"]:
        """Returns `x` with noise from `generator` in training, and as it is otherwise or without one."""
        if not self.training or generator is None or self.std == 0:
            return x
        drawn = normal((len(x), x.shape[1] // self.members), generator, x)
        return x + self.std * drawn.repeat(1, self.members)


class SemiSupervisedGAN(Model):
    """A classifier of K classes and `generated`, against a generator that matches the mean of its features.

    Wants data with few labels (`data.with_labels`), or with all. An ensemble is one network of block-diagonal layers:
    its members see the same minibatches and noise, and each moves as it would alone.

    Args:
        shape: of one datum.
        settings: see `SemiSupervisedGANSettings`.
        seed: of the first weights.

    References: Salimans et al. 2016, "Improved techniques for training GANs", section 5 and the code for MNIST.
    Differs from the paper: the generator's output starts at the mean of the data instead of a half; the rate falls to
        nothing in the last third of the run; samples are normalised by running statistics, not by each other.
    """

    name: ClassVar[str] = "semi-supervised-gan"
    Settings: ClassVar[type] = SemiSupervisedGANSettings
    wants_labels: ClassVar[bool] = True
    settings: SemiSupervisedGANSettings

    def __init__(
        self, shape: Sequence[int], settings: SemiSupervisedGANSettings | None = None, *, seed: int = 0
    ) -> None:
        s = settings or SemiSupervisedGANSettings()
        super().__init__(shape, s, support="unit")
        m, size = s.members, prod(self.shape)
        with seeded(seed):
            below: list[nn.Module] = [SharedNoise(s.noise, m)]
            for i, (before, width) in enumerate(pairwise((size, *s.hidden))):
                below += [SharedNoise(s.hidden_noise, m)] if i else []
                below += [SideBySide(m, before, width, std=0.1, gain="frozen"), nn.ReLU()]
            self.trunk = Chain(*below)
            self.head = Chain(SharedNoise(s.hidden_noise, m), SideBySide(m, s.hidden[-1], s.classes, std=0.1))
            layers: list[nn.Module] = []
            for before, width in pairwise((s.latent, *s.generator_hidden)):
                glorot = (2 / (before + width)) ** 0.5
                norm = nn.BatchNorm1d(m * width)
                norm.weight.requires_grad_(False)
                layers += [SideBySide(m, before, width, std=glorot, gain="none", bias=False), norm, nn.Softplus()]
            self.generator = Chain(*layers)
            self.output = SideBySide(m, s.generator_hidden[-1], size, std=0.05)
        if m > 1:
            alone = [SemiSupervisedGAN(shape, replace(s, members=1), seed=seed + i).state_dict() for i in range(m)]
            joined = {key: torch.cat([one[key] for one in alone]) if value.ndim else value
                      for key, value in alone[0].items()}  # fmt: skip
            self.load_state_dict(joined)

    @property
    def players(self) -> tuple[Player, ...]:
        """The classifier, then the generator."""
        s = self.settings
        return (
            Player(name="classifier", parts=("trunk", "head"), optimiser=s.classifier),
            Player(name="generator", parts=("generator", "output"), optimiser=s.generator),
        )

    @property
    def features(self) -> int:
        """Width of what `encode` returns."""
        return self.settings.members * self.settings.hidden[-1]

    @torch.no_grad()
    def initialise(self, batch: Batch, generator: torch.Generator) -> None:
        """Sets the classifier's gains and biases from data, and lets the generator begin at their mean."""
        with starting(self.trunk), starting(self.head):
            self.head(self.trunk(self._for_all(batch.x), generator), generator)
        if self.output.bias is not None:
            self.output.bias.copy_(torch.logit(batch.x.flatten(1).mean(0), 1e-2).repeat(self.settings.members))

    def losses(self, batch: Batch, player: str, generator: torch.Generator) -> dict[str, Float[Tensor, ""]]:
        """Returns the cost of `player`, the sum over members, and its terms, means over them."""
        s = self.settings
        if player == "generator":
            made = self.trunk(self._make(len(batch.x), generator), generator)
            with torch.no_grad():
                wanted = self.trunk(self._for_all(batch.x), generator)
            matching = feature_matching(wanted, made)
            return {"loss": s.members * matching, "matching": matching}
        known = batch.labelled or batch
        if known.label is None:
            raise InvalidData("A semi-supervised GAN learns from some labels at least; these data have none.")
        with torch.no_grad():
            made = self._make(len(batch.x), generator)
        parts = [self._for_all(known.x), self._for_all(batch.x), made]
        logits = self.head(self.trunk(torch.cat(parts), generator), generator).float()
        labelled, real, fake = (
            part.reshape(-1, s.classes) for part in logits.split([len(known.x), len(batch.x), len(batch.x)])
        )
        label = known.label.repeat_interleave(s.members)
        naming, telling = class_loss(labelled, label), existence_loss(real, fake)
        errors = (labelled.argmax(1) != label).float().mean()
        loss = s.members * (naming + s.unlabelled * telling)
        return {"loss": loss, "naming": naming, "telling": telling, "errors": errors}

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n *shape"]:
        """Returns `n` generated data, of the members in turn."""
        made = self._make(n, generator).unflatten(1, (self.settings.members, -1))
        rows = torch.arange(n, device=made.device)
        return made[rows, rows % self.settings.members].unflatten(1, self.shape)

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n d"]:
        """Returns the last features of each datum, of all members."""
        return self.trunk(self._for_all(self.checked(x)))

    @torch.no_grad()
    def probabilities(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n k"]:
        """Returns the probability of each class of each datum, given that it is real: the mean over members."""
        return torch.softmax(self._logits(x), 2).mean(1)

    @torch.no_grad()
    def realness(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, " n"]:
        """Returns the logit that each datum is real: the mean over members."""
        logits = self._logits(x)
        return realness(logits.flatten(0, 1)).unflatten(0, logits.shape[:2]).mean(1)

    def member(self, i: int) -> "SemiSupervisedGAN":
        """Returns member number `i` as a model of its own."""
        m = self.settings.members
        if not 0 <= i < m:
            raise InvalidSettings(f"Members are numbered from 0 to {m - 1}; got {i}.")
        alone = SemiSupervisedGAN(self.shape, replace(self.settings, members=1)).to(self.device)
        state = {key: value.chunk(m)[i] if value.ndim else value for key, value in self.state_dict().items()}
        alone.load_state_dict(state)
        return alone.train(self.training)

    def _for_all(self, x: Tensor) -> Tensor:
        return x.flatten(1).repeat(1, self.settings.members)

    def _logits(self, x: Tensor) -> Tensor:
        return self.head(self.encode(x)).float().unflatten(1, (self.settings.members, -1))

    def _make(self, n: int, generator: torch.Generator) -> Tensor:
        z = uniform((n, self.settings.latent), generator, self.output.v)
        return torch.sigmoid(self.output(self.generator(z.repeat(1, self.settings.members))))
