"""A Helmholtz machine trained by wake and sleep: what a VAE is compared with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from generative.divergences import log_mean_exp, normal_divergence, normal_log_prob
from generative.errors import InvalidSettings
from generative.model import Batch, Player
from generative.randomness import normal
from generative.vae import VAE, VAESettings

MOVED_BY_WAKE, MOVED_BY_SLEEP = ("decoder", "output", "likelihood"), ("encoder", "posterior_head")


@dataclass(frozen=True, kw_only=True)
class HelmholtzSettings(VAESettings):
    """Settings of a Helmholtz machine: those of a VAE that its phases have a use for."""

    samples: int = 1
    """Codes drawn for each datum when awake; with more than one they are weighted by their importance."""
    recognition: Literal["sleep", "wake"] = "sleep"
    """When the encoder learns: from dreams, or from weighted codes of data (more than one sample)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.recognition not in ("sleep", "wake"):
            raise InvalidSettings(f"`recognition` is sleep or wake; got {self.recognition!r}.")
        if self.recognition == "wake" and self.samples < 2:
            raise InvalidSettings("An encoder that learns awake wants `samples` of 2 at least: weights of one are 1.")
        if self.beta != 1 or self.warm_up or self.free_bits or self.gradient != "pathwise":
            raise InvalidSettings("`beta`, `warm_up`, `free_bits` and `gradient` have no meaning here; leave them out.")


class Helmholtz(VAE):
    """Helmholtz machine: the VAE's networks and code, each half taught by the other without a slope through the code.

    Awake, data are encoded and the decoder learns to give them back. Asleep, codes of the prior are decoded and the
    encoder learns to find them: it descends the divergence of the decoder's posterior from its own, on dreams.

    Args:
        shape: of one datum.
        settings: see `HelmholtzSettings`.
        seed: of the first weights, which are those of the VAE of the same seed.

    References: Dayan et al. 1995, "The Helmholtz machine"; Hinton et al. 1995, "The wake-sleep algorithm for
        unsupervised neural networks"; Bornschein and Bengio 2015, "Reweighted wake-sleep".
    Differs from the papers: one Gaussian code instead of layers of binary units, so that it and the VAE differ in the
        training alone.
    """

    name: ClassVar[str] = "helmholtz"
    Settings: ClassVar[type] = HelmholtzSettings
    settings: HelmholtzSettings  # type: ignore[assignment]  (narrower, and never reassigned)

    def __init__(self, shape: Sequence[int], settings: HelmholtzSettings | None = None, *, seed: int = 0) -> None:
        super().__init__(shape, settings, seed=seed)

    @property
    def players(self) -> tuple[Player, ...]:
        """The decoder, which learns awake, then the encoder."""
        optimiser = self.settings.optimiser
        return (
            Player(name="wake", parts=MOVED_BY_WAKE, optimiser=optimiser),
            Player(name="sleep", parts=MOVED_BY_SLEEP, optimiser=optimiser),
        )

    def losses(self, batch: Batch, player: str, generator: torch.Generator) -> dict[str, Float[Tensor, ""]]:
        """Returns the cost of decoder (`wake`) or encoder (`sleep`), in nats."""
        if player == "wake":
            return self._wake(batch.x, generator)
        if self.settings.recognition == "sleep":
            return {"loss": -self._recognised(*self._dream(batch.x, generator)).mean()}
        with torch.no_grad():
            z, mean, log_std = self._codes(batch.x, generator)
            shares = torch.softmax(self.joint(batch.x, z) - normal_log_prob(z, mean, log_std).sum(-1), 0)
        return {"loss": -(shares * self._recognised(batch.x, z)).sum(0).mean()}

    def joint(self, x: Float[Tensor, "n *shape"], z: Float[Tensor, "k n d"]) -> Float[Tensor, "k n"]:
        """Returns log p(x, z), in nats."""
        return self.likelihood.log_prob(self.parameters_of(z), x) + normal_log_prob(z).sum(-1)

    def _wake(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        with torch.no_grad():
            z, mean, log_std = self._codes(x, generator)
        joint = self.joint(x, z)
        weights = joint.detach() - normal_log_prob(z, mean, log_std).sum(-1)
        loss = -(torch.softmax(weights, 0) * joint).sum(0).mean()
        if self.settings.samples > 1:
            return {"loss": loss, "bound": log_mean_exp(weights).mean()}
        divergence = normal_divergence(mean, log_std).sum(1).mean()
        reconstruction = -(joint.detach() - normal_log_prob(z).sum(-1)).mean()
        return {
            "loss": loss,
            "bound": -(reconstruction + divergence),
            "reconstruction": reconstruction,
            "divergence": divergence,
        }

    def _codes(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Returns codes (samples, n, d) of data, and the mean and log-deviation they were drawn with."""
        mean, log_std = self.gaussian(self.encoded(x))
        noise = normal((self.settings.samples, *mean.shape), generator, mean)
        return mean + log_std.exp() * noise, mean, log_std

    @torch.no_grad()
    def _dream(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Returns as many data as there are in `x`, made from codes of the prior, and these codes."""
        z = normal((len(x), self.features), generator, self.centre)
        return self.likelihood.sample(self.parameters_of(z), generator), z

    def _recognised(self, x: Tensor, z: Tensor) -> Tensor:
        """Returns log q(z | x), in nats."""
        return normal_log_prob(z, *self.gaussian(self.encoded(x))).sum(-1)
