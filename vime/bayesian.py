"""A Bayesian network as a model of the environment."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vime.dynamics import DynamicsModel, DynamicsSettings, Rows
from vime.errors import InvalidSettings
from vime.layers import BayesianLinear
from vime.members import Members
from vime.network import BayesianMLP


@dataclass(frozen=True, kw_only=True)
class BayesianSettings(DynamicsSettings):
    """Settings of the Bayesian model of the environment and of its training."""

    width_rate: float = 10.0
    """How much faster the deviations move, of weights and noise: on a logarithmic scale they have a long way to go."""
    std: float = 0.05
    """Posterior deviation that every weight starts with."""
    prior_std: float = 0.5
    """Deviation of every weight under the prior."""
    noise_std: float = 1.0
    """Deviation of the observation noise to start from, in deviations of the target."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("width_rate", "std", "prior_std", "noise_std"):
            if not getattr(self, name) > 0:
                raise InvalidSettings(f"`{name}` must be positive; got {getattr(self, name)}.")


class BayesianDynamics(DynamicsModel):
    """A Bayesian network that learns `next features = f(features, action)`, with one learned noise for each feature.

    The evidence lower bound weighs the divergence by minibatch over pool, so that the posterior tightens as data comes
    in. While the pool is smaller than a minibatch the weight is one, less than Bayes' rule says, and the posterior
    narrower. Draws of the weights serve as members.
    """

    settings: BayesianSettings
    network: BayesianMLP

    def _build(self, inputs: int) -> tuple[BayesianMLP, torch.optim.Optimizer]:
        settings = self.settings
        network = BayesianMLP(
            inputs,
            self.features,
            settings.hidden,
            std=settings.std,
            prior_std=settings.prior_std,
            noise_std=settings.noise_std,
            noise_floor=settings.noise_floor,
            generator=torch.Generator().manual_seed(settings.seed),
        ).to(settings.device)
        widths = [p for name, p in network.named_parameters() if name == "noise" or name.endswith("rho")]
        means = [p for name, p in network.named_parameters() if name != "noise" and not name.endswith("rho")]
        groups = [{"params": means}, {"params": widths, "lr": settings.learning_rate * settings.width_rate}]
        return network, torch.optim.Adam(groups, lr=settings.learning_rate, fused=True)

    def _learn(self, updates: int) -> dict[str, float]:
        settings = self.settings
        share = min(settings.minibatch / len(self.pool), 1.0)
        rows = None
        for _ in range(updates):
            rows = self.standardise(Rows(**self.pool.sample(settings.minibatch, self.generator)))
            self.network.set_gradients(*rows, share, self.generator)
            self.optimiser.step()
        if rows is None:
            return {}
        loss = self.network.negative_bound(*rows, share, self.generator).detach()
        return {
            "loss": float(loss) / settings.minibatch,
            "posterior_std": self.network.posterior_std(),
            "noise_std": float(self.network.noise_variance.detach().sqrt().mean()),
        }

    @torch.no_grad()
    def members(self, generator: torch.Generator | None = None, samples: int = 10) -> Members:
        """Returns `samples` draws of the weights from the posterior."""
        weights, biases = [], []
        for layer in self.network.stack:
            if isinstance(layer, BayesianLinear):
                drawn = layer.draw(samples, generator)
                weights.append(drawn.weight.transpose(1, 2))
                biases.append(drawn.bias.unsqueeze(1))
            else:
                weights.append(layer.weight.T.unsqueeze(0))
                biases.append(layer.bias.view(1, 1, -1))
        return self._frozen(weights, biases, activation="relu", noise=self.network.noise_variance)

    @torch.no_grad()
    def epistemic(self, inputs: Float[Tensor, "n i"]) -> Float[Tensor, "n d"]:
        r"""Returns the variance of the mean prediction of standardised inputs, by the network's Jacobian.

        .. math:: \mathrm{diag}(J \Sigma_q J^\top)

        Without sampling, to first order in the deviations of the weights: exact for a linear model, where `members`
        come close with many draws.

        References: MacKay 1992, "A practical Bayesian framework for backpropagation networks", section 5.
        """
        entering, gates = [], []
        hidden = inputs
        for i, layer in enumerate(self.network.stack):
            if i:
                gates.append(hidden > 0)
                hidden = hidden.relu()
            entering.append(hidden)
            mean = layer.weight_mean if isinstance(layer, BayesianLinear) else layer.weight
            bias = layer.bias_mean if isinstance(layer, BayesianLinear) else layer.bias
            hidden = torch.nn.functional.linear(hidden, mean, bias)
        # back: slope of every output for the units of a layer, (n, d, k)
        slope = torch.eye(self.features, device=inputs.device).expand(len(inputs), -1, -1)
        total = inputs.new_zeros(len(inputs), self.features)
        for i in reversed(range(len(entering))):
            layer = self.network.stack[i]
            if isinstance(layer, BayesianLinear):
                each = torch.nn.functional.linear(
                    entering[i].square(), layer.weight_std.square(), layer.bias_std.square()
                )
                total += (slope.square() * each.unsqueeze(1)).sum(-1)
            if i:
                mean = layer.weight_mean if isinstance(layer, BayesianLinear) else layer.weight
                slope = (slope @ mean) * gates[i - 1].unsqueeze(1)
        return total
