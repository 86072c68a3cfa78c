"""What a bonus cannot serve is refused before anything is stepped, by every bonus and road; all else is served."""

import io
from collections.abc import Iterator
from functools import cache
from typing import Any

import gymnasium
import jaxtyping
import numpy as np
import pytest
import torch
from gymnasium import Space, spaces
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

import vime
from agents import attach, curiosity
from tests.vime.tiny import tiny
from vime.bonus import MAX_SEED

BONUSES = (*vime.BONUSES, "rnd+e3b")
VECTOR, CHOICE = spaces.Box(-1, 1, (3,), np.float64), spaces.Discrete(3)

FOREIGN: dict[str, Space] = {
    "Tuple": spaces.Tuple([VECTOR, CHOICE]),
    "Sequence": spaces.Sequence(VECTOR),
    "Graph": spaces.Graph(VECTOR, CHOICE),
    "Text": spaces.Text(5),
    "OneOf": spaces.OneOf([VECTOR, CHOICE]),
}
FOREIGN_OBSERVATIONS: dict[str, tuple[Space, str]] = {
    **{name: (space, f"{name} is no observation space") for name, space in FOREIGN.items()},
    "nested": (spaces.Dict(a=spaces.Dict(b=VECTOR)), "entry 'a' is itself a Dict"),
    "entry": (spaces.Dict(a=VECTOR, b=spaces.Text(3)), "Text, the entry 'b', is no observation space"),
    "empty": (spaces.Dict(), "without entries"),
    "nothing": (spaces.Box(-1, 1, (0,), np.float32), "holds no number"),
}
FOREIGN_ACTIONS: dict[str, tuple[Space, str]] = {
    **{name: (space, f"{name} is no action space") for name, space in FOREIGN.items()},
    "Dict": (spaces.Dict(a=VECTOR), "Dict is no action space"),
    "nothing": (spaces.Box(-1, 1, (0,), np.float32), "holds no number"),
}
ODD_OBSERVATIONS: dict[str, Space] = {
    "scalar": spaces.Box(-1, 1, (), np.float32),
    "matrix": spaces.Box(-1, 1, (2, 3), np.float32),
    "half": spaces.Box(-1, 1, (3,), np.float16),
    "whole": spaces.Box(-5, 5, (3,), np.int64),
    "bytes": spaces.Box(0, 255, (3,), np.uint8),
    "image-of-floats": spaces.Box(0, 1, (9, 8, 3), np.float32),
    "channels-first": spaces.Box(0, 255, (3, 12, 12), np.uint8),
    "started": spaces.Discrete(4, start=-2),
    "choices": spaces.MultiDiscrete([[2, 3], [4, 1]]),
    "switches": spaces.MultiBinary((2, 2)),
    "mapping": spaces.Dict(a=VECTOR, b=spaces.Discrete(2), c=spaces.MultiBinary(2), d=spaces.MultiDiscrete([2, 2])),
}
ODD_ACTIONS: dict[str, Space] = {
    "unbounded": spaces.Box(-np.inf, np.inf, (2,), np.float32),
    "half-bounded": spaces.Box(np.array([0, -1], np.float32), np.array([np.inf, 1], np.float32)),
    "one-sided": spaces.Box(1, 1, (2,), np.float32),
    "scalar": spaces.Box(-1, 1, (), np.float32),
    "matrix": spaces.Box(-1, 1, (2, 2), np.float64),
    "whole": spaces.Box(-3, 3, (2,), np.int32),
    "started": spaces.Discrete(3, start=5),
    "choices": spaces.MultiDiscrete([[2, 3], [4, 1]]),
    "switches": spaces.MultiBinary(3),
    "single": spaces.Discrete(1),
}


class Drawn(gymnasium.Env):
    """Draws observations from its space; episodes of four steps; not a number from the step `broken` on."""

    def __init__(self, observation: Space, action: Space, broken: int | None = None) -> None:
        self.observation_space, self.action_space, self.broken = observation, action, broken
        self.steps = self.resets = 0

    def _observe(self) -> Any:
        drawn = self.observation_space.sample()
        return drawn * np.nan if self.broken is not None and self.steps >= self.broken else drawn

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.observation_space.seed(seed) if seed is not None else None
        self.resets += 1
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        self.steps += 1
        return self._observe(), 1.0, self.steps % 4 == 0, False, {}


@pytest.fixture(autouse=True)
def _kinds_unchecked() -> Iterator[None]:
    """Nobody but we should notice what is wrong."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@cache
def plain() -> PPO:
    """A model that stays plain, for whatever is attached to it is refused."""
    return PPO("MlpPolicy", DummyVecEnv([lambda: Drawn(VECTOR, CHOICE)]), n_steps=8, policy_kwargs={"net_arch": [4]})


def refused(road: str, bonus: str, observation: Space, action: Space, says: str) -> None:
    env = Drawn(observation, action)
    if road == "wrap":
        with pytest.raises(vime.UnsupportedSpace, match=says) as caught:
            vime.wrap(env, bonus, **tiny(bonus))
    else:
        model = plain()
        venv: Any = model.env
        venv.observation_space, venv.action_space = observation, action  # SB3's own policies would not get that far
        with pytest.raises(vime.UnsupportedSpace, match=says) as caught:
            attach(model, bonus, **tiny(bonus))
        assert curiosity(model) is None
        assert type(venv) is DummyVecEnv
        env = venv.envs[0]
    if "is no" in says:
        assert "Box, Discrete" in str(caught.value), "it does not say what is served"
        assert "gymnasium.wrappers." in str(caught.value), "it does not say what to do"
    assert env.steps == env.resets == 0


@pytest.mark.parametrize("name", FOREIGN_OBSERVATIONS)
@pytest.mark.parametrize("bonus", BONUSES)
@pytest.mark.parametrize("road", ["wrap", "attach"])
def test_a_foreign_observation_space_is_refused(road: str, bonus: str, name: str) -> None:
    space, says = FOREIGN_OBSERVATIONS[name]
    refused(road, bonus, space, CHOICE, says)


@pytest.mark.parametrize("name", FOREIGN_ACTIONS)
@pytest.mark.parametrize("bonus", BONUSES)
@pytest.mark.parametrize("road", ["wrap", "attach"])
def test_a_foreign_action_space_is_refused(road: str, bonus: str, name: str) -> None:
    space, says = FOREIGN_ACTIONS[name]
    refused(road, bonus, VECTOR, space, says)


def served(bonus: str, observation: Space, action: Space) -> None:
    env = vime.wrap(Drawn(observation, action), bonus, learn_every=6, **tiny(bonus))
    env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(16):
        _, reward, terminated, _, info = env.step(env.action_space.sample())
        assert np.isfinite([reward, info["intrinsic_reward"]]).all()
        if terminated:
            env.reset()
    assert np.isfinite(list(env.metrics.values())).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ODD_OBSERVATIONS)
@pytest.mark.parametrize("bonus", BONUSES)
def test_an_odd_observation_space_is_served(bonus: str, name: str) -> None:
    served(bonus, ODD_OBSERVATIONS[name], CHOICE)


@pytest.mark.slow
@pytest.mark.parametrize("name", ODD_ACTIONS)
@pytest.mark.parametrize("bonus", BONUSES)
def test_an_odd_action_space_is_served(bonus: str, name: str) -> None:
    served(bonus, VECTOR, ODD_ACTIONS[name])


@pytest.mark.parametrize("bonus", BONUSES)
@pytest.mark.parametrize("broken", [0, 5])
def test_an_observation_that_is_no_number_is_refused_and_leaves_no_trace(bonus: str, broken: int) -> None:
    env = vime.wrap(Drawn(VECTOR, CHOICE, broken), bonus, learn_every=100, **tiny(bonus))
    model = PPO("MlpPolicy", DummyVecEnv([lambda: Drawn(VECTOR, CHOICE, broken)]), n_steps=8, batch_size=8)
    attach(model, bonus, **tiny(bonus))
    before = frozen(curiosity(model).bonus.state_dict())  # type: ignore[union-attr]

    def walk() -> None:
        env.reset(seed=0)
        for step in range(8):
            state[0] = frozen(env.bonus.state_dict())
            env.step(step % 3)

    state = [frozen(env.bonus.state_dict())]
    with pytest.raises(vime.InvalidData, match="observation"):
        walk()
    assert frozen(env.bonus.state_dict()) == state[0]
    with pytest.raises(vime.InvalidData, match="observation"):
        model.learn(8)
    assert frozen(curiosity(model).bonus.state_dict()) == before  # type: ignore[union-attr]


def frozen(state: Any) -> bytes:
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


@pytest.mark.parametrize("options", [{"scale": True}, {"scale": "1"}, {"scale": np.nan}, {"scaling": "median"}])
@pytest.mark.parametrize("bonus", BONUSES)
def test_a_weight_or_scaling_of_the_wrong_kind_is_refused(bonus: str, options: dict[str, Any]) -> None:
    made = vime.make_bonus(bonus, VECTOR, CHOICE, **tiny(bonus))
    with pytest.raises(vime.InvalidSettings, match=f"`{next(iter(options))}`"):
        vime.ScaledBonus(made, **options)


@pytest.mark.parametrize(
    "weights", [(1,), (1, "2"), "12", 3, (1, np.nan), (True, 1), (1, 2, 3)], ids=[str(i) for i in range(7)]
)
def test_weights_of_a_mixture_that_are_no_numbers_are_refused(weights: Any) -> None:
    with pytest.raises(vime.InvalidSettings, match="`weights`"):
        vime.make_bonus("rnd+counts", VECTOR, CHOICE, weights=weights)


@pytest.mark.parametrize("bonus", BONUSES)
def test_the_largest_seed_is_served_and_a_larger_one_refused(bonus: str) -> None:
    settings = tiny(bonus) | {"seed": MAX_SEED}
    scaled = vime.ScaledBonus(vime.make_bonus(bonus, VECTOR, CHOICE, **settings))
    none = np.zeros((8, 1), bool)
    rng = np.random.default_rng(0)
    data = (rng.standard_normal((8, 1, 3)), rng.integers(0, 3, (8, 1)), rng.standard_normal((8, 1, 3)), none, none)
    for _ in range(2):
        batch = vime.Transitions.from_numpy(*data)
        assert torch.isfinite(scaled.reward(batch)).all()
        scaled.observe(batch)
        scaled.learn(batch)
    with pytest.raises(vime.InvalidSettings, match="`seed`"):
        vime.make_bonus(bonus, VECTOR, CHOICE, **tiny(bonus) | {"seed": MAX_SEED + 1})
