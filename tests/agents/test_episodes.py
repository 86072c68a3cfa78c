"""Where an episode begins is told to the bonus on every road; what is sampled from a memory is told to be that."""

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.vec_env import DummyVecEnv

import vime
from agents import attach, curiosity
from vime.bonuses.faithful import _copy_last
from vime.elliptical import SecondMoment

EPISODIC = ("noveld", "ride", "e3b", "deir", "revd", "pseudo-counts", "ngu")
LENGTH = 3


class Steps(gymnasium.Env):
    """Counts its steps, whatever one does; never ends by itself."""

    observation_space = spaces.Box(-1, 99, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self) -> None:
        self.time = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.time = 0
        return self._see(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.time += 1
        return self._see(), 0.0, False, False, {}

    def _see(self) -> np.ndarray:
        return np.array([self.time, self.time % 2], np.float32)


def bonus(name: str) -> Any:
    return vime.make_bonus(name, Steps.observation_space, Steps.action_space)


@pytest.mark.parametrize("name", EPISODIC)
def test_an_episode_that_a_reset_cuts_short_is_forgotten_as_one_that_ended(name: str) -> None:
    def paid(env: gymnasium.Env) -> list[float]:
        curious = vime.wrap(env, bonus(name), scaling=vime.Scaling(rule="none", squash=False, unit=1.0))
        found = []
        for _ in range(4):
            curious.reset()
            found += [float(curious.step(0)[1]) for _ in range(LENGTH)]
        return found

    cut, ended = paid(Steps()), paid(TimeLimit(Steps(), LENGTH))
    assert cut == ended
    assert any(ended[LENGTH:])


def test_a_masked_reset_begins_episodes_of_the_copies_it_names() -> None:
    env = SyncVectorEnv([Steps, Steps], autoreset_mode=AutoresetMode.DISABLED)
    seen = Seen()
    curious = vime.wrap(env, seen)
    curious.reset()
    for mask in ([True, False], [False, True], None):
        for _ in range(2):
            curious.step(np.zeros(2, int))
        curious.reset(options=None if mask is None else {"reset_mask": np.array(mask)})
    curious.step(np.zeros(2, int))
    begins = torch.cat([batch.begins for batch in seen.batches]).int().T.tolist()
    assert begins == [[1, 0, 1, 0, 0, 0, 1], [1, 0, 0, 0, 1, 0, 1]]


class Seen:
    """A bonus that keeps what it is shown and what it is asked for."""

    scaling = vime.Scaling(rule="none", squash=False, unit=1.0)

    def __init__(self) -> None:
        self.batches: list[vime.Transitions] = []
        self.asked: list[vime.Transitions] = []

    def reward(self, batch: vime.Transitions) -> torch.Tensor:
        self.asked.append(batch)
        return torch.ones(batch.shape)

    def observe(self, batch: vime.Transitions) -> None:
        self.batches.append(batch)

    def learn(self, batch: vime.Transitions) -> dict[str, float]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


@pytest.mark.parametrize("reset", [True, False])
def test_learning_again_begins_an_episode_where_it_resets(reset: bool) -> None:
    seen = Seen()
    model = PPO("MlpPolicy", DummyVecEnv([lambda: TimeLimit(Steps(), 5)]), n_steps=8, n_epochs=1, batch_size=8)
    attach(model, seen)
    model.learn(8)
    model.learn(8, reset_num_timesteps=reset)
    begins = [batch.begins[:, 0].int().tolist() for batch in seen.batches]
    assert begins[0] == [1, 0, 0, 0, 0, 1, 0, 0]
    assert begins[1] == ([1, 0, 0, 0, 0, 1, 0, 0] if reset else [0, 0, 1, 0, 0, 0, 0, 1])


@pytest.mark.parametrize("n_steps", [1, 3])
@pytest.mark.parametrize("copies", [1, 2])
def test_a_minibatch_of_a_replay_buffer_is_paid_by_what_was_counted(n_steps: int, copies: int) -> None:
    venv = DummyVecEnv([lambda: TimeLimit(Steps(), 9)] * copies)
    model = DQN("MlpPolicy", venv, learning_starts=10, buffer_size=400, n_steps=n_steps, seed=0)
    attach(model, bonus("counts"), learn_every=20, scaling=vime.Scaling(rule="none", squash=False, unit=1.0))
    model.learn(200)
    curious = curiosity(model)
    assert curious is not None
    asked: list[tuple[vime.Transitions, torch.Tensor]] = []
    pay = curious.bonus.bonus.reward
    curious.bonus.bonus.reward = lambda batch: asked.append((batch, pay(batch))) or asked[-1][1]  # type: ignore[method-assign]
    model.replay_buffer.sample(32)  # type: ignore[union-attr]
    batch, earned = asked[-1]
    assert batch.sampled
    assert batch.begins.all()
    counted = curious.bonus.bonus.table.look_up(curious.bonus.bonus._keys(batch.next_obs.flatten(0, 1)))
    torch.testing.assert_close(earned.flatten(), counted.float().rsqrt())


@pytest.mark.parametrize("name", ["e3b", "ride"])
def test_without_episodes_sampled_steps_are_compared_with_all_that_was_seen_whatever_their_order(name: str) -> None:
    made = vime.make_bonus(name, Steps.observation_space, Steps.action_space, episodic=False)
    generator = torch.Generator().manual_seed(0)
    obs = torch.randint(0, 9, (60, 3, 2), generator=generator).float()
    none = torch.zeros(59, 3, dtype=torch.bool)
    data = vime.Transitions(obs[:-1], torch.zeros(59, 3, dtype=torch.int64), obs[1:], none, none)
    flat = data.flat()
    parts = (flat.obs, flat.action, flat.next_obs, flat.terminated, flat.truncated)
    sampled = vime.Transitions(*parts, sampled=True)
    new = made.reward(sampled)
    made.learn(data)
    made.observe(data)
    earned = made.reward(sampled)
    backwards = made.reward(sampled.map_tensors(lambda part: part.flip(0))).flip(0)
    torch.testing.assert_close(earned, backwards)
    assert float(earned.mean()) < 0.5 * float(new.mean())


def test_a_moment_knows_what_all_environments_have_seen() -> None:
    seen = SecondMoment(2, 0.5, "cpu")
    one = torch.tensor([[1.0, 0.0]])
    assert seen.novelty(one).item() == 2
    seen.add(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    assert seen.novelty(one).item() == pytest.approx(1 / 1.5)
    for _ in range(8):
        seen.add(one)
    assert seen.novelty(one).item() == pytest.approx(1 / 9.5)
    assert seen.novelty(one.flip(1)).item() == pytest.approx(1 / 1.5)


@pytest.mark.parametrize("bonus", ["revd", "e3b"])
def test_sampled_steps_are_paid_by_what_was_seen_also_when_all_episodes_have_just_ended(bonus: str) -> None:
    """As off-policy, where the bonus observes 2,000 steps at a time and episodes are of 200, 500 or 1,000."""
    space = spaces.Box(-5, 5, (2,), np.float32)
    made = vime.BONUSES[bonus](space, spaces.Discrete(2))
    generator = torch.Generator().manual_seed(0)
    where = torch.randn(61, 1, 2, generator=generator)
    ends = torch.zeros(60, 1, dtype=torch.bool)
    ends[[19, 39, 59]] = True
    action = torch.randint(2, (60, 1), generator=generator)
    batch = vime.Transitions(where[:-1], action, where[1:], torch.zeros_like(ends), ends)
    for _ in range(3):
        made.observe(batch)
    near = vime.Transitions(where[:-1], action, where[1:], torch.zeros_like(ends), ends, sampled=True)
    far = vime.Transitions(where[:-1], action, where[1:] * 4, torch.zeros_like(ends), ends, sampled=True)
    paid = made.reward(near)
    assert (paid > 0).float().mean() > 0.9
    assert float(made.reward(far).mean()) > 2 * float(paid.mean())


def test_no_sampled_step_takes_the_gain_of_another() -> None:
    gain = torch.arange(6.0).view(6, 1)
    done = torch.zeros(6, 1, dtype=torch.bool)
    done[3] = True
    assert torch.equal(_copy_last(gain, done, torch.ones_like(done)), gain)
