"""Small runs, and what must be equal between a run that was stopped and one that was not."""

from pathlib import Path
from typing import Any

import torch

from agents.config import RunConfig

CLOCKS = ("cpu_seconds", "wall_seconds", "peak_memory_mb", "resumed")
NET = {"policy_kwargs": {"net_arch": [16]}}
DYNA = {"hidden": [8], "heads": [8], "rollouts": 50, "updates": 5, "first_updates": 5, "refit_every": 60}
ON_POLICY = ("ppo", "a2c", "trpo", "recurrent-ppo")
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "ppo": ("CartPole-v1", {"n_steps": 64, "batch_size": 64, "n_epochs": 2}),
    "a2c": ("CartPole-v1", {}),
    "trpo": ("Pendulum-v1", {"n_steps": 64}),
    "recurrent-ppo": (
        "CartPole-v1",
        {"n_steps": 32, "batch_size": 64, "n_epochs": 1, "policy_kwargs": {"net_arch": [16], "lstm_hidden_size": 8}},
    ),
    "sac": ("Pendulum-v1", {"learning_starts": 50, "batch_size": 16}),
    "td3": ("Pendulum-v1", {"learning_starts": 50, "batch_size": 16}),
    "ddpg": (
        "Pendulum-v1",
        {"learning_starts": 50, "batch_size": 16, "action_noise": {"kind": "ornstein-uhlenbeck", "sigma": 0.2}},
    ),
    "dqn": ("CartPole-v1", {"learning_starts": 50, "batch_size": 16}),
    "dyna-sac": ("Pendulum-v1", {"learning_starts": 50, "batch_size": 16, "gradient_steps": 1, "dyna": DYNA}),
    "dyna-td3": ("Pendulum-v1", {"learning_starts": 50, "batch_size": 16, "gradient_steps": 1, "dyna": DYNA}),
    "dyna-dqn": ("CartPole-v1", {"learning_starts": 50, "batch_size": 16, "gradient_steps": 1, "dyna": DYNA}),
}


def small(algorithm: str = "ppo", **changes: Any) -> RunConfig:
    """A run of a second or two; `changes` are fields of the configuration."""
    task, settings = CASES[algorithm]
    on_policy = algorithm in ON_POLICY
    usual: dict[str, Any] = {
        "task": task,
        "algorithm": algorithm,
        "bonus": "none",
        "steps": 2048 if on_policy else 400,
        "environments": 4 if on_policy else None,
        "seed": 3,
        "bonus_settings": {"learn_every": 200},  # so that what is stopped and goes on has learned
        "algorithm_settings": {**NET, **settings},
    }
    return RunConfig(**usual | changes)


def weights(model: Any) -> list[torch.Tensor]:
    """All that the policy of a model has learnt, as it is now."""
    return [value.clone() for value in model.policy.state_dict().values()]


def same(mine: list[torch.Tensor], theirs: list[torch.Tensor]) -> bool:
    """Whether two policies are equal bit for bit."""
    return all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


def differences(first: Any, second: Any, where: str = "") -> list[str]:
    """Where two checkpoints differ in a single bit; the times of episodes, which are clock times, aside."""
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        same = first.dtype == second.dtype and first.shape == second.shape
        return [] if same and torch.equal(_bytes(first), _bytes(second)) else [where]
    if isinstance(first, dict) and isinstance(second, dict):
        if first.keys() != second.keys():
            return [f"{where} has other keys"]
        return [d for key in first if key != "t" for d in differences(first[key], second[key], f"{where}/{key}")]
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)):
        if len(first) != len(second):
            return [f"{where} has another length"]
        pairs = enumerate(zip(first, second, strict=True))
        return [d for i, (a, b) in pairs for d in differences(a, b, f"{where}/{i}")]
    same = type(first) is type(second) and (first == second or first != first)
    return [] if same else [where]


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def assert_same_run(first: Path, second: Path, result: dict[str, Any], again: dict[str, Any]) -> None:
    """Fails unless rows, weights, everything that a checkpoint holds, and the results are equal, clocks aside."""
    assert (first / "metrics.csv").read_bytes() == (second / "metrics.csv").read_bytes()
    one, two = (torch.load(out / "checkpoint.pt", weights_only=True) for out in (first, second))
    for state in (one, two):
        del state["volatile"]["python"]  # the type checker of the tests draws from it too
        state["self_imitation"] = state["run"]["self_imitation"]
    found = [
        d
        for part in ("learner", "progress", "volatile", "self_imitation")
        for d in differences(one[part], two[part], part)
    ]
    assert not found, found[:10]
    assert {k: v for k, v in result.items() if k not in CLOCKS} == {k: v for k, v in again.items() if k not in CLOCKS}
