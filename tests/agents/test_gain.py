from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import QRDQN, CrossQ
from stable_baselines3 import DQN, PPO, SAC, TD3
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from agents import attach, curiosity
from agents.gain import REACH, MaxInfo
from agents.train import train
from agents.weight import Tuned
from tests.agents.runs import assert_same_run, small
from vime import CheckpointError, InvalidSettings


def net(**options: Any) -> dict[str, Any]:
    return {"learning_starts": 5, "policy_kwargs": {"net_arch": [4]}, "seed": 1} | options  # SB3 writes into it


def bound(cls: Any, walk: Any, **settings: Any) -> tuple[Any, MaxInfo]:
    model = cls("MlpPolicy", DummyVecEnv([lambda: walk(discrete=cls is DQN)]), **net())
    rule = MaxInfo(**settings)
    rule.bind(model)
    return model, rule


def act(actor: Any, action: float) -> None:
    """Makes an actor do the same everywhere."""
    layer = actor.mu if isinstance(actor.mu, torch.nn.Linear) else actor.mu[-2]
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.constant_(layer.bias, float(np.arctanh(action)))


@pytest.mark.parametrize("cls", [SAC, TD3])
@pytest.mark.parametrize(("mine", "slow", "grows"), [(-0.5, 0.5, True), (0.5, -0.5, False)])
def test_alpha_grows_while_the_policy_earns_less_of_the_bonus_than_its_slow_copy(
    walk: Any, cls: Any, mine: float, slow: float, grows: bool
) -> None:
    _, rule = bound(cls, walk, rate=0.01, tau=1e-9, fit_rate=0.01)
    act(rule._actor, mine)
    act(rule._slow, slow)
    generator = torch.Generator().manual_seed(0)
    obs, starts = torch.zeros(64, 2), []
    for _ in range(100):
        actions = 2 * torch.rand(64, 1, generator=generator) - 1
        rule.sampled(obs, actions, 3 * actions[:, 0])  # the bonus is for large actions
        starts.append(rule.alpha)
    assert (starts[-1] > starts[50] > 1) if grows else (starts[-1] < starts[50] < 1)
    assert rule.weight(2.0, 0.5) == 2 * rule.alpha
    with torch.no_grad():
        said = rule._expected(torch.zeros(2, 2), torch.tensor([[0.5], [-0.5]]))
    np.testing.assert_allclose(said, [1.5, -1.5], atol=0.2)


def test_alpha_stays_within_reach(walk: Any) -> None:
    _, rule = bound(SAC, walk, rate=1.0, tau=1e-9, fit_rate=0.05)
    act(rule._actor, -0.9)
    act(rule._slow, 0.9)
    actions = torch.linspace(-1, 1, 32)[:, None]
    for _ in range(60):
        rule.sampled(torch.zeros(32, 2), actions, actions[:, 0])
    assert rule.alpha == pytest.approx(REACH)


def test_the_slow_policy_follows(walk: Any) -> None:
    _, rule = bound(SAC, walk, tau=0.25)
    act(rule._actor, 0.5)
    before = rule._slow.mu.bias.clone()
    rule.sampled(torch.zeros(8, 2), torch.zeros(8, 1), torch.zeros(8))
    torch.testing.assert_close(rule._slow.mu.bias, 0.75 * before + 0.25 * rule._actor.mu.bias)
    assert not torch.equal(rule._slow.mu.bias, rule._actor.mu.bias)


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "sac": (SAC, {}),
    "sac-gsde": (SAC, {"use_sde": True}),
    "td3": (TD3, {}),
    "dqn": (DQN, {"train_freq": 1}),
    "sac-n-step": (SAC, {"n_steps": 3}),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("normalise", [False, True])
def test_the_tuned_weight_serves_every_learner(walk: Any, plain_bonus: Any, name: str, normalise: bool) -> None:
    cls, options = CASES[name]
    venv: Any = DummyVecEnv([lambda: walk(discrete=cls is DQN)] * 2)
    model = cls("MlpPolicy", VecNormalize(venv) if normalise else venv, **net(**options))
    attach(model, plain_bonus, weight="tuned", learn_every=20)
    rule = curiosity(model).rule
    assert isinstance(rule, MaxInfo)
    before = rule._gain[0].weight.clone()
    model.learn(60)
    assert not torch.equal(before, rule._gain[0].weight)
    assert rule.alpha != 1 or cls is DQN, "60 steps may change no greedy action, but every other"
    assert curiosity(model).metrics["weight"] == pytest.approx(rule.alpha, rel=0.01)


def test_statistics_that_run_in_training_are_left_alone_and_followed() -> None:
    model = CrossQ("MlpPolicy", "Pendulum-v1", seed=0, learning_starts=20, policy_kwargs={"net_arch": [8]})
    attach(model, "counts", weight="tuned", learn_every=20)
    model.learn(40)
    rule = curiosity(model).rule
    model.policy.set_training_mode(True)
    before = [buffer.clone() for buffer in model.actor.buffers()]
    model.replay_buffer.sample(16)
    assert model.actor.training
    for old, now, slow in zip(before, model.actor.buffers(), rule._slow.buffers(), strict=True):
        assert torch.equal(old, now)
        assert torch.equal(now, slow)
    assert before, "it has none"


def test_mappings_of_observations_are_served(sampler: Any) -> None:
    space = spaces.Dict({"a": spaces.Discrete(3), "b": spaces.Box(-1, 1, (2,), np.float64)})
    model = DQN("MultiInputPolicy", DummyVecEnv([lambda: sampler(space, spaces.Discrete(2))]), **net(train_freq=1))
    attach(model, "counts", weight="tuned", learn_every=10)
    before = curiosity(model).rule._gain[0].weight.clone()
    model.learn(30)
    assert not torch.equal(before, curiosity(model).rule._gain[0].weight)


def test_the_rule_draws_nothing_from_the_global_generators(walk: Any) -> None:
    before = torch.get_rng_state()
    model = SAC("MlpPolicy", DummyVecEnv([walk]), **net())
    after = torch.get_rng_state()
    attach(model, "counts", weight="tuned")
    assert torch.equal(torch.get_rng_state(), after)
    curiosity(model).rule.sampled(torch.zeros(8, 2), torch.zeros(8, 1), torch.zeros(8))
    assert torch.equal(torch.get_rng_state(), after)
    assert not torch.equal(before, after)


@pytest.mark.slow
def test_a_stopped_run_ends_like_one_that_was_not(tmp_path: Path) -> None:
    config = small("sac", bonus="counts", weight="tuned", steps=160, bonus_settings={"learn_every": 50})
    result = train(config, tmp_path / "whole")
    train(config, tmp_path / "parts", stop_after=config.steps // 2)
    assert_same_run(tmp_path / "whole", tmp_path / "parts", result, train(config, tmp_path / "parts"))


def test_what_the_rule_cannot_serve_is_refused(walk: Any) -> None:
    on_policy = PPO("MlpPolicy", DummyVecEnv([walk]))
    with pytest.raises(InvalidSettings, match="off-policy only"):
        attach(on_policy, "counts", weight=MaxInfo())
    assert isinstance(curiosity(attach(on_policy, "counts", weight="tuned")).rule, Tuned)
    quantiles = QRDQN("MlpPolicy", DummyVecEnv([lambda: walk(discrete=True)]), **net())
    with pytest.raises(InvalidSettings, match="neither an actor nor a network of action values"):
        attach(quantiles, "counts", weight="tuned")
    assert curiosity(quantiles) is None
    fixed, tuned = (
        attach(SAC("MlpPolicy", DummyVecEnv([walk]), **net()), "counts", weight=weight) for weight in ("fixed", "tuned")
    )
    with pytest.raises(CheckpointError):
        curiosity(tuned).load_state_dict(curiosity(fixed).state_dict())
    for name in ("rate", "tau", "fit_rate"):
        with pytest.raises(InvalidSettings, match=name):
            MaxInfo(**{name: 0.0})
