import copy
import io
import random
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import ARS, TRPO, RecurrentPPO
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize, VecTransposeImage

import agents
from agents import attach, curiosity
from tests.agents.runs import same, weights
from vime import CheckpointError, InvalidData, InvalidSettings, ScaledBonus, Scaling, UnknownName, make_bonus

ON = {"n_steps": 16, "batch_size": 16, "n_epochs": 2}
ALGORITHMS: dict[str, tuple[Any, dict[str, Any]]] = {
    "ppo": (PPO, ON),
    "a2c": (A2C, {}),
    "trpo": (TRPO, {"n_steps": 16, "batch_size": 16}),
    "recurrent-ppo": (RecurrentPPO, ON),
    "sac": (SAC, {"learning_starts": 10}),
    "td3": (TD3, {"learning_starts": 10}),
    "ddpg": (DDPG, {"learning_starts": 10}),
    "dqn": (DQN, {"learning_starts": 10, "train_freq": 1}),
}
LIGHT = {"hidden": (8,), "updates": 4, "minibatch": 32}  # of the model behind the bonus


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*mini-batch size.*")
        yield


def build(name: str, env: VecEnv, **options: Any) -> Any:
    cls, settings = ALGORITHMS[name]
    policy = "MlpLstmPolicy" if cls is RecurrentPPO else "MlpPolicy"
    net = {"net_arch": [8]} | ({"lstm_hidden_size": 8} if cls is RecurrentPPO else {})
    return cls(policy, env, policy_kwargs=net, **{"seed": 7} | settings | options)


@pytest.mark.parametrize(("normalise", "copies"), [(False, 1), (True, 3)])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_scale_zero_learns_what_the_untouched_model_learns_and_a_large_one_does_not(
    walk: Any, name: str, normalise: bool, copies: int
) -> None:
    learnt = []
    for scale in (None, 0.0, 1000.0):
        venv: VecEnv = DummyVecEnv([lambda: walk(discrete=name == "dqn", end="truncated")] * copies)
        model = build(name, VecNormalize(venv) if normalise else venv)
        if scale is not None:
            attach(model, "vime", scale=scale, learn_every=16, **LIGHT)
        learnt.append(weights(model.learn(48 * copies)))
    assert same(learnt[0], learnt[1])
    assert not same(learnt[0], learnt[2])


@pytest.mark.parametrize("bonus", ["none", "vime", "vime-faithful", "expected-gain"])
def test_attaching_moves_no_generator_and_no_environment(walk: Any, bonus: str) -> None:
    model = build("ppo", DummyVecEnv([walk]))
    before = torch.get_rng_state(), str(np.random.get_state()), random.getstate()  # noqa: NPY002
    assert attach(model, bonus) is model
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (str(np.random.get_state()), random.getstate())  # noqa: NPY002
    assert model.env.envs[0].unwrapped.resets == 0


def test_the_bonus_takes_the_seed_of_the_model(walk: Any) -> None:
    for options, expected in (({}, 7), ({"seed": None}, 0)):
        model = attach(build("ppo", DummyVecEnv([walk]), **options), "vime")
        assert curiosity(model).bonus.bonus.settings.seed == expected
    model = attach(build("ppo", DummyVecEnv([walk])), "vime", seed=3)
    assert curiosity(model).bonus.bonus.settings.seed == 3


SPACES = {
    "float64": spaces.Box(-1, 1, (3,), np.float64),
    "discrete": spaces.Discrete(4),
    "multidiscrete": spaces.MultiDiscrete([3, 2]),
    "multibinary": spaces.MultiBinary(3),
    "image": spaces.Box(0, 255, (36, 36, 3), np.uint8),
}
ACTIONS = {
    "box": spaces.Box(-2, 3, (2,), np.float32),
    "discrete": spaces.Discrete(3),
    "multidiscrete": spaces.MultiDiscrete([3, 2]),
    "multibinary": spaces.MultiBinary(2),
}


OBSERVATIONS = [*SPACES, "dict"]
SERVED = [(PPO, seen, action, 1 + 2 * (k % 2)) for seen in OBSERVATIONS for k, action in enumerate(ACTIONS)]
SERVED += [(cls, seen, action, 3) for seen in OBSERVATIONS for cls, action in ((SAC, "box"), (DQN, "discrete"))]


@pytest.mark.parametrize(("algorithm", "observation", "action", "copies"), SERVED)
def test_every_space_is_served(sampler: Any, algorithm: Any, observation: str, action: str, copies: int) -> None:
    mapping = spaces.Dict({key: SPACES[key] for key in ("float64", "discrete", "image")})
    space = mapping if observation == "dict" else SPACES[observation]
    policy = {"dict": "MultiInputPolicy", "image": "CnnPolicy"}.get(observation, "MlpPolicy")
    venv = DummyVecEnv([lambda: sampler(copy.deepcopy(space), ACTIONS[action])] * copies)
    options: Any = {"n_steps": 8, "n_epochs": 1} if algorithm is PPO else {"learning_starts": 9, "buffer_size": 60}
    model = attach(algorithm(policy, venv, seed=0, batch_size=8, **options), "vime", learn_every=8 * copies, **LIGHT)
    model.learn(9 * copies)
    metrics = curiosity(model).metrics
    assert np.isfinite(list(metrics.values())).all()
    assert metrics["bonus_mean"] > 0
    assert 0 < metrics["bonus_share"] < 1
    assert metrics["loss"]


def test_the_bonus_is_given_the_spaces_and_values_beneath_normalisation(walk: Any, plain_bonus: Any) -> None:
    model = attach(build("ppo", VecNormalize(DummyVecEnv([walk]))), plain_bonus).learn(16)
    batch = plain_bonus.observed[0]
    assert batch.next_obs[:5, 0, 0].tolist() == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(
        model.rollout_buffer.rewards - model.rollout_buffer.extrinsic_rewards, batch.next_obs.sum(-1), rtol=1e-5
    )


def test_normalisation_may_be_put_on_top_later(walk: Any, plain_bonus: Any) -> None:
    model = attach(build("ppo", DummyVecEnv([walk])), plain_bonus)
    model.set_env(VecNormalize(model.get_env()))
    model.learn(16)
    assert plain_bonus.observed[0].next_obs[:5, 0, 0].tolist() == [1, 2, 3, 4, 5]


def test_channels_are_seen_where_the_policy_sees_them(sampler: Any, plain_bonus: Any) -> None:
    venv = DummyVecEnv([lambda: sampler(SPACES["image"], ACTIONS["discrete"])])
    model = attach(PPO("CnnPolicy", venv, **ON), plain_bonus).learn(16)
    assert isinstance(model.env, VecTransposeImage)
    assert plain_bonus.observed[0].next_obs.shape == (16, 1, 3, 36, 36)
    assert plain_bonus.observed[0].next_obs.dtype == torch.uint8


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("name", ["ppo", "sac"])
def test_a_running_model_goes_on_where_it_was(walk: Any, plain_bonus: Any, name: str, normalise: bool) -> None:
    venv: Any = DummyVecEnv([walk])
    model = build(name, VecNormalize(venv) if normalise else venv).learn(32)
    resets = venv.envs[0].resets
    assert resets == 1 + 32 // 5
    attach(model, plain_bonus, learn_every=16).learn(16, reset_num_timesteps=False)
    assert venv.envs[0].resets == 1 + 48 // 5
    assert plain_bonus.observed[0].obs[:4, 0].tolist() == [[2, 6], [3, 6], [4, 6], [0, 7]]
    assert plain_bonus.observed[0].valid.all()


@pytest.mark.parametrize("name", ["ppo", "recurrent-ppo", "sac", "dqn"])
def test_a_saved_model_is_plain_and_can_be_made_curious_again(
    walk: Any, plain_bonus: Any, name: str, tmp_path: Path
) -> None:
    model = build(name, DummyVecEnv([lambda: walk(discrete=name == "dqn")]))
    attach(model, plain_bonus, learn_every=8).learn(32)
    model.save(tmp_path / "model.zip")
    loaded = type(model).load(tmp_path / "model.zip", env=DummyVecEnv([lambda: walk(discrete=name == "dqn")]))
    assert curiosity(loaded) is None
    assert same(weights(model), weights(loaded))
    if hasattr(model, "replay_buffer"):
        model.save_replay_buffer(tmp_path / "buffer.pkl")
        loaded.load_replay_buffer(tmp_path / "buffer.pkl")
        np.testing.assert_array_equal(loaded.replay_buffer.rewards, model.replay_buffer.rewards)
    attach(loaded, plain_bonus, scale=1000.0, learn_every=8)
    plain_bonus.observed.clear()
    loaded.learn(32)
    assert plain_bonus.observed
    assert not same(weights(model), weights(loaded))


def test_a_model_loaded_without_an_environment_is_refused_until_it_has_one(walk: Any, tmp_path: Path) -> None:
    build("ppo", DummyVecEnv([walk])).save(tmp_path / "model.zip")
    loaded = PPO.load(tmp_path / "model.zip")
    with pytest.raises(InvalidSettings, match="no environment"):
        attach(loaded, "none")
    loaded.set_env(DummyVecEnv([walk]))
    attach(loaded, "vime", **LIGHT).learn(16)


@pytest.mark.parametrize("name", ["ppo", "sac"])
def test_another_environment_is_noticed_and_attaching_again_mends_it(walk: Any, plain_bonus: Any, name: str) -> None:
    model = attach(build(name, DummyVecEnv([walk])), plain_bonus, learn_every=8).learn(16)
    model.set_env(DummyVecEnv([walk]))
    with pytest.raises(InvalidSettings, match="attach` again"):
        model.learn(16)
    attach(model, curiosity(model).bonus, learn_every=8).learn(16)
    assert curiosity(model).bonus.bonus is plain_bonus


def test_attaching_twice_is_refused(walk: Any, plain_bonus: Any) -> None:
    model = attach(build("ppo", DummyVecEnv([walk])), plain_bonus)
    with pytest.raises(InvalidSettings, match="curious already"):
        attach(model, plain_bonus)
    model.learn(16)


def test_wrong_arguments_are_refused_and_leave_the_model_plain(walk: Any, plain_bonus: Any) -> None:
    model = build("ppo", DummyVecEnv([walk]))
    scaled = ScaledBonus(plain_bonus, 0.5)
    for error, match, bonus, options in (
        (UnknownName, "'vime'", "vimee", {}),
        (InvalidSettings, "hidden", "vime", {"hiden": 3}),
        (InvalidSettings, "by name", plain_bonus, {"seed": 3}),
        (InvalidSettings, "`bonus` must be", 3, {}),
        (InvalidSettings, "`learn_every`", "vime", {"learn_every": 0}),
        (InvalidSettings, "`scale`", "vime", {"scale": float("nan")}),
        (InvalidSettings, "leave both out", scaled, {"scale": 2.0}),
        (InvalidSettings, "leave both out", scaled, {"scaling": Scaling()}),
    ):
        with pytest.raises(error, match=match):
            attach(model, bonus, **options)
    with pytest.raises(InvalidSettings, match="ARS"):
        attach(ARS("LinearPolicy", DummyVecEnv([walk])), plain_bonus)
    assert curiosity(model) is None
    assert type(model.env) is DummyVecEnv
    assert type(model.rollout_buffer).__module__.startswith("stable_baselines3")
    attach(model, scaled)
    assert curiosity(model).bonus is scaled


@pytest.mark.parametrize("name", ["ppo", "sac"])
@pytest.mark.parametrize("broken", ["reward", "observation"])
def test_broken_data_reaches_neither_buffer_nor_bonus(walk: Any, plain_bonus: Any, name: str, broken: str) -> None:
    venv = DummyVecEnv([walk, lambda: walk(length=20, broken=broken)])
    model = attach(build(name, VecNormalize(venv)), plain_bonus, learn_every=4)
    with pytest.raises(InvalidData, match=f"{broken} of environment 1 at step 6"):
        model.learn(64)
    buffer = model.replay_buffer if name == "sac" else model.rollout_buffer
    assert buffer.pos == 6
    for batch in plain_bonus.observed:
        batch.check_finite()
    assert np.isfinite(model.get_vec_normalize_env().obs_rms.mean).all()
    assert np.isfinite(model.get_vec_normalize_env().ret_rms.mean)


@pytest.mark.parametrize("name", ["ppo", "sac"])
def test_evaluating_on_the_training_environment_leaves_no_trace(walk: Any, plain_bonus: Any, name: str) -> None:
    model = attach(build(name, DummyVecEnv([walk])), plain_bonus, learn_every=16).learn(16)
    evaluate_policy(model, model.get_env(), n_eval_episodes=2, warn=False)
    model.learn(16)
    assert [batch.shape for batch in plain_bonus.observed] == [(16, 1)] * 2
    assert plain_bonus.observed[1].obs[0, 0].tolist() == [0, 7]  # four episodes of training, two of evaluation, reset


def test_evaluation_callbacks_with_normalisation_go_on_working(walk: Any, plain_bonus: Any) -> None:
    evaluation = VecNormalize(DummyVecEnv([walk]), training=False, norm_reward=False)
    model = attach(build("ppo", VecNormalize(DummyVecEnv([walk]))), plain_bonus)
    callback = EvalCallback(evaluation, n_eval_episodes=1, eval_freq=8, verbose=0, warn=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.learn(16, callback=callback)
    assert callback.last_mean_reward == 5


def test_metrics_go_to_the_logger(walk: Any, plain_bonus: Any) -> None:
    model = attach(build("ppo", DummyVecEnv([walk])), plain_bonus, learn_every=16, scale=0.5)
    model.set_logger(Logger(folder=None, output_formats=[]))
    model.learn(16, log_interval=None)
    logged = {k: v for k, v in model.logger.name_to_value.items() if k.startswith("curiosity/")}
    size = 0.5 * plain_bonus.observed[0].next_obs.sum(-1)
    assert logged["curiosity/bonus_mean"] == pytest.approx(float(size.mean()))
    assert logged["curiosity/bonus_share"] == pytest.approx(float(size.sum() / (size.sum() + 16)))
    assert logged["curiosity/model_error"] == 1
    assert curiosity(model).metrics == {key.removeprefix("curiosity/"): value for key, value in logged.items()}


def test_the_control_is_logged_and_changes_nothing(walk: Any) -> None:
    model = attach(build("a2c", DummyVecEnv([walk])), "none").learn(10)
    assert curiosity(model).metrics == {"bonus_mean": 0.0, "bonus_share": 0.0, "weight": 1.0}
    assert (model.rollout_buffer.extrinsic_rewards == 1).all()


@pytest.mark.parametrize("name", ["a2c", "sac"])
def test_the_state_of_a_curious_model_continues_exactly(walk: Any, name: str) -> None:
    def model() -> Any:
        venv = DummyVecEnv([lambda: walk(length=9)] * 2)
        return attach(build(name, venv), "vime", learn_every=26, **LIGHT)

    first, second = model(), model()
    first.learn(70)  # 18 of them are not learnt from yet
    file = io.BytesIO()
    torch.save(curiosity(first).state_dict(), file)
    file.seek(0)
    curiosity(second).load_state_dict(torch.load(file, weights_only=True))
    assert curiosity(second).metrics == curiosity(first).metrics
    tapes = [curiosity(each).tape for each in (first, second)]
    for step in range(40):
        seen = np.full((2, 2), step, np.float32), np.ones(2), np.array([step == 11] * 2), [{}] * 2
        for each, tape in zip((first, second), tapes, strict=True):
            if name == "a2c" and step % 5 == 0:
                tape.begin(5)
            tape.act(np.ones((2, 1)))
            tape.see(*seen)
            tape.keep()
            if tape.kept == tape.room:
                batch, rewards = tape.take()
                own = curiosity(each)
                own.digest(batch, rewards, own.worth(batch))
        assert curiosity(first).metrics == curiosity(second).metrics
    ends = [str(curiosity(each).state_dict()) for each in (first, second)]
    assert ends[0] == ends[1]


def test_a_foreign_state_is_refused(walk: Any, plain_bonus: Any) -> None:
    model = attach(build("sac", DummyVecEnv([walk])), "vime", **LIGHT)
    other = attach(build("sac", DummyVecEnv([walk])), plain_bonus, learn_every=4)
    for state in ({}, {"bonus": 3}, curiosity(other).state_dict()):
        with pytest.raises(CheckpointError):
            curiosity(model).load_state_dict(state)


def test_a_state_of_another_number_of_copies_says_so_and_what_was_learned_goes_on(walk: Any) -> None:
    one, two = (attach(build("ppo", DummyVecEnv([walk] * copies)), "rnd", hidden=(4,)) for copies in (4, 2))
    state = curiosity(one.learn(16)).state_dict()
    with pytest.raises(CheckpointError, match=r"4 copies of the environment, and here are 2.*load_learned\(state\)"):
        curiosity(two).load_state_dict(state)
    curiosity(two).load_learned(state)
    assert str(curiosity(two).bonus.state_dict()) == str(curiosity(one).bonus.state_dict())


def test_a_copy_of_a_curious_model_is_curious_on_its_own(walk: Any) -> None:
    bonus = make_bonus("vime", walk.observation_space, walk.action_space, **LIGHT)
    model = attach(build("a2c", DummyVecEnv([walk])), bonus)
    clone = copy.deepcopy(model)
    state = str(curiosity(model).state_dict())
    clone.learn(10)
    assert curiosity(clone).metrics
    assert str(curiosity(model).state_dict()) == state


def test_importing_is_cheap_and_every_exported_name_is_there() -> None:
    code = "import agents, sys; assert 'torch' not in sys.modules; agents.config; agents.attach; print(agents.attach)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.startswith("<function attach")
    for name in agents.__all__:
        assert getattr(agents, name).__doc__
    with pytest.raises(AttributeError, match="nothing"):
        agents.nothing  # noqa: B018


def test_a_state_of_another_number_of_copies_is_refused_and_changes_nothing(walk: Any) -> None:
    other = attach(build("ppo", DummyVecEnv([walk, walk])), "counts").learn(16)
    model = attach(build("ppo", DummyVecEnv([walk])), "counts").learn(16)
    before = dict(curiosity(model).bonus.bonus.table.counts)
    with pytest.raises(CheckpointError, match="saved with 2 copies"):
        curiosity(model).load_state_dict(curiosity(other).state_dict())
    assert curiosity(model).bonus.bonus.table.counts == before
    assert curiosity(other).bonus.bonus.table.counts != before


def test_a_state_that_is_refused_halfway_changes_nothing(walk: Any) -> None:
    model, other = (attach(build("ppo", DummyVecEnv([walk])), "counts", weight="tuned").learn(n) for n in (16, 32))
    before = dict(curiosity(model).bonus.bonus.table.counts)
    for load in (curiosity(model).load_state_dict, curiosity(model).load_learned):
        with pytest.raises(CheckpointError, match="no state of a curious model"):
            load({**curiosity(other).state_dict(), "weight": {}})
        assert curiosity(model).bonus.bonus.table.counts == before
