"""A generator against a discriminator, both convolutional; and the two stacks of convolutions, for others to use."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from generative.errors import InvalidSettings
from generative.gan_losses import GAMES, Game, discriminator_loss, generator_loss
from generative.layers import Chain, Noise
from generative.model import Batch, Model, Player, image_shape
from generative.optimiser import Optimiser
from generative.randomness import seeded, uniform

SMALLEST = 7  # an image is halved while a side is longer
STD = 0.02  # of first weights, and of first gains about 1


def scales(shape: Sequence[int]) -> list[tuple[int, int]]:
    """Returns height and width of an image and of its halves, down to sides of at most 7: 28, 14, 7 or 32, 16, 8, 4."""
    _, *size = image_shape(shape)
    found = [(size[0], size[1])]
    while len(found) == 1 or max(found[-1]) > SMALLEST:
        found.append((found[-1][0] // 2, found[-1][1] // 2))
    if min(found[-1]) < 1:
        raise InvalidSettings(f"Images must have sides of at least 2, of like length; got {tuple(shape)}.")
    return found


def upwards(inputs: int, shape: Sequence[int], channels: int, hidden: int | None = None) -> Chain:
    """Returns layers that turn codes into images without bounds, by transposed convolutions that double the size.

    Args:
        inputs: width of a code.
        shape: of an image.
        channels: of the half-sized image; smaller ones have twice as many at each step.
        hidden: width of a fully connected layer before them.
    """
    sizes = scales(shape)
    top = channels * 2 ** (len(sizes) - 2)
    layers: list[nn.Module] = []
    if hidden is not None:
        layers += [nn.Linear(inputs, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU()]
    height, width = sizes[-1]
    layers += [nn.Linear(hidden or inputs, top * height * width, bias=False), nn.Unflatten(1, (top, height, width))]
    for i in range(len(sizes) - 1, 0, -1):
        above, below = channels * 2 ** (i - 1), shape[0] if i == 1 else channels * 2 ** (i - 2)
        extra = (sizes[i - 1][0] % 2, sizes[i - 1][1] % 2)
        up = nn.ConvTranspose2d(above, below, 4, stride=2, padding=1, output_padding=extra, bias=i == 1)
        layers += [nn.BatchNorm2d(above), nn.ReLU(), up]
    return Chain(*layers)


def downwards(
    shape: Sequence[int], channels: int, *, leak: float = 0.2, noise: float = 0.0, hidden: int | None = None
) -> tuple[Chain, int]:
    """Returns layers that turn images into features, by convolutions that halve the size, and how many features.

    Args:
        shape: of an image.
        channels: of the half-sized image; smaller ones have twice as many at each step.
        leak: slope of the rectifiers below 0.
        noise: deviation of the noise added to images.
        hidden: width of a fully connected layer after them.
    """
    sizes = scales(shape)
    layers: list[nn.Module] = [Noise(noise)]
    for i in range(1, len(sizes)):
        above, below = shape[0] if i == 1 else channels * 2 ** (i - 2), channels * 2 ** (i - 1)
        layers.append(nn.Conv2d(above, below, 4, stride=2, padding=1, bias=i == 1))
        layers += [nn.LeakyReLU(leak)] if i == 1 else [nn.BatchNorm2d(below), nn.LeakyReLU(leak)]
    features = channels * 2 ** (len(sizes) - 2) * sizes[-1][0] * sizes[-1][1]
    layers.append(nn.Flatten())
    if hidden is not None:
        layers += [nn.Linear(features, hidden, bias=False), nn.BatchNorm1d(hidden), nn.LeakyReLU(leak)]
    return Chain(*layers), hidden or features


@torch.no_grad()
def draw_weights(module: nn.Module) -> None:
    """Draws weights about 0 and gains about 1, of deviation 0.02; use as `module.apply(draw_weights)`."""
    if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        module.weight.normal_(0, STD)
        if module.bias is not None:
            module.bias.zero_()
    elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        module.weight.normal_(1, STD)


@dataclass(frozen=True, kw_only=True)
class DCGANSettings:
    """Settings of a DCGAN."""

    latent: int = 100
    """Numbers that an image is made from, uniform between -1 and 1."""
    channels: int = 64
    """Of the half-sized image; smaller ones have twice as many at each step."""
    game: Game = "non-saturating"
    """Which cost the two play for."""
    real_target: float = 1.0
    """What a real image counts as; below 1 for one-sided label smoothing."""
    noise: float = 0.0
    """Deviation of the noise added to what the discriminator sees, whose values go from -1 to 1."""
    discriminator: Optimiser = field(default_factory=lambda: Optimiser(rate=2e-4, betas=(0.5, 0.999)))
    """Of the discriminator."""
    generator: Optimiser = field(default_factory=lambda: Optimiser(rate=2e-4, betas=(0.5, 0.999)))
    """Of the generator."""

    def __post_init__(self) -> None:
        if min(self.latent, self.channels) < 1:
            raise InvalidSettings(f"`latent` and `channels` must be positive; got {self.latent}, {self.channels}.")
        if self.game not in GAMES:
            raise InvalidSettings(f"`game` is one of {', '.join(GAMES)}; got {self.game!r}.")
        if not 0 < self.real_target <= 1 or self.noise < 0:
            raise InvalidSettings(
                f"`real_target` must be in (0, 1], `noise` not negative; got {self.real_target}, {self.noise}."
            )


class DCGAN(Model):
    """Generative adversarial network of convolutions, for images of 8x8 to 64x64 and beyond.

    Real and generated images are normalised apart. Samples are normalised by running statistics.

    Args:
        shape: of one image.
        settings: see `DCGANSettings`.
        seed: of the first weights.

    References: Radford et al. 2015, "Unsupervised representation learning with deep convolutional generative
        adversarial networks".
    Differs from the paper: kernels of 4x4, which cover every pixel alike, instead of 5x5; no weight decay; both move in
        each round.
    """

    name: ClassVar[str] = "dcgan"
    Settings: ClassVar[type] = DCGANSettings
    settings: DCGANSettings

    def __init__(self, shape: Sequence[int], settings: DCGANSettings | None = None, *, seed: int = 0) -> None:
        s = settings or DCGANSettings()
        super().__init__(shape, s, support="unit")
        with seeded(seed):
            self.generator = upwards(s.latent, self.shape, s.channels)
            self.trunk, features = downwards(self.shape, s.channels, noise=s.noise)
            self.head = nn.Linear(features, 1)
            self.apply(draw_weights)

    @property
    def players(self) -> tuple[Player, ...]:
        """The discriminator, then the generator."""
        s = self.settings
        return (
            Player(name="discriminator", parts=("trunk", "head"), optimiser=s.discriminator),
            Player(name="generator", parts=("generator",), optimiser=s.generator),
        )

    @property
    def features(self) -> int:
        """Width of what `encode` returns."""
        return self.head.in_features

    def losses(self, batch: Batch, player: str, generator: torch.Generator) -> dict[str, Float[Tensor, ""]]:
        """Returns the cost of `player` and its terms."""
        s = self.settings
        if player == "generator":
            return {"loss": generator_loss(s.game, self._judge(self._make(len(batch.x), generator), generator))}
        with torch.no_grad():
            made = self._make(len(batch.x), generator)
        real, fake = (self._judge(x, generator) for x in (batch.x, made))
        loss = discriminator_loss(s.game, real, fake, s.real_target)
        return {"loss": loss, "real": real.mean(), "fake": fake.mean()}

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n *shape"]:
        """Returns `n` generated images."""
        return self._make(n, generator)

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n d"]:
        """Returns the discriminator's last features of each image."""
        return self.trunk(2 * self.checked(x) - 1)

    @torch.no_grad()
    def realness(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, " n"]:
        """Returns the discriminator's logit that each image is real."""
        return self._judge(self.checked(x), None)

    def _make(self, n: int, generator: torch.Generator) -> Tensor:
        z = 2 * uniform((n, self.settings.latent), generator, self.head.weight) - 1
        return 0.5 + 0.5 * torch.tanh(self.generator(z))

    def _judge(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        return self.head(self.trunk(2 * x - 1, generator)).squeeze(1).float()
