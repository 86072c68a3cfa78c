"""A variational autoencoder, fully connected or of residual convolutions, and the importance-weighted one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from generative.divergences import free_bits, log_mean_exp, normal_divergence, normal_log_prob
from generative.errors import InvalidData, InvalidSettings, choose
from generative.layers import ACTIVATIONS, starting
from generative.likelihoods import Bernoulli, DiscretisedMixture, Gaussian, Likelihood
from generative.model import Batch, Model, image_shape
from generative.optimiser import Optimiser
from generative.randomness import normal, seeded
from generative.residual import Bias, ConvDecoder, ConvEncoder

STARTING_IMAGES = 64  # of the first minibatch, from which convolutions set gains and biases
LOG_STD_LIMIT = 3.5  # the log-deviation of a code is softly kept within ± this


@dataclass(frozen=True, kw_only=True)
class VAESettings:
    """Settings of a variational autoencoder."""

    latent: int = 32
    """Numbers in a code."""
    hidden: tuple[int, ...] = (400, 400)
    """Widths of the encoder's hidden layers; the decoder has them in reverse."""
    channels: tuple[int, ...] = ()
    """Of residual convolutions that halve the image before those layers; none unless given. (16, 32, 32) with `hidden`
    (450,) is the network of Kingma et al. 2016 for MNIST. They come with `elu` and normalised weights."""
    activation: Literal["elu", "relu", "silu", "softplus", "tanh"] = "elu"
    """Between them."""
    likelihood: Literal["bernoulli", "gaussian", "discretised"] = "bernoulli"
    """Of the data: 0 and 1; any number; grey levels, as a logistic's mass in each."""
    deviation: Literal["shared", "each", "optimal"] = "optimal"
    """Of the Gaussian likelihood: see `likelihoods.Gaussian`."""
    levels: int = 256
    """Values of an entry, for the discretised likelihood; 17 for the digits of scikit-learn."""
    samples: int = 1
    """Codes drawn for each datum in training; with more than one the importance-weighted bound is climbed."""
    gradient: Literal["pathwise", "dreg"] = "pathwise"
    """How, with more than one sample: plainly, or doubly reparameterised, which keeps the encoder's signal."""
    beta: float = 1.0
    """Weight of the divergence; 1 is the bound. With one sample alone."""
    warm_up: int = 0
    """Rounds over which that weight grows from nothing."""
    free_bits: float = 0.0
    """Nats of divergence that each number of the code has free. With one sample alone."""
    optimiser: Optimiser = field(default_factory=Optimiser)
    """Of all parameters."""

    def __post_init__(self) -> None:
        if self.latent < 1 or not self.hidden or min(self.hidden) < 1 or self.samples < 1:
            raise InvalidSettings(
                f"`latent`, `hidden` and `samples` must be positive; got {self.latent}, {self.hidden}, {self.samples}."
            )
        if any(width < 1 for width in self.channels) or (self.channels and self.activation != "elu"):
            raise InvalidSettings(
                f"`channels` must be positive, and go with the activation elu; got {self.channels}, {self.activation}."
            )
        choose("activation", self.activation, ACTIVATIONS)
        choose("likelihood", self.likelihood, LIKELIHOODS)
        if self.gradient not in ("pathwise", "dreg"):
            raise InvalidSettings(f"`gradient` is pathwise or dreg; got {self.gradient!r}.")
        if min(self.beta, self.free_bits, self.warm_up) < 0:
            raise InvalidSettings("`beta`, `free_bits` and `warm_up` must not be negative.")
        if self.samples > 1 and (self.beta != 1 or self.free_bits or self.warm_up):
            raise InvalidSettings("`beta`, `free_bits` and `warm_up` serve the bound of one sample; leave them out.")


@dataclass(frozen=True, kw_only=True)
class IWAESettings(VAESettings):
    """Settings of an importance-weighted autoencoder: those of a VAE, with many samples."""

    samples: int = 50
    gradient: Literal["pathwise", "dreg"] = "dreg"


class VAE(Model):
    """Variational autoencoder: a diagonal Gaussian code under a standard normal prior.

    Args:
        shape: of one datum; images are read as vectors unless the settings have `channels`.
        settings: see `VAESettings`.
        seed: of the first weights.

    References: Kingma and Welling 2014, "Auto-encoding variational Bayes"; Burda et al. 2016, "Importance weighted
        autoencoders"; Tucker et al. 2019, "Doubly reparameterized gradient estimators for Monte Carlo objectives".
    Differs from the papers: data are centred for the encoder and the decoder begins at their mean; log-deviations are
        softly bounded; Adam with the usual memories.
    """

    name: ClassVar[str] = "vae"
    Settings: ClassVar[type] = VAESettings
    settings: VAESettings
    centre: Tensor

    def __init__(self, shape: Sequence[int], settings: VAESettings | None = None, *, seed: int = 0) -> None:
        s = settings or self.Settings()
        likelihood = LIKELIHOODS[s.likelihood](shape, s)
        super().__init__(shape, s, support=likelihood.support, levels=likelihood.levels)
        self.likelihood = likelihood
        size, outputs = prod(self.shape), prod(likelihood.parameter_shape)
        with seeded(seed):
            self.encoder = (
                ConvEncoder(image_shape(self.shape), s.channels, s.hidden)
                if s.channels
                else _network((size, *s.hidden), s.activation)
            )
            self.posterior_head = nn.Linear(s.hidden[-1], 2 * s.latent)
            if s.channels:
                self.decoder: nn.Module = ConvDecoder(s.latent, likelihood.parameter_shape, s.channels, s.hidden)
                self.output: nn.Linear | Bias = Bias(outputs)
            else:
                self.decoder = _network((s.latent, *reversed(s.hidden)), s.activation)
                self.output = nn.Linear(s.hidden[0], outputs)
        self.register_buffer("centre", torch.zeros(size))

    @property
    def features(self) -> int:
        """Numbers in a code."""
        return self.settings.latent

    @torch.no_grad()
    def initialise(self, batch: Batch, generator: torch.Generator) -> None:
        """Centres the encoder's input on the data, and lets the decoder begin at their mean.

        Convolutions set their gains and biases from some images.
        """
        mean = batch.x.mean(0)
        self.centre.copy_(mean.flatten())
        if self.settings.channels:
            with starting(self.encoder), starting(self.decoder):
                centre, log_std = self.gaussian(self.encoded(batch.x[:STARTING_IMAGES]))
                self.decoder(centre + log_std.exp() * normal(centre.shape, generator, centre))
        self.output.bias.copy_(self.likelihood.start(mean).flatten())

    def encoded(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n h"]:
        """Returns the encoder's last hidden layer."""
        return self.encoder(x.flatten(1) - self.centre)

    def gaussian(self, hidden: Float[Tensor, "n h"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
        """Returns mean and log-deviation of the Gaussian that a code is drawn from."""
        mean, log_std = self.posterior_head(hidden).float().chunk(2, 1)
        return mean, LOG_STD_LIMIT * torch.tanh(log_std / LOG_STD_LIMIT)

    def code(
        self, start: Float[Tensor, "*k n d"], hidden: Float[Tensor, "n h"]
    ) -> tuple[Float[Tensor, "*k n d"], Float[Tensor, "*k n d"]]:
        """Returns the code that a Gaussian draw becomes, and the log-determinant of the way: here it is the code."""
        return start, torch.zeros_like(start)

    def divergence(
        self, start: Tensor, mean: Tensor, log_std: Tensor, z: Tensor, change: Tensor
    ) -> Float[Tensor, "n d"]:
        """Returns each entry's divergence from the prior, in nats, or one sample of it where no formula gives it.

        Args:
            start: the Gaussian draw.
            mean: of the Gaussian.
            log_std: of the Gaussian.
            z: the code it became.
            change: log-determinant of the way, entry by entry.
        """
        return normal_divergence(mean, log_std)

    def parameters_of(self, z: Float[Tensor, "*n d"]) -> Float[Tensor, "..."]:
        """Returns the parameters of the likelihood of a datum with code `z`."""
        return self.output(self.decoder(z)).unflatten(-1, self.likelihood.parameter_shape).float()

    def losses(self, batch: Batch, player: str, generator: torch.Generator) -> dict[str, Float[Tensor, ""]]:
        """Returns the negative bound and its terms, in nats."""
        s = self.settings
        hidden = self.encoded(batch.x)
        mean, log_std = self.gaussian(hidden)
        start = mean + log_std.exp() * normal((s.samples, *mean.shape), generator, mean)
        if s.samples > 1:
            return self._weighted(batch.x, start, mean, log_std, hidden)
        z, change = self.code(start[0], hidden)
        divergence = self.divergence(start[0], mean, log_std, z, change)
        reconstruction = -self.likelihood.log_prob(self.parameters_of(z), batch.x).mean()
        total = divergence.sum(1).mean()
        cost = free_bits(divergence, s.free_bits) if s.free_bits else total
        weight = s.beta * (batch.step / s.warm_up).clamp(max=1) if s.warm_up else s.beta
        return {
            "loss": reconstruction + weight * cost,
            "bound": -(reconstruction + total),
            "reconstruction": reconstruction,
            "divergence": total,
        }

    def _weighted(self, x: Tensor, start: Tensor, mean: Tensor, log_std: Tensor, hidden: Tensor) -> dict[str, Tensor]:
        """Returns the negative importance-weighted bound, with the gradient that the settings name.

        For `dreg` the Gaussian is held fixed where its draw is scored, and the slope that comes back to the draw is
        weighted a second time.
        """
        if self.settings.gradient == "dreg":
            mean, log_std = mean.detach(), log_std.detach()
        weights = self._log_weights(x, start, mean, log_std, hidden)
        bound = log_mean_exp(weights).mean()
        if self.settings.gradient == "pathwise":
            return {"loss": -bound, "bound": bound}
        shares = torch.softmax(weights, 0).detach()
        if start.requires_grad:
            start.register_hook(lambda slope: slope * shares.unsqueeze(-1))
        surrogate = (shares * weights).sum(0).mean()  # of the same slope as the bound, and another value
        return {"loss": -surrogate + (surrogate - bound).detach(), "bound": bound}

    def _log_weights(self, x: Tensor, start: Tensor, mean: Tensor, log_std: Tensor, hidden: Tensor) -> Tensor:
        """Returns log p(x, z) - log q(z | x) of every sample, (samples, n), in nats."""
        z, change = self.code(start, hidden)
        reconstruction = self.likelihood.log_prob(self.parameters_of(z), x)
        return reconstruction + (normal_log_prob(z) + change - normal_log_prob(start, mean, log_std)).sum(-1)

    @torch.no_grad()
    def bound(self, x: Float[Tensor, "n *shape"], samples: int, generator: torch.Generator) -> Float[Tensor, " n"]:
        """Returns the importance-weighted bound of each datum's log-likelihood with `samples` codes, in nats."""
        hidden = self.encoded(self.checked(x))
        mean, log_std = self.gaussian(hidden)
        start = mean + log_std.exp() * normal((samples, *mean.shape), generator, mean)
        return log_mean_exp(self._log_weights(x.to(self.device), start, mean, log_std, hidden))

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n *shape"]:
        """Returns `n` new data, drawn from the likelihood of codes drawn from the prior."""
        z = normal((n, self.features), generator, self.centre)
        return self.likelihood.sample(self.parameters_of(z), generator)

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n d"]:
        """Returns the code that the mean becomes; grey levels are welcome where the likelihood is of 0 and 1."""
        hidden = self.encoded(self._readable(x))
        return self.code(self.gaussian(hidden)[0], hidden)[0]

    @torch.no_grad()
    def decode(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n *shape"]:
        """Returns the expected datum of each code."""
        if z.ndim != 2 or z.shape[1] != self.features:
            raise InvalidData(f"{self.name} decodes codes of shape (n, {self.features}); got {tuple(z.shape)}.")
        return self.likelihood.mean(self.parameters_of(z.to(self.device)))

    def _readable(self, x: Tensor) -> Tensor:
        return self.checked(x, support="unit") if self.support == "binary" else self.checked(x)


class IWAE(VAE):
    """Importance-weighted autoencoder: a VAE that climbs the bound of many samples."""

    name: ClassVar[str] = "iwae"
    Settings: ClassVar[type] = IWAESettings


def _bernoulli(shape: Sequence[int], settings: VAESettings) -> Likelihood:
    return Bernoulli(shape)


def _gaussian(shape: Sequence[int], settings: VAESettings) -> Likelihood:
    return Gaussian(shape, settings.deviation)


def _discretised(shape: Sequence[int], settings: VAESettings) -> Likelihood:
    return DiscretisedMixture(shape, settings.levels)


LIKELIHOODS = {"bernoulli": _bernoulli, "gaussian": _gaussian, "discretised": _discretised}


def _network(widths: Sequence[int], activation: str) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i in range(len(widths) - 1):
        layers += [nn.Linear(widths[i], widths[i + 1]), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers)
