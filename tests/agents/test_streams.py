import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import TRPO, RecurrentPPO
from stable_baselines3 import A2C, PPO, SAC
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from agents import attach, curiosity
from agents.__main__ import main
from agents.checkpoint import read_checkpoint
from agents.folder import read_config
from agents.streams import TwoStreams, advantages
from agents.train import train
from tests.agents.runs import assert_same_run, same, small, weights
from vime import CheckpointError, InvalidSettings, Scaling

SHORT = {"n_steps": 16, "batch_size": 16}
ALGORITHMS: dict[str, tuple[Any, dict[str, Any]]] = {
    "ppo": (PPO, SHORT | {"n_epochs": 2}),
    "a2c": (A2C, {}),
    "trpo": (TRPO, SHORT | {"n_critic_updates": 2}),
    "recurrent-ppo": (RecurrentPPO, SHORT | {"n_epochs": 2}),
}
LIGHT = {"hidden": (8,), "updates": 2, "minibatch": 16}  # of the model behind the bonus


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*mini-batch size.*")
        yield


class Constant:
    """Pays the same for every transition."""

    scaling = Scaling(rule="none", squash=False, unit=1.0)

    def __init__(self, worth: float = 1.0) -> None:
        self.worth = worth

    def reward(self, batch: Any) -> torch.Tensor:
        return torch.full(batch.shape, self.worth)

    def observe(self, batch: Any) -> None: ...

    def learn(self, batch: Any) -> dict[str, float]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Steps(gymnasium.Env):
    """Shows which of the four steps of an episode it is; pays 1 a step."""

    observation_space: spaces.Space = spaces.Box(0, 1, (4,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, end: str = "terminated") -> None:
        self.end, self.at = end, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.at = 0
        return np.eye(4, dtype=np.float32)[0], {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        self.at += 1
        done = self.at == 4
        obs = np.eye(4, dtype=np.float32)[self.at % 4]
        return obs, 1.0, done and self.end == "terminated", done and self.end == "truncated", {}


def build(name: str, env: VecEnv, kind: str = "Mlp", **options: Any) -> Any:
    cls, settings = ALGORITHMS[name]
    policy = f"{kind}LstmPolicy" if cls is RecurrentPPO else f"{kind}Policy"
    net = {"net_arch": [8]} | ({"lstm_hidden_size": 8} if cls is RecurrentPPO else {})
    return cls(policy, env, **{"policy_kwargs": net, "seed": 7} | settings | options)


def silence(model: Any) -> Any:
    """Sets what both heads say to zero."""
    for layer in (model.policy.value_net, curiosity(model).streams.head):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    return model


def collect(model: Any, steps: int) -> Any:
    """Returns the buffer of a first rollout, not flattened: nothing is learnt from it."""
    model.train = lambda: None
    model.learn(steps)
    return model.rollout_buffer


def test_generalised_advantages_by_hand() -> None:
    found = advantages(
        np.array([[1.0, 0.0], [2.0, 0.0]]),
        np.array([[10.0, 0.0], [20.0, 4.0]]),
        np.array([30.0, 8.0]),
        np.array([[1.0, 0.0], [1.0, 1.0]]),
        gamma=0.5,
        gae_lambda=0.5,
    )
    # first copy: the last delta is 2 + 15 - 20 = -3, the one before 1 + 10 - 10 = 1, and 1 - 3 / 4 = 0.25
    np.testing.assert_allclose(found, [[0.25, 0.0], [-3.0, 0.0]])


@pytest.mark.parametrize("end", ["terminated", "truncated"])
def test_intrinsic_returns_run_on_over_the_end_of_an_episode_and_extrinsic_ones_do_not(end: str) -> None:
    model = PPO("MlpPolicy", DummyVecEnv([lambda: Steps(end)]), n_steps=6, batch_size=6, gamma=0.5, gae_lambda=1.0)
    silence(attach(model, Constant(), scale=10.0, streams=TwoStreams(gamma=0.1)))
    buffer = collect(model, 6)
    extrinsic = np.array([1.875, 1.75, 1.5, 1.0, 1.5, 1.0])  # the fourth step ends the first episode
    intrinsic = np.array([1.11111, 1.1111, 1.111, 1.11, 1.1, 1.0])
    np.testing.assert_allclose(buffer.returns[:, 0], extrinsic, rtol=1e-6)
    np.testing.assert_allclose(curiosity(model).streams.returns[:, 0], intrinsic, rtol=1e-6)
    np.testing.assert_allclose(buffer.advantages[:, 0], extrinsic + 10 * intrinsic, rtol=1e-6)


def test_an_episodic_intrinsic_stream_is_cut() -> None:
    model = PPO("MlpPolicy", DummyVecEnv([Steps]), n_steps=6, batch_size=6, gae_lambda=1.0)
    silence(attach(model, Constant(), streams=TwoStreams(gamma=0.1, episodic=True)))
    collect(model, 6)
    np.testing.assert_allclose(curiosity(model).streams.returns[:, 0], [1.111, 1.11, 1.1, 1.0, 1.1, 1.0], rtol=1e-6)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_rewards_values_and_targets_of_the_task_stay_those_of_the_untouched_model(name: str) -> None:
    buffers = []
    for bonus in (None, Constant(3.0)):
        model = build(name, DummyVecEnv([lambda: Steps("truncated")] * 2), **({"n_steps": 16} if name == "a2c" else {}))
        if bonus is not None:
            attach(model, bonus, scale=2.0, streams=2)
        buffers.append(collect(model, 32))
    plain, curious = buffers
    assert (plain.rewards != 1).any(), "no time limit was bootstrapped"
    for part in ("rewards", "values", "returns"):
        np.testing.assert_array_equal(getattr(plain, part), getattr(curious, part))
    streams = curious.curiosity.streams
    expected = 2 * (streams.returns - streams.values)
    np.testing.assert_allclose(curious.advantages - plain.advantages, expected, rtol=1e-4, atol=1e-4)
    following = np.concatenate([streams.values[1:], np.full((1, 2), np.nan, np.float32)])
    ahead = np.concatenate([expected[1:] / 2, np.full((1, 2), np.nan)])
    gae_lambda = model.gae_lambda
    np.testing.assert_allclose(  # each step follows from the next, whether an episode ended or not
        expected[:-1] / 2, (3.0 + 0.99 * following - streams.values + 0.99 * gae_lambda * ahead)[:-1], rtol=1e-4
    )


def test_the_value_after_the_rollout_is_that_of_its_last_observation() -> None:
    model = attach(build("ppo", DummyVecEnv([Steps] * 2), n_steps=5), Constant(), streams=2)
    buffer = collect(model, 10)
    streams = curiosity(model).streams
    with torch.no_grad():
        first, last = (
            model.policy.predict_values(torch.as_tensor(obs)).intrinsic.numpy()
            for obs in (buffer.observations[0], model._last_obs)
        )
    np.testing.assert_allclose(streams.values[0], first, rtol=1e-5)
    expected = 1.0 + 0.99 * last - streams.values[-1]
    np.testing.assert_allclose((streams.returns - streams.values)[-1], expected, rtol=1e-5)


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("end", ["terminated", "truncated"])
def test_scale_zero_learns_what_the_untouched_model_learns_and_another_does_not(name: str, end: str) -> None:
    learnt = []
    for scale in (None, 0.0, 100.0):
        model = build(name, VecNormalize(DummyVecEnv([lambda: Steps(end)] * 3)))
        if scale is not None:
            attach(model, "vime", scale=scale, streams=2, learn_every=48, **LIGHT)
        learnt.append(weights(model.learn(150)))
    assert same(learnt[0], learnt[1])
    assert not same(learnt[0], learnt[2])


HOW_LONG: dict[str, tuple[int, dict[str, Any]]] = {
    "ppo": (20, {"batch_size": 64, "n_epochs": 8, "vf_coef": 2.0}),
    "a2c": (120, {"vf_coef": 2.0}),
    "trpo": (20, {"batch_size": 64, "n_critic_updates": 8, "cg_max_steps": 2}),
    "recurrent-ppo": (20, {"batch_size": 64, "n_epochs": 8, "vf_coef": 2.0}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ALGORITHMS)
def test_both_heads_come_to_what_they_shall_say(name: str) -> None:
    rollouts, options = HOW_LONG[name]
    model = build(name, DummyVecEnv([Steps] * 2), learning_rate=0.02, gamma=0.5, n_steps=32, **options)
    attach(model, Constant(0.5), streams=TwoStreams(gamma=0.75)).learn(64 * rollouts)
    streams, buffer = curiosity(model).streams, model.rollout_buffer
    np.testing.assert_allclose(streams.values, 0.5 / (1 - 0.75), rtol=0.1)
    truth = buffer.observations.reshape(-1, 4) @ np.array([1.875, 1.75, 1.5, 1.0])
    np.testing.assert_allclose(buffer.values.ravel(), truth, rtol=0.1)
    assert curiosity(model).metrics["intrinsic_return"] == pytest.approx(2.0, rel=0.1)
    assert curiosity(model).metrics["explained_variance_extrinsic"] > 0.9


@pytest.mark.parametrize(("clip", "masked"), [(None, False), (0.2, False), (None, True)])
def test_the_loss_of_the_head_is_the_models_value_loss(clip: float | None, masked: bool) -> None:
    model = build("ppo", DummyVecEnv([Steps]), clip_range_vf=clip, vf_coef=0.3)
    attach(model, Constant(), streams=2)
    policy, streams = model.policy, curiosity(model).streams
    obs, actions = torch.eye(4), torch.zeros(4)
    plain = policy.evaluate_actions(obs, actions)[0]
    features = policy.mlp_extractor.forward_critic(policy.extract_features(obs))
    said = streams.head(features)[:, 0]
    returns = torch.tensor([1.0, -2.0, 3.0, 0.5])
    old = said.detach() + torch.tensor([0.0, 0.1, 1.0, -1.0])  # the last two are out of reach of a clip of 0.2
    mask = torch.tensor([True, True, False, True]) if masked else None
    clipped = said if clip is None else old + (said - old).clamp(-clip, clip)
    errors = (returns - clipped).square()
    expected = 0.3 * (errors if mask is None else errors[mask]).mean()
    layers = [*streams.head.parameters(), *policy.mlp_extractor.value_net.parameters()]
    wanted = torch.autograd.grad(expected + plain.sum(), layers)
    streams.expect(returns, old, mask)
    values = policy.evaluate_actions(obs, actions)[0]
    assert torch.equal(values, plain)
    for mine, other in zip(torch.autograd.grad(values.sum(), layers), wanted, strict=True):
        torch.testing.assert_close(mine, other)
    assert torch.equal(policy.evaluate_actions(obs, actions)[0], plain), "a loss is carried once"


SPACES: dict[str, tuple[spaces.Space, str]] = {
    "box": (spaces.Box(-1, 1, (3,), np.float64), "Mlp"),
    "discrete": (spaces.Discrete(4), "Mlp"),
    "dict": (spaces.Dict({"a": spaces.Discrete(3), "b": spaces.Box(-1, 1, (2,), np.float32)}), "MultiInput"),
    "image": (spaces.Box(0, 255, (36, 36, 1), np.uint8), "Cnn"),
}


@pytest.mark.parametrize("name", ["ppo", "trpo", "recurrent-ppo"])
@pytest.mark.parametrize("kind", SPACES)
@pytest.mark.parametrize("action", [spaces.Discrete(3), spaces.Box(-1, 1, (2,), np.float32)], ids=["discrete", "box"])
def test_one_flag_serves_every_space(sampler: Any, name: str, kind: str, action: spaces.Space) -> None:
    space, policy = SPACES[kind]
    options: dict[str, Any] = {"n_steps": 10, "batch_size": 10, "seed": 1}
    if name == "trpo":
        options |= {"n_critic_updates": 1, "cg_max_steps": 2}
    model = build(name, DummyVecEnv([lambda: sampler(space, action)] * 2), policy, **options)
    attach(model, "counts", streams=2)
    streams = curiosity(model).streams
    before = streams.head.weight.clone()
    model.learn(40)
    assert not torch.equal(before, streams.head.weight)
    assert all(torch.isfinite(part).all() for part in [*weights(model), *streams.head.parameters()])
    known = curiosity(model).metrics
    assert {"intrinsic_return", "explained_variance_intrinsic", "explained_variance_extrinsic"} <= known.keys()


@pytest.mark.parametrize("name", ["ppo", "recurrent-ppo"])
def test_predictions_and_saved_models_are_those_of_a_plain_one(name: str) -> None:
    obs = np.eye(4, dtype=np.float32)
    env = DummyVecEnv([Steps])
    model = build(name, env)
    before, names = model.predict(obs, deterministic=True)[0], list(model.policy.state_dict())
    attach(model, Constant(), streams=2)
    assert np.array_equal(model.predict(obs, deterministic=True)[0], before)
    assert list(model.policy.state_dict()) == names
    model.learn(32)
    file = io.BytesIO()
    model.save(file)
    file.seek(0)
    loaded = type(model).load(file, env=DummyVecEnv([Steps]))
    assert curiosity(loaded) is None
    assert same(weights(loaded), weights(model))
    assert np.array_equal(loaded.predict(obs, deterministic=True)[0], model.predict(obs, deterministic=True)[0])
    attach(loaded, Constant(), streams=2).learn(32)
    assert not same(weights(loaded), weights(model))


def test_attaching_again_after_a_change_of_environment_takes_the_first_head_away() -> None:
    model = attach(build("ppo", DummyVecEnv([Steps])), Constant(), streams=2)
    first = curiosity(model).streams
    for streams, hooks in ((2, 1), (1, 0)):
        model.set_env(DummyVecEnv([Steps]))
        attach(model, Constant(), streams=streams).learn(32)
        assert curiosity(model).streams is not first
        assert len(model.policy.value_net._forward_hooks) == hooks
    assert curiosity(model).streams is None


def test_the_head_follows_the_learning_rate_of_the_model() -> None:
    model = build("ppo", DummyVecEnv([Steps]), learning_rate=lambda left: 0.1 * left)
    attach(model, Constant(), streams=2).learn(64)
    (group,) = curiosity(model).streams.optimiser.param_groups
    assert group["lr"] == pytest.approx(0.1 * 16 / 64) or group["lr"] == model.policy.optimizer.param_groups[0]["lr"]
    assert isinstance(curiosity(model).streams.optimiser, type(model.policy.optimizer))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ppo", "a2c", "trpo", "recurrent-ppo"])
def test_a_stopped_run_of_two_streams_ends_like_one_that_was_not(tmp_path: Path, name: str) -> None:
    config = small(name, bonus="rnd", streams=2, weight="tuned")
    result = train(config, tmp_path / "whole")
    train(config, tmp_path / "parts", stop_after=config.steps // 2)
    assert_same_run(tmp_path / "whole", tmp_path / "parts", result, train(config, tmp_path / "parts"))


def test_a_run_of_two_streams_loads_as_a_plain_model(tmp_path: Path) -> None:
    from agents import load

    train(small("ppo", bonus="counts", streams=2, steps=256), tmp_path)
    model = load(tmp_path)
    assert curiosity(model) is None
    model.predict(model.get_env().reset(), deterministic=True)


def test_one_word_on_the_command_line_gives_two_streams_and_another_the_weight(tmp_path: Path) -> None:
    words = "train --task CartPole-v1 --bonus counts --streams 2 --weight fading --steps 1.28e2 --environments 2"
    settings = ["--algorithm-settings", "n_steps=64", "n_epochs=1"]
    assert main([*words.split(), *settings, "--out", str(tmp_path)]) == 0
    config = read_config(tmp_path)
    assert (config.streams, config.weight, config.steps) == (2, "fading", 128)
    state = read_checkpoint(tmp_path / "checkpoint.pt")["progress"]["curiosity"]
    assert state["streams"] is not None
    assert state["metrics"]["weight"] == 0.0


def test_a_state_of_one_stream_does_not_fit_two() -> None:
    one, two = (attach(build("ppo", DummyVecEnv([Steps])), Constant(), streams=number) for number in (1, 2))
    for mine, other in ((one, two), (two, one)):
        with pytest.raises(CheckpointError, match="second stream"):
            curiosity(mine).load_state_dict(curiosity(other).state_dict())


def test_what_cannot_have_two_streams_says_so(walk: Any) -> None:
    with pytest.raises(InvalidSettings, match=r"learns from a replay buffer.*PPO, A2C, TRPO or RecurrentPPO"):
        attach(SAC("MlpPolicy", DummyVecEnv([walk])), "counts", streams=2)
    for wrong in (0, 3, True, "2", None):
        with pytest.raises(InvalidSettings, match="`streams` must be 1, 2"):
            attach(build("ppo", DummyVecEnv([Steps])), "counts", streams=wrong)  # type: ignore[arg-type]
    model = build("ppo", DummyVecEnv([Steps]))
    model.policy.value_net = torch.nn.Sequential(model.policy.value_net)
    with pytest.raises(InvalidSettings, match="a linear layer with one output"):
        attach(model, "counts", streams=2)
    with pytest.raises(InvalidSettings, match="learns from a replay buffer"):
        small("sac", bonus="vime", streams=2).check()


@pytest.mark.parametrize(
    "settings",
    [{"gamma": 1.5}, {"gamma": "0.9"}, {"gamma": None}, {"gamma": 1.0}, {"gae_lambda": -0.1}, {"episodic": 1}],
)
def test_settings_of_the_stream_are_checked(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidSettings, match=next(iter(settings))):
        TwoStreams(**settings)


def test_values_from_elsewhere_are_refused() -> None:
    model = attach(build("ppo", DummyVecEnv([Steps])), Constant(), streams=2)
    model.policy.value_net = torch.nn.Linear(8, 1)
    with pytest.raises(InvalidSettings, match="`value_net` was replaced"):
        model.learn(16)
