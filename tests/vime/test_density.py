"""Densities against autograd and integrals, and pseudo-counts against true ones."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

import vime
from vime.density import Couplings, Density, FlowDensity, FlowSettings, pseudo_counts

BOX, MOVES = spaces.Box(-9, 9, (2,), np.float32), spaces.Discrete(2)


class Frequencies:
    """The density of relative frequencies of whole numbers, counted from one each."""

    def __init__(self, places: int) -> None:
        self.counts = torch.ones(places, dtype=torch.float64)

    def gains(self, obs: torch.Tensor) -> torch.Tensor:
        n, total = self.counts[obs.flatten().long()], self.counts.sum()
        return (((n + 1) / (total + 1)).log() - (n / total).log()).float()

    def observe(self, obs: torch.Tensor) -> None:
        self.counts += torch.bincount(obs.flatten().long(), minlength=len(self.counts))

    def learn(self, obs: torch.Tensor) -> dict[str, float]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {"counts": self.counts.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.counts.copy_(state["counts"])


def visits(*places: int) -> vime.Transitions:
    column = np.array(places)[:, None]
    none = np.zeros(column.shape, bool)
    return vime.Transitions.from_numpy(column, column * 0, column, none, none)


def flow(size: int, seed: int = 0) -> Couplings:
    net = Couplings(size, 4, (8,), torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(1.5)
    return net


@pytest.mark.parametrize("size", [1, 2, 5])
def test_the_flow_has_the_log_determinant_of_autograd(size: int) -> None:
    net, x = flow(size), torch.randn(3, size, generator=torch.Generator().manual_seed(1))

    def moved(row: torch.Tensor) -> torch.Tensor:
        for inner, mask in zip(net.nets, net.masks, strict=True):
            scale, shift = inner(row * mask).chunk(2)
            row = row * (torch.tanh(scale) * (1 - mask)).exp() + shift * (1 - mask)
        return row

    for row, found in zip(x, net(x), strict=True):
        jacobian = torch.autograd.functional.jacobian(moved, row)
        z = moved(row)
        normal = -0.5 * (z.square() + math.log(2 * math.pi)).sum()
        torch.testing.assert_close(found, normal + torch.linalg.slogdet(jacobian)[1])


def test_the_flow_is_a_density() -> None:
    net, grid = flow(2), torch.linspace(-12, 12, 401)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(0.5)  # so that nothing is moved off the grid
    x = torch.cartesian_prod(grid, grid)
    assert float(net(x).detach().exp().sum() * (grid[1] - grid[0]) ** 2) == pytest.approx(1, abs=1e-2)


def test_squared_slopes_are_those_of_autograd_row_by_row() -> None:
    net, x = flow(5), torch.randn(4, 5, generator=torch.Generator().manual_seed(2))
    slopes = [torch.autograd.grad(net(row[None]).sum(), list(net.parameters()), allow_unused=True) for row in x]
    expected = torch.stack([sum(part.square().sum() for part in row if part is not None) for row in slopes])  # type: ignore[arg-type, misc]
    torch.testing.assert_close(net.squared_slopes(x), expected)


def test_the_count_of_relative_frequencies_is_the_true_one() -> None:
    density = Frequencies(1000)
    density.observe(torch.tensor([3] * 19 + [5] * 4))
    counted = pseudo_counts(density.gains(torch.tensor([3, 5, 7])))
    n, total = torch.tensor([20.0, 5.0, 1.0]), 1023.0
    torch.testing.assert_close(counted, n * (total + 1) / (total - n), rtol=1e-3, atol=0)


def test_a_bonus_on_frequencies_pays_one_over_the_root_of_the_count() -> None:
    bonus = vime.make_bonus("density-counts", spaces.Discrete(1000), MOVES, density=Frequencies(1000), rate=1.0)
    assert isinstance(bonus.density, Density)  # type: ignore[attr-defined]
    bonus.density.observe(torch.tensor([3] * 24))  # type: ignore[attr-defined]
    reward = bonus.reward(visits(3, 8)).flatten()
    torch.testing.assert_close(reward, torch.tensor([25.0, 1.0]).rsqrt(), rtol=0.03, atol=0)
    bonus.observe(visits(3, 8, 8))
    assert bonus.seen == 3  # type: ignore[attr-defined]
    faded = bonus.reward(visits(8)).item()
    assert faded == pytest.approx((3.0 / 3**-0.5) ** -0.5, rel=0.1)


def test_what_was_seen_often_is_likely_and_pays_less_than_what_was_not() -> None:
    bonus = vime.make_bonus("density-counts", BOX, MOVES, passes=4)
    rng = np.random.default_rng(0)
    none = np.zeros((256, 4), bool)

    def batch(centre: float) -> vime.Transitions:
        obs = rng.normal(centre, 0.3, (256, 4, 2)).astype(np.float32)
        return vime.Transitions.from_numpy(obs, np.zeros((256, 4), int), obs, none, none)

    for _ in range(12):
        data = batch(0.0)
        bonus.observe(data)
        bonus.learn(data)
    assert bonus.reward(batch(2.0)).mean() > 3 * bonus.reward(batch(0.0)).mean()


def test_the_bonus_fades_with_the_root_of_what_was_seen() -> None:
    bonus = vime.make_bonus("density-counts", BOX, MOVES, rate=1e-3)
    none = np.zeros((4, 1), bool)
    obs = np.random.default_rng(0).normal(size=(4, 1, 2)).astype(np.float32)
    data = vime.Transitions.from_numpy(obs, np.zeros((4, 1), int), obs, none, none)
    rewards = []
    for bonus.seen in (100, 10_000):  # type: ignore[attr-defined]
        rewards.append(bonus.reward(data))
    torch.testing.assert_close(rewards[0] / rewards[1], torch.full((4, 1), 100**0.25), rtol=0.05, atol=0)


@pytest.mark.parametrize(("name", "value"), [("rate", 0.0), ("couplings", 1), ("noise", 0.0)])
def test_settings_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(vime.InvalidSettings, match=name):
        vime.make_bonus("density-counts", BOX, MOVES, **{name: value})


def test_constant_features_do_no_harm() -> None:
    density = FlowDensity(BOX, FlowSettings(hidden=(4,)))
    same = torch.ones(300, 2)
    for _ in range(5):
        density.observe(same)
        assert math.isfinite(density.learn(same)["density_loss"])
    assert torch.isfinite(density.gains(same)).all()
