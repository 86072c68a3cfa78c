"""Features of observations, actions as inputs and targets, and encoders handed in."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

import vime
from vime.actions import Actions
from vime.bonuses.deir import Deir
from vime.features import FeatureNet, minibatches, mlp, regress
from vime.learned import LearnedSettings, Trainer

BOX, MOVES = spaces.Box(-5, 5, (2,), np.float32), spaces.Discrete(4)


def walk(t: int, b: int, seed: int = 0) -> vime.Transitions:
    """A random walk in the plane by four actions."""
    rng = np.random.default_rng(seed)
    action = rng.integers(4, size=(t, b))
    step = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]], np.float32)[action] * 0.2
    place = np.concatenate([np.zeros((1, b, 2), np.float32), step.cumsum(0)])
    none = np.zeros((t, b), dtype=bool)
    return vime.Transitions.from_numpy(place[:-1], action, place[1:], none, none)


def test_actions_are_inputs_and_targets() -> None:
    most, ones = float(np.finfo(np.float32).max), torch.ones(1, 2)
    torch.testing.assert_close(Actions(spaces.Box(-most, most, (2,), np.float32)).encode(ones), ones)
    wide = Actions(spaces.Box(0, 5e6, (1,), np.float32))
    torch.testing.assert_close(wide.encode(torch.tensor([[0.0], [4e6]])), torch.tensor([[-1.0], [0.6]]))
    box = Actions(spaces.Box(np.array([0, -4], np.float32), np.array([2, 4], np.float32)))
    assert box.encode(torch.tensor([[2.0, -2.0]])).tolist() == [[1.0, -0.5]]
    assert box.loss(torch.tensor([[0.0, -0.5]]), torch.tensor([[2.0, -2.0]])).tolist() == [0.5]
    two = Actions(spaces.MultiDiscrete([2, 4]))
    torch.testing.assert_close(
        two.loss(torch.zeros(1, 6), torch.tensor([[1, 3]])), torch.tensor([2.0, 4.0]).log().sum()[None]
    )


def test_minibatches_pass_over_every_row_once() -> None:
    parts = list(minibatches(10, 4, 2, torch.Generator().manual_seed(0)))
    assert len(parts) == 6
    assert torch.cat(parts[:3]).sort().values.tolist() == list(range(10))


@pytest.mark.parametrize("widths", [(3, 2), (3, 5, 2), (3, 5, 4, 2)])
def test_slopes_by_hand_are_those_of_autograd(widths: tuple[int, ...]) -> None:
    random = torch.Generator().manual_seed(0)
    net = mlp(widths, random).double()
    inputs, goal = (torch.randn(7, n, generator=random, dtype=torch.float64) for n in (3, 2))
    loss, slopes = regress(net, inputs, goal)
    expected = torch.nn.functional.mse_loss(net(inputs), goal)
    torch.testing.assert_close(loss, expected.detach())
    for slope, parameter, oracle in zip(
        slopes, net.parameters(), torch.autograd.grad(expected, list(net.parameters())), strict=True
    ):
        assert slope.shape == parameter.shape
        torch.testing.assert_close(slope, oracle)


def test_a_step_of_the_trainer_is_one_of_its_optimiser() -> None:
    trainers = [Trainer({"net": mlp((3, 4, 2), torch.Generator().manual_seed(0))}, LearnedSettings()) for _ in range(2)]
    random = torch.Generator().manual_seed(1)
    for _ in range(3):
        slope = torch.randn(len(trainers[0].vector), generator=random)
        for trainer, step in zip(trainers, (trainers[0]._step, trainers[1].optimiser.step), strict=True):
            trainer.vector.grad = slope.clone()
            step()
    ours, theirs = (trainer.state_dict() for trainer in trainers)
    for name in ours["nets"]:
        assert torch.equal(ours["nets"][name], theirs["nets"][name])
    for name, value in ours["optimiser"]["state"][0].items():
        assert torch.equal(value, theirs["optimiser"]["state"][0][name])


def test_features_do_not_depend_on_the_unit_of_a_vector() -> None:
    nets = [FeatureNet(BOX, 4, torch.Generator().manual_seed(0)) for _ in range(2)]
    data = torch.randn(50, 2, generator=torch.Generator().manual_seed(1))
    for net, unit in zip(nets, (1.0, 1000.0), strict=True):
        net.update(data * unit)
    torch.testing.assert_close(nets[0](data), nets[1](data * 1000.0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["icm", "ride", "e3b", "deir"])
def test_learned_features_tell_places_far_out_apart(name: str) -> None:
    """Features of unit length would keep directions alone, and pay ever less the farther out a place lies."""
    bonus = vime.make_bonus(name, BOX, MOVES)
    for seed in range(4):
        bonus.learn(walk(64, 8, seed=seed))
    net = bonus.net if isinstance(bonus, Deir) else bonus.features.net
    near, far = (net.encode(torch.tensor([[s, s], [2 * s, 2 * s]])) for s in (1.0, 2.0))
    assert (far[1] - far[0]).norm() > (near[1] - near[0]).norm()


@pytest.mark.parametrize("name", ["rnd", "icm", "disagreement", "e3b", "deir", "girm", "ex2", "lpm", "re3", "simhash"])
def test_an_encoder_handed_in_is_used_and_not_trained(name: str) -> None:
    class Half(torch.nn.Module):
        features = 1

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.tensor([[0.5]]))

        def encode(self, obs: torch.Tensor) -> torch.Tensor:
            return obs[:, :1] @ self.weight

        def fit(self, observations: torch.Tensor, budget: int) -> dict[str, float]:
            return {}

    encoder = Half()
    one, two = (vime.make_bonus(name, BOX, MOVES, encoder=encoder) for _ in range(2))
    data = walk(40, 4)
    hidden = data.map_tensors(torch.clone)
    for obs in (hidden.obs, hidden.next_obs):
        obs[..., 1] = 7.0  # type: ignore[index]
    for bonus, batch in ((one, data), (two, hidden)):
        bonus.observe(batch)
        bonus.learn(batch)
    assert encoder.weight.item() == 0.5
    torch.testing.assert_close(one.reward(walk(40, 4, seed=1)), two.reward(walk(40, 4, seed=1)))
