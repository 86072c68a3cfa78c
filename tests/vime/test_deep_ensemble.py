import numpy as np
import pytest
import torch
from gymnasium import spaces

from vime.deep_ensemble import EnsembleDynamics, EnsembleSettings


@pytest.mark.parametrize("hidden", [(), (9,), (8, 7)])
def test_slopes_by_hand_are_those_of_autograd(hidden: tuple[int, ...]) -> None:
    settings = EnsembleSettings(hidden=hidden, count=3, noise_floor=0.1)
    box = spaces.Box(-1, 1, (2,), np.float32)
    model = EnsembleDynamics(box, spaces.Box(-1, 1, (1,), np.float32), settings)
    with torch.no_grad():  # some variances at the floor, and some at the upper bound
        model.network.layers[-1].bias[..., 2:] = torch.tensor([-20.0, 4.5])
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(3, 40, 3, generator=generator) * 2, torch.randn(3, 40, 2, generator=generator)
    loss = model.negative_likelihood(x, y)
    expected = torch.autograd.grad(loss, list(model.network.parameters()))
    torch.testing.assert_close(model.set_gradients(x, y), loss.detach())
    for parameter, slope in zip(model.network.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, slope, atol=1e-5, rtol=1e-4)
