"""The techniques that keep a GAN's training in balance, each usable alone.

References: Salimans et al. 2016, "Improved techniques for training GANs", section 3.
"""

from collections.abc import Iterable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from generative.layers import CONSTANT


def feature_matching(
    real: Float[Tensor, "n d"], fake: Float[Tensor, "m d"], norm: Literal["square", "absolute"] = "square"
) -> Float[Tensor, ""]:
    """Returns how far the mean features of generated data are from those of real ones, a mean over features.

    Differs from the paper: a mean, not a sum, as in its code; which takes the absolute difference for colour images.
    """
    gap = real.detach().mean(0) - fake.mean(0)
    return gap.square().mean() if norm == "square" else gap.abs().mean()


class MinibatchDiscrimination(nn.Module):
    """Tells a discriminator how close each example of a minibatch is to the others, so that it sees a collapse.

    Real and generated examples must come in calls of their own.

    Args:
        features: width of what comes in.
        kernels: number of closenesses; they are joined to the features.
        width: dimensions in which each is measured.
        group: neighbours in the minibatch that are looked at together, itself among them; 0 for the whole minibatch, as
            published. The more there are the surer the discriminator becomes, and the harder the generator's game.

    Differs from the paper: groups, after Karras et al. 2020, "Analyzing and improving the image quality of StyleGAN",
        appendix B, and Lin et al. 2018, "PacGAN"; the directions have unit length and a scale, as in its code, and
        `start` sets the scale so that half of the mean distance to the nearest other example of a group is 1, and the
        bias so that closeness has mean 0 there.
    """

    def __init__(self, features: int, kernels: int, width: int = 5, group: int = 0) -> None:
        super().__init__()
        self.group = group
        self.directions = nn.Parameter(torch.empty(features, kernels, width).normal_(0, 0.05))
        self.log_scale = nn.Parameter(torch.zeros(kernels, width))
        self.bias = nn.Parameter(torch.zeros(kernels))

    def distances(self, x: Float[Tensor, "*m n d"]) -> Float[Tensor, "*m n n kernels"]:
        """Returns the distance of every two examples, a sum of absolute differences; it has no second derivative."""
        length = self.directions.square().sum(0).clamp_min(1e-24).sqrt()
        matrix = self.directions * (self.log_scale.exp() / length)
        placed = torch.einsum("...nd,dkw->...knw", x, matrix).contiguous()
        return torch.cdist(placed, placed, p=1.0).movedim(-3, -1)

    def closeness(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n kernels"]:
        """Returns the sum over the others of a group of exp(-distance): their number where all are alike.

        The last group is smaller where the minibatch cannot be divided evenly.
        """
        found = self._sum(self._groups(x)).flatten(0, 1)
        return found if len(found) == len(x) else torch.cat([found, self._sum(x[len(found) :])])

    def _groups(self, x: Tensor) -> Tensor:
        """Returns the examples in whole groups, without those that are left over."""
        size = max(1, min(self.group or len(x), len(x)))
        return x[: len(x) - len(x) % size].unflatten(0, (-1, size))

    def _sum(self, x: Tensor) -> Tensor:
        return torch.exp(-self.distances(x)).sum(-3) - 1  # an example's own distance is 0, and counts for nothing

    @torch.no_grad()
    def start(self, x: Float[Tensor, "n d"]) -> None:
        """Sets scale and bias from the features of a first minibatch."""
        self.log_scale.zero_()
        groups = self._groups(x)
        own = torch.eye(groups.shape[1], dtype=torch.bool, device=x.device)[:, :, None]
        near = self.distances(groups).masked_fill(own, float("inf")).amin(2).mean((0, 1))
        self.log_scale.copy_(-(0.5 * near).clamp_min(CONSTANT).log()[:, None].expand_as(self.log_scale))
        self.bias.copy_(-self.closeness(x).mean(0))

    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n e"]:
        """Returns the features with the closenesses joined on."""
        return torch.cat([x, self.closeness(x) + self.bias], 1)


class HistoricalAverage(nn.Module):
    """The squared distance of parameters from the mean of all that they were.

    Args:
        parameters: of one player.
    """

    count: Tensor

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        super().__init__()
        self._watched = list(parameters)  # a plain list: they belong to another module
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        for i, parameter in enumerate(self._watched):
            self.register_buffer(f"mean_{i}", parameter.detach().clone())

    def forward(self) -> Float[Tensor, ""]:
        """Returns the distance, with gradients to the parameters; takes the present ones into the mean first."""
        self._observe()
        gaps = [parameter - self.get_buffer(f"mean_{i}") for i, parameter in enumerate(self._watched)]
        return torch.stack([gap.square().sum() for gap in gaps]).sum()

    @torch.no_grad()
    def _observe(self) -> None:
        self.count += 1
        for i, parameter in enumerate(self._watched):
            mean = self.get_buffer(f"mean_{i}")
            mean.add_((parameter - mean) / self.count.to(mean.dtype))


class VirtualBatchNorm(nn.Module):
    """Normalises each example by a fixed reference batch and itself, never by its neighbours.

    The reference runs through the network beside the examples, at every step, and is normalised by its own statistics.

    Args:
        channels: of vectors or images.
        epsilon: added to variances.
    """

    def __init__(self, channels: int, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.empty(channels).normal_(1, 0.02))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.epsilon = epsilon

    def forward(
        self, x: Float[Tensor, "n c *size"], reference: Float[Tensor, "m c *size"]
    ) -> tuple[Float[Tensor, "n c *size"], Float[Tensor, "m c *size"]]:
        """Returns the examples and the reference, normalised."""
        places = list(range(2, x.ndim))
        variance, mean = torch.var_mean(reference, [0, *places], correction=0, keepdim=True)
        share = 1 / (len(reference) + 1)
        own_variance, own_mean = (
            torch.var_mean(x, places, correction=0, keepdim=True) if places else (torch.zeros_like(x), x)
        )
        apart = own_mean - mean
        mixed = share * own_variance + (1 - share) * variance + share * (1 - share) * apart.square()
        return self._scaled(x, mean + share * apart, mixed), self._scaled(reference, mean, variance)

    def _scaled(self, x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        shape = (1, -1, *[1] * (x.ndim - 2))
        return (x - mean) / (variance + self.epsilon).sqrt() * self.gain.view(shape) + self.bias.view(shape)
