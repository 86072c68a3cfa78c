"""The example for users of CleanRL: plain PPO and a few marked lines."""

import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

SCRIPT = Path(__file__).parent.parent / "scripts" / "cleanrl_ppo.py"
MARK = "# curiosity"
MOST = 20  # lines


def load(name: str, lines: list[str]) -> Any:
    module = types.ModuleType(name)
    exec(compile("\n".join(lines), str(SCRIPT), "exec"), vars(module))
    return module


@pytest.fixture(scope="module")
def script() -> list[str]:
    return SCRIPT.read_text().splitlines()


def weights(module: Any, **options: Any) -> dict[str, torch.Tensor]:
    args = module.Args(task="vime/SparseMountainCar-v0", steps=3 * 4 * 64, copies=4, rollout=64, epochs=2, **options)
    agent, _ = module.train(args)
    return agent.state_dict()


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], two[name]) for name in one)


def test_few_lines_make_it_curious(script: list[str]) -> None:
    marked = [line for line in script if line.endswith(MARK)]
    assert 0 < len(marked) <= MOST
    assert sum("vime." in line for line in script) == sum("vime." in line for line in marked) + 1  # and the docstring


@pytest.mark.slow
def test_without_them_it_is_plain_and_weight_zero_is_the_same_to_the_bit(script: list[str]) -> None:
    curious = load("curious", script)
    plain = load("plain", [line for line in script if not line.endswith(MARK)])
    untouched = weights(plain)
    assert all(torch.isfinite(value).all() for value in untouched.values())
    assert same(untouched, weights(curious, scale=0.0))
    assert not same(untouched, weights(curious, scale=1000.0))
    assert not hasattr(plain, "vime")


def test_episodes_are_reported_with_the_return_of_the_task_alone(script: list[str]) -> None:
    module = load("curious", script)
    settings = {"steps": 2048, "copies": 2, "rollout": 512, "epochs": 1, "bonus": "rnd", "scale": 1e6}
    _, episodes = module.train(module.Args(task="vime/CartPoleSwingup-v0", **settings))
    steps, totals = np.array(episodes).T
    assert len(episodes) > 2
    assert (np.diff(steps) >= 0).all()
    assert steps[-1] <= 2048
    assert (np.abs(totals) <= 500).all(), "the task pays at most 1 a step, for at most 500 steps"


def test_choices_are_refused_in_a_sentence(script: list[str]) -> None:
    module = load("whole", script)
    with pytest.raises(SystemExit, match="continuous actions; CartPole-v1 has Discrete"):
        module.train(module.Args(task="CartPole-v1", copies=2))
