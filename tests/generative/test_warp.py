"""Small changes of images: each by its own map, within bounds, from the generator that is handed in."""

import math

import pytest
import torch

from generative import warp as warps
from generative.warp import warp
from tests.generative.small import generator


def test_every_image_is_warped_by_a_map_of_its_own() -> None:
    x = torch.rand(1, 1, 12, 12, generator=generator()).expand(6, 1, 12, 12)
    made = warp(x, generator(1))
    assert made.shape == x.shape
    assert all((made[i] - made[j]).abs().max() > 0.05 for i in range(6) for j in range(i))
    assert torch.equal(made, warp(x, generator(1)))
    assert made.min() >= 0
    assert made.max() <= 1


def test_without_bounds_an_image_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TURN", "SLANT", "SIZE", "MOVE"):
        monkeypatch.setattr(warps, name, 0.0)
    x = torch.rand(3, 2, 10, 14, generator=generator())
    torch.testing.assert_close(warp(x, generator()), x, atol=1e-5, rtol=0)


def test_ink_moves_no_further_than_the_bounds_allow() -> None:
    """A dot in the middle is moved alone; one towards the edge is turned, slanted and sized, too."""
    x = torch.zeros(500, 1, 29, 29)
    x[:250, 0, 13:16, 13:16] = 1
    x[250:, 0, 6:9, 13:16] = 1
    made = warp(x, generator())[:, 0]
    axis = torch.arange(29.0) - 14
    mass = made.sum((1, 2))
    down, right = (made.sum(2) * axis).sum(1) / mass, (made.sum(1) * axis).sum(1) / mass
    reach = 14.5 * warps.MOVE / (1 - warps.SIZE) * (1 + warps.SLANT + math.tan(warps.TURN))
    for place in (down[:250], right[:250]):
        assert place.abs().max() <= reach
        assert place.abs().max() > 1.5
    assert (down[250:] < 0).all()
    assert right[250:].std() > right[:250].std()
