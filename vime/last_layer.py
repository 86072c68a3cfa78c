"""A network whose last layer alone is Bayesian, and exactly so, as a model of the environment."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vime.dynamics import DynamicsModel, DynamicsSettings, Rows
from vime.errors import InvalidSettings
from vime.features import mlp
from vime.members import Members


@dataclass(frozen=True, kw_only=True)
class LastLayerSettings(DynamicsSettings):
    """Settings of the network, and of the belief about its last layer."""

    hidden: tuple[int, ...] = (64, 64)
    """Width of each hidden layer; the last one holds the features of the regression."""
    prior_std: float = 1.0
    """Deviation of every weight of the last layer under the prior, in deviations of the noise."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.hidden:
            raise InvalidSettings("`hidden` needs a layer at least: its units are the features of the last one.")
        if not self.prior_std > 0:
            raise InvalidSettings(f"`prior_std` must be positive; got {self.prior_std}.")


class LastLayer(nn.Module):
    """Hidden layers, and the Gaussian belief about the weights behind them: its mean, and a root of its covariance."""

    mean: Tensor
    root: Tensor
    noise: Tensor

    def __init__(self, widths: tuple[int, ...], prior_std: float, generator: torch.Generator) -> None:
        super().__init__()
        self.body: nn.Sequential = mlp(widths, generator)
        units, outputs = widths[-2] + 1, widths[-1]
        self.register_buffer("mean", torch.zeros(units, outputs))
        self.register_buffer("root", prior_std * torch.eye(units))
        self.register_buffer("noise", torch.ones(outputs))

    def units(self, x: Float[Tensor, "n i"]) -> Float[Tensor, "n u"]:
        """Returns what enters the last layer: the last hidden units, and a one."""
        return F.pad(self.body[:-1](x), (0, 1), value=1.0)


class LastLayerDynamics(DynamicsModel):
    r"""A network trained by least squares, whose last layer is then replaced by the exact posterior of its weights.

    With units phi of the last hidden layer, Phi those of the pool and prior_std in deviations of the noise,

    .. math:: A = \Phi^\top \Phi + I / \text{prior\_std}^2, \qquad r = \phi^\top A^{-1} \phi

    the ratio r of epistemic to noise variance is the same for all outputs, and the expected gain d/2 log(1 + r) exact.

    References: Snoek et al. 2015, "Scalable Bayesian optimization using deep neural networks", arXiv:1502.05700,
        equations 4 and 5.
    """

    settings: LastLayerSettings
    network: LastLayer

    def _build(self, inputs: int) -> tuple[LastLayer, torch.optim.Optimizer]:
        s = self.settings
        generator = torch.Generator().manual_seed(s.seed)
        network = LastLayer((inputs, *s.hidden, self.features), s.prior_std, generator).to(s.device)
        return network, torch.optim.Adam(network.body.parameters(), lr=s.learning_rate, fused=True)

    def _learn(self, updates: int) -> dict[str, float]:
        s = self.settings
        inputs, targets = self.standardise(Rows(**self.pool.rows()))
        n = min(s.minibatch, len(inputs))
        loss = None
        for _ in range(updates):
            index = torch.randint(len(inputs), (n,), generator=self.generator, device=inputs.device)
            with torch.enable_grad():
                loss = F.mse_loss(self.network.body(inputs[index]), targets[index])
                self.optimiser.zero_grad()
                loss.backward()
            self.optimiser.step()
        self._believe(inputs, targets)
        noise = {"noise_std": float(self.network.noise.sqrt().mean())}
        return noise if loss is None else {"loss": float(loss.detach())} | noise

    @torch.no_grad()
    def _believe(self, inputs: Float[Tensor, "n i"], targets: Float[Tensor, "n d"]) -> None:
        """Sets the belief about the last layer to the exact posterior given all rows."""
        net = self.network
        units = net.units(inputs).double()
        precision = units.T @ units
        precision.diagonal().add_(self.settings.prior_std**-2)
        factor = torch.linalg.cholesky(precision)
        mean = torch.cholesky_solve(units.T @ targets.double(), factor)
        error = (targets - units @ mean).square().sum(0)
        used = torch.linalg.solve_triangular(factor, units.T, upper=False).square().sum()  # parameters that data decide
        net.noise.copy_((error / (len(units) - used).clamp_min(1.0)).clamp_min(self.settings.noise_floor**2))
        net.mean.copy_(mean)
        identity = torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
        net.root.copy_(torch.linalg.solve_triangular(factor, identity, upper=False).T)

    @torch.no_grad()
    def ratio(self, inputs: Float[Tensor, "n i"]) -> Float[Tensor, " n"]:
        """Returns r, the epistemic over the noise variance, of standardised inputs; exact."""
        return (self.network.units(inputs) @ self.network.root).square().sum(1)

    @torch.no_grad()
    def members(self, generator: torch.Generator | None = None, samples: int = 10) -> Members:
        """Returns `samples` draws of the last layer from its posterior, behind the hidden layers that all share."""
        net = self.network
        linears = [layer for layer in net.body.children() if isinstance(layer, nn.Linear)][:-1]
        shape = (samples, *net.mean.shape)
        noise = torch.randn(shape, generator=generator, device=net.mean.device)
        last = net.mean + net.root @ noise * net.noise.sqrt()
        weights = [layer.weight.T.unsqueeze(0) for layer in linears] + [last[:, :-1]]
        biases = [layer.bias.view(1, 1, -1) for layer in linears] + [last[:, -1:]]
        return self._frozen(weights, biases, activation="relu", noise=net.noise)
