"""Networks that differ in their starting weights and in their data, run as one."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vime.members import Activation


class EnsembleLinear(nn.Module):
    """`m` linear maps, their weights stacked in one tensor."""

    def __init__(
        self, members: int, in_features: int, out_features: int, generator: torch.Generator, gain: float = 2**0.5
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(members, in_features, out_features))
        self.bias = nn.Parameter(torch.zeros(members, 1, out_features))
        with torch.no_grad():
            self.weight.normal_(0, gain * in_features**-0.5, generator=generator)

    def forward(self, x: Float[Tensor, "m n d"]) -> Float[Tensor, "m n k"]:
        """Returns what every member makes of its own rows."""
        return torch.baddbmm(self.bias, x, self.weight)


class EnsembleMLP(nn.Module):
    """`m` networks of the same widths, an activation between the layers; every layer is one batched product.

    References: Lakshminarayanan et al. 2017, "Simple and scalable predictive uncertainty estimation using deep
        ensembles", arXiv:1612.01474.
    """

    def __init__(
        self, members: int, widths: Sequence[int], generator: torch.Generator, activation: Activation = "relu"
    ) -> None:
        super().__init__()
        self.members, self.activation = members, activation
        last = len(widths) - 2
        self.layers = nn.ModuleList(
            EnsembleLinear(members, d, k, generator, 1.0 if i == last else 2**0.5)
            for i, (d, k) in enumerate(pairwise(widths))
        )

    def forward(self, x: Float[Tensor, "*m n d"]) -> Float[Tensor, "_ n k"]:
        """Returns what every member makes of the same `n` rows `(n, d)`, or of its own rows `(m, n, d)`."""
        hidden = x.expand(self.members, *x.shape[-2:])
        activate = F.relu if self.activation == "relu" else F.silu
        for layer in self.layers[:-1]:
            hidden = activate(layer(hidden))
        return self.layers[-1](hidden)

    def loss(self, x: Float[Tensor, "n d"], y: Float[Tensor, "n k"], mask: Float[Tensor, "n m"]) -> Float[Tensor, " m"]:
        """Returns the mean squared error of every member over the rows that its column of `mask` weighs."""
        error = (self(x) - y).square().mean(2)
        return (error * mask.T).sum(1) / mask.sum(0).clamp_min(1.0)
