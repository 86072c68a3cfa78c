import copy
import pickle
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.wrappers import FrameStackObservation
from stable_baselines3 import DQN, PPO, SAC, TD3
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from agents import attach, curiosity, dyna, dyna_of
from agents.planning.branching import branch, policy_of
from agents.planning.dreaming import DynaSettings
from vime.errors import InvalidData, InvalidSettings, UnknownName, UnsupportedSpace
from vime.members import Members
from vime.world import make_world

TINY: dict[str, Any] = {
    "hidden": (8,), "count": 2, "heads": (8,), "rollouts": 20, "refit_every": 40, "updates": 2, "first_updates": 3,
    "minibatch": 16, "real_ratio": 0.25,
}  # fmt: skip
NET = {"policy_kwargs": {"net_arch": [8]}, "learning_starts": 20, "batch_size": 16, "device": "cpu"}


class Line(gymnasium.Env):
    """A point on a line, moved by the action; pays for where it arrives, ends beyond 3 and is cut after 12 steps."""

    observation_space = spaces.Box(-10, 10, (2,), np.float64)
    action_space: spaces.Space = spaces.Box(-2, 4, (1,), np.float32)

    def __init__(self, discrete: bool = False) -> None:
        if discrete:
            self.action_space = spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.place, self.steps = float(self.np_random.uniform(-1, 1)), 0
        return np.array([self.place, 100.0]), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.place += float(np.ravel(action)[0]) / 2 - 0.5
        self.steps += 1
        return np.array([self.place, 100.0]), self.place, abs(self.place) > 3, self.steps == 12, {}


def sac(env: Any = None, **changes: Any) -> Any:
    return SAC("MlpPolicy", env or DummyVecEnv([Line]), seed=0, **copy.deepcopy(NET) | changes)


def dreaming(model: Any, **changes: Any) -> Any:
    dyna(model, **TINY | changes)
    found = dyna_of(model)
    assert found is not None
    return found


def keys() -> np.ndarray:
    """The state of numpy's global generator."""
    return np.random.get_state(legacy=False)["state"]["key"].copy()  # type: ignore[index] # noqa: NPY002


def right(state: torch.Tensor, action: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
    return following[:, 0]


def beyond(state: torch.Tensor, action: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
    return following[:, 0].abs() > 3


def one_layer(m: int = 2) -> Members:
    """Networks that know a line by heart: the change is half the action less a half, member 1 adding 0.25."""
    weight = torch.zeros(m, 2, 2)
    weight[:, 1, 0] = 0.5
    bias = torch.tensor([[[-0.5, -50.0]], [[-0.25, -50.0]]])[:m]
    one = torch.ones(1)
    return Members(
        weights=(weight,), biases=(bias,), activation="relu", input_centre=torch.zeros(2), input_spread=torch.ones(2),
        target_centre=0 * one, target_spread=one, noise=None, noise_floor=1e-6, change=True,
    )  # fmt: skip


def test_rollouts_follow_the_members_in_turn_and_stop_at_ends() -> None:
    start = torch.tensor([[0.0], [2.9], [0.0], [0.5]])
    rows = branch(
        one_layer(), start, 2, act=lambda obs: torch.full_like(obs, 2.0), encode=lambda action: action, reward=right,
        termination=beyond, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    # first step: rows 0 and 1 by member 0 (+0.5), rows 2 and 3 by member 1 (+0.75); row 1 ends; then each by the other
    expected = [0.5, 3.4, 0.75, 1.25, 1.25, 1.75, 1.25]
    torch.testing.assert_close(rows["next_obs"][:, 0], torch.tensor(expected), atol=1e-4, rtol=0)
    torch.testing.assert_close(rows["obs"][4:, 0], torch.tensor([0.75, 1.25, 0.5]), atol=1e-4, rtol=0)
    assert rows["done"][:, 0].tolist() == [0, 1, 0, 0, 0, 0, 0]
    torch.testing.assert_close(rows["reward"], rows["next_obs"])


def test_a_rollout_that_diverges_is_left_out() -> None:
    members = one_layer()
    members.biases[0][1] = torch.inf
    rows = branch(
        members, torch.zeros(4, 1), 2, act=lambda obs: torch.zeros_like(obs), encode=lambda action: action,
        reward=right, termination=beyond, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert len(rows["obs"]) == 2
    assert all(torch.isfinite(column).all() for column in rows.values())


@pytest.mark.parametrize("what", ["reward", "termination"])
def test_a_function_of_the_wrong_shape_is_refused(what: str) -> None:
    functions = {"reward": right, "termination": beyond} | {what: lambda state, action, following: following}
    with pytest.raises(InvalidSettings, match=f"A {what} function returns one value a row"):
        dyna(sac(), **TINY | functions)


def test_before_the_first_fit_a_minibatch_is_real_and_then_mixed() -> None:
    model = sac()
    found = dreaming(model, reward=lambda state, action, following: following[:, 0] * 0 + 7)
    model.learn(19)
    assert found.fits == 0
    assert (model.replay_buffer.sample(8).rewards != 7).all()
    model.learn(3, reset_num_timesteps=False)
    assert found.fits == 1
    sample = model.replay_buffer.sample(16)
    assert (sample.rewards == 7).sum() == 12
    assert [part.shape for part in sample[:5]] == [(16, 2), (16, 1), (16, 2), (16, 1), (16, 1)]
    assert all(part.dtype == torch.float32 for part in sample[:5])


def test_the_model_gets_each_step_once_and_as_the_environment_saw_it() -> None:
    model = sac(buffer_size=64)
    found = dreaming(model)
    model.learn(100)  # fits at steps 20, 60 and 100; the buffer has come round by then
    assert (found.fits, len(found.world.pool)) == (3, 100)
    rows = found.world.pool.rows()
    move = rows["inputs"][:, 2] / 2 - 0.5
    torch.testing.assert_close(rows["targets"][:, 0], move, atol=1e-5, rtol=0)  # also over ends, and in its own unit
    ended = found.termination_head.pool.rows()
    torch.testing.assert_close(ended["value"][:, 0], (ended["inputs"][:, 0].abs() > 3).float())
    torch.testing.assert_close(found.reward_head.pool.rows()["value"][:, 0], ended["inputs"][:, 0])
    assert ended["value"].sum() >= 1
    assert {"model_error", "model_loss", "reward_loss", "termination_loss", "imagined", "rollout"} <= set(found.metrics)


def test_a_filled_buffer_is_learnt_from_and_several_copies_count_together() -> None:
    model = sac(DummyVecEnv([Line, Line]))
    model.learn(30)
    found = dreaming(model)
    model.learn(2, reset_num_timesteps=False)
    assert len(found.world.pool) == 32
    model.learn(38, reset_num_timesteps=False)
    assert found.fits == 1
    model.learn(2, reset_num_timesteps=False)
    assert (found.fits, len(found.world.pool)) == (2, 72)


def test_rollouts_grow_as_scheduled() -> None:
    settings = DynaSettings(rollout=(1, 5, 100, 200))
    assert [settings.length(step) for step in (0, 100, 150, 200, 999)] == [1, 1, 3, 5, 5]
    assert (settings.longest, DynaSettings(rollout=4).longest, DynaSettings(rollout=4).length(7)) == (5, 4, 4)


def test_the_last_fits_alone_are_learnt_from_also_while_rollouts_are_short() -> None:
    model = sac()
    found = dreaming(model, rollout=(1, 4, 1000, 2000), kept=2, real_ratio=0.0)
    found.reward = lambda state, action, following: torch.full_like(state[:, 0], found.fits)
    model.learn(20)
    for _ in range(3):
        found._waiting = 1
        found.refit(model.replay_buffer)
    assert set(found.draw(500, None).rewards.unique().tolist()) == {3.0, 4.0}
    assert found.metrics["imagined"] == 40 < len(found.pool)


def test_the_policy_sees_observations_as_it_is_used_to() -> None:
    model = sac(VecNormalize(DummyVecEnv([Line]), clip_obs=1.5, clip_reward=0.5))
    found = dreaming(model, real_ratio=0.0)
    model.learn(70)
    env = model.get_vec_normalize_env()
    raw = found.pool.rows()
    state = found.generator.get_state()
    sample = found.draw(32, env)
    found.generator.set_state(state)
    plain = found.draw(32, None)
    rows = {"obs": plain.observations, "next_obs": plain.next_observations, "reward": plain.rewards}
    for name, seen in (("obs", sample.observations), ("next_obs", sample.next_observations)):
        np.testing.assert_allclose(seen, env.normalize_obs(rows[name].numpy()), atol=1e-4)
    np.testing.assert_allclose(sample.rewards, env.normalize_reward(rows["reward"].numpy()), atol=1e-5)
    assert (raw["obs"][:, 1] - 100).abs().max() < 5  # the model thinks in the environment's unit
    act = policy_of(model, torch.Generator().manual_seed(0))
    model.actor.log_std.weight.data.zero_()
    model.actor.log_std.bias.data.fill_(-20.0)
    chosen, _ = model.predict(env.normalize_obs(rows["obs"].numpy()), deterministic=True)
    np.testing.assert_allclose(model.policy.scale_action(chosen), act(rows["obs"]), atol=1e-4)


def test_td3_explores_in_imagination_with_its_own_noise() -> None:
    def model(noise: Any) -> Any:
        return TD3("MlpPolicy", DummyVecEnv([Line]), action_noise=noise, seed=0, **copy.deepcopy(NET))

    obs = torch.zeros(4000, 2)
    plain, noisy = (
        policy_of(model(noise), torch.Generator().manual_seed(0))(obs)
        for noise in (None, NormalActionNoise(np.zeros(1), np.full(1, 0.05)))
    )
    assert plain.std() < 1e-6
    assert noisy.std().item() == pytest.approx(0.05, rel=0.1)


def test_dqn_takes_random_actions_as_often_as_it_does() -> None:
    model: Any = DQN("MlpPolicy", DummyVecEnv([lambda: Line(discrete=True)]), seed=0, **copy.deepcopy(NET))
    found = dreaming(model)
    model.learn(60)
    sample = model.replay_buffer.sample(16)
    assert sample.actions.dtype == torch.int64
    assert set(found.pool.rows()["action"].unique().tolist()) <= {0.0, 1.0, 2.0}
    act, obs = policy_of(model, torch.Generator().manual_seed(0)), torch.zeros(3000, 2)
    model.exploration_rate = 0.0
    assert len(act(obs).unique()) == 1
    model.exploration_rate = 0.6
    assert (act(obs) != act(obs).mode(0).values).float().mean().item() == pytest.approx(0.4, abs=0.05)


def test_no_global_generator_moves() -> None:
    model = sac()
    model.learn(40)
    before = torch.get_rng_state(), keys()
    found = dreaming(model)
    found.refit(model.replay_buffer)
    found.draw(8, None)
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], keys())


def test_a_saved_state_goes_on_bit_for_bit() -> None:
    model = sac()
    found = dreaming(model)
    model.learn(90)
    other_model = sac()
    other = dreaming(other_model, seed=5)
    other.load_state_dict(found.state_dict())
    other_model.policy.load_state_dict(model.policy.state_dict())
    other_model.num_timesteps = model.num_timesteps
    other_model.replay_buffer = copy.deepcopy(model.replay_buffer)
    for one, its in ((found, model), (other, other_model)):
        one.refit(its.replay_buffer)
    first, second = (one.draw(16, None) for one in (found, other))
    assert all(torch.equal(a, b) for a, b in zip(first[:5], second[:5], strict=True))
    assert found.metrics == other.metrics


def test_a_pickled_buffer_is_a_plain_one(walk: Any, plain_bonus: Any) -> None:
    model = sac()
    dreaming(model)
    attach(model, plain_bonus)
    model.learn(40)
    plain = pickle.loads(pickle.dumps(model.replay_buffer))
    assert type(plain) is ReplayBuffer
    assert not {"dyna", "curiosity"} & set(vars(plain))
    np.testing.assert_array_equal(plain.rewards, model.replay_buffer.rewards)


@pytest.mark.parametrize("first", ["bonus", "dyna"])
def test_a_bonus_is_paid_for_imagined_steps_too(first: str, plain_bonus: Any) -> None:
    model = sac()
    for part in ("bonus", "dyna") if first == "bonus" else ("dyna", "bonus"):
        if part == "bonus":
            attach(model, plain_bonus)
        else:
            dreaming(model, reward=lambda state, action, following: following[:, 0] * 0)
    model.learn(60)
    assert curiosity(model) is not None
    sample = model.replay_buffer.sample(16)
    size = sample.next_observations.abs().sum(1, keepdim=True)
    paid = (1 + plain_bonus.updates) * size
    imagined = torch.isclose(sample.rewards, paid)
    assert imagined.sum() >= 12


@pytest.mark.parametrize(
    ("build", "error", "says"),
    [
        (lambda: PPO("MlpPolicy", DummyVecEnv([Line]), device="cpu"), InvalidSettings, "whole rollouts"),
        (lambda: sac(n_steps=3), InvalidSettings, "n_steps=1"),
        (lambda: sac(use_sde=True), InvalidSettings, "use_sde"),
        (lambda: dyna(sac(), **TINY), InvalidSettings, "already"),
        (lambda: DQN("MlpPolicy", "FrozenLake-v1", device="cpu"), UnsupportedSpace, "FlattenObservation"),
        (
            lambda: DQN("MlpPolicy", FrameStackObservation(gymnasium.make("CartPole-v1"), 2), device="cpu"),
            UnsupportedSpace,
            "FlattenObservation",
        ),
        (
            lambda: sac(optimize_memory_usage=True, replay_buffer_kwargs={"handle_timeout_termination": False}),
            InvalidSettings,
            "optimize_memory_usage",
        ),
    ],
)
def test_a_model_that_cannot_dream_is_refused(build: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        dyna(build(), **TINY)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"real_ratoi": 0.1}, "Did you mean 'real_ratio'"),
        ({"hiden": (8,)}, "Did you mean 'hidden'"),
        ({"real_ratio": 2.0}, "real_ratio"),
        ({"rollout": (1, 2)}, "rollout"),
        ({"rollout": 0}, "rollout"),
        ({"kept": 0}, "kept"),
        ({"count": 1}, "count"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidSettings, match=says):
        dyna(sac(), **settings)
    with pytest.raises(UnknownName, match="ensemble"):
        dyna(sac(), "ensembel")


def test_a_loaded_model_dreams_when_there_is_something_to_dream_of(tmp_path: Any) -> None:
    model = sac()
    model.learn(50)
    model.save(tmp_path / "model")
    loaded = SAC.load(tmp_path / "model", env=model.get_env())
    found = dreaming(loaded)
    loaded.learn(19, reset_num_timesteps=False)
    assert found.fits == 0
    loaded.learn(1, reset_num_timesteps=False)
    assert found.fits == 1
    assert len(found.world.pool) == 20


def test_a_world_that_diverges_says_so() -> None:
    model = sac()
    dreaming(model, learning_rate=1e25)
    with pytest.raises(InvalidData, match="its training diverged"):
        model.learn(30)


def test_a_world_of_other_actions_is_refused() -> None:
    other = make_world("ensemble", Line.observation_space, spaces.Box(-1, 1, (2,)), hidden=(8,))
    with pytest.raises(UnsupportedSpace, match="actions of this world model have 2 numbers"):
        dyna(sac(), other)
