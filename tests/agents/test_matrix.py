"""Every bonus, on every kind of observation and action, on one environment and on many, by every road.

In each cell the bonus is finite and varies, reaches the learner, learns, and continues exactly from a saved state.
"""

import copy
import math
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

import jaxtyping
import numpy as np
import pytest
import sb3_contrib
import stable_baselines3
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv

import vime
from agents import curiosity
from tests.agents.matrix import (
    BONUSES,
    CELLS,
    HUGE,
    MIXTURE,
    POSSIBLE,
    ROUND,
    ROUNDS,
    Cell,
    Ring,
    learner,
    pairs,
    pick,
    resumed,
    rounds,
    same,
    saved,
    through_a_file,
    trained,
    untouched,
    weights,
    wrapped,
)

QUICK = pick()
WEIGHTLESS = {
    Cell(road, 16, action, "float64", bonus)
    for road, action in (("on-policy", "multi-discrete"), ("off-policy", "discrete"), ("off-policy", "box-6"))
    for bonus in BONUSES
}


def cells(*roads: str) -> list[Any]:
    chosen = [cell for cell in POSSIBLE if cell.road in roads]
    return [pytest.param(cell, id=str(cell), marks=() if cell in QUICK else pytest.mark.slow) for cell in chosen]


@pytest.fixture(autouse=True)
def _shapes_unchecked() -> Iterator[None]:
    """The contract of a bonus checks them, on the same spaces; here they would take half of the time."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*mini-batch size.*|.*image.*|.*deprecated.*")
        yield


def learns_by_gradient(bonus: str) -> bool:
    kinds = [vime.BONUSES[part].Settings for part in bonus.split("+")]  # type: ignore[attr-defined]
    return any(hasattr(kind, "learning_rate") for kind in kinds)


def assert_varies(cell: Cell, bonus: np.ndarray) -> None:
    assert np.isfinite(bonus).all(), "the bonus is not finite"
    spread = float(np.ptp(bonus))
    assert spread == 0 if cell.bonus == "none" else spread > 1e-3 * np.abs(bonus).max() > 0, "the bonus is constant"


def assert_has_learnt(cell: Cell, bonus: Any, before: list[torch.Tensor], metrics: dict[str, float]) -> None:
    assert all(math.isfinite(value) for value in metrics.values()), metrics
    after = trained(bonus)
    assert bool(after) == learns_by_gradient(cell.bonus)
    assert all(torch.isfinite(parameter).all() for parameter in after)
    if after:
        assert metrics
        assert not same(before, [parameter.detach() for parameter in after]), "no parameter of the model moved"


class Player:
    """Steps a wrapped environment with actions that its seed decides, and keeps what it was paid."""

    def __init__(self, env: Any, space: Any) -> None:
        self.env, self.space = env, space

    def play(self, steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns rewards, bonuses and the environment's own rewards, each (step, copy)."""
        paid = []
        for _ in range(steps):
            _, reward, terminated, truncated, info = self.env.step(self.space.sample())
            paid.append([np.atleast_1d(x) for x in (reward, info["intrinsic_reward"], info["extrinsic_reward"])])
            if terminated is True or truncated is True:  # a single environment does not reset itself
                self.env.reset()
        rewards, bonuses, own = (np.stack(part) for part in zip(*paid, strict=True))
        return rewards, bonuses, own


@pytest.mark.parametrize("cell", cells("gymnasium", "vector"))
def test_a_wrapper(cell: Cell) -> None:
    env = wrapped(cell)
    before = [parameter.detach().clone() for parameter in trained(env.bonus)]
    env.reset(seed=5)
    space = copy.deepcopy(env.action_space)
    space.seed(5)
    player, steps = Player(env, space), ROUND[cell.copies]
    rewards, bonuses, own = player.play(ROUNDS * steps)
    assert_varies(cell, bonuses)
    np.testing.assert_array_equal(rewards, own + HUGE * bonuses)
    assert set(np.unique(own)) == {0, 1}
    assert_has_learnt(cell, env.bonus, before, env.metrics)

    player.play(2)  # which it has not learnt from yet
    state = through_a_file(env.state_dict())
    twin = wrapped(cell, copy.deepcopy(env.env))
    assert cell.bonus == "none" or not same(twin.bonus.state_dict(), env.bonus.state_dict())
    twin.load_state_dict(state)
    other = Player(twin, copy.deepcopy(space))
    for mine, theirs in zip(player.play(steps), other.play(steps), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert same(env.state_dict(), twin.state_dict()), "the resumed bonus went another way"

    env.bonus.scale = 0.0
    rewards, _, own = player.play(2)
    np.testing.assert_array_equal(rewards, own)


class Rollouts(BaseCallback):
    """Keeps what the bonus added to the rewards of every rollout."""

    def _init_callback(self) -> None:
        self.added: list[np.ndarray] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        buffer: Any = getattr(self.model, "rollout_buffer", None)
        if buffer is not None:
            self.added.append(buffer.rewards - buffer.extrinsic_rewards)


def received(model: Any, rollouts: Rollouts) -> np.ndarray:
    """What the bonus adds to the rewards that the model learns from, its weight taken out."""
    own = curiosity(model)
    if not isinstance(model, OffPolicyAlgorithm):
        return np.concatenate(rollouts.added) / HUGE
    sampled = []
    for scale in (HUGE, 0.0):
        own.bonus.scale = scale
        np.random.seed(5)  # noqa: NPY002 - SB3 draws from it
        sampled.append(model.replay_buffer.sample(64).rewards.numpy())
    own.bonus.scale = HUGE
    return (sampled[0] - sampled[1]) / HUGE


@pytest.mark.parametrize("cell", cells("on-policy", "off-policy"))
def test_a_model_of_stable_baselines(cell: Cell) -> None:
    plain = untouched(cell._replace(bonus=""))
    model = learner(cell, HUGE)
    before = [parameter.detach().clone() for parameter in trained(curiosity(model).bonus)]
    rollouts = Rollouts()
    model.learn(rounds(cell, ROUNDS), callback=rollouts)
    assert same(weights(model), plain) == (cell.bonus == "none"), "a huge bonus did not reach the learner"
    assert_varies(cell, received(model, rollouts))
    assert_has_learnt(cell, curiosity(model).bonus, before, curiosity(model).metrics)

    state = saved(model)
    model.learn(rounds(cell, 1), reset_num_timesteps=False)
    twin = resumed(cell, state).learn(rounds(cell, 1), reset_num_timesteps=False)
    assert same(weights(model), weights(twin)), "the learner went another way with the resumed bonus"
    assert same(curiosity(model).state_dict(), curiosity(twin).state_dict()), "the resumed bonus went another way"


@pytest.mark.slow
@pytest.mark.parametrize("cell", [cell for cell in POSSIBLE if cell in WEIGHTLESS], ids=str)
def test_a_bonus_of_weight_zero_leaves_the_learner_alone(cell: Cell) -> None:
    zero = learner(cell, 0.0).learn(rounds(cell, ROUNDS))
    assert same(weights(zero), untouched(cell._replace(bonus="")))


def test_the_matrix_is_whole_and_every_gap_has_its_reason() -> None:
    assert len(CELLS) == len(set(CELLS)) == 4 * 5 * 2 * 4 * len(BONUSES)
    assert set(BONUSES) == {*vime.BONUSES, MIXTURE}
    gaps = Counter(cell.impossible for cell in CELLS)
    assert gaps.pop(None) == len(POSSIBLE)
    assert sorted(gaps.items()) == [
        ("a gymnasium.Env is a single environment; several are a VectorEnv", 4 * 5 * len(BONUSES)),
        (
            "no off-policy algorithm of Stable-Baselines3 and sb3-contrib has MultiDiscrete actions",
            2 * 5 * len(BONUSES),
        ),
    ]


@pytest.mark.parametrize("name", ["DQN", "SAC", "TD3", "DDPG", "QRDQN", "TQC", "CrossQ"])
def test_no_off_policy_algorithm_has_multi_discrete_actions(name: str) -> None:
    cls = getattr(stable_baselines3, name, None) or getattr(sb3_contrib, name)
    assert issubclass(cls, OffPolicyAlgorithm)
    with pytest.raises(AssertionError, match="MultiDiscrete"):
        cls("MlpPolicy", DummyVecEnv([lambda: Ring("float64", "multi-discrete")]))


def test_the_quick_slice_holds_every_two_values_that_can_come_together() -> None:
    possible = {pair for cell in POSSIBLE for pair in pairs(cell)}
    assert {pair for cell in QUICK for pair in pairs(cell)} == possible
    assert len(QUICK) <= len(POSSIBLE) / 20
