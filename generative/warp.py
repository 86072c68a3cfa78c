"""Small changes of images that leave what they show as it is: turned, slanted, sized and moved a little."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from generative.randomness import uniform

TURN = math.radians(15)  # at most, either way
SLANT = 0.3  # sideways for each step down
SIZE = 0.15  # of height and width, each
MOVE = 0.15  # of half a side: 2 pixels of 28


def warp(x: Float[Tensor, "n c height width"], generator: torch.Generator) -> Float[Tensor, "n c height width"]:
    """Returns every image by an affine map of its own, drawn uniformly within small bounds.

    Interpolation is bilinear; what comes in from outside is 0.
    """
    turn, slant, tall, wide, right, down = (2 * uniform((6, len(x)), generator, x) - 1).unbind()
    cos, sin = (TURN * turn).cos(), (TURN * turn).sin()
    tall, wide, slant = 1 + SIZE * tall, 1 + SIZE * wide, SLANT * slant
    rows = [
        [wide * cos, wide * (slant * cos - sin), MOVE * right],
        [tall * sin, tall * (slant * sin + cos), MOVE * down],
    ]
    theta = torch.stack([torch.stack(row, 1) for row in rows], 1)
    places = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, places, mode="bilinear", padding_mode="zeros", align_corners=False)
