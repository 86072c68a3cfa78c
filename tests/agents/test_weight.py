import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.vec_env import DummyVecEnv

import vime
from agents import attach, curiosity
from agents.config import WEIGHTS as NAMES
from agents.config import RunConfig
from agents.train import train
from agents.weight import WEIGHTS, Fading, Fixed, Tuned, make_weight, spread
from tests.agents.runs import assert_same_run, small
from vime import CheckpointError, InvalidSettings, UnknownName, VimeError

SHORT = {"n_steps": 16, "batch_size": 16, "n_epochs": 1, "policy_kwargs": {"net_arch": [4]}, "seed": 1}


def parts(reward: float = 0.0, bonus: float = 1.0, steps: int = 1000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rewards, bonuses and ends of one copy; every tenth step is paid, and ends an episode of ten."""
    paid = (np.arange(steps) % 10 == 9)[:, None]
    return (reward * paid).astype(np.float32), (bonus * paid).astype(np.float32), paid


def settle(rule: Tuned, scale: float, *given: Any, times: int = 100) -> float:
    for _ in range(times):
        rule.adapt(scale, *given)
    return rule.weight(scale, 0.5)


def test_a_fixed_weight_is_the_scale() -> None:
    rule = Fixed()
    rule.adapt(3.0, *parts(1.0))
    assert [rule.weight(3.0, progress) for progress in (0.0, 0.5, 1.0)] == [3.0] * 3


def test_a_fading_weight_falls_on_a_line_to_zero_and_stays_there() -> None:
    rule = Fading(until=0.5)
    assert [rule.weight(2.0, progress) for progress in (0.0, 0.25, 0.5, 0.75, 1.0)] == [2.0, 1.0, 0.0, 0.0, 0.0]


def test_a_fading_bonus_follows_the_steps_that_learn_was_asked_for(walk: Any, plain_bonus: Any) -> None:
    seen: list[tuple[float, float]] = []

    class Watch(Fading):
        def adapt(self, *_: Any) -> None:
            seen.append((model.num_timesteps, curiosity(model).weight))

    model = PPO("MlpPolicy", DummyVecEnv([walk]), **SHORT)
    attach(model, plain_bonus, scale=4.0, weight=Watch(until=0.75)).learn(64)
    assert seen == [(16, pytest.approx(8 / 3)), (32, pytest.approx(4 / 3)), (48, 0.0), (64, 0.0)]
    assert (model.rollout_buffer.rewards == 1).all()


def test_a_fading_bonus_fades_from_sampled_minibatches_too(walk: Any, plain_bonus: Any) -> None:
    model = SAC("MlpPolicy", DummyVecEnv([walk]), learning_starts=99, policy_kwargs={"net_arch": [4]})
    attach(model, plain_bonus, weight=Fading(until=0.5)).learn(20)
    assert torch.equal(model.replay_buffer.sample(8).rewards, torch.ones(8, 1))
    model._total_timesteps = 80  # as if a quarter of the way were made
    assert (model.replay_buffer.sample(8).rewards > 1).all()


def test_discounted_sums_by_hand() -> None:
    values = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 2.0]])
    ends = np.array([[False, False], [False, True], [True, True]])
    sums = [0.5, 1.0, 0.0, 1.0, 0.0, 2.0]
    assert spread(values, ends, gamma=0.5) == pytest.approx(np.std(sums))


def test_equal_values_have_no_spread_though_their_sums_differ() -> None:
    assert spread(np.full((9, 2), -1.0), np.zeros((9, 2), bool), gamma=0.9) == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0, 1000.0])
@pytest.mark.parametrize(("reward", "bonus"), [(1.0, 1.0), (50.0, 0.02), (1e-3, 5.0)])
def test_the_tuned_weight_comes_to_its_share_from_anywhere(scale: float, reward: float, bonus: float) -> None:
    assert settle(Tuned(share=0.3, most=1e6), scale, *parts(reward, bonus)) == pytest.approx(
        0.3 * reward / bonus, rel=1e-3
    )


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_before_any_reward_is_found_the_tuned_weight_comes_to_one(scale: float) -> None:
    rule = Tuned()
    assert rule.weight(scale, 0.0) == scale
    assert settle(rule, scale, *parts(0.0)) == pytest.approx(1.0, abs=1e-3)
    constant = parts()[0] - 1.0
    assert settle(rule, scale, constant, *parts()[1:]) == pytest.approx(1.0, abs=1e-3), (
        "what never differs is no reward"
    )


def test_the_tuned_weight_never_exceeds_its_most() -> None:
    assert settle(Tuned(most=2.0), 0.1, *parts(1e6)) == pytest.approx(2.0, abs=1e-3)


def test_a_reward_turns_the_tuned_weight_down_and_its_absence_leaves_it() -> None:
    rule = Tuned(share=0.3, memory=1000)
    settle(rule, 1.0, *parts(0.0))
    rule.adapt(1.0, *parts(0.01))
    once = rule.weight(1.0, 0.5)
    assert once == pytest.approx(0.003 ** (1 - math.exp(-1)))
    assert settle(rule, 1.0, *parts(0.0)) == once


def test_a_bonus_that_says_nothing_moves_no_weight() -> None:
    assert settle(Tuned(), 0.5, *parts(1.0, 0.0)) == pytest.approx(0.5)


def test_the_pace_of_the_tuned_weight_depends_on_steps_and_not_on_how_they_are_cut() -> None:
    whole, cut = Tuned(), Tuned()
    whole.adapt(10.0, *parts(1.0, steps=1000))
    for _ in range(10):
        cut.adapt(10.0, *parts(1.0, steps=100))
    assert whole.weight(10.0, 0.0) == pytest.approx(cut.weight(10.0, 0.0))


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_at_scale_zero_every_rule_learns_what_the_untouched_model_learns(
    walk: Any, weight: str, algorithm: str
) -> None:
    learnt = []
    for curious in (False, True):
        options = (
            SHORT if algorithm == "ppo" else {"learning_starts": 10, "policy_kwargs": {"net_arch": [4]}, "seed": 1}
        )
        model: Any = (PPO if algorithm == "ppo" else SAC)("MlpPolicy", DummyVecEnv([walk]), **options)
        if curious:
            attach(model, "counts", scale=0.0, weight=weight, learn_every=16)
        learnt.append(list(model.learn(48).policy.state_dict().values()))
    assert all(torch.equal(a, b) for a, b in zip(*learnt, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(("algorithm", "weight"), [("ppo", "fading"), ("ppo", "tuned")])
def test_a_stopped_run_ends_like_one_that_was_not(tmp_path: Path, algorithm: str, weight: str) -> None:
    config = small(algorithm, bonus="counts", weight=weight, steps=1024)
    result = train(config, tmp_path / "whole")
    train(config, tmp_path / "parts", stop_after=config.steps // 2)
    assert_same_run(tmp_path / "whole", tmp_path / "parts", result, train(config, tmp_path / "parts"))


def test_a_state_continues_bit_for_bit() -> None:
    first, second = Tuned(), Tuned()
    settle(first, 2.0, *parts(1.0), times=3)
    second.load_state_dict(first.state_dict())
    assert settle(first, 2.0, *parts(3.0), times=2) == settle(second, 2.0, *parts(3.0), times=2)


def test_the_weight_is_logged(walk: Any) -> None:
    model = attach(PPO("MlpPolicy", DummyVecEnv([walk]), **SHORT), "counts", scale=3.0).learn(16)
    assert curiosity(model).metrics["weight"] == 3.0


def test_names_of_the_command_line_are_those_of_the_table() -> None:
    assert tuple(WEIGHTS) == NAMES
    for name, kind in WEIGHTS.items():
        assert type(make_weight(name)) is kind
        RunConfig(task="CartPole-v1", weight=name).check()  # type: ignore[arg-type]


def test_a_rule_given_to_several_models_serves_each_as_if_it_were_the_first(walk: Any) -> None:
    rule, kept = Tuned(share=0.5), []
    for seed in range(2):
        model = attach(PPO("MlpPolicy", DummyVecEnv([walk]), n_steps=16, seed=seed), "rnd", weight=rule)
        kept.append(curiosity(model).rule)
        assert kept[-1].weight(0.7, 0.0) == 0.7
        model.learn(32)
    assert kept[0] is not kept[1]
    assert kept[0].share == 0.5


def test_unknown_weights_are_refused(walk: Any) -> None:
    model = PPO("MlpPolicy", DummyVecEnv([walk]), **SHORT)
    with pytest.raises(UnknownName, match="Did you mean 'fading'"):
        attach(model, "counts", weight="fadin")
    for wrong in (0.5, None, Fading):
        with pytest.raises(InvalidSettings, match="`weight` must be one of fixed, fading, tuned"):
            attach(model, "counts", weight=wrong)  # type: ignore[arg-type]
    with pytest.raises(VimeError, match="`weight` must be one of"):
        RunConfig(task="CartPole-v1", weight="adaptive").check()  # type: ignore[arg-type]
    with pytest.raises(InvalidSettings, match="`scale` must not be negative"):
        attach(model, "counts", scale=-1.0)


def test_a_state_of_another_weight_is_refused(walk: Any) -> None:
    one, two = (attach(PPO("MlpPolicy", DummyVecEnv([walk]), **SHORT), "counts", weight=w) for w in ("fixed", "tuned"))
    for here, there in ((one, two), (two, one)):
        with pytest.raises(CheckpointError, match="take the same"):
            curiosity(here).load_state_dict(curiosity(there).state_dict())


def test_a_bonus_that_the_environment_pays_already_is_warned_of(walk: Any) -> None:
    model = PPO("MlpPolicy", DummyVecEnv([lambda: vime.wrap(walk(), "counts")]), **SHORT)
    with pytest.warns(UserWarning, match="pays a bonus already"):
        attach(model, "counts")


def test_copies_that_do_not_say_how_they_are_wrapped_are_no_hindrance(walk: Any) -> None:
    class Mute(DummyVecEnv):
        def env_is_wrapped(self, *_: Any, **__: Any) -> list[bool]:
            raise NotImplementedError

    attach(PPO("MlpPolicy", Mute([walk]), **SHORT), "counts").learn(8)


@pytest.mark.parametrize(
    ("rule", "settings"),
    [
        (Fading, {"until": 0.0}),
        (Fading, {"until": 1.5}),
        (Fading, {"until": "half"}),
        (Tuned, {"share": -1}),
        (Tuned, {"gamma": 1.01}),
        (Tuned, {"memory": math.inf}),
        (Tuned, {"share": True}),
        (Tuned, {"most": 0.0}),
    ],
)
def test_settings_of_a_rule_are_checked(rule: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidSettings, match=next(iter(settings))):
        rule(**settings)


def test_a_weight_below_zero_cannot_be_tuned() -> None:
    ones, ends = np.ones((4, 1)), np.zeros((4, 1), bool)
    with pytest.raises(InvalidSettings, match="above zero"):
        Tuned().adapt(-1.0, ones, ones, ends)
