"""MADE: one network that gives every entry's distribution given those before it, in one order or in several."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from generative.divergences import log_mean_exp
from generative.errors import InvalidSettings, choose
from generative.layers import ACTIVATIONS
from generative.likelihoods import Bernoulli, DiscretisedMixture, Gaussian, Likelihood
from generative.masked import degrees
from generative.model import Batch, Model
from generative.optimiser import Optimiser
from generative.randomness import child, integers, seeded


@dataclass(frozen=True, kw_only=True)
class MADESettings:
    """Settings of a masked autoencoder."""

    hidden: tuple[int, ...] = (500, 500)
    """Widths of the hidden layers; the paper has 8000 and 8000."""
    activation: Literal["elu", "relu", "silu", "softplus", "tanh"] = "relu"
    """Between them."""
    masks: int = 1
    """Sets of connections that share the weights; each minibatch is met with one of them, and a likelihood is of their
    equal mixture. 32 in the paper."""
    order: Literal["given", "drawn"] = "given"
    """Of the entries: as they come, or drawn from the seed, one order for each set."""
    likelihood: Literal["bernoulli", "gaussian", "discretised"] = "bernoulli"
    """Of an entry: 0 or 1; any number, with a deviation of its own; grey levels, as a mixture of logistics."""
    levels: int = 256
    """Values of an entry, for the discretised likelihood; 17 for the digits of scikit-learn."""
    components: int = 5
    """Logistics in the mixture."""
    optimiser: Optimiser = field(default_factory=Optimiser)
    """Of all parameters."""

    def __post_init__(self) -> None:
        if not self.hidden or min(self.hidden) < 1 or self.masks < 1:
            raise InvalidSettings(f"`hidden` and `masks` must be positive; got {self.hidden} and {self.masks}.")
        choose("activation", self.activation, ACTIVATIONS)
        choose("likelihood", self.likelihood, LIKELIHOODS)
        if self.order not in ("given", "drawn"):
            raise InvalidSettings(f"`order` is given or drawn; got {self.order!r}.")


class MADE(Model):
    """Masked autoencoder for distribution estimation: the exact likelihood in one pass for each set of masks.

    Args:
        shape: of one datum; images are read row by row.
        settings: see `MADESettings`.
        seed: of the first weights and of the masks.

    References: Germain et al. 2015, "MADE: masked autoencoder for distribution estimation"; Papamakarios et al. 2017,
        "Masked autoregressive flow" (Gaussian entries).
    Differs from the papers: data are centred; Adam instead of Adagrad; with several masks the likelihood is that of the
        mixture, which is normalised, where the paper averages the conditionals.
    """

    name: ClassVar[str] = "made"
    Settings: ClassVar[type] = MADESettings
    settings: MADESettings
    centre: Tensor
    position: Tensor

    def __init__(self, shape: Sequence[int], settings: MADESettings | None = None, *, seed: int = 0) -> None:
        s = settings or MADESettings()
        entries = LIKELIHOODS[s.likelihood](prod(shape), s)
        super().__init__(shape, s, support=entries.support, levels=entries.levels)
        self.likelihood, self.size = entries, prod(self.shape)
        widths = (self.size, *s.hidden, self.size * entries.channels)
        with seeded(seed):
            self.layers = nn.ModuleList(nn.Linear(widths[i], widths[i + 1]) for i in range(len(widths) - 1))
        self.act = ACTIVATIONS[s.activation]()
        self.register_buffer("centre", torch.zeros(self.size))
        self._draw_masks(torch.Generator().manual_seed(child(seed, "masks")))

    def _draw_masks(self, generator: torch.Generator) -> None:
        """Keeps, for every set of masks, the place of each entry and what each hidden unit may see."""
        s = self.settings
        drawn = generator if s.masks > 1 else None
        positions, seen = [], []
        for _ in range(s.masks):
            given = s.order == "given"
            positions.append(torch.arange(self.size) if given else torch.randperm(self.size, generator=generator))
            seen.append(degrees(self.size, s.hidden, drawn))
        self.register_buffer("position", torch.stack(positions))
        for i, layer in enumerate(zip(*seen, strict=True)):
            self.register_buffer(f"sees_{i}", torch.stack(layer))

    def _masks(self, which: Int[Tensor, ""]) -> list[Tensor]:
        """Returns the masks of one set, made from what each unit may see."""
        position = self.position[which]
        sees = [position + 1, *(getattr(self, f"sees_{i}")[which] for i in range(len(self.settings.hidden)))]
        masks = [sees[i + 1][:, None] >= sees[i][None] for i in range(len(sees) - 1)]
        return [*masks, position.repeat(self.likelihood.channels)[:, None] >= sees[-1][None]]

    def conditionals(self, flat: Float[Tensor, "n d"], which: Int[Tensor, ""]) -> Float[Tensor, "n k d"]:
        """Returns the parameters of the distribution of each entry given those before it in order number `which`."""
        hidden = flat - self.centre
        for i, (layer, mask) in enumerate(zip(self.layers, self._masks(which), strict=True)):
            hidden = F.linear(self.act(hidden) if i else hidden, layer.weight * mask, layer.bias)  # type: ignore[operator, arg-type]
        return hidden.unflatten(1, (self.likelihood.channels, self.size)).float()

    @torch.no_grad()
    def initialise(self, batch: Batch, generator: torch.Generator) -> None:
        """Centres the data, and lets every entry's distribution begin at its mean."""
        mean = batch.x.mean(0).flatten()
        self.centre.copy_(mean)
        self.layers[-1].bias.copy_(self.likelihood.start(mean[None]).flatten())  # type: ignore[operator, union-attr]

    def losses(self, batch: Batch, player: str, generator: torch.Generator) -> dict[str, Float[Tensor, ""]]:
        """Returns the negative log-likelihood under one set of masks, in nats."""
        which = integers(self.settings.masks, (), generator, batch.x.device)
        flat = batch.x.flatten(1)
        return {"loss": -self.likelihood.log_prob(self.conditionals(flat, which), flat.unsqueeze(1)).mean()}

    @torch.no_grad()
    def log_prob(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, " n"]:
        """Returns the log-likelihood of each datum under the mixture of all sets of masks, in nats."""
        flat = self.checked(x).flatten(1)
        each = [
            self.likelihood.log_prob(self.conditionals(flat, which), flat.unsqueeze(1))
            for which in torch.arange(self.settings.masks, device=flat.device)
        ]
        return log_mean_exp(torch.stack(each))

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n *shape"]:
        """Returns `n` new data, entry by entry, each in an order drawn from the mixture."""
        flat = self.centre.repeat(n, 1)
        chosen = integers(self.settings.masks, (n,), generator, flat.device)
        for which in chosen.unique():
            rows = (chosen == which).nonzero().squeeze(1)
            part = flat[rows]
            for entry in self.position[which].argsort().tolist():
                parameters = self.conditionals(part, which)[:, :, entry : entry + 1]
                part[:, entry] = self.likelihood.sample(parameters, generator).flatten()
            flat[rows] = part
        return flat.view(n, *self.shape)


def _bernoulli(size: int, settings: MADESettings) -> Likelihood:
    return Bernoulli((1, size))


def _gaussian(size: int, settings: MADESettings) -> Likelihood:
    return Gaussian((1, size), "each")


def _discretised(size: int, settings: MADESettings) -> Likelihood:
    return DiscretisedMixture((1, size), settings.levels, settings.components)


LIKELIHOODS = {"bernoulli": _bernoulli, "gaussian": _gaussian, "discretised": _discretised}
