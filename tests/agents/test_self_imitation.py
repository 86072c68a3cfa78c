import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import TRPO, RecurrentPPO
from stable_baselines3 import A2C, PPO, SAC
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize, VecTransposeImage

from agents import SelfImitation, attach
from agents.episodes import Episode
from agents.train import train
from tests.agents.runs import assert_same_run, same, small, weights
from vime import CheckpointError, InvalidSettings

SHORT: dict[str, Any] = {"n_steps": 32, "batch_size": 32, "policy_kwargs": {"net_arch": [16]}, "seed": 1}
BOX = spaces.Box(-1, 1, (2,), np.float32)
LOCK = 6  # actions in a row that all must be right


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*mini-batch size.*")
        yield


class Lock(gymnasium.Env):
    """Pays 1 at the end of six actions that all were right, which chance does once in 729 episodes; else nothing."""

    observation_space: spaces.Space = spaces.Box(0, 1, (LOCK + 1,), np.float32)
    action_space: spaces.Space = spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.at, self.open = 0, True
        return self.shown(), {}

    def shown(self) -> np.ndarray:
        return np.eye(LOCK + 1, dtype=np.float32)[self.at]

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        self.open = self.open and int(action) == self.at * 7 % 5 % 3
        self.at += 1
        end = self.at == LOCK
        return self.shown(), float(self.open and end), end, False, {}


class Any_(gymnasium.Env):
    """Shows random observations of any space, in episodes of five steps; pays what comes to its mind."""

    def __init__(self, observation_space: spaces.Space, action_space: spaces.Space, pays: bool = True) -> None:
        self.observation_space, self.action_space, self.pays = observation_space, action_space, pays

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.at = 0
        self.seen = [self.observation_space.sample()]
        return self.seen[0], {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        self.at += 1
        obs = self.observation_space.sample()
        return obs, float(self.np_random.normal()) if self.pays else 1.0, self.at == 5, False, {}


def wins(model: Any, episodes: int = 50) -> float:
    """Returns the share of episodes in which the policy, drawing its actions, opens the lock."""
    env, found = Lock(), 0.0
    for episode in range(episodes):
        obs, done = env.reset(seed=episode)[0], False
        while not done:
            action, _ = model.predict(obs)
            obs, reward, done, *_ = env.step(action)
            found += reward
    return found / episodes


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_what_was_found_by_chance_is_held(seed: int) -> None:
    def learnt(callback: SelfImitation | None) -> float:
        torch.manual_seed(seed)
        venv = DummyVecEnv([Lock] * 4)
        settings: dict[str, Any] = SHORT | {"n_steps": 64, "batch_size": 128, "n_epochs": 4, "seed": seed}
        model = PPO("MlpPolicy", venv, ent_coef=0.02, **settings)
        model.learn(24_000, callback=callback)
        return wins(model)

    assert learnt(SelfImitation(every=16, batch_size=64)) > 0.6
    assert learnt(None) < 0.2


@pytest.mark.parametrize("curious", [False, True])
def test_nothing_changes_before_two_episodes_differ(curious: bool) -> None:
    def learnt(callback: SelfImitation | None) -> list[torch.Tensor]:
        venv = DummyVecEnv([lambda: Any_(BOX, BOX, pays=False)] * 2)
        model = PPO("MlpPolicy", venv, **SHORT)
        if curious:
            attach(model, "counts", streams=2)
        model.learn(256, callback=callback)
        return weights(model)

    imitation = SelfImitation(every=1)
    assert same(learnt(imitation), learnt(None))
    assert imitation.kept == []


def test_the_best_episodes_are_kept_as_they_were() -> None:
    """Beneath a normaliser: what was seen, what was done, and the task's own reward."""
    envs = [Any_(BOX, spaces.Discrete(3)) for _ in range(2)]
    seen: list[dict[str, Any]] = []

    class Spy(SelfImitation):
        def _end(self, episode: Any) -> None:
            seen.append({"obs": episode.obs[""], "actions": episode.actions, "total": episode.total})
            super()._end(episode)

    made: dict[int, list[tuple[np.ndarray, Any, float]]] = {0: [], 1: []}
    for number, env in enumerate(envs):
        step, reset, steps = env.step, env.reset, made[number]

        def watched(action: Any, *, number: int = number, step: Any = step) -> Any:
            obs, reward, *rest = step(action)
            made[number][-1] = (made[number][-1][0], int(action), reward)
            made[number].append((obs, None, 0.0))
            return obs, reward, *rest

        def began(*, reset: Any = reset, steps: Any = steps, **options: Any) -> Any:
            obs, info = reset(**options)
            steps[-1:] = [(obs, None, 0.0)]
            return obs, info

        env.step, env.reset = watched, began  # type: ignore[method-assign]
    model = PPO("MlpPolicy", VecNormalize(DummyVecEnv([lambda: envs[0], lambda: envs[1]])), **SHORT)
    spy = Spy(capacity=20, every=10)
    model.learn(128, callback=spy)
    assert len(seen) == 2 * (64 // 5)
    for index, one in enumerate(seen):
        rows = made[index % 2][index // 2 * 5 : index // 2 * 5 + 5]
        np.testing.assert_array_equal(one["obs"], np.stack([row[0] for row in rows]))
        assert one["actions"].tolist() == [row[1] for row in rows]
        assert one["total"] == pytest.approx(sum(row[2] for row in rows), abs=1e-5)
    best = sorted((one["total"] for one in seen), reverse=True)[:4]
    assert [one.total for one in spy.kept] == best


def test_of_equals_the_latest_stay() -> None:
    venv = DummyVecEnv([lambda: Any_(BOX, BOX)])
    imitation = SelfImitation(capacity=7)
    imitation.init_callback(PPO("MlpPolicy", venv, **SHORT))
    kept = [_episode(number, total) for number, total in enumerate((0.0, 1.0, 1.0, 1.0, 0.5))]
    for one in kept:
        imitation._end(one)
    assert imitation.kept == [kept[3], kept[2]], "three steps each, and room for seven"


def test_of_an_episode_that_is_too_long_the_last_steps_are_kept() -> None:
    imitation = SelfImitation(capacity=3)
    PPO("MlpPolicy", DummyVecEnv([lambda: Any_(BOX, BOX)]), **SHORT).learn(64, callback=imitation)
    assert [len(one) for one in imitation.kept] == [3]
    assert imitation.state_dict()["under_way"]["lengths"] == [3]  # the fourth step of an episode of five


def _episode(number: int, total: float, steps: int = 3) -> Episode:
    return Episode({"": np.full((steps, 2), number)}, np.zeros((steps, 2)), np.full(steps, total / steps))


PICTURE = spaces.Box(0, 255, (36, 36, 3), np.uint8)
SPACES = {
    "vector": (BOX, BOX, "Mlp"),
    "discrete": (spaces.Discrete(5), spaces.MultiDiscrete([2, 3]), "Mlp"),
    "binary": (BOX, spaces.MultiBinary(3), "Mlp"),
    "picture": (PICTURE, spaces.Discrete(2), "Cnn"),
    "both": (spaces.Dict({"p": PICTURE, "v": BOX}), BOX, "MultiInput"),
}


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("name", SPACES)
def test_every_space_is_served(name: str, normalised: bool) -> None:
    observation_space, action_space, policy = SPACES[name]
    if normalised and name in ("discrete", "picture"):
        pytest.skip("nothing there to normalise")
    venv: Any = DummyVecEnv([lambda: Any_(observation_space, action_space)] * 2)
    if normalised:
        venv = VecNormalize(venv, norm_obs_keys=["v"] if name == "both" else None)
    model = PPO(f"{policy}Policy", venv, n_steps=16, batch_size=16, n_epochs=1, seed=0)
    model.learn(32)
    before = weights(model)
    imitation = SelfImitation(every=8, batch_size=8)
    model.train = lambda: None  # what moves is moved by imitation alone
    model.learn(96, callback=imitation)
    assert imitation.kept
    assert not same(before, weights(model))
    assert all(torch.isfinite(value).all() for value in weights(model))


def test_what_paid_more_than_was_expected_is_made_more_likely() -> None:
    venv = VecNormalize(DummyVecEnv([lambda: Any_(BOX, spaces.Discrete(4))] * 2), norm_reward=False)
    model = PPO("MlpPolicy", venv, learning_rate=3e-3, gamma=0.9, **SHORT)
    imitation = SelfImitation(every=1, batch_size=64)
    model.learn(64, callback=imitation)
    steps = list(range(5))
    returns = np.concatenate(
        [[sum(0.9 ** (k - t) * one.rewards[k] for k in steps[t:]) for t in steps] for one in imitation.kept]
    )
    seen = model.policy.obs_to_tensor(venv.normalize_obs(np.concatenate([one.obs[""] for one in imitation.kept])))[0]
    actions = torch.as_tensor(np.concatenate([one.actions for one in imitation.kept]))
    values = model.policy.predict_values(seen).detach().flatten()
    weights = (torch.as_tensor(returns, dtype=torch.float32) - values).clamp_min(0) / np.abs(returns).max()

    def likelihood() -> tuple[float, float]:
        """Returns what is to become larger, and the loss of all steps kept."""
        found = model.policy.get_distribution(seen).log_prob(actions).detach()
        return float((weights * found).sum() / weights.sum()), float(-(weights * found).mean())

    before, loss = likelihood()
    losses = []
    model._logger = SimpleNamespace(record=lambda name, value: losses.append(value) if name.endswith("loss") else None)
    model.policy.optimizer.step = lambda: None  # type: ignore[method-assign]
    for _ in range(100):
        imitation._imitate(1)
    assert np.mean(losses) == pytest.approx(loss, rel=0.1)
    del model.policy.optimizer.step
    imitation._imitate(200)
    assert likelihood()[0] > before + 0.2


def test_returns_by_hand() -> None:
    episode = Episode({}, np.zeros(3), np.array([1.0, 0.0, 2.0]))
    np.testing.assert_array_equal(episode.returns(0.5), [1.5, 1.0, 2.0])
    assert episode.total == 3


def test_where_nothing_was_earned_nothing_is_divided_by_it() -> None:
    """The best return may be zero, where all others are negative."""
    model = PPO("MlpPolicy", DummyVecEnv([lambda: Any_(BOX, BOX)]), **SHORT)
    imitation = SelfImitation()
    model.learn(32, callback=imitation)
    imitation.kept = [_episode(0, 0.0)]
    imitation._imitate(3)
    assert all(torch.isfinite(value).all() for value in weights(model))


@pytest.mark.parametrize("cls", [PPO, A2C, TRPO])
def test_what_is_imitated_moves_the_policy_of_every_learner(cls: Any) -> None:
    model, imitation = cls("MlpPolicy", DummyVecEnv([lambda: Any_(BOX, BOX)]), n_steps=16, seed=0), SelfImitation()
    model.learn(64, callback=imitation)
    before = [value.clone() for value in model.policy.action_net.parameters()]
    imitation._imitate(3)
    assert not any(torch.equal(*pair) for pair in zip(before, model.policy.action_net.parameters(), strict=True))


@pytest.mark.parametrize(
    "algorithm", ["ppo", *(pytest.param(name, marks=pytest.mark.slow) for name in ("a2c", "trpo"))]
)
def test_a_stopped_run_ends_like_one_that_was_not(tmp_path: Path, algorithm: str) -> None:
    config = small(algorithm, bonus="rnd", self_imitation=True)
    result = train(config, tmp_path / "whole")
    for steps in (config.steps // 3, config.steps // 2):
        train(config, tmp_path / "parts", stop_after=steps)
    again = train(config, tmp_path / "parts")
    assert again["resumed"] == 2
    assert_same_run(tmp_path / "whole", tmp_path / "parts", result, again)
    state = torch.load(tmp_path / "whole" / "checkpoint.pt", weights_only=True)["run"]["self_imitation"]
    assert state["kept"]["lengths"], "it imitated nothing"


@pytest.mark.parametrize(("cls", "kind"), [(SAC, "Mlp"), (RecurrentPPO, "MlpLstm")])
def test_a_learner_that_cannot_is_refused(cls: Any, kind: str) -> None:
    model = cls(f"{kind}Policy", DummyVecEnv([lambda: Any_(BOX, BOX)]))
    with pytest.raises(InvalidSettings, match=cls.__name__):
        model.learn(10, callback=SelfImitation())


def test_observations_that_change_after_normalising_are_refused() -> None:
    venv = VecFrameStack(VecNormalize(DummyVecEnv([lambda: Any_(BOX, BOX)])), 2)
    with pytest.raises(InvalidSettings, match="VecFrameStack"):
        PPO("MlpPolicy", venv, **SHORT).learn(10, callback=SelfImitation())


@pytest.mark.parametrize("cls", [A2C, pytest.param(TRPO, marks=pytest.mark.slow)])
def test_pictures_are_turned_once(cls: Any) -> None:
    for venv in (
        DummyVecEnv([lambda: Any_(PICTURE, BOX)]),
        VecTransposeImage(DummyVecEnv([lambda: Any_(PICTURE, BOX)])),
    ):
        model = cls("CnnPolicy", venv, n_steps=16)
        imitation = SelfImitation(every=8, batch_size=8)
        model.learn(64, callback=imitation)
        assert imitation.kept[0].obs[""].shape == (5, 3, 36, 36)


@pytest.mark.parametrize("name", ["capacity", "every", "batch_size"])
@pytest.mark.parametrize("value", [0, -1, 2.5, True])
def test_bad_settings(name: str, value: Any) -> None:
    with pytest.raises(InvalidSettings, match=name):
        SelfImitation(**{name: value})


@pytest.mark.parametrize("state", [{}, {"kept": 3}, {"kept": {"lengths": [1], "obs": {}, "actions": [], "rewards": 0}}])
def test_a_foreign_state_is_refused(state: Any) -> None:
    with pytest.raises(CheckpointError, match="self-imitation"):
        SelfImitation().load_state_dict(state)


def test_an_episode_that_a_reset_cuts_short_is_not_joined_to_the_next() -> None:
    seen: list[Episode] = []
    imitation = SelfImitation()
    imitation._end = seen.append  # type: ignore[method-assign]
    model = PPO("MlpPolicy", DummyVecEnv([Lock]), n_steps=8, batch_size=8, n_epochs=1, policy_kwargs={"net_arch": [4]})
    for _ in range(3):
        model.learn(8, callback=imitation)
    model.learn(8, callback=imitation, reset_num_timesteps=False)
    assert [len(episode) for episode in seen] == [LOCK] * 4  # eight steps each time, the last of them after two
