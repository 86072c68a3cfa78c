"""Who depends on whom, read from the Jacobian."""

import pytest
import torch
from torch import Tensor, nn

from generative.layers import Conv, Dense
from generative.masked import ShiftedConv, conv_mask, dense_masks, shift_down, shift_right
from generative.randomness import seeded
from tests.generative.small import generator

D = 6


def depends(function: nn.Module, size: tuple[int, ...]) -> Tensor:
    """(outputs, inputs): whether an output depends on an input."""
    x = torch.randn(1, *size, generator=generator())
    jacobian = torch.autograd.functional.jacobian(lambda x: function(x).flatten(), x)
    assert isinstance(jacobian, Tensor)
    return jacobian.reshape(-1, x.numel()).abs() > 1e-12


@pytest.mark.parametrize("drawn", [False, True], ids=["even", "drawn"])
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_outputs_of_a_made_depend_on_earlier_inputs_alone(drawn: bool, reverse: bool) -> None:
    order = torch.arange(D).flip(0) if reverse else torch.arange(D)
    masks = dense_masks(D, (40, 40), outputs=2, order=order, generator=generator() if drawn else None)
    with seeded(0):
        widths = [D, 40, 40, 2 * D]
        parts = [Dense(widths[i], widths[i + 1], mask=masks[i]) for i in range(3)]
        net = nn.Sequential(parts[0], nn.Tanh(), parts[1], nn.Tanh(), parts[2])
    found = depends(net, (D,)).view(2, D, D)
    earlier = order[:, None] > order[None]
    assert not found[:, ~earlier].any()
    assert found[:, earlier].all()


@pytest.mark.parametrize("strict", [True, False])
def test_masked_convolution_orders_pixels_and_channel_groups(strict: bool) -> None:
    groups, side = 3, 3
    mask = conv_mask(2 * groups, groups, (5, 5), strict=strict, groups=groups)
    with seeded(0):
        found = depends(Conv(groups, 2 * groups, 5, mask=mask), (groups, side, side))
    found = found.view(2 * groups, side * side, groups, side * side)
    for out in range(2 * groups):
        for into in range(groups):
            same = out // 2 > into if strict else out // 2 >= into
            before = torch.ones(side * side, side * side, dtype=torch.bool).tril(-1)
            expected = before | torch.eye(side * side, dtype=torch.bool) if same else before
            assert not (found[out, :, into] & ~expected).any()
            assert torch.equal(found[out, :, into].diagonal(), expected.diagonal())


class TwoStacks(nn.Module):
    """A vertical and a horizontal stack, as in PixelCNN++, of three layers each."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(ShiftedConv(1, 1, (2, 3), "down") for _ in range(4))
        self.right = nn.ModuleList(ShiftedConv(1, 1, (2, 2), "down-right") for _ in range(4))
        self.row = ShiftedConv(1, 1, (1, 2), "down-right")

    def forward(self, x: Tensor) -> Tensor:
        above = shift_down(self.down[0](x))
        left = above + shift_right(self.row(x))
        for down, right in zip(list(self.down)[1:], list(self.right)[1:], strict=True):
            above = down(torch.tanh(above))
            left = right(torch.tanh(left)) + above
        return left


def test_shifted_convolutions_see_all_of_the_past_and_nothing_else() -> None:
    side = 4
    with seeded(0):
        found = depends(TwoStacks(), (1, side, side))
    past = torch.ones(side * side, side * side, dtype=torch.bool).tril(-1)
    assert not (found & ~past).any()
    blind = past & ~found
    assert not blind.any(), blind.nonzero().tolist()
