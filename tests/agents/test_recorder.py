"""The figures of a run, against counting by hand."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.recorder import Recorder


class Rising(gymnasium.Env):
    """Episodes of five steps; number k, from 0, pays k with its last step."""

    observation_space = spaces.Box(0, 9, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self) -> None:
        self.episode = -1

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.episode, self.age = self.episode + 1, 0
        return np.zeros(1, np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.age += 1
        over = self.age == 5
        return np.full(1, self.age, np.float32), float(self.episode) if over else 0.0, over, False, {}


def test_the_figures_of_a_run_are_those_counted_by_hand() -> None:
    env = Recorder(DummyVecEnv([lambda: Monitor(Rising())] * 2), "tests/Rising-v0", 100)
    env.reset()
    for step in range(1, 51):
        env.step(np.zeros(2, int))
        if step == 20:
            assert env.take_recent() == (np.mean([0, 1, 2, 3]), 5.0)
            assert env.take_recent() == (None, None)
    assert env.steps == 100
    assert env.episodes == 20
    assert env.first_reward_step == 20  # of both copies together: the second episode's last step
    assert env.take_recent() == (np.mean([4, 5, 6, 7, 8, 9]), 5.0)
    assert env.final_return == pytest.approx(9)  # of the episodes that ended in the last tenth alone
    seen, rewards = env.first_episode() or (None, None)
    assert rewards is not None
    assert rewards.tolist() == [0, 0, 0, 0, 1]
    assert np.ravel(seen).tolist() == [1, 2, 3, 4, 5]
