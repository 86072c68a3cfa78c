"""A world in learned features: it keeps the protocol, and nothing of it is left in features that have moved."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

import vime
from vime.latent import LatentWorld, SavedEncoder
from vime.world import WORLDS, WorldModel

OBS, ACT = spaces.Box(-9, 9, (2, 2), np.float32), spaces.Box(-1, 1, (1,), np.float32)


class Scaled:
    """The numbers of an array times a factor that `fit` sets."""

    features = 4

    def __init__(self) -> None:
        self.factor = 1.0

    def encode(self, obs: torch.Tensor) -> torch.Tensor:
        return obs.flatten(1) * self.factor

    def decode(self, features: torch.Tensor) -> torch.Tensor:
        return (features / self.factor).view(-1, 2, 2)

    def fit(self, observations: torch.Tensor, budget: int) -> dict[str, float]:
        self.factor += budget
        return {"seen": float(len(observations))}

    def state_dict(self) -> dict[str, Any]:
        return {"factor": self.factor}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.factor = state["factor"]


class Fixed:
    """An encoder that cannot be saved."""

    features = 4

    def encode(self, obs: torch.Tensor) -> torch.Tensor:
        return obs.flatten(1)

    def fit(self, observations: torch.Tensor, budget: int) -> dict[str, float]:
        return {}


def batch(n: int = 40, seed: int = 0) -> vime.Transitions:
    """Every number moves by the action."""
    generator = torch.Generator().manual_seed(seed)
    obs = torch.randn(n, 1, 2, 2, generator=generator)
    action = 2 * torch.rand(n, 1, 1, generator=generator) - 1
    no = torch.zeros(n, 1, dtype=torch.bool)
    return vime.Transitions(obs, action, obs + action.unsqueeze(-1), no, no)


def world(kind: str = "ensemble", encoder: Any = None, **settings: Any) -> LatentWorld:
    small = {"hidden": (8,), "minibatch": 16, "updates": 2, **settings}
    return LatentWorld(OBS, ACT, encoder or Scaled(), kind, **small)


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("kind", WORLDS)
def test_every_kind_of_world_serves(kind: str) -> None:
    model, data = world(kind), batch()
    assert isinstance(model, WorldModel)
    assert isinstance(model.encoder, SavedEncoder)
    model.observe(data)
    assert all(np.isfinite(value) for value in model.fit().values())
    obs, action = data.obs[:, 0], data.action[:, 0]  # type: ignore[index]
    generator = torch.Generator().manual_seed(0)
    prediction = model.predict(obs, action, samples=3, generator=generator)
    assert prediction.mean.shape[1:] == (40, 4)
    assert model.step(obs, action, generator).shape == (40, 4)
    members = model.members(generator, 3)
    inside = members.predict(model.encode(obs), model.encode_action(action))
    assert inside.mean.shape == prediction.mean.shape


def test_after_the_features_moved_all_rows_are_of_the_new_ones_and_the_model_is_fresh() -> None:
    model = world()
    for seed in range(3):
        model.observe(batch(seed=seed))
        model.fit()
    untouched = world().model.network.state_dict()
    assert model.learn_features(4) == {"seen": 120.0}
    rows = model.model.pool.rows()["inputs"][:, :4]
    expected = torch.cat([batch(seed=seed).obs.flatten(1) for seed in range(3)])  # type: ignore[union-attr]
    torch.testing.assert_close(rows, 5 * expected)
    assert all(torch.equal(value, untouched[name]) for name, value in model.model.network.state_dict().items())


def test_the_oldest_batches_go_first() -> None:
    model = world(kept=100)
    for seed in range(4):
        model.observe(batch(seed=seed))
    assert [float(part.obs[0, 0, 0, 0]) for part in model.raw] == [  # type: ignore[index]
        float(batch(seed=seed).obs[0, 0, 0, 0])  # type: ignore[index]
        for seed in (1, 2, 3)
    ]
    assert len(model.model.pool) == 160


def test_settled_features_stay_and_the_pool_still_grows() -> None:
    model = world()
    model.observe(batch())
    model.settle()
    model.observe(batch(seed=1))
    assert model.raw == []
    assert len(model.model.pool) == 80
    with pytest.raises(vime.InvalidData, match="no observations to learn features from"):
        model.learn_features(1)


def test_invalid_steps_are_not_taken_in() -> None:
    model, data = world(), batch()
    valid = torch.arange(40).view(40, 1) % 4 > 0
    model.observe(vime.Transitions(data.obs, data.action, data.next_obs, data.terminated, data.truncated, valid))
    assert len(model.model.pool) == model.raw[0].shape[0] == 30


def test_saved_loaded_and_continued_is_bit_for_bit_the_uninterrupted() -> None:
    one, two = world(seed=1), world(seed=2)
    one.observe(batch())
    one.learn_features(2)
    one.fit()
    two.load_state_dict(through_a_file(one.state_dict()))
    for model in (one, two):
        model.observe(batch(seed=1))
    assert one.fit() == two.fit()
    obs, action = batch(seed=5).obs[:, 0], batch(seed=5).action[:, 0]  # type: ignore[index]
    answers = [model.predict(obs, action).mean for model in (one, two)]
    assert torch.equal(*answers)


def test_a_simple_world_is_learned_and_looked_at() -> None:
    model = world(hidden=(32,), minibatch=128, learning_rate=3e-3)
    for seed in range(4):
        model.observe(batch(200, seed=seed))
    model.learn_features(2)
    model.fit(600)
    data = batch(100, seed=9)
    seen = model.predict(data.obs[:, 0], data.action[:, 0]).mean.mean(0)  # type: ignore[index]
    error = (model.decode(seen) - data.next_obs[:, 0]).square().mean()  # type: ignore[operator, index]
    assert error < 0.05 * (data.next_obs - data.obs).square().mean()  # type: ignore[operator]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(vime.InvalidSettings, match="Fixed lacks some"):
        world(encoder=Fixed())
    with pytest.raises(vime.InvalidSettings, match="`kept`"):
        world(kept=0)
    with pytest.raises(vime.UnknownName, match="Did you mean 'ensemble'"):
        world("ensembel")
    with pytest.raises(vime.InvalidSettings, match="no setting 'hiden'"):
        world(hiden=(3,))

    class OneWay:
        features = 4
        encode, fit = Scaled.encode, Scaled.fit
        state_dict, load_state_dict = Scaled.state_dict, Scaled.load_state_dict
        factor = 1.0

    with pytest.raises(vime.UnsupportedSpace, match="no way back"):
        world(encoder=OneWay()).decode(torch.zeros(1, 4))
