"""GANs on the scales of an image: one makes it small, each other one adds the detail that doubling its size lacks."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from generative.errors import InvalidSettings
from generative.gan import GAN, GANSettings
from generative.gan_losses import GAMES, Game, discriminator_loss, generator_loss
from generative.layers import Chain, Dropout
from generative.model import Batch, Model, Player, image_shape
from generative.optimiser import Optimiser
from generative.randomness import normal, seeded, uniform

LEAK = 0.2  # slope of the discriminators' rectifiers below 0


def halved(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h2 w2"]:
    """Returns images of half the size: means of four pixels."""
    return F.avg_pool2d(x, 2)


def doubled(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h2 w2"]:
    """Returns images of twice the size, interpolated."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def pyramid(x: Float[Tensor, "n c h w"], levels: int) -> list[Float[Tensor, "n c ..."]]:
    """Returns `levels` sizes of the images, the full one first."""
    sizes = [x]
    while len(sizes) < levels:
        sizes.append(halved(sizes[-1]))
    return sizes


@dataclass(frozen=True, kw_only=True)
class LAPGANSettings:
    """Settings of a LAPGAN."""

    levels: int = 2
    """Sizes of an image: 28 and 14 with 2; 28, 14 and 7 with 3."""
    channels: int = 64
    """Of the convolutions that add detail, and of those that judge it."""
    dropout: float = 0.5
    """Share of the last features that discriminators leave out in training."""
    condition_noise: float = 0.05
    """Deviation of the noise added to the small image in training, since at sampling it is not a real one either."""
    game: Game = "non-saturating"
    """Which cost is played for where detail is added."""
    base: GANSettings = field(default_factory=lambda: GANSettings(latent=100, hidden=(512, 512)))
    """Of the GAN that makes the smallest image."""
    discriminator: Optimiser = field(default_factory=lambda: Optimiser(rate=2e-4, betas=(0.5, 0.999)))
    """Of each discriminator of detail."""
    generator: Optimiser = field(default_factory=lambda: Optimiser(rate=2e-4, betas=(0.5, 0.999)))
    """Of each generator of detail."""

    def __post_init__(self) -> None:
        if self.levels < 2 or self.channels < 1:
            raise InvalidSettings(
                f"`levels` must be 2 at least, `channels` positive; got {self.levels}, {self.channels}."
            )
        if not 0 <= self.dropout < 1 or self.condition_noise < 0:
            raise InvalidSettings(
                f"`dropout` must be in [0, 1), `condition_noise` not negative; got {self.dropout}, "
                f"{self.condition_noise}."
            )
        if self.game not in GAMES:
            raise InvalidSettings(f"`game` is one of {', '.join(GAMES)}; got {self.game!r}.")
        if self.base.support != "unit":
            raise InvalidSettings(f"`base` must make images, of support unit; got {self.base.support!r}.")


class LAPGAN(Model):
    """Laplacian pyramid of adversarial networks.

    Every level learns on its own from real images, all in each round. The generator of a level is shown the image of
    half the size, doubled, with a plane of noise, and makes what is to be added to it. Its discriminator judges the
    sum.

    Args:
        shape: of one image; its sides must be divisible by 2 as often as there are sizes below it.
        settings: see `LAPGANSettings`.
        seed: of the first weights.

    References: Denton et al. 2015, "Deep generative image models using a Laplacian pyramid of adversarial networks";
        sizes of the layers as in its code for CIFAR-10.
    Differs from the paper: leaky rectifiers in discriminators; the small image is noisy in training; Adam; generators
        of detail start with none, so that the first large images are the small ones, doubled.
    """

    name: ClassVar[str] = "lapgan"
    Settings: ClassVar[type] = LAPGANSettings
    settings: LAPGANSettings

    def __init__(self, shape: Sequence[int], settings: LAPGANSettings | None = None, *, seed: int = 0) -> None:
        s = settings or LAPGANSettings()
        super().__init__(shape, s, support="unit")
        colours, height, width = image_shape(self.shape)
        times = 2 ** (s.levels - 1)
        if height % times or width % times:
            odd = height % 2 or width % 2
            cure = "cut or pad it to even sides" if odd else "choose fewer `levels`"
            raise InvalidSettings(f"An image of {height}x{width} cannot be halved {s.levels - 1} times; {cure}.")
        self.base = GAN((colours, height // times, width // times), s.base, seed=seed)
        self.generators, self.discriminators = nn.ModuleList(), nn.ModuleList()
        with seeded(seed + 1):
            for i in range(s.levels - 1):
                self.generators.append(_adder(colours, s.channels))
                size = -(-(height >> i) // 2) * -(-(width >> i) // 2)
                self.discriminators.append(_judge(colours, s.channels, size, s.dropout))

    @property
    def players(self) -> tuple[Player, ...]:
        """Those of the smallest image, then discriminator and generator of each level; level 0 is the full size."""
        s = self.settings
        players = [
            replace(player, name=f"base-{player.name}", parts=tuple(f"base.{part}" for part in player.parts))
            for player in self.base.players
        ]
        for i in reversed(range(s.levels - 1)):
            players += [
                Player(name=f"discriminator-{i}", parts=(f"discriminators.{i}",), optimiser=s.discriminator),
                Player(name=f"generator-{i}", parts=(f"generators.{i}",), optimiser=s.generator),
            ]
        return tuple(players)

    @torch.no_grad()
    def initialise(self, batch: Batch, generator: torch.Generator) -> None:
        """Lets the smallest image begin at the mean of the data."""
        self.base.initialise(replace(batch, x=pyramid(batch.x, self.settings.levels)[-1]), generator)

    def losses(self, batch: Batch, player: str, generator: torch.Generator) -> dict[str, Float[Tensor, ""]]:
        """Returns the cost of `player` and its terms."""
        s = self.settings
        sizes = pyramid(batch.x, s.levels)
        role, _, place = player.rpartition("-")
        if role == "base":
            return self.base.losses(replace(batch, x=sizes[-1]), place, generator)
        level = int(place)
        real, coarse = sizes[level], doubled(sizes[level + 1])
        coarse = coarse + s.condition_noise * normal(coarse.shape, generator, coarse)
        judge = self.discriminators[level]
        if role == "generator":
            fake = judge(2 * self.detailed(coarse, level, generator) - 1, generator)
            return {"loss": generator_loss(s.game, fake.squeeze(1).float())}
        with torch.no_grad():
            made = self.detailed(coarse, level, generator)
        found = [judge(2 * x - 1, generator).squeeze(1).float() for x in (real, made)]
        loss = discriminator_loss(s.game, *found)
        return {"loss": loss, "real": found[0].mean(), "fake": found[1].mean()}

    def detailed(
        self, coarse: Float[Tensor, "n c h w"], level: int, generator: torch.Generator
    ) -> Float[Tensor, "n c h w"]:
        """Returns `coarse`, images doubled to the size of `level`, with detail made for them; it may leave 0 to 1."""
        plane = 2 * uniform((len(coarse), 1, *coarse.shape[2:]), generator, coarse) - 1
        return coarse + self.generators[level](torch.cat([2 * coarse - 1, plane], 1))

    @torch.no_grad()
    def stages(self, n: int, generator: torch.Generator) -> list[Float[Tensor, "n c ..."]]:
        """Returns `n` generated images in every size, the smallest first."""
        made = [self.base.sample(n, generator)]
        for level in reversed(range(self.settings.levels - 1)):
            made.append(self.detailed(doubled(made[-1]), level, generator).clamp(0, 1))
        return made

    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n *shape"]:
        """Returns `n` generated images."""
        return self.stages(n, generator)[-1]


def _adder(colours: int, channels: int) -> Chain:
    last = nn.Conv2d(channels, colours, 5, padding=2)
    for parameter in last.parameters():
        nn.init.zeros_(parameter)
    return Chain(
        nn.Conv2d(colours + 1, channels, 7, padding=3), nn.ReLU(),
        nn.Conv2d(channels, channels, 7, padding=3), nn.ReLU(),
        last,
    )  # fmt: skip


def _judge(colours: int, channels: int, size: int, dropout: float) -> Chain:
    return Chain(
        nn.Conv2d(colours, channels, 5, padding=2), nn.LeakyReLU(LEAK),
        nn.Conv2d(channels, channels, 5, stride=2, padding=2), nn.LeakyReLU(LEAK), nn.Flatten(),
        Dropout(dropout), nn.Linear(channels * size, 1),
    )  # fmt: skip
