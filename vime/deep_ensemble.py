"""An ensemble of networks as a model of the environment."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vime.dynamics import DynamicsModel, DynamicsSettings, Rows
from vime.ensemble import EnsembleLinear, EnsembleMLP
from vime.errors import InvalidSettings
from vime.members import LARGEST, Members, bounded_log

TEMPER = 0.5  # weight of a row's variance in its own likelihood: at 0 hard rows are given up, at 1 it is least squares


@dataclass(frozen=True, kw_only=True)
class EnsembleSettings(DynamicsSettings):
    """Settings of the ensemble and of its training."""

    hidden: tuple[int, ...] = (64, 64)
    """Width of each hidden layer."""
    count: int = 5
    """How many networks."""
    weight_decay: float = 1e-4
    """Pull of the weights to zero, in each step, in step sizes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.count < 2:
            raise InvalidSettings(
                f"An ensemble needs a `count` of at least 2 networks to be in doubt; got {self.count}."
            )
        if not self.weight_decay >= 0:
            raise InvalidSettings(f"`weight_decay` must not be negative; got {self.weight_decay}.")


class EnsembleDynamics(DynamicsModel):
    """`count` networks that start differently, see the data in different orders, and predict mean and noise.

    Where they have data they agree; where they have none they differ, which is taken for the doubt about the mean.

    References: Lakshminarayanan et al. 2017, "Simple and scalable predictive uncertainty estimation using deep
        ensembles", arXiv:1612.01474; Chua et al. 2018, "Deep reinforcement learning in a handful of trials",
        arXiv:1805.12114; Seitzer et al. 2022, "On the pitfalls of heteroscedastic uncertainty estimation",
        arXiv:2203.09168, equation 8 (the weight of a row in the likelihood).
    """

    settings: EnsembleSettings
    network: EnsembleMLP
    _kept: list[tuple[Tensor, Tensor]] | None = None

    def _build(self, inputs: int) -> tuple[EnsembleMLP, torch.optim.Optimizer]:
        s = self.settings
        generator = torch.Generator().manual_seed(s.seed)
        widths = (inputs, *s.hidden, 2 * self.features)
        network = EnsembleMLP(s.count, widths, generator, "silu").to(s.device)
        decay = {"lr": s.learning_rate, "weight_decay": s.weight_decay, "fused": True}
        return network, torch.optim.AdamW(network.parameters(), **decay)

    def negative_likelihood(self, x: Float[Tensor, "m n i"], y: Float[Tensor, "m n d"]) -> Float[Tensor, ""]:
        """Returns the tempered negative log-likelihood of standardised rows, each member's own, per number."""
        mean, raw = self.network(x).split(self.features, -1)
        log_variance = bounded_log(raw, self.settings.noise_floor)
        each = 0.5 * ((mean - y).square() * torch.exp(-log_variance) + log_variance)
        return (each * torch.exp(TEMPER * log_variance.detach())).mean((1, 2)).sum()

    @torch.no_grad()
    def set_gradients(self, x: Float[Tensor, "m n i"], y: Float[Tensor, "m n d"]) -> Float[Tensor, ""]:
        r"""Returns `negative_likelihood`, whose slopes every parameter then has.

        By hand, with fewer passes than autograd makes. With the variance :math:`v = e^{raw} + floor^2` and the error e,
        the tempered likelihood of a number has the slopes :math:`v^{t-1} e` for its mean and
        :math:`v^t (1 - e^2 / v) (1 - floor^2 / v) / 2` for its raw logarithm.
        """
        layers: list[EnsembleLinear] = list(self.network.layers)  # type: ignore[assignment]
        rooms = self._rooms(len(x), x.shape[1], layers)
        last, entering = layers[-1], [x]
        for layer, (before, after) in zip(layers, rooms, strict=False):
            torch.baddbmm(layer.bias, entering[-1], layer.weight, out=before)
            entering.append(torch.ops.aten.silu.out(before, out=after))
        mean, raw = torch.baddbmm(last.bias, entering[-1], last.weight).split(self.features, 2)
        floor, most = self.settings.noise_floor**2, math.exp(LARGEST)
        unbounded = raw.exp().add_(floor)
        variance = unbounded.clamp_max(most)
        error, weight = mean - y, variance.pow(TEMPER)
        fit = error.square() / variance
        loss = 0.5 * (weight * (fit + variance.log())).mean((1, 2)).sum()
        for_raw = (0.5 * weight * (1 - fit) * (1 - floor / variance)).mul_(unbounded <= most)
        slope = torch.cat([weight * error / variance, for_raw], 2).div_(y[0].numel())
        for j, layer in reversed(list(enumerate(layers))):
            torch.bmm(entering[j].transpose(1, 2), slope, out=layer.weight.grad)
            torch.sum(slope, 1, keepdim=True, out=layer.bias.grad)
            if j:
                before, after = rooms[j - 1]  # what left the layer is not needed any more
                torch.bmm(slope, layer.weight.transpose(1, 2), out=after)
                slope = torch.ops.aten.silu_backward.grad_input(after, before, grad_input=after)
        return loss

    def _rooms(self, members: int, n: int, layers: list[EnsembleLinear]) -> list[tuple[Tensor, Tensor]]:
        """Returns for every hidden layer where its values lie before and after the activation; gradients have theirs.

        Memory that is fetched anew at every step, and an activation in many passes, cost over a tenth of the time.
        """
        shapes = [(members, n, layer.weight.shape[2]) for layer in layers[:-1]]
        if self._kept is None or [tuple(before.shape) for before, _ in self._kept] != shapes:
            like = layers[0].weight.detach()
            self._kept = [(like.new_empty(shape), like.new_empty(shape)) for shape in shapes]
        for parameter in self.network.parameters():
            if parameter.grad is None:
                parameter.grad = torch.empty_like(parameter)
        return self._kept

    def _learn(self, updates: int) -> dict[str, float]:
        s = self.settings
        inputs, targets = self.standardise(Rows(**self.pool.rows()))
        n = min(s.minibatch, len(inputs))
        loss = None
        for _ in range(updates):
            index = torch.randint(len(inputs), (s.count, n), generator=self.generator, device=inputs.device)
            x, y = (part.index_select(0, index.view(-1)).view(s.count, n, -1) for part in (inputs, targets))
            loss = self.set_gradients(x, y)
            self.optimiser.step()
        return {} if loss is None else {"loss": float(loss) / s.count}

    @torch.no_grad()
    def members(self, generator: torch.Generator | None = None, samples: int = 10) -> Members:
        """Returns the networks of the ensemble, all of them; nothing is drawn."""
        layers: list[EnsembleLinear] = list(self.network.layers)  # type: ignore[assignment]
        weights, biases = [layer.weight for layer in layers], [layer.bias for layer in layers]
        return self._frozen(weights, biases, activation="silu", noise=None)
