"""A GAN whose generator is told a code that can be read off what it makes: classes and directions found unasked."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from generative.dcgan import downwards, draw_weights, upwards
from generative.divergences import entropy
from generative.errors import InvalidSettings
from generative.gan_losses import GAMES, Game, discriminator_loss, generator_loss
from generative.layers import Chain
from generative.model import Batch, Model, Player
from generative.optimiser import Optimiser
from generative.randomness import integers, seeded, uniform
from generative.warp import warp

LEAK = 0.1  # slope of the rectifiers below 0


@dataclass(frozen=True, kw_only=True)
class InfoGANSettings:
    """Settings of an InfoGAN; the defaults are the published ones for MNIST, in minibatches of 128, but for `noise`."""

    latent: int = 62
    """Numbers that nothing is to be read from, uniform between -1 and 1."""
    categories: tuple[int, ...] = (10,)
    """Number of values of each categorical code."""
    continuous: int = 2
    """Continuous codes, uniform between -1 and 1."""
    channels: int = 64
    """Of the half-sized image; smaller ones have twice as many at each step."""
    hidden: int = 1024
    """Width of the fully connected layer of generator and trunk."""
    code_hidden: int = 128
    """Width of the layer between the trunk and the codes that are read."""
    information: float = 1.0
    """Weight of the codes in the costs of both players."""
    continuous_weight: float = 1.0
    """Weight of continuous codes beside categorical ones."""
    agreement: float = 0.0
    """Weight of the information between the categorical codes read off a training image and off the same image warped
    a little; as published, 0. With it the values are kinds of what is seen in the data, not slants or widths of it."""
    game: Game = "non-saturating"
    """Which cost the two play for."""
    noise: float = 0.2
    """Deviation of the noise added to what discriminator and code reader see; as published, 0. Without it the
    discriminator is soon certain on MNIST, and the classes that are found are none."""
    discriminator: Optimiser = field(default_factory=lambda: Optimiser(rate=2e-4, betas=(0.5, 0.999)))
    """Of the discriminator and the code reader."""
    generator: Optimiser = field(default_factory=lambda: Optimiser(rate=1e-3, betas=(0.5, 0.999)))
    """Of the generator."""

    def __post_init__(self) -> None:
        if min(self.latent, self.channels, self.hidden, self.code_hidden) < 1 or self.continuous < 0:
            raise InvalidSettings(
                "`latent`, `channels`, `hidden` and `code_hidden` must be positive, `continuous` not negative; got "
                f"{self.latent}, {self.channels}, {self.hidden}, {self.code_hidden}, {self.continuous}."
            )
        if any(values < 2 for values in self.categories) or not (self.categories or self.continuous):
            raise InvalidSettings(
                f"`categories` must have 2 values at least each, and there must be a code; got {self.categories}."
            )
        if self.game not in GAMES:
            raise InvalidSettings(f"`game` is one of {', '.join(GAMES)}; got {self.game!r}.")
        if min(self.information, self.continuous_weight, self.agreement, self.noise) < 0:
            raise InvalidSettings("`information`, `continuous_weight`, `agreement` and `noise` must not be negative.")
        if self.agreement and not self.categories:
            raise InvalidSettings("`agreement` is of categorical codes, and `categories` names none.")


@dataclass(frozen=True, kw_only=True)
class Codes:
    """What the generator is told."""

    category: Int[Tensor, "n q"]
    """Value of each categorical code."""
    continuous: Float[Tensor, "n c"]
    """Each continuous one."""


class InfoGAN(Model):
    """Generative adversarial network that maximises the information between a code and what is made from it.

    The code is read off images by a head on the discriminator's trunk. Head and trunk learn it with the discriminator's
    optimiser, the generator with its own.

    Args:
        shape: of one image.
        settings: see `InfoGANSettings`.
        seed: of the first weights.

    References: Chen et al. 2016, "InfoGAN: interpretable representation learning by information maximizing generative
        adversarial nets"; the code reader's deviation for continuous codes is 1, as in its code.
    """

    name: ClassVar[str] = "infogan"
    Settings: ClassVar[type] = InfoGANSettings
    settings: InfoGANSettings

    def __init__(self, shape: Sequence[int], settings: InfoGANSettings | None = None, *, seed: int = 0) -> None:
        s = settings or InfoGANSettings()
        super().__init__(shape, s, support="unit")
        with seeded(seed):
            self.generator = upwards(s.latent + self.features, self.shape, s.channels, s.hidden)
            self.trunk, width = downwards(self.shape, s.channels, leak=LEAK, noise=s.noise, hidden=s.hidden)
            self.head = nn.Linear(width, 1)
            self.reader = Chain(
                nn.Linear(width, s.code_hidden, bias=False), nn.BatchNorm1d(s.code_hidden), nn.LeakyReLU(LEAK),
                nn.Linear(s.code_hidden, self.features),
            )  # fmt: skip
            self.apply(draw_weights)

    @property
    def players(self) -> tuple[Player, ...]:
        """The discriminator with the code reader, then the generator."""
        s = self.settings
        return (
            Player(name="discriminator", parts=("trunk", "head", "reader"), optimiser=s.discriminator),
            Player(name="generator", parts=("generator",), optimiser=s.generator),
        )

    @property
    def features(self) -> int:
        """Width of a code: one number for each value of each category, and one for each continuous code."""
        return sum(self.settings.categories) + self.settings.continuous

    def losses(self, batch: Batch, player: str, generator: torch.Generator) -> dict[str, Float[Tensor, ""]]:
        """Returns the cost of `player` and its terms; `information` is the bound for categorical codes, in nats."""
        s, n = self.settings, len(batch.x)
        codes, noise = self.draw_codes(n, generator), self._noise(n, generator)
        seen = None
        if player == "generator":
            features = self.trunk(self.make(codes, noise), generator)
            game = generator_loss(s.game, self._real(features))
        else:
            with torch.no_grad():
                made = self.make(codes, noise)
            seen, features = self.trunk(batch.x, generator), self.trunk(made, generator)
            game = discriminator_loss(s.game, self._real(seen), self._real(features))
        surprise, error = self.misreading(self.reader(features).float(), codes)
        terms = {"loss": game + s.information * (surprise + s.continuous_weight * error), "game": game}
        if s.agreement and seen is not None:
            changed = self.trunk(warp(batch.x, generator), generator)
            agreement = self.agreement(self.reader(seen).float(), self.reader(changed).float())
            terms |= {"loss": terms["loss"] - s.agreement * agreement, "agreement": agreement}
        if s.categories:
            terms["information"] = math.log(math.prod(s.categories)) - surprise
        return terms | ({"code_error": error} if s.continuous else {})

    def misreading(self, read: Float[Tensor, "n d"], codes: Codes) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Returns the surprise at the categorical codes, in nats, and half of the squared error of continuous ones.

        The entropy of the categories less the surprise bounds their mutual information with the images from below.

        Args:
            read: what the code reader said: logits of each category, then means.
            codes: what the generator was told.
        """
        *logits, means = read.split([*self.settings.categories, self.settings.continuous], 1)
        surprise = read.new_zeros(())
        for i, part in enumerate(logits):
            surprise = surprise + F.cross_entropy(part, codes.category[:, i])
        return surprise, 0.5 * (codes.continuous - means).square().sum(1).mean()

    def agreement(self, read: Float[Tensor, "n d"], again: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
        """Returns the information between two readings of the same images' categories, in nats, summed over codes.

        It is highest where either is certain, all values are as frequent, and the two always agree.

        References: Ji et al. 2019, "Invariant information clustering for unsupervised image classification and
            segmentation", equation 3.
        """
        widths = self.settings.categories
        pairs = zip(read[:, : sum(widths)].split(widths, 1), again[:, : sum(widths)].split(widths, 1), strict=True)
        found = read.new_zeros(())
        for first, second in pairs:
            joint = torch.softmax(first, 1).T @ torch.softmax(second, 1) / len(first)
            joint = ((joint + joint.T) / 2).clamp_min(torch.finfo(joint.dtype).tiny)
            found = found + 2 * entropy(joint.sum(1)) - entropy(joint.flatten())
        return found

    @torch.no_grad()
    def information(self, n: int, generator: torch.Generator) -> float:
        """Returns a lower bound of the information between categorical codes and images, in nats, from `n` images."""
        codes = self.draw_codes(n, generator)
        features = self.trunk(self.make(codes, self._noise(n, generator)), generator)
        surprise, _ = self.misreading(self.reader(features).float(), codes)
        return math.log(math.prod(self.settings.categories)) - float(surprise)

    def draw_codes(self, n: int, generator: torch.Generator) -> Codes:
        """Returns `n` codes drawn uniformly."""
        s, like = self.settings, self.head.weight
        drawn = [integers(values, (n,), generator, like.device) for values in s.categories]
        category = torch.stack(drawn, 1) if drawn else torch.empty(n, 0, dtype=torch.int64, device=like.device)
        return Codes(category=category, continuous=2 * uniform((n, s.continuous), generator, like) - 1)

    def make(self, codes: Codes, noise: Float[Tensor, "n latent"]) -> Float[Tensor, "n *shape"]:
        """Returns the images made from codes and noise."""
        hot = [F.one_hot(codes.category[:, i], values) for i, values in enumerate(self.settings.categories)]
        return torch.sigmoid(self.generator(torch.cat([noise, *hot, codes.continuous], 1)))

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n *shape"]:
        """Returns `n` generated images, of codes and noise drawn anew."""
        return self.make(self.draw_codes(n, generator), self._noise(n, generator))

    @torch.no_grad()
    def traverse(
        self, code: int, values: Sequence[float | int], n: int, generator: torch.Generator
    ) -> Float[Tensor, "n values *shape"]:
        """Returns `n` rows of images; along a row one code takes each of `values`, and nothing else changes.

        Args:
            code: number of the code: categorical ones first, then continuous ones.
            values: which to take: whole numbers for a categorical code; a continuous one may leave -1 to 1.
            n: rows, each of noise and codes of its own.
            generator: of these.

        Raises:
            InvalidSettings: there is no such code or value.
        """
        s = self.settings
        kinds = len(s.categories)
        if not 0 <= code < kinds + s.continuous:
            raise InvalidSettings(f"Codes are numbered from 0 to {kinds + s.continuous - 1}; got {code}.")
        if not len(values) or (code < kinds and any(value not in range(s.categories[code]) for value in values)):
            raise InvalidSettings(f"Code {code} cannot take the values {list(values)}.")
        codes, noise = self.draw_codes(n, generator), self._noise(n, generator)
        times = len(values)
        category, continuous = (part.repeat_interleave(times, 0) for part in (codes.category, codes.continuous))
        column = category[:, code] if code < kinds else continuous[:, code - kinds]
        column.copy_(torch.as_tensor(list(values)).repeat(n))
        made = self.make(Codes(category=category, continuous=continuous), noise.repeat_interleave(times, 0))
        return made.unflatten(0, (n, times))

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n d"]:
        """Returns the code read off each image: the probability of every value of every category, then means."""
        read = self.reader(self.trunk(self.checked(x))).float()
        *logits, means = read.split([*self.settings.categories, self.settings.continuous], 1)
        return torch.cat([*(torch.softmax(part, 1) for part in logits), means], 1)

    @torch.no_grad()
    def clusters(self, x: Float[Tensor, "n *shape"]) -> Int[Tensor, " n"]:
        """Returns the likeliest value of the first categorical code of each image.

        Raises:
            InvalidSettings: the model has no categorical code.
        """
        if not self.settings.categories:
            raise InvalidSettings("This infogan has continuous codes alone, and sorts nothing into clusters.")
        return self.encode(x)[:, : self.settings.categories[0]].argmax(1)

    @torch.no_grad()
    def realness(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, " n"]:
        """Returns the discriminator's logit that each image is real."""
        return self._real(self.trunk(self.checked(x)))

    def _noise(self, n: int, generator: torch.Generator) -> Tensor:
        return 2 * uniform((n, self.settings.latent), generator, self.head.weight) - 1

    def _real(self, features: Tensor) -> Tensor:
        return self.head(features).squeeze(1).float()
