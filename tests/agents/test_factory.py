from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecNormalize

from agents.attach import curiosity
from agents.config import RunConfig
from agents.factory import make_model, make_task
from agents.planning.dyna import dyna_of
from agents.recorder import Recorder
from tests.agents.runs import CASES, small
from vime.errors import InvalidSettings, UnknownName, UnsupportedSpace


class Looks(gymnasium.Env):
    """One step, any spaces."""

    def __init__(self, observation: spaces.Space, action: spaces.Space | None = None) -> None:
        self.observation_space, self.action_space = observation, action or spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        return self.observation_space.sample(), 0.0, True, False, {}


class Mission(spaces.Space):
    """A sentence, as MiniGrid's, which Gymnasium cannot flatten."""

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        return "go there"

    def contains(self, x: Any) -> bool:
        return isinstance(x, str)


VECTOR = spaces.Box(-1, 1, (3,))
IMAGE = spaces.Box(0, 255, (48, 48, 3), np.uint8)
SPACES = {
    "Vector": VECTOR,
    "Image": IMAGE,
    "SmallImage": spaces.Box(0, 255, (7, 7, 3), np.uint8),
    "Mapping": spaces.Dict({"pixels": IMAGE, "speed": VECTOR}),
    "Cell": spaces.Discrete(5),
    "Pair": spaces.Tuple((VECTOR, VECTOR)),
    "Mission": spaces.Dict({"place": VECTOR, "mission": Mission()}),
}
for _name, _space in SPACES.items():
    gymnasium.register(f"tests/{_name}-v0", entry_point=lambda space=_space: Looks(space))
gymnasium.register(
    "tests/Unbounded-v0", entry_point=lambda: Looks(VECTOR, spaces.Box(-np.inf, np.inf, (1,))), disable_env_checker=True
)


@pytest.mark.parametrize("algorithm", CASES)
def test_every_recipe_builds_a_curious_learner(algorithm: str) -> None:
    config = RunConfig(task=CASES[algorithm][0], algorithm=algorithm, bonus="vime", scale=0.5).check()
    env = make_task(config)
    model = make_model(config, env)
    curious = curiosity(model)
    assert curious is not None
    assert curious.bonus.scale == 0.5
    assert env.num_envs == config.copies
    assert isinstance(env, VecNormalize) == config.normalises
    plain = RunConfig(task=config.task, algorithm=algorithm, bonus="none")
    assert curiosity(make_model(plain, make_task(plain))) is None


def test_scaling_and_learn_every_reach_the_bonus() -> None:
    settings = {"learn_every": 99, "scaling": {"rule": "median", "window": 3}, "hidden": [8]}
    config = small(bonus="vime", bonus_settings=settings).check()
    curious = curiosity(make_model(config, make_task(config)))
    assert curious is not None
    assert (curious.learn_every, curious.bonus.scaling.rule, curious.bonus.scaling.window) == (99, "median", 3)


def test_only_observations_are_normalised() -> None:
    env = make_task(small())
    assert isinstance(env, VecNormalize)
    assert env.norm_obs
    assert not env.norm_reward
    assert isinstance(env.venv, Recorder)


@pytest.mark.parametrize(
    ("task", "policy", "keys"),
    [
        ("Vector", "ActorCriticPolicy", None),
        ("Image", "ActorCriticCnnPolicy", False),
        ("SmallImage", "ActorCriticPolicy", False),
        ("Mapping", "MultiInputActorCriticPolicy", ["speed"]),
        ("Cell", "ActorCriticPolicy", False),
    ],
)
def test_policy_and_normalisation_follow_the_observation(task: str, policy: str, keys: Any) -> None:
    config = RunConfig(task=f"tests/{task}-v0", bonus="none", environments=2, algorithm_settings={"n_steps": 8})
    env = make_task(config)
    assert type(make_model(config, env).policy).__name__ == policy
    assert isinstance(env, VecNormalize) == (keys is not False)
    if isinstance(env, VecNormalize):
        assert env.norm_obs_keys == keys


@pytest.mark.parametrize(("algorithm", "task", "other"), [("dqn", "Pendulum-v1", "sac"), ("td3", "CartPole-v1", "dqn")])
def test_unserved_actions_name_who_serves_them(algorithm: str, task: str, other: str) -> None:
    config = RunConfig(task=task, algorithm=algorithm, bonus="none")
    with pytest.raises(UnsupportedSpace, match=rf"{algorithm} serves .*: .*\b{other}\b"):
        make_model(config, make_task(config))


@pytest.mark.parametrize(
    ("task", "says"),
    [
        ("Pair", "Tuple.*FlattenObservation"),
        ("Unbounded", "bounds.*TransformAction"),
        ("Mission", "'mission'.*FilterObservation"),
    ],
)
def test_unserved_spaces_say_what_to_do(task: str, says: str) -> None:
    config = RunConfig(task=f"tests/{task}-v0", bonus="none")
    with pytest.raises(UnsupportedSpace, match=says):
        make_model(config, make_task(config))


@pytest.mark.parametrize(
    "settings",
    [{"n_steps": -4}, {"learning_rate": "fast"}, {"policy_kwargs": {"activation_fn": 3}}, {"policy_kwargs": {"n": 3}}],
)
def test_what_the_algorithm_refuses_is_said(settings: dict[str, Any]) -> None:
    config = RunConfig(task="CartPole-v1", bonus="none", algorithm_settings=settings)
    with pytest.raises(InvalidSettings, match="PPO cannot be built"):
        make_model(config, make_task(config))


def test_a_task_that_cannot_be_built_is_said() -> None:
    with pytest.raises(InvalidSettings, match="colour"):
        make_task(RunConfig(task="CartPole-v1", task_settings={"colour": "red"}))


def test_json_settings_become_what_sb3_wants() -> None:
    settings = {
        "train_freq": [1, "episode"],
        "action_noise": {"kind": "normal", "sigma": 0.3},
        "policy_kwargs": {"net_arch": [8], "activation_fn": "tanh"},
    }
    config = RunConfig(task="Pendulum-v1", algorithm="sac", bonus="none", algorithm_settings=settings)
    model = make_model(config, make_task(config))
    assert model.train_freq.unit.value == "episode"  # type: ignore[attr-defined]
    assert model.action_noise is not None
    assert "Tanh" in str(model.policy)
    assert config.algorithm_settings == settings  # nothing was written into it
    pink = RunConfig(task="Pendulum-v1", algorithm="sac", algorithm_settings={"action_noise": {"kind": "pink"}})
    env = make_task(pink)
    with pytest.raises(InvalidSettings, match="ornstein"):
        make_model(pink, env)


def test_a_shorter_rollout_shrinks_the_recipes_minibatch() -> None:
    config = RunConfig(task="CartPole-v1", bonus="none", environments=2, algorithm_settings={"n_steps": 16})
    assert make_model(config, make_task(config)).batch_size == 32  # type: ignore[attr-defined]


@pytest.mark.parametrize("algorithm", ["dyna-sac", "dyna-td3", "dyna-dqn"])
def test_a_dyna_recipe_builds_a_learner_with_a_world_model(algorithm: str) -> None:
    config = small(algorithm).check()
    found = dyna_of(make_model(config, make_task(config)))
    assert found is not None
    assert (found.settings.updates, found.settings.rollout) == (5, 2)
    assert found.world.settings.hidden == (8,)
    assert found.world.settings.seed == config.seed
    plain = small(algorithm.removeprefix("dyna-"))
    assert dyna_of(make_model(plain, make_task(plain))) is None


@pytest.mark.parametrize(
    ("algorithm", "dyna", "says"),
    [
        ("dyna-sac", {"rolout": 3}, "Did you mean 'rollout'"),
        ("dyna-sac", 3, "mapping"),
        ("dyna-sac", {"world": "ensembel"}, "ensemble"),
        ("sac", {"rollout": 3}, "no setting 'dyna'"),
    ],
)
def test_wrong_settings_of_a_world_model_are_named_before_anything_is_built(
    algorithm: str, dyna: Any, says: str
) -> None:
    with pytest.raises((InvalidSettings, UnknownName), match=says):
        RunConfig(task="Pendulum-v1", algorithm=algorithm, algorithm_settings={"dyna": dyna}).check()
