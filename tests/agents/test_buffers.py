import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.buffers import DictReplayBuffer, ReplayBuffer, RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.envs import BitFlippingEnv
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from stable_baselines3.her import HerReplayBuffer

from agents import attach, curiosity
from vime import InvalidData, Scaling


def small() -> dict[str, Any]:
    return {"net_arch": [4]}  # SB3 writes into it


class Spot:
    """Pays 1 for arriving at one place of the walk."""

    scaling = Scaling(rule="none", squash=False, unit=1.0)

    def __init__(self, steps: int, episode: int) -> None:
        self.place = torch.tensor([steps, episode])

    def reward(self, batch: Any) -> torch.Tensor:
        return (batch.next_obs == self.place).all(-1).float()

    def observe(self, batch: Any) -> None: ...

    def learn(self, batch: Any) -> dict[str, float]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Keep(BaseCallback):
    """Keeps what the first rollout was worth."""

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        arrays = {k: v for k, v in vars(self.model.rollout_buffer).items() if isinstance(v, np.ndarray)}
        self.kept = copy.deepcopy(arrays)


def first_rollout(walk: Any, bonus: Any) -> dict[str, np.ndarray]:
    venv = DummyVecEnv([lambda: walk(length=20)])
    model = PPO("MlpPolicy", venv, n_steps=64, n_epochs=1, policy_kwargs=small(), seed=3)
    if bonus is not None:
        attach(model, bonus)
    callback = Keep()
    model.learn(64, callback=callback)
    return callback.kept


def test_credit_reaches_earlier_steps_of_the_same_episode_and_no_others(walk: Any) -> None:
    plain = first_rollout(walk, None)
    curious = first_rollout(walk, Spot(steps=15, episode=1))  # the 15th arrival of the second episode: row 34
    moved = curious["advantages"] - plain["advantages"]
    expected = np.zeros(64)
    expected[20:35] = (0.99 * 0.95) ** np.arange(14, -1, -1)
    np.testing.assert_allclose(moved[:, 0], expected, atol=1e-5)
    np.testing.assert_allclose((curious["returns"] - plain["returns"])[:, 0], expected, atol=1e-5)


def test_a_bonus_for_the_last_observation_of_an_episode_is_paid(walk: Any) -> None:
    curious = first_rollout(walk, Spot(steps=20, episode=0))
    assert np.flatnonzero(curious["rewards"] - curious["extrinsic_rewards"]).tolist() == [19]
    assert not (first_rollout(walk, Spot(0, 1))["rewards"] - curious["extrinsic_rewards"]).any(), "a teleport was paid"


def test_the_bonus_is_added_once(walk: Any, plain_bonus: Any) -> None:
    model = PPO("MlpPolicy", DummyVecEnv([walk]), n_steps=16, batch_size=16, n_epochs=1, policy_kwargs=small())
    attach(model, plain_bonus, scale=0.5).learn(16)
    buffer = model.rollout_buffer
    rewards, advantages = buffer.rewards.copy(), buffer.advantages.copy()
    np.testing.assert_array_equal(buffer.extrinsic_rewards, np.ones((16, 1)))
    batch = plain_bonus.observed[0]
    np.testing.assert_allclose(rewards, 1 + 0.5 * batch.next_obs.abs().sum(-1))
    assert advantages.shape == (16, 1)
    buffer.advantages = np.zeros((16, 1), np.float32)
    buffer.values = buffer.values.reshape(16, 1)
    buffer.compute_returns_and_advantage(last_values=torch.zeros(1), dones=np.ones(1))
    np.testing.assert_array_equal(buffer.rewards, rewards)
    assert len(plain_bonus.observed) == 1


def test_small_rollouts_come_together_before_the_bonus_learns(walk: Any, plain_bonus: Any) -> None:
    model = PPO("MlpPolicy", DummyVecEnv([walk, walk]), n_steps=8, batch_size=16, n_epochs=1, policy_kwargs=small())
    attach(model, plain_bonus, learn_every=40).learn(96)
    assert [batch.shape for batch in plain_bonus.observed] == [(8, 2)] * 6
    assert [batch.shape for batch in plain_bonus.learnt] == [(24, 2)] * 2


def test_an_empty_rollout_is_refused(walk: Any, plain_bonus: Any) -> None:
    model = attach(PPO("MlpPolicy", DummyVecEnv([walk]), n_steps=8, batch_size=8), plain_bonus)
    model.rollout_buffer.reset()
    with pytest.raises(InvalidData, match="empty rollout"):
        model.rollout_buffer.compute_returns_and_advantage(last_values=torch.zeros(1), dones=np.ones(1))


def test_a_buffer_class_of_the_user_is_served(walk: Any, plain_bonus: Any) -> None:
    class Mine(RolloutBuffer):
        added = 0

        def add(self, *args: Any, **kwargs: Any) -> None:
            self.added += 1
            super().add(*args, **kwargs)

    model = PPO("MlpPolicy", DummyVecEnv([walk]), n_steps=8, batch_size=8, n_epochs=1, rollout_buffer_class=Mine)
    attach(model, plain_bonus).learn(8)
    assert isinstance(model.rollout_buffer, Mine)
    assert model.rollout_buffer.added == 8
    assert (model.rollout_buffer.rewards > 1).any()


def replay(walk: Any, bonus: Any, *, normalise: bool = False, copies: int = 1, steps: int = 30, **options: Any) -> SAC:
    venv: Any = DummyVecEnv([walk] * copies)
    venv = VecNormalize(venv) if normalise else venv
    model = SAC("MlpPolicy", venv, learning_starts=99, policy_kwargs=small(), **options)
    return attach(model, bonus, scale=2.0, learn_every=10 * copies).learn(steps * copies)


def drawn(model: Any, curious: bool = True) -> Any:
    np.random.seed(5)  # noqa: NPY002 - SB3 draws from it
    scale, curiosity(model).bonus.scale = curiosity(model).bonus.scale, 2.0 if curious else 0.0
    samples = model.replay_buffer.sample(64, env=model.get_vec_normalize_env())
    curiosity(model).bonus.scale = scale
    return samples


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("copies", [1, 3])
def test_sampled_rewards_hold_the_present_bonus_and_stored_ones_the_environments(
    walk: Any, plain_bonus: Any, normalise: bool, copies: int
) -> None:
    model = replay(walk, plain_bonus, normalise=normalise, copies=copies)
    assert (model.replay_buffer.rewards[:30] == 1).all()
    raw = model.replay_buffer
    for updates in (3, 0):
        plain_bonus.updates = updates
        stock, curious = drawn(model, False), drawn(model)
        for name in ("observations", "actions", "next_observations", "dones"):
            assert torch.equal(getattr(stock, name), getattr(curious, name))
        next_obs = curious.next_observations.numpy()
        if normalise:
            next_obs = model.get_vec_normalize_env().unnormalize_obs(next_obs)
        expected = 2.0 * (1 + updates) * np.abs(next_obs).sum(1, keepdims=True)
        np.testing.assert_allclose(curious.rewards - stock.rewards, expected, rtol=1e-4)
    assert raw.rewards.dtype == curious.rewards.numpy().dtype == np.float32


def test_the_bonus_learns_from_every_fresh_transition_once(walk: Any, plain_bonus: Any) -> None:
    replay(walk, plain_bonus, copies=2)
    assert [batch.shape for batch in plain_bonus.learnt] == [(10, 2)] * 3
    obs = torch.cat([batch.obs for batch in plain_bonus.learnt])
    np.testing.assert_array_equal(obs[:, 0, 0], np.arange(30) % 5)
    ends = torch.cat([batch.terminated for batch in plain_bonus.observed])
    np.testing.assert_array_equal(np.flatnonzero(ends[:, 1]), np.arange(4, 30, 5))


def test_the_bonus_sees_actions_as_the_environment_gets_them(walk: Any, plain_bonus: Any) -> None:
    seen: list[Any] = []
    plain_bonus.reward = lambda batch: seen.append(batch) or torch.zeros(batch.shape)
    model = replay(walk, plain_bonus, steps=25)
    fresh = torch.cat([batch.action for batch in plain_bonus.learnt])[:20, 0, 0]
    assert fresh.abs().max() > 1
    assert np.abs(model.replay_buffer.actions).max() <= 1
    drawn(model)
    fresh, sampled = (
        {tuple(obs.tolist()): action for obs, action in zip(batch.obs[:, 0], batch.action[:, 0, 0], strict=True)}
        for batch in (seen[0], seen[-1])
    )
    both = fresh.keys() & sampled.keys()
    assert both
    for place in both:
        torch.testing.assert_close(fresh[place], sampled[place])


def test_returns_over_several_steps_hold_the_bonus_of_each(walk: Any, plain_bonus: Any) -> None:
    model = replay(walk, plain_bonus, n_steps=3, gamma=0.5, steps=23)
    plain_bonus.updates = 0
    stock, curious = drawn(model, False), drawn(model)
    for obs, moved in zip(curious.observations, (curious.rewards - stock.rewards)[:, 0], strict=True):
        steps, episode = obs.tolist()
        last = 3 if episode == 4 else 5  # the fifth episode is cut off by the end of the record
        ahead = range(3)
        expected = sum(0.5**k * 2.0 * (steps + k + 1 + episode) for k in ahead if steps + k + 1 <= last)
        assert moved == pytest.approx(expected)
    assert (model.replay_buffer.rewards[:23] == 1).all()


def test_the_memory_saving_layout_pays_nothing_for_a_teleport(walk: Any, plain_bonus: Any) -> None:
    options = {"optimize_memory_usage": True, "replay_buffer_kwargs": {"handle_timeout_termination": False}}
    model = replay(walk, plain_bonus, **options)
    stock, curious = drawn(model, False), drawn(model)
    moved = (curious.rewards - stock.rewards)[:, 0]
    assert (stock.dones == 1).any()
    assert ((moved == 0) == (stock.dones[:, 0] == 1)).all()


def test_relabelled_goals_are_served(plain_bonus: Any) -> None:
    env = BitFlippingEnv(n_bits=3, continuous=True, max_steps=3)
    model = SAC("MultiInputPolicy", env, replay_buffer_class=HerReplayBuffer, learning_starts=99, policy_kwargs=small())
    attach(model, plain_bonus, learn_every=10).learn(30)
    stock, curious = drawn(model, False), drawn(model)
    expected = sum(part.abs().sum(1, keepdim=True) for part in curious.next_observations.values())
    torch.testing.assert_close(curious.rewards - stock.rewards, 2.0 * (1 + plain_bonus.updates) * expected)


def test_mappings_of_observations_are_served(sampler: Any, plain_bonus: Any) -> None:
    space = spaces.Dict({"a": spaces.Discrete(3), "b": spaces.Box(-1, 1, (2,), np.float64)})
    env = VecNormalize(DummyVecEnv([lambda: sampler(space, spaces.Discrete(2))]), norm_obs_keys=["b"])
    model = DQN("MultiInputPolicy", env, learning_starts=99, policy_kwargs=small())
    attach(model, plain_bonus, learn_every=10).learn(30)
    assert isinstance(model.replay_buffer, DictReplayBuffer)
    stock, curious = drawn(model, False), drawn(model)
    for key in "ab":
        assert torch.equal(stock.next_observations[key], curious.next_observations[key])
    assert (curious.rewards > stock.rewards).all()


def test_a_pickled_buffer_is_a_plain_one(walk: Any, plain_bonus: Any) -> None:
    model = replay(walk, plain_bonus)
    plain = pickle.loads(pickle.dumps(model.replay_buffer))
    assert type(plain) is ReplayBuffer
    assert not hasattr(plain, "curiosity")
    np.testing.assert_array_equal(plain.observations, model.replay_buffer.observations)
    clone = copy.deepcopy(model.replay_buffer)
    assert clone.curiosity is not model.replay_buffer.curiosity


@pytest.mark.parametrize("options", [{}, {"n_steps": 3}])
def test_metrics_are_there_as_soon_as_the_agent_learns(walk: Any, plain_bonus: Any, options: dict[str, Any]) -> None:
    model = SAC("MlpPolicy", DummyVecEnv([walk]), learning_starts=10, policy_kwargs=small(), **options)
    attach(model, plain_bonus, learn_every=1000).learn(12)
    known = curiosity(model).metrics
    assert known["bonus_mean"] > 0
    assert 0 < known["bonus_share"] < 1


def test_metrics_are_of_the_minibatches_that_were_learnt_from(walk: Any, plain_bonus: Any) -> None:
    model = SAC("MlpPolicy", DummyVecEnv([walk]), learning_starts=10, batch_size=8, policy_kwargs=small())
    attach(model, plain_bonus, learn_every=20, scale=0.5)
    drawn, draw = [], model.replay_buffer.sample

    def spy(*args: Any, **kwargs: Any) -> Any:
        random = np.random.get_state()  # noqa: NPY002
        samples = draw(*args, **kwargs)
        curious, model.replay_buffer.curiosity = model.replay_buffer.curiosity, None
        np.random.set_state(random)  # noqa: NPY002
        plain = ReplayBuffer.sample(model.replay_buffer, *args, **kwargs)
        model.replay_buffer.curiosity = curious
        drawn.append((samples.rewards - plain.rewards, plain.rewards))
        return samples

    model.replay_buffer.sample = spy
    model.learn(35)
    del model.replay_buffer.sample
    bonus, reward = (torch.cat(parts) for parts in zip(*drawn[-16:], strict=True))  # since the bonus learned at step 20
    known = curiosity(model).metrics
    assert known["bonus_mean"] == pytest.approx(float(bonus.mean()), rel=1e-5)
    share = bonus.abs().sum() / (bonus.abs().sum() + reward.abs().sum())
    assert known["bonus_share"] == pytest.approx(float(share), rel=1e-5)
