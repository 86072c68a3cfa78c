"""One line of yaml makes an agent of rl_zoo3 curious: tested as the zoo does it, and with the zoo where it is."""

import copy
import importlib
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.callbacks import CheckpointCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

import vime
from agents import curiosity
from agents.zoo import CARRIED, Curious
from tests.agents.runs import same, weights

SMALL = {"hidden": [8], "width": 4, "passes": 1}
LINE: dict[str, Any] = {"agents.zoo.Curious": {"bonus": "rnd", "scale": 1000.0, "learn_every": 48, **SMALL}}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*mini-batch size.*|.*deprecated.*")
        yield


def callbacks(line: dict[str, Any]) -> list[Any]:
    """What rl_zoo3 makes of the value of `callback` in its yaml (`rl_zoo3.utils.get_callback_list`)."""
    (name, arguments), *others = line.items()
    assert not others
    module, _, cls = name.rpartition(".")
    return [getattr(importlib.import_module(module), cls)(**copy.deepcopy(arguments))]


def environment() -> VecNormalize:
    return VecNormalize(make_vec_env("CartPole-v1", n_envs=3, seed=1))


def model(env: Any = None) -> PPO:
    options: dict[str, Any] = {"n_steps": 16, "batch_size": 48, "n_epochs": 1, "policy_kwargs": {"net_arch": [8]}}
    return PPO("MlpPolicy", env or environment(), seed=3, **options)


def scaled(scale: float) -> dict[str, Any]:
    return {name: arguments | {"scale": scale} for name, arguments in LINE.items()}


def seen(state: dict[str, Any]) -> float:
    """Observations that the random networks were standardised by."""
    found = [0.0]
    for name, value in state.items():
        if isinstance(value, dict):
            found.append(seen(value))
        elif str(name).endswith("standardise.count"):
            found.append(float(value))
    return max(found)


def test_the_line_makes_the_agent_curious_and_weight_zero_changes_nothing() -> None:
    plain = model().learn(96)
    zero = model().learn(96, callback=callbacks(scaled(0.0)))
    huge = model().learn(96, callback=callbacks(LINE))
    assert same(weights(plain), weights(zero))
    assert not same(weights(plain), weights(huge))
    assert curiosity(huge).bonus.scale == 1000.0  # type: ignore[union-attr]
    assert seen(curiosity(huge).state_dict()) == 96  # type: ignore[union-attr]


def test_a_second_call_of_learn_goes_on_with_the_same_bonus() -> None:
    both = callbacks(LINE)
    learnt = model().learn(48, callback=both)
    first = curiosity(learnt)
    learnt.learn(48, callback=both, reset_num_timesteps=False)
    assert curiosity(learnt) is first


def test_a_loaded_model_goes_on_with_what_its_bonus_has_learnt(tmp_path: Path) -> None:
    learnt = model().learn(96, callback=callbacks(LINE))
    learnt.save(tmp_path / "model.zip")
    loaded = PPO.load(tmp_path / "model.zip", env=environment())
    assert curiosity(loaded) is None, "a saved model is plain until it is trained on"
    assert seen(getattr(loaded, CARRIED).state) == 96
    loaded.save(tmp_path / "again.zip")  # without having been trained on
    loaded = PPO.load(tmp_path / "again.zip", env=environment())
    loaded.learn(96, callback=callbacks(LINE))
    assert seen(curiosity(loaded).state_dict()) == 192  # type: ignore[union-attr]


def test_weight_and_second_value_head_go_with_the_model(tmp_path: Path) -> None:
    both = {"weight": "tuned", "streams": 2}
    line = {name: arguments | both for name, arguments in LINE.items()}
    learnt = model().learn(96, callback=callbacks(line))
    learnt.save(tmp_path / "model.zip")
    loaded = PPO.load(tmp_path / "model.zip", env=environment())
    curious = callbacks(line)[0]
    curious.init_callback(loaded)
    mine, theirs = curiosity(learnt), curiosity(loaded)
    assert mine.rule.state_dict() == theirs.rule.state_dict()  # type: ignore[union-attr]
    heads = (own.streams.state_dict()["head"] for own in (mine, theirs))  # type: ignore[union-attr]
    assert all(torch.equal(*parts) for parts in zip(*(head.values() for head in heads), strict=True))
    again = PPO.load(tmp_path / "model.zip", env=environment())
    line = {name: arguments | {"weight": "tuned"} for name, arguments in LINE.items()}
    with pytest.raises(vime.CheckpointError, match="streams"):
        callbacks(line)[0].init_callback(again)
    line = {name: arguments | {"streams": 2} for name, arguments in LINE.items()}
    with pytest.raises(vime.CheckpointError, match="weight Tuned, and here it is Fixed"):
        callbacks(line)[0].init_callback(PPO.load(tmp_path / "model.zip", env=environment()))


def test_a_weight_that_was_not_tuned_cannot_go_on_tuning(tmp_path: Path) -> None:
    model().learn(48, callback=callbacks(LINE)).save(tmp_path / "model.zip")
    line = {name: arguments | {"weight": "tuned"} for name, arguments in LINE.items()}
    with pytest.raises(vime.CheckpointError, match="weight"):
        callbacks(line)[0].init_callback(PPO.load(tmp_path / "model.zip", env=environment()))


def test_a_checkpoint_holds_the_bonus_of_its_moment(tmp_path: Path) -> None:
    every = CheckpointCallback(save_freq=16, save_path=str(tmp_path))
    model().learn(144, callback=[*callbacks(LINE), every])
    counts = [seen(getattr(PPO.load(tmp_path / f"rl_model_{n}_steps"), CARRIED).state) for n in (48, 96, 144)]
    assert counts == [0, 48, 96]  # the last step of a rollout is saved before the rollout is learnt from


def test_another_bonus_than_the_model_was_trained_with_is_refused(tmp_path: Path) -> None:
    model().learn(48, callback=callbacks(LINE)).save(tmp_path / "model.zip")
    loaded = PPO.load(tmp_path / "model.zip", env=environment())
    with pytest.raises(vime.CheckpointError, match="Icm"):
        loaded.learn(48, callback=callbacks({"agents.zoo.Curious": {"bonus": "icm", **SMALL}}))


def test_off_policy_and_the_scaling_as_yaml_gives_it() -> None:
    learner = DQN("MlpPolicy", environment(), learning_starts=8, policy_kwargs={"net_arch": [8]}, seed=3)
    line = {"agents.zoo.Curious": {"bonus": "rnd", "scaling": {"rule": "median", "window": 3}, **SMALL}}
    learner.learn(60, callback=callbacks(line))
    assert curiosity(learner).bonus.scaling == vime.Scaling(rule="median", window=3)  # type: ignore[union-attr]


def test_wrong_lines_are_refused_in_our_words() -> None:
    with pytest.raises(vime.InvalidSettings, match="`window`"):
        Curious("rnd", scaling={"window": "three"})
    with pytest.raises(vime.UnknownName, match="Did you mean 'rnd'"):
        model().learn(48, callback=Curious("rmd"))
    with pytest.raises(vime.InvalidSettings, match="Did you mean 'hidden'"):
        model().learn(48, callback=Curious("rnd", hiden=[8]))


YAML = """
CartPole-v1:
  n_envs: 3
  n_timesteps: 96
  policy: MlpPolicy
  normalize: true
  n_steps: 16
  batch_size: 48
  n_epochs: 1
  policy_kwargs: "dict(net_arch=[8])"
"""
ONE_LINE = "  callback: {agents.zoo.Curious: {bonus: rnd, scale: SCALE, hidden: [8], width: 4, passes: 1}}\n"


@pytest.mark.slow
def test_in_the_zoo_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rl_zoo3", reason="rl_zoo3 is not installed; the tests above go the same way without it")
    from rl_zoo3.train import train  # type: ignore[import-not-found]

    def trained(name: str, line: str, *arguments: str) -> PPO:
        config = tmp_path / f"{name}.yml"
        config.write_text(YAML + line)
        options = ["--algo", "ppo", "--env", "CartPole-v1", "--conf-file", str(config), "-f", str(tmp_path / name)]
        options += ["--seed", "3", "--eval-freq", "-1", "--device", "cpu", "--num-threads", "1"]
        monkeypatch.setattr(sys, "argv", ["train", *options, *arguments])
        train()
        return PPO.load(max(tmp_path.glob(f"{name}/ppo/CartPole-v1_*/CartPole-v1.zip")))

    plain = trained("plain", "")
    zero = trained("zero", ONE_LINE.replace("SCALE", "0"))
    huge = trained("huge", ONE_LINE.replace("SCALE", "1000"))
    assert same(weights(plain), weights(zero))
    assert not same(weights(plain), weights(huge))
    assert seen(getattr(huge, CARRIED).state) == 96

    before = next(tmp_path.glob("huge/ppo/CartPole-v1_1/CartPole-v1.zip"))
    again = trained("huge", ONE_LINE.replace("SCALE", "1000"), "--trained-agent", str(before))
    assert seen(getattr(again, CARRIED).state) == 192
