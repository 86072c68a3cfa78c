"""The contract of a world model, on every kind there is."""

import io
import math

import numpy as np
import pytest
import torch
from gymnasium import spaces

import vime
from tests.vime.smooth import transitions
from vime.bayesian import BayesianDynamics, BayesianSettings
from vime.dynamics import Rows
from vime.last_layer import LastLayerDynamics, LastLayerSettings
from vime.measures import log_determinant
from vime.members import Members
from vime.world import WORLDS, WorldModel, make_world

OBS, ACT = spaces.Box(-np.inf, np.inf, (3,)), spaces.Box(-1, 1, (1,))
SMALL = {"hidden": (32,), "minibatch": 64, "learning_rate": 4e-3}


def fitted(name: str, n: int = 400, updates: int = 150, noise: float = 0.0, **settings):
    model = make_world(name, OBS, ACT, **{**SMALL, **settings})
    model.add(model.rows(transitions(n, noise=noise)))
    model.fit(updates)
    return model


def doubt(model, batch: vime.Transitions) -> torch.Tensor:
    """Expected gain of every transition, in nats."""
    obs, action = batch.obs.flatten(0, 1), batch.action.flatten(0, 1)
    members = model.members(torch.Generator().manual_seed(0), samples=20)
    return log_determinant(*members.predict(model.encode(obs), model.encode_action(action)))


@pytest.mark.parametrize("name", WORLDS)
def test_shapes_and_the_protocol(name: str) -> None:
    model = fitted(name, updates=1)
    assert isinstance(model, WorldModel)
    obs, action = torch.randn(7, 3), torch.rand(7, 1)
    prediction = model.predict(obs, action, generator=torch.Generator().manual_seed(0))
    assert prediction.mean.shape == prediction.variance.shape
    assert prediction.mean.shape[1:] == (7, 3)
    assert (prediction.variance > 0).all()
    assert model.step(obs, action, torch.Generator().manual_seed(0)).shape == (7, 3)
    members = model.members(torch.Generator().manual_seed(0))
    own = members.predict(obs.expand(members.count, 7, 3), action.expand(members.count, 7, 1))
    shared = members.predict(obs, action)
    torch.testing.assert_close(own.mean, shared.mean)
    torch.testing.assert_close(own.variance, shared.variance)


@pytest.mark.parametrize("name", WORLDS)
def test_a_generator_decides_all_that_is_drawn_and_the_global_one_nothing(name: str) -> None:
    model = fitted(name, updates=1)
    obs, action = torch.randn(7, 3), torch.rand(7, 1)
    before = torch.random.get_rng_state()
    one, two = (model.step(obs, action, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, model.step(obs, action, torch.Generator().manual_seed(4)))
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("name", WORLDS)
def test_it_learns_and_is_in_less_doubt_where_it_has_data(name: str) -> None:
    few, many = fitted(name, 40, 400), fitted(name, 1000, 400)
    new = transitions(300, seed=9)
    state, action = new.obs[:, 0], new.action[:, 0]
    prediction = many.predict(state, action, samples=20, generator=torch.Generator().manual_seed(0))
    error = (prediction.mean.mean(0) - new.next_obs[:, 0])[:, :2].square().mean()
    assert error < 0.1 * (new.next_obs - new.obs)[:, 0, :2].square().mean()
    assert doubt(many, new).median() < 0.7 * doubt(few, new).median()
    assert doubt(many, transitions(300, seed=9, centre=5.0)).median() > 3 * doubt(many, new).median()


@pytest.mark.parametrize("name", WORLDS)
def test_pure_noise_does_not_count_once_its_size_is_known(name: str) -> None:
    quiet, noisy = (doubt(fitted(name, 1000, 400, noise=n), transitions(300, 9, n)).median() for n in (0.0, 1.0))
    assert noisy < 1.6 * quiet + 0.1


@pytest.mark.parametrize("name", WORLDS)
def test_it_continues_bit_for_bit_from_a_saved_state(name: str) -> None:
    model = fitted(name, updates=5)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other = make_world(name, OBS, ACT, **SMALL)
    other.load_state_dict(torch.load(file, weights_only=True))
    for each in (model, other):
        each.add(each.rows(transitions(50, seed=2)))
        each.fit(5)
    for one, two in zip(model.network.state_dict().values(), other.network.state_dict().values(), strict=True):
        assert torch.equal(one, two)
    obs, action = torch.randn(4, 3), torch.rand(4, 1)
    members = model.members(torch.Generator().manual_seed(0))
    again = Members.from_state(members.state_dict())
    assert torch.equal(members.predict(obs, action).mean, again.predict(obs, action).mean)


@pytest.mark.gpu
@pytest.mark.parametrize("name", WORLDS)
def test_cpu_and_cuda_agree(name: str) -> None:
    model = fitted(name, updates=50)
    other = make_world(name, OBS, ACT, **SMALL, device="cuda")
    other.load_state_dict(model.state_dict())
    obs, action = torch.randn(40, 3), torch.rand(40, 1)
    members = model.members(torch.Generator().manual_seed(0))
    moved = Members.from_state(
        {k: [p.cuda() for p in v] if isinstance(v, list) else v for k, v in members.state_dict().items()}
        | {k: v.cuda() for k, v in members.state_dict().items() if isinstance(v, torch.Tensor)}
    )
    here, there = members.predict(obs, action), moved.predict(obs.cuda(), action.cuda())
    torch.testing.assert_close(here.mean, there.mean.cpu(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(here.variance, there.variance.cpu(), rtol=1e-4, atol=1e-4)


def linear_data(n: int, noise: float = 0.5) -> Rows:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 4, generator=generator)
    y = x @ torch.randn(4, 3, generator=generator) + noise * torch.randn(n, 3, generator=generator)
    return Rows(x, y)


def test_the_last_layer_is_the_exact_bayesian_regression_of_its_units() -> None:
    """Against the textbook's posterior, computed in another way, and 1/2 log(1 + r) within a hundredth."""
    model = LastLayerDynamics(OBS, ACT, LastLayerSettings(hidden=(16,), target="next", prior_std=2.0))
    model.add(linear_data(60))
    model.fit(20)
    inputs = model.standardise(Rows(**model.pool.rows())).inputs
    units = model.network.units(inputs).double()
    inverse = torch.linalg.inv(units.T @ units + torch.eye(17, dtype=torch.float64) / 4)
    exact = (units @ inverse * units).sum(1)
    torch.testing.assert_close(model.ratio(inputs).double(), exact, rtol=1e-3, atol=1e-6)
    members = model.members(torch.Generator().manual_seed(0), samples=20_000)
    rows = model.pool.rows()["inputs"][:10]
    gain = log_determinant(*members.predict(rows[:, :3], rows[:, 3:]))
    torch.testing.assert_close(gain.double(), 1.5 * torch.log1p(exact[:10]), rtol=0.02, atol=1e-3)


def test_a_linear_bayesian_network_knows_its_doubt_exactly_by_its_jacobian() -> None:
    model = BayesianDynamics(OBS, ACT, BayesianSettings(hidden=(), std=0.3))
    model.add(linear_data(200))
    model.fit(100)
    inputs = model.standardise(Rows(**model.pool.rows())).inputs[:50]
    layer = model.network.stack[0]
    exact = inputs.square() @ layer.weight_std.square().T + layer.bias_std.square()
    torch.testing.assert_close(model.epistemic(inputs), exact)
    ratio = exact / model.network.noise_variance
    members = model.members(torch.Generator().manual_seed(0), samples=40_000)
    rows = model.pool.rows()["inputs"][:20]
    gain = log_determinant(*members.predict(rows[:, :3], rows[:, 3:]))
    torch.testing.assert_close(gain, 0.5 * torch.log1p(ratio[:20]).sum(1), rtol=0.01, atol=1e-3)


def test_the_jacobian_of_a_deep_network_agrees_with_narrow_draws() -> None:
    model = BayesianDynamics(OBS, ACT, BayesianSettings(hidden=(32, 32), std=0.003))
    inputs = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    drawn = model.network(inputs, torch.Generator().manual_seed(1), samples=4000, sampling="weights").var(0)
    torch.testing.assert_close(model.epistemic(inputs), drawn, rtol=0.15, atol=0)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("ensemble", {"count": 1}),
        ("ensemble", {"weight_decay": -1.0}),
        ("last-layer", {"hidden": ()}),
        ("last-layer", {"prior_std": 0.0}),
        ("bayesian", {"std": -1.0}),
        ("bayesian", {"width": 3}),
    ],
)
def test_impossible_settings_are_refused(name: str, settings: dict) -> None:
    with pytest.raises(vime.InvalidSettings):
        make_world(name, OBS, ACT, **settings)


def test_an_unknown_model_suggests_the_nearest() -> None:
    with pytest.raises(vime.UnknownName, match="ensemble"):
        make_world("ensembel", OBS, ACT)


def test_the_floor_keeps_noise_finite_and_positive() -> None:
    model = fitted("ensemble", noise_floor=0.05)
    variance = model.predict(torch.randn(30, 3), torch.rand(30, 1)).variance
    least = 0.05**2 * model.target_moments.deviation.float().clamp_min(1e-6).square()
    constant = model.target_moments.deviation < 1e-6
    assert (variance[..., ~constant] >= 0.999 * least[~constant]).all()
    assert math.isfinite(float(variance.sum()))
