"""Layers whose weights are a direction and a gain, started from data; noise layers; and a chain of them all.

A weight-normalised layer computes `gain * (v · x) / ||v|| + bias`, per output. `with starting(model): model(...)` makes
one forward pass set every gain and bias, in the order in which the layers are called, so that what leaves a layer has
mean 0 and deviation `scale` over that batch.

References: Salimans and Kingma 2016, "Weight normalization".
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from generative.randomness import normal, uniform

CONSTANT = 1e-6  # an output whose deviation is below this is taken as constant, and not divided by it


class WeightNormal(nn.Module):
    """What weight-normalised layers share: direction, gain and bias per output, and the start from data.

    Args:
        shape: of the direction `v`.
        outputs: number of outputs.
        axis: which axis of `v` counts the outputs.
        scale: deviation of each output after the start.
        std: deviation of the first directions; matters to the size of a step alone.
        gain: whether the gain is `trained`, `frozen` after the start, or absent (`none`: an ordinary layer).
        bias: whether there is one.
        mask: of ones and zeros, as `v`; where it is zero there is no connection.
    """

    gain: Tensor
    mask: Tensor | None
    unconnected: Tensor | None  # ones where an output has no connection at all, so that its direction has a length

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        outputs: int,
        axis: int,
        scale: float = 1.0,
        std: float = 0.05,
        gain: Literal["trained", "frozen", "none"] = "trained",
        bias: bool = True,
        mask: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.v = nn.Parameter(torch.empty(shape).normal_(0, std))
        self.normalised = gain != "none"
        self.gain = nn.Parameter(torch.full((outputs,), scale), requires_grad=gain == "trained")
        if not self.normalised:
            self.gain.requires_grad_(False)
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.register_buffer("mask", mask)
        self.register_buffer("unconnected", _unconnected(mask, axis), persistent=False)
        self.axis, self.scale, self.starting = axis, scale, False

    @property
    def weight(self) -> Tensor:
        """The weights as they act: along `v`, of length `gain`; zero where masked."""
        v = self.v if self.mask is None else self.v * self.mask
        if not self.normalised:
            return v
        if self.unconnected is not None:
            v = v + self.unconnected
        shape = [1] * v.ndim
        shape[self.axis] = -1
        weight = torch._weight_norm(v, self.gain.view(shape), self.axis)  # type: ignore[attr-defined]
        return weight if self.mask is None or self.unconnected is None else weight * self.mask

    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Returns the map of `x` by `weight` and `bias`."""
        raise NotImplementedError

    def forward(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        """Returns the layer's outputs; while `starting`, gain and bias are first set from them."""
        if self.starting:
            self._start(x)
        return self.apply_weight(x, self.weight, self.bias)

    @torch.no_grad()
    def _start(self, x: Tensor) -> None:
        if self.normalised:
            self.gain.fill_(1.0)
        t = self.apply_weight(x, self.weight, None)
        others = [axis for axis in range(t.ndim) if axis != (1 if t.ndim == 4 else t.ndim - 1)]
        deviation, mean = torch.std_mean(t, others, correction=0)
        factor = torch.where(deviation > CONSTANT, self.scale / deviation.clamp_min(CONSTANT), self.scale)
        if self.normalised:
            self.gain.copy_(factor)
        else:
            shape = [1] * self.v.ndim
            shape[self.axis] = -1
            self.v.mul_(factor.view(shape))
        if self.bias is not None:
            self.bias.copy_(-mean * factor)

    def extra_repr(self) -> str:
        """Sizes, and what is particular."""
        masked = "" if self.mask is None else ", masked"
        return f"v={tuple(self.v.shape)}, scale={self.scale}{masked}"


def _unconnected(mask: Tensor | None, axis: int) -> Tensor | None:
    if mask is None:
        return None
    found = mask.sum([other for other in range(mask.ndim) if other != axis], keepdim=True) == 0
    return found.float().expand_as(mask).clone() if found.any() else None


class Dense(WeightNormal):
    """A fully connected layer; arguments as of `WeightNormal`."""

    def __init__(self, inputs: int, outputs: int, **kwargs: object) -> None:
        super().__init__((outputs, inputs), outputs=outputs, axis=0, **kwargs)  # type: ignore[arg-type]

    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Returns `weight @ x + bias` for every row."""
        return F.linear(x, weight, bias)


class Conv(WeightNormal):
    """A convolution of images; without `padding` it keeps the size of odd kernels at stride 1."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int],
        *,
        stride: int = 1,
        padding: int | tuple[int, int] | None = None,
        **kwargs: object,
    ) -> None:
        kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
        super().__init__((outputs, inputs, *kernel), outputs=outputs, axis=0, **kwargs)  # type: ignore[arg-type]
        self.stride = stride
        self.padding = (kernel[0] // 2, kernel[1] // 2) if padding is None else padding

    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Returns the convolution."""
        return F.conv2d(x, weight, bias, self.stride, self.padding)


class UpConv(WeightNormal):
    """A transposed convolution of images, `stride` times as large; its length is taken per output channel, axis 1."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 2, padding: int | None = None, **kwargs: object
    ) -> None:
        super().__init__((inputs, outputs, kernel, kernel), outputs=outputs, axis=1, **kwargs)  # type: ignore[arg-type]
        self.stride = stride
        self.padding = (kernel - stride + 1) // 2 if padding is None else padding
        self.extra = 2 * self.padding + stride - kernel

    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Returns the transposed convolution."""
        return F.conv_transpose2d(x, weight, bias, self.stride, self.padding, max(0, self.extra))


@contextmanager
def starting(model: nn.Module) -> Iterator[None]:
    """Lets the first forward pass inside set gains and biases of all weight-normalised layers of `model`."""
    layers = [layer for layer in model.modules() if isinstance(layer, WeightNormal)]
    for layer in layers:
        layer.starting = True
    try:
        yield
    finally:
        for layer in layers:
            layer.starting = False


class Noise(nn.Module):
    """Adds normal noise of deviation `std` in training."""

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def forward(self, x: Float[Tensor, "n ..."], generator: torch.Generator | None) -> Float[Tensor, "n ..."]:
        """Returns `x` with noise from `generator` in training, and as it is otherwise or without one."""
        if not self.training or generator is None or self.std == 0:
            return x
        return x + self.std * normal(x.shape, generator, x)

    def extra_repr(self) -> str:
        """The deviation."""
        return f"std={self.std}"


class Dropout(nn.Module):
    """Sets entries to zero with probability `share` in training, and scales up the others."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Float[Tensor, "n ..."], generator: torch.Generator | None) -> Float[Tensor, "n ..."]:
        """Returns `x` thinned by draws of `generator` in training, and as it is otherwise or without one."""
        if not self.training or generator is None or self.share == 0:
            return x
        return x * (uniform(x.shape, generator, x) >= self.share) / (1 - self.share)

    def extra_repr(self) -> str:
        """The share."""
        return f"share={self.share}"


class Chain(nn.Sequential):
    """Layers one after another; noise and dropout among them draw from the generator handed in."""

    def forward(self, input: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Returns the output of the last layer."""
        for layer in self:
            input = layer(input, generator) if isinstance(layer, Noise | Dropout | Chain) else layer(input)
        return input


class Concat(nn.Module):
    """Joins the positive and the negative part of an exponential linear unit: twice the channels, no dead half."""

    def forward(self, x: Float[Tensor, "n c ..."]) -> Float[Tensor, "n c2 ..."]:
        """Returns `elu([x, -x])`."""
        return F.elu(torch.cat([x, -x], 1))


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "elu": nn.ELU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}
"""Name -> activation, for settings."""
