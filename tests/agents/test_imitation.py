"""Imitation: what the discriminator pays, and that a learner without reward does as the expert does."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.wrappers import TransformReward
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

import vime
from agents import attach
from agents.demonstrations import demonstrations, random_play
from agents.imitation import Imitation
from tests.agents.matrix import Ring, same, through_a_file
from tests.agents.plane import Plane


def balance(obs: np.ndarray) -> int:
    """An expert: pushes the cart under where the pole is falling."""
    return int(obs[2] + 0.5 * obs[3] + 0.02 * obs[0] + 0.05 * obs[1] > 0)


def expert(steps: int = 500) -> vime.Transitions:
    return demonstrations(gymnasium.make("CartPole-v1"), balance, steps)


def imitation(shown: vime.Transitions, **settings: Any) -> Imitation:
    env = gymnasium.make("CartPole-v1")
    return Imitation(env.observation_space, env.action_space, shown, Imitation.Settings(**settings))


@pytest.mark.parametrize("kind", ["gail", "logit"])
def test_the_experts_steps_come_to_pay_more_than_others(kind: str) -> None:
    shown, others = expert(), random_play(gymnasium.make("CartPole-v1"), 500, seed=3)
    bonus = imitation(shown, reward=kind, learning_rate=0.01)
    for _ in range(10):
        found = bonus.learn(others)
    paid, paid_others = bonus.reward(shown), bonus.reward(others)
    assert paid.mean() > paid_others.mean() + 0.5
    assert (paid.min() >= 0) == (kind == "gail")
    assert 0.7 < found["accuracy"] <= 1


def test_against_itself_the_expert_cannot_be_told() -> None:
    bonus = imitation(expert(), learning_rate=0.003)
    for _ in range(5):
        found = bonus.learn(expert())
    assert found["accuracy"] == pytest.approx(0.5, abs=0.1)
    assert bonus.reward(expert()).mean().item() == pytest.approx(np.log(2), abs=0.15)


def test_it_keeps_the_contract_of_a_bonus() -> None:
    data = random_play(gymnasium.make("CartPole-v1"), 40, seed=1)
    one, two = (vime.ScaledBonus(imitation(expert(50), hidden=(8,), width=4, seed=1)) for _ in range(2))
    assert isinstance(one.bonus, vime.Bonus)
    before = through_a_file(one.state_dict())
    assert torch.equal(one.reward(data), one.reward(data))
    assert same(before, through_a_file(one.state_dict()))
    one.observe(data)
    one.learn(data)
    two.load_state_dict(through_a_file(one.state_dict()))
    assert one.learn(data) == two.learn(data)
    assert torch.equal(one.reward(data), two.reward(data))


@pytest.mark.parametrize("observation", ["image-7", "dict", "discrete"])
def test_it_serves_other_spaces(observation: str) -> None:
    env = Ring(observation, "box-1")
    shown = random_play(env, 30, seed=0)
    bonus = Imitation(env.observation_space, env.action_space, shown, Imitation.Settings(hidden=(8,), width=4))
    bonus.learn(random_play(env, 30, seed=1))
    assert torch.isfinite(bonus.reward(shown)).all()


def test_what_cannot_be_imitated_is_refused() -> None:
    shown = expert(20)
    nothing = vime.Transitions(
        shown.obs, shown.action, shown.next_obs, shown.terminated, shown.truncated, torch.zeros(20, 1, dtype=torch.bool)
    )
    with pytest.raises(vime.InvalidData, match="nothing to imitate"):
        imitation(nothing)
    with pytest.raises(vime.InvalidData, match="of another task"):
        Imitation(spaces.Box(-1, 1, (7,)), spaces.Discrete(2), shown)
    with pytest.raises(vime.InvalidSettings, match="gail or logit"):
        imitation(shown, reward="airl")
    with pytest.raises(vime.InvalidSettings, match="`steps` must be at least 1"):
        expert(0)


@pytest.mark.slow
def test_a_learner_without_reward_goes_where_the_expert_does() -> None:
    goal = np.array([1.8, -1.0], np.float32)

    def ends(policy: Callable[[np.ndarray], np.ndarray]) -> float:
        """The distance from the expert's goal, after an episode."""
        env = Plane()
        obs, _ = env.reset()
        for _ in range(20):
            obs = env.step(policy(obs))[0]
        return float(np.linalg.norm(obs - goal))

    def lead(obs: np.ndarray) -> np.ndarray:
        return goal / 2

    unpaid = DummyVecEnv([lambda: TransformReward(Plane(), lambda _: 0.0)] * 8)
    model = PPO("MlpPolicy", unpaid, n_steps=80, batch_size=320, n_epochs=5, learning_rate=1e-3, gamma=0.95, seed=0)
    env = unpaid.envs[0]
    shown = demonstrations(Plane(), lead, 200)
    settings = Imitation.Settings(penalty=0.1, passes=2)
    attach(model, Imitation(env.observation_space, env.action_space, shown, settings), learn_every=640)

    def learned(obs: np.ndarray) -> np.ndarray:
        return model.predict(obs, deterministic=True)[0]

    before = ends(learned)
    model.learn(14_000)
    assert ends(lead) < 0.1
    assert before > 1
    assert ends(learned) < 0.4
