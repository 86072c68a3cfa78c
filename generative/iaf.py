"""Inverse autoregressive flow: steps that make a Gaussian code dependent, and the autoencoder that has them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from generative.divergences import normal_log_prob
from generative.errors import InvalidSettings
from generative.layers import ACTIVATIONS, Dense, starting
from generative.masked import dense_masks
from generative.model import Batch
from generative.randomness import child, normal, seeded
from generative.vae import VAE, VAESettings

OUTPUT_SCALE = 0.1  # deviation of what a step's network first puts out, so that a flow begins close to the identity


class AutoregressiveNet(nn.Module):
    """A masked network with context: outputs for an entry see the entries before it and all of the context.

    Args:
        dimensions: d, entries of a code.
        context: numbers in the context, which enters every hidden layer unmasked; 0 for none.
        hidden: widths of the hidden layers; none makes the map linear.
        outputs: numbers for each entry.
        activation: between layers.
    """

    def __init__(
        self, dimensions: int, context: int, hidden: Sequence[int], outputs: int, activation: str = "elu"
    ) -> None:
        super().__init__()
        *inner, last = dense_masks(dimensions, hidden, outputs=outputs)
        widths = (dimensions, *hidden)
        self.inner = nn.ModuleList(Dense(widths[i], widths[i + 1], mask=mask) for i, mask in enumerate(inner))
        self.context = Dense(context, sum(hidden)) if context and hidden else None
        self.last = Dense(widths[-1], outputs * dimensions, mask=last, scale=OUTPUT_SCALE)
        self.act = ACTIVATIONS[activation]()
        self.hidden, self.shape = list(hidden), (outputs, dimensions)

    def forward(self, z: Float[Tensor, "*k n d"], context: Float[Tensor, "n c"] | None) -> Float[Tensor, "*k n o d"]:
        """Returns the outputs for every entry."""
        told = None if self.context is None else self.context(context).split(self.hidden, -1)
        for i, layer in enumerate(self.inner):
            z = layer(z)
            z = self.act(z if told is None else z + told[i])
        return self.last(z).unflatten(-1, self.shape)


class Flow(nn.Module):
    """Steps `z = s * z + (1 - s) * m` with `s` and `m` from an autoregressive network, the order reversed in between.

    `s` is a sigmoid whose input is raised by `forget`, so that a step begins by keeping most of what it got.

    Args:
        dimensions: d, entries of a code.
        context: numbers in the context; 0 for none.
        steps: how many; none makes the flow the identity.
        hidden: widths of the hidden layers of each step; none makes it linear.
        forget: the gate's bias.
        gate: whether there is one; without, a step is `z + m` and leaves volumes as they are.

    References: Kingma et al. 2016, "Improving variational inference with inverse autoregressive flow", algorithm 1.
    """

    def __init__(
        self,
        dimensions: int,
        context: int,
        *,
        steps: int,
        hidden: Sequence[int],
        forget: float = 1.5,
        gate: bool = True,
    ) -> None:
        super().__init__()
        outputs = 2 if gate else 1
        self.steps = nn.ModuleList(AutoregressiveNet(dimensions, context, hidden, outputs) for _ in range(steps))
        self.forget, self.gate = forget, gate

    def forward(
        self, z: Float[Tensor, "*k n d"], context: Float[Tensor, "n c"] | None = None
    ) -> tuple[Float[Tensor, "*k n d"], Float[Tensor, "*k n d"]]:
        """Returns where each code goes, and what each entry adds to the log-determinant of the way."""
        change = torch.zeros_like(z)
        for i, step in enumerate(self.steps):
            if i:
                z, change = z.flip(-1), change.flip(-1)
            out = step(z, context).to(z.dtype)
            if self.gate:
                opening = out[..., 1, :] + self.forget
                keep = torch.sigmoid(opening)
                z = keep * z + (1 - keep) * out[..., 0, :]
                change = change + nn.functional.logsigmoid(opening)
            else:
                z = z + out[..., 0, :]
        turned = len(self.steps) > 1 and len(self.steps) % 2 == 0  # entries leave in the order in which they came
        return (z.flip(-1), change.flip(-1)) if turned else (z, change)

    def extra_repr(self) -> str:
        """What a step does."""
        return f"steps={len(self.steps)}, gate={self.gate}, forget={self.forget}"


@dataclass(frozen=True, kw_only=True)
class IAFVAESettings(VAESettings):
    """Settings of a VAE with an inverse autoregressive posterior: those of a VAE, and the flow's."""

    steps: int = 2
    """Of the flow; with none the model is the VAE."""
    flow_hidden: tuple[int, ...] = (320, 320)
    """Widths of the hidden layers of a step; 1920 in the paper's best. None makes a step linear."""
    context: int = 64
    """Numbers that the encoder tells the flow about a datum."""
    forget: float = 1.5
    """Bias of the gates: how much of a code a step first keeps."""
    gate: bool = True
    """Whether a step scales and shifts; without, it shifts alone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 0 or self.context < 0 or any(width < 1 for width in self.flow_hidden):
            raise InvalidSettings(
                "`steps` and `context` must not be negative, and `flow_hidden` must be positive; "
                f"got {self.steps}, {self.context} and {self.flow_hidden}."
            )


class IAFVAE(VAE):
    """A VAE whose code is a diagonal Gaussian sent through an inverse autoregressive flow.

    Args:
        shape: of one datum; images are read as vectors.
        settings: see `IAFVAESettings`.
        seed: of the first weights; encoder and decoder begin as those of the VAE of the same seed.

    References: Kingma et al. 2016, "Improving variational inference with inverse autoregressive flow".
    Differs from the paper: the context enters every hidden layer; weights of the flow alone are normalised. With many
        samples and `dreg` the noise is reparameterised: the flow counts to the target and not to the proposal.
    """

    name: ClassVar[str] = "iaf-vae"
    Settings: ClassVar[type] = IAFVAESettings
    settings: IAFVAESettings  # type: ignore[assignment]  (narrower, and never reassigned)

    def __init__(self, shape: Sequence[int], settings: IAFVAESettings | None = None, *, seed: int = 0) -> None:
        s = settings or IAFVAESettings()
        super().__init__(shape, s, seed=seed)
        context = s.context if s.steps and s.flow_hidden else 0
        with seeded(child(seed, "flow")):
            self.context_head = nn.Linear(s.hidden[-1], context) if context else None
            self.flow = Flow(s.latent, context, steps=s.steps, hidden=s.flow_hidden, forget=s.forget, gate=s.gate)

    @torch.no_grad()
    def initialise(self, batch: Batch, generator: torch.Generator) -> None:
        """Centres data and decoder as the VAE does, and sets the flow's gains and biases from codes of the batch."""
        super().initialise(batch, generator)
        hidden = self.encoded(batch.x)
        mean, log_std = self.gaussian(hidden)
        with starting(self.flow):
            self.code(mean + log_std.exp() * normal(mean.shape, generator, mean), hidden)

    def code(
        self, start: Float[Tensor, "*k n d"], hidden: Float[Tensor, "n h"]
    ) -> tuple[Float[Tensor, "*k n d"], Float[Tensor, "*k n d"]]:
        """Returns the code that a Gaussian draw becomes, and the log-determinant of the way, entry by entry."""
        return self.flow(start, None if self.context_head is None else self.context_head(hidden))

    def divergence(
        self, start: Tensor, mean: Tensor, log_std: Tensor, z: Tensor, change: Tensor
    ) -> Float[Tensor, "n d"]:
        """Returns one sample of each entry's divergence from the prior, in nats; the exact one without a flow."""
        if not self.settings.steps:
            return super().divergence(start, mean, log_std, z, change)
        return normal_log_prob(start, mean, log_std) - change - normal_log_prob(z)
