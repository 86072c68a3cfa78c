"""PixelCNN: an image pixel by pixel, each given all above it and to its left; gated, and quick to sample from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from generative.errors import InvalidSettings, choose
from generative.layers import Concat, Conv, Dropout, starting
from generative.likelihoods import Bernoulli, DiscretisedMixture, Likelihood
from generative.masked import ShiftedConv, shift_down, shift_right
from generative.model import Batch, Model
from generative.optimiser import Optimiser
from generative.randomness import seeded

STARTING_IMAGES = 64  # of the first minibatch, from which gains and biases are set
START = 0.1  # deviation that a block and the output first have

Apply = Callable[[nn.Module, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class PixelCNNSettings:
    """Settings of a PixelCNN."""

    filters: int = 64
    """Channels of each of the two stacks; 160 in PixelCNN++."""
    blocks: int = 7
    """Gated residual blocks in each stack. A pixel sees `1 + (2 * blocks + 1) * (kernel // 2)` pixels to its left, and
    `1 + 2 * (blocks + 1) * (kernel // 2)` rows above."""
    kernel: int = 5
    """Odd width of a convolution, before its lower or lower right part is cut off."""
    dropout: float = 0.5
    """Share of activations set to zero inside a block, in training."""
    likelihood: Literal["bernoulli", "discretised"] = "bernoulli"
    """Of a pixel: 0 or 1; grey levels or colours, as a mixture of logistics."""
    levels: int = 256
    """Values of an entry, for the discretised likelihood; 17 for the digits of scikit-learn."""
    components: int = 10
    """Logistics in the mixture."""
    optimiser: Optimiser = field(default_factory=lambda: Optimiser(betas=(0.95, 0.9995)))
    """Of all parameters."""

    def __post_init__(self) -> None:
        if min(self.filters, self.blocks) < 1 or self.kernel < 3 or self.kernel % 2 == 0:
            raise InvalidSettings(
                "`filters` and `blocks` must be positive, and `kernel` odd and at least 3; "
                f"got {self.filters}, {self.blocks} and {self.kernel}."
            )
        if not 0 <= self.dropout < 1:
            raise InvalidSettings(f"`dropout` is a share in [0, 1); got {self.dropout}.")
        choose("likelihood", self.likelihood, LIKELIHOODS)


def call(layer: nn.Module, x: Tensor) -> Tensor:
    """Returns `layer(x)`: how a layer is applied to whole images."""
    return layer(x)


class GatedBlock(nn.Module):
    """A residual block `x + a * sigmoid(b)`, `a` and `b` from two shifted convolutions.

    Args:
        filters: channels.
        kernel: height and width.
        direction: of the convolutions.
        dropout: share set to zero between them.
        told: whether it is also told what the other stack has.
    """

    def __init__(
        self,
        filters: int,
        kernel: tuple[int, int],
        direction: Literal["down", "down-right"],
        *,
        dropout: float,
        told: bool,
    ) -> None:
        super().__init__()
        self.first = ShiftedConv(2 * filters, filters, kernel, direction)
        self.told = Conv(2 * filters, filters, 1) if told else None
        self.second = ShiftedConv(2 * filters, 2 * filters, kernel, direction, scale=START)
        self.both, self.dropout = Concat(), Dropout(dropout)

    def other(self, x: Float[Tensor, "n c h w"], apply: Apply = call) -> Float[Tensor, "n c h w"] | None:
        """Returns what the other stack's `x` adds inside this block."""
        return None if self.told is None else apply(self.told, self.both(x))

    def forward(
        self,
        x: Float[Tensor, "n c h w"],
        other: Float[Tensor, "n c h w"] | None,
        generator: torch.Generator | None = None,
        apply: Apply = call,
    ) -> Float[Tensor, "n c h w"]:
        """Returns the block's output for whole images, or for the row or pixel that `apply` works on."""
        hidden = apply(self.first, self.both(x))
        if other is not None:
            hidden = hidden + other
        signal, gate = apply(self.second, self.dropout(self.both(hidden), generator)).chunk(2, 1)
        return x + signal * torch.sigmoid(gate)


class PixelCNN(Model):
    """Gated PixelCNN of two stacks: one sees the rows above, the other these and what lies to the left.

    Args:
        shape: of one image: `(channels, height, width)`.
        settings: see `PixelCNNSettings`.
        seed: of the first weights.

    References: van den Oord et al. 2016, "Conditional image generation with PixelCNN decoders"; Salimans et al. 2017,
        "PixelCNN++"; Ramachandran et al. 2017, "Fast generation for convolutional autoregressive models".
    Differs from the papers: one resolution, so no short-cuts between several; the channels of a binary pixel are
        independent given the pixels before.
    """

    name: ClassVar[str] = "pixelcnn"
    Settings: ClassVar[type] = PixelCNNSettings
    settings: PixelCNNSettings

    def __init__(self, shape: Sequence[int], settings: PixelCNNSettings | None = None, *, seed: int = 0) -> None:
        s = settings or PixelCNNSettings()
        likelihood = LIKELIHOODS[s.likelihood](shape, s)
        super().__init__(shape, s, support=likelihood.support, levels=likelihood.levels)
        if len(self.shape) != 3:
            raise InvalidSettings(f"pixelcnn models images of shape (channels, height, width); got {self.shape}.")
        self.likelihood = likelihood
        inputs, half = self.shape[0] + 1, s.kernel // 2 + 1
        with seeded(seed):
            self.above = ShiftedConv(inputs, s.filters, (half, s.kernel), "down")
            self.left = ShiftedConv(inputs, s.filters, (1, half), "down-right")
            self.down = nn.ModuleList(
                GatedBlock(s.filters, (half, s.kernel), "down", dropout=s.dropout, told=False) for _ in range(s.blocks)
            )
            self.right = nn.ModuleList(
                GatedBlock(s.filters, (half, half), "down-right", dropout=s.dropout, told=True) for _ in range(s.blocks)
            )
            self.head = Conv(s.filters, likelihood.channels, 1, scale=START)

    def conditionals(
        self, x: Float[Tensor, "n c h w"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "n k h w"]:
        """Returns the parameters of the likelihood of each pixel given those before it; noise only with a generator."""
        x = _inputs(x)
        above = shift_down(self.above(x))
        left = above + shift_right(self.left(x))
        for down, right in zip(self.down, self.right, strict=True):
            above = down(above, None, generator)
            left = right(left, right.other(above), generator)  # type: ignore[operator, union-attr]
        return self.head(F.elu(left)).float()

    @torch.no_grad()
    def initialise(self, batch: Batch, generator: torch.Generator) -> None:
        """Sets gains and biases from some images, and lets every pixel's distribution begin at their mean."""
        with starting(self):
            self.conditionals(batch.x[:STARTING_IMAGES])
        mean = batch.x.mean((0, 2, 3)).view(-1, 1, 1)
        self.head.bias.add_(self.likelihood.start(mean).flatten())  # type: ignore[union-attr]

    def losses(self, batch: Batch, player: str, generator: torch.Generator) -> dict[str, Float[Tensor, ""]]:
        """Returns the negative log-likelihood, in nats."""
        return {"loss": -self.likelihood.log_prob(self.conditionals(batch.x, generator), batch.x).mean()}

    @torch.no_grad()
    def log_prob(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, " n"]:
        """Returns the log-likelihood of each image, in nats."""
        x = self.checked(x)
        return self.likelihood.log_prob(self.conditionals(x), x)

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator, *, cached: bool = True) -> Float[Tensor, "n *shape"]:
        """Returns `n` new images, pixel by pixel.

        Args:
            n: how many.
            generator: of all draws.
            cached: whether to keep what does not change and compute one row and one pixel at a time. The images are
                the same without, up to the rounding of the products.
        """
        x = torch.zeros(n, *self.shape, device=self.device)
        cache = _Cache(self, n) if cached else None
        for row in range(self.shape[1]):
            if cache is not None:
                cache.begin(row, x)
            for column in range(self.shape[2]):
                here = (slice(None), slice(None), slice(row, row + 1), slice(column, column + 1))
                parameters = self.conditionals(x)[here] if cache is None else cache.pixel(row, column, x)
                x[here] = self.likelihood.sample(parameters, generator)
        return x


class _Cache:
    """What each convolution has seen so far, while images grow pixel by pixel.

    The stack that sees the rows above is computed a row at a time, the other one a pixel at a time.
    """

    def __init__(self, model: PixelCNN, n: int) -> None:
        self.model, self.row, self.column = model, 0, 0
        self.start, self.others = torch.empty(0), list[Tensor]()
        self.whole = False  # whether a row or a pixel of it is at work
        self.weights = {layer: layer.weight for layer in model.modules() if isinstance(layer, Conv)}
        self.seen: dict[nn.Module, Tensor] = {}
        _, height, width = model.shape
        for layer in model.modules():
            if isinstance(layer, ShiftedConv):
                left, right, top, _ = layer.pads
                size = (n, layer.conv.v.shape[1], height + top, width + left + right)
                self.seen[layer] = torch.zeros(size, device=model.device)

    def apply(self, layer: nn.Module, x: Float[Tensor, "n c one w"]) -> Float[Tensor, "n k one w"]:
        """Returns the layer's output for the row or pixel at work, and keeps `x` for those after it."""
        if isinstance(layer, ShiftedConv):
            x, layer = self._window(layer, x), layer.conv
        weight, bias = self.weights[layer], layer.bias  # type: ignore[index]
        if self.whole:
            return F.conv2d(x, weight, bias)  # type: ignore[arg-type]
        return F.linear(x.flatten(1), weight.flatten(1), bias)[:, :, None, None]  # type: ignore[arg-type]

    def _window(self, layer: ShiftedConv, x: Tensor) -> Tensor:
        """Returns what the layer sees from here."""
        seen, (left, right, top, _) = self.seen[layer], layer.pads
        rows = slice(self.row, self.row + top + 1)
        if self.whole:
            seen[:, :, self.row + top, left : left + x.shape[3]] = x[:, :, 0]
            return seen[:, :, rows]
        seen[:, :, self.row + top, self.column + left] = x[:, :, 0, 0]
        return seen[:, :, rows, self.column : self.column + left + right + 1]

    def begin(self, row: int, x: Float[Tensor, "n c h w"]) -> None:
        """Computes the stack of the rows above for a new `row`, all rows before it being known in `x`."""
        model, self.whole = self.model, True
        n, _, _, width = x.shape
        above = torch.zeros(n, model.settings.filters, 1, width, device=x.device)
        if row:
            self.row = row - 1
            above = self.apply(model.above, _inputs(x[:, :, row - 1 : row]))
        self.row, self.start, self.others = row, above, []
        for down, right in zip(model.down, model.right, strict=True):
            above = down(above, None, None, self.apply)
            self.others.append(right.other(above, self.apply))  # type: ignore[operator, union-attr]

    def pixel(self, row: int, column: int, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k 1 1"]:
        """Returns the parameters of the likelihood of one pixel of the row that was begun."""
        model, self.whole = self.model, False
        here = slice(column, column + 1)
        left = self.start[..., here]
        if column:
            self.column = column - 1
            left = left + self.apply(model.left, _inputs(x[:, :, row : row + 1, column - 1 : column]))
        self.column = column
        for right, other in zip(model.right, self.others, strict=True):
            left = right(left, other[..., here], None, self.apply)
        return self.apply(model.head, F.elu(left)).float()


def _inputs(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h w"]:
    """Returns pixels from -1 to 1, and a channel of ones that tells the image from what lies around it."""
    return torch.cat([2 * x - 1, torch.ones_like(x[:, :1])], 1)


def _bernoulli(shape: Sequence[int], settings: PixelCNNSettings) -> Likelihood:
    return Bernoulli(shape)


def _discretised(shape: Sequence[int], settings: PixelCNNSettings) -> Likelihood:
    return DiscretisedMixture(shape, settings.levels, settings.components)


LIKELIHOODS = {"bernoulli": _bernoulli, "discretised": _discretised}
