"""Skills: what is shown, what is paid, and that a learner takes its skills apart."""

import math
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.vec_env import DummyVecEnv

import vime
from agents import attach, curiosity
from agents.demonstrations import random_play
from agents.environment_state import load_environment, save_environment
from agents.skills import SkillReward, WithSkill
from tests.agents.matrix import same, through_a_file
from tests.agents.plane import Plane

SKILLS = 4


def told(skills: np.ndarray, states: np.ndarray) -> vime.Transitions:
    """Transitions of one environment to the states of these skills."""
    obs = np.concatenate([states, np.eye(SKILLS)[skills]], 1).astype(np.float32)[:, None]
    none = np.zeros((len(obs), 1), bool)
    return vime.Transitions.from_numpy(obs, np.zeros((len(obs), 1, 2)), obs, none, none)


def reward_of(**settings: Any) -> SkillReward:
    return SkillReward(WithSkill(Plane(), SKILLS).observation_space, SKILLS, SkillReward.Settings(**settings))


def test_an_episode_shows_its_skill_and_every_skill_comes() -> None:
    env = WithSkill(Plane(), SKILLS, paid=False)
    check_env(env)
    seen = []
    for seed in range(40):
        obs, _ = env.reset(seed=seed)
        seen.append(int(obs[2:].argmax()))
        after, reward, *_ = env.step(np.ones(2, np.float32))
        assert obs[2:].sum() == 1
        assert (obs[2:] == after[2:]).all()
        assert reward == 0
    assert set(seen) == set(range(SKILLS))
    assert env.reset(options={"skill": 2})[0][2:].tolist() == [0, 0, 1, 0]
    assert WithSkill(Plane(), SKILLS).step(np.zeros(2, np.float32))[1] == 1


@pytest.mark.parametrize(("task", "action"), [("vime/MountainCar-v0", np.ones(1, np.float32)), ("CartPole-v1", 1)])
def test_a_saved_episode_keeps_its_skill_whether_its_task_has_hooks_or_not(task: str, action: Any) -> None:
    one, two = (WithSkill(gymnasium.make(task), SKILLS) for _ in range(2))
    one.reset(seed=1)
    two.reset(seed=2)
    load_environment(two, save_environment(one))
    for _ in range(3):
        np.testing.assert_array_equal(one.step(action)[0], two.step(action)[0])


def test_states_that_tell_their_skill_pay_all_of_its_entropy_and_others_nothing() -> None:
    rng = np.random.default_rng(0)
    skills = rng.integers(SKILLS, size=800)
    corners = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])[skills] + rng.normal(0, 0.1, (800, 2))
    for states, worth in ((corners, math.log(SKILLS)), (rng.normal(size=(800, 2)), 0.0)):
        bonus, data = reward_of(learning_rate=0.02, passes=12), told(skills, states)
        bonus.observe(data)
        found = bonus.learn(data)
        assert bonus.reward(data).mean().item() == pytest.approx(worth, abs=0.2)
        assert found["information"] + found["surprise"] == pytest.approx(math.log(SKILLS), abs=1e-6)


def test_it_keeps_the_contract_of_a_bonus() -> None:
    env = WithSkill(Plane(), SKILLS)
    one, two = (vime.ScaledBonus(reward_of(hidden=(8,), seed=1)) for _ in range(2))
    assert isinstance(one.bonus, vime.Bonus)
    data = random_play(env, 50, seed=0)
    before = through_a_file(one.state_dict())
    assert torch.equal(one.reward(data), one.reward(data))
    assert same(before, through_a_file(one.state_dict()))
    one.observe(data)
    one.learn(data)
    two.load_state_dict(through_a_file(one.state_dict()))
    assert one.learn(data) == two.learn(data)
    assert torch.equal(one.reward(data), two.reward(data))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(vime.UnsupportedSpace, match="vectors"):
        WithSkill(gymnasium.make("vime/PixelMaze-v0"), SKILLS)
    with pytest.raises(vime.InvalidSettings, match="at least 2"):
        WithSkill(Plane(), 1)
    with pytest.raises(vime.InvalidSettings, match="at least 2"):
        SkillReward(spaces.Box(-1, 1, (4,)), 0)
    for skill in (-1, SKILLS):
        with pytest.raises(vime.InvalidSettings, match=f"from 0 to {SKILLS - 1}; got {skill}"):
            WithSkill(Plane(), SKILLS).reset(options={"skill": skill})
    with pytest.raises(vime.UnsupportedSpace, match="no state beside"):
        SkillReward(Plane().observation_space, 2)
    with pytest.raises(vime.UnsupportedSpace, match="vectors"):
        SkillReward(spaces.Discrete(3), 2)


@pytest.mark.slow
def test_a_learner_without_reward_takes_its_skills_apart() -> None:
    venv = DummyVecEnv([lambda: WithSkill(Plane(), SKILLS, paid=False)] * 8)
    model = PPO("MlpPolicy", venv, n_steps=80, batch_size=320, n_epochs=5, learning_rate=1e-3, gamma=0.95, seed=0)
    bonus = reward_of(learning_rate=3e-3)
    attach(model, bonus, learn_every=640)
    model.learn(20_000)
    ends = []
    for skill in range(SKILLS):
        env = WithSkill(Plane(), SKILLS)
        obs, _ = env.reset(seed=0, options={"skill": skill})
        over = False
        while not over:
            obs, _, _, over, _ = env.step(model.predict(obs, deterministic=True)[0])
        ends.append(obs[:2])
    apart = [np.linalg.norm(ends[i] - ends[j]) for i in range(SKILLS) for j in range(i)]
    assert min(apart) > 0.5, ends
    found = curiosity(model)
    assert found is not None
    assert found.metrics["information"] > 0.8  # nats, of 1.39
