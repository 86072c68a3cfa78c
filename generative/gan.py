"""A generator against a discriminator, both fully connected."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from generative.errors import InvalidData, InvalidSettings
from generative.gan_losses import GAMES, Game, discriminator_loss, generator_loss
from generative.layers import Chain, Noise
from generative.model import Batch, Model, Player, Support, moved_by
from generative.optimiser import Optimiser
from generative.randomness import normal, seeded
from generative.techniques import HistoricalAverage, MinibatchDiscrimination, feature_matching


@dataclass(frozen=True, kw_only=True)
class GANSettings:
    """Settings of a GAN; each technique is off where its number is 0."""

    latent: int = 64
    """Numbers that a datum is made from, standard normal."""
    hidden: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers of both."""
    support: Support = "unit"
    """`unit` for images: what is generated lies between 0 and 1. `real` for any numbers."""
    game: Game = "non-saturating"
    """Which cost the two play for."""
    real_target: float = 1.0
    """What a real datum counts as; below 1 for one-sided label smoothing."""
    noise: float = 0.0
    """Deviation of the noise added to what the discriminator sees."""
    minibatch_kernels: int = 0
    """Closenesses of minibatch discrimination."""
    minibatch_group: int = 0
    """Examples that are compared with each other there; 0 for the whole minibatch."""
    feature_matching: float = 0.0
    """Weight of feature matching in the generator's cost; 1 leaves nothing of the game's own."""
    historical_averaging: float = 0.0
    """Weight of the squared distance of each player's parameters from their mean so far."""
    discriminator_updates: int = 1
    """Updates of the discriminator for one of the generator."""
    discriminator: Optimiser = field(default_factory=lambda: Optimiser(rate=2e-4, betas=(0.5, 0.999)))
    """Of the discriminator."""
    generator: Optimiser = field(default_factory=lambda: Optimiser(rate=2e-4, betas=(0.5, 0.999)))
    """Of the generator."""

    def __post_init__(self) -> None:
        if self.latent < 1 or not self.hidden or min(self.hidden) < 1:
            raise InvalidSettings(f"`latent` and `hidden` must be positive; got {self.latent} and {self.hidden}.")
        if self.support not in ("unit", "real"):
            raise InvalidSettings(f"`support` of a GAN is unit or real; got {self.support!r}.")
        if self.game not in GAMES:
            raise InvalidSettings(f"`game` is one of {', '.join(GAMES)}; got {self.game!r}.")
        if not 0 < self.real_target <= 1:
            raise InvalidSettings(f"`real_target` must be in (0, 1]; got {self.real_target}.")
        if not 0 <= self.feature_matching <= 1:
            raise InvalidSettings(f"`feature_matching` is a share in [0, 1]; got {self.feature_matching}.")
        if self.minibatch_group < 0 or self.minibatch_group == 1:
            raise InvalidSettings(f"`minibatch_group` must be 0 or at least 2; got {self.minibatch_group}.")
        if min(self.noise, self.minibatch_kernels, self.historical_averaging) < 0:
            raise InvalidSettings("`noise`, `minibatch_kernels` and `historical_averaging` must not be negative.")


class GAN(Model):
    """Generative adversarial network.

    Args:
        shape: of one datum.
        settings: see `GANSettings`.
        seed: of the first weights.

    References: Goodfellow et al. 2014, "Generative adversarial nets"; Salimans et al. 2016, "Improved techniques for
        training GANs".
    Differs from the paper: the generator's output starts at the mean of the data.
    """

    name: ClassVar[str] = "gan"
    Settings: ClassVar[type] = GANSettings
    settings: GANSettings

    def __init__(self, shape: Sequence[int], settings: GANSettings | None = None, *, seed: int = 0) -> None:
        s = settings or GANSettings()
        super().__init__(shape, s, support=s.support)
        size = prod(self.shape)
        with seeded(seed):
            self.generator = Chain(*_layers((s.latent, *s.hidden), nn.ReLU()))
            self.output = nn.Linear(s.hidden[-1], size)
            self.trunk = Chain(Noise(s.noise), *_layers((size, *s.hidden), nn.LeakyReLU(0.2)))
            self.closeness = (
                MinibatchDiscrimination(s.hidden[-1], s.minibatch_kernels, group=s.minibatch_group)
                if s.minibatch_kernels
                else None
            )
            self.head = nn.Linear(s.hidden[-1] + s.minibatch_kernels, 1)
        self.histories = nn.ModuleDict()
        if s.historical_averaging:
            for player in self.players:
                self.histories[player.name] = HistoricalAverage(moved_by(self, player).values())

    @property
    def players(self) -> tuple[Player, ...]:
        """The discriminator, then the generator."""
        s = self.settings
        return (
            Player(
                name="discriminator",
                parts=("trunk", "closeness", "head"),
                optimiser=s.discriminator,
                updates=s.discriminator_updates,
            ),
            Player(name="generator", parts=("generator", "output"), optimiser=s.generator),
        )

    @torch.no_grad()
    def initialise(self, batch: Batch, generator: torch.Generator) -> None:
        """Lets the generator begin at the mean of the data, and minibatch discrimination at its features' spread."""
        mean = batch.x.flatten(1).mean(0)
        self.output.bias.copy_(torch.logit(mean, 1e-2) if self.support == "unit" else mean)
        if self.closeness is not None:
            self.closeness.start(self.trunk(batch.x.flatten(1), generator))

    def losses(self, batch: Batch, player: str, generator: torch.Generator) -> dict[str, Float[Tensor, ""]]:
        """Returns the cost of `player` and its terms."""
        s = self.settings
        if player == "discriminator":
            with torch.no_grad():
                made = self._make(len(batch.x), generator)
            real, fake = (self._judge(x, generator)[0] for x in (batch.x, made))
            terms = {"game": discriminator_loss(s.game, real, fake, s.real_target)}
            terms |= {"real": real.mean(), "fake": fake.mean()}
            loss = terms["game"]
        else:
            fake, features = self._judge(self._make(len(batch.x), generator), generator)
            terms = {"game": generator_loss(s.game, fake)}
            loss = terms["game"]
            if s.feature_matching:
                with torch.no_grad():
                    wanted = self._judge(batch.x, generator)[1]
                terms["matching"] = feature_matching(wanted, features)
                loss = (1 - s.feature_matching) * loss + s.feature_matching * terms["matching"]
        if s.historical_averaging:
            terms["history"] = self.histories[player]()
            loss = loss + s.historical_averaging * terms["history"]
        return {"loss": loss, **terms}

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n *shape"]:
        """Returns `n` generated data."""
        return self._make(n, generator)

    @torch.no_grad()
    def decode(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n *shape"]:
        """Returns the datum that the generator makes of each code.

        Raises:
            InvalidData: the codes are of another width.
        """
        if z.ndim != 2 or z.shape[1] != self.settings.latent:
            raise InvalidData(f"{self.name} decodes codes of shape (n, {self.settings.latent}); got {tuple(z.shape)}.")
        return self._decode(z.to(self.device))

    def _decode(self, z: Tensor) -> Tensor:
        made = self.output(self.generator(z))
        return (torch.sigmoid(made) if self.support == "unit" else made).unflatten(1, self.shape)

    @torch.no_grad()
    def realness(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, " n"]:
        """Returns the discriminator's logit that each datum is real."""
        return self._judge(self.checked(x), None)[0]

    def _make(self, n: int, generator: torch.Generator) -> Tensor:
        return self._decode(normal((n, self.settings.latent), generator, self.head.weight))

    def _judge(self, x: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Returns logits and features."""
        features = self.trunk(x.flatten(1), generator)
        seen = features if self.closeness is None else self.closeness(features)
        return self.head(seen).squeeze(1).float(), features


def _layers(widths: Sequence[int], activation: nn.Module) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for i in range(len(widths) - 1):
        layers += [nn.Linear(widths[i], widths[i + 1]), activation]
    return layers
