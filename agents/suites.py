"""Suites: tasks that are compared together, each with the recipe it needs. Importing it does not import torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

Recipe = Mapping[str, Any]
"""Fields of a run, the same for every bonus."""


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Tasks that are compared together."""

    summary: str
    """One line for a list."""
    tasks: tuple[str, ...]
    """Names of the tasks, in order."""
    recipes: Mapping[str, Recipe] = field(default_factory=dict)
    """By task: fields of a run that differ from what `vime compare` does unless told otherwise."""
    controls: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By task: algorithms that run without a bonus, beside the control `none`."""

    def to_json(self) -> dict[str, Any]:
        """Returns the suite as values that JSON can hold."""
        return {
            "summary": self.summary,
            "tasks": list(self.tasks),
            "recipes": {task: dict(self.recipes[task]) for task in self.tasks if task in self.recipes},
            "controls": {task: list(self.controls[task]) for task in self.tasks if task in self.controls},
        }


_CAR = "vime/SparseMountainCar-v0"
_POLE = "vime/SparseCartPoleSwingup-v0"
_WEAK = "vime/SparseCartPoleSwingupWeak-v0"
_RUNNER = "vime/SparseHalfCheetah-v0"
_NOISY_CAR = "vime/SparseMountainCarNoisyTV-v0"
_NOISY_WEAK = "vime/SparseCartPoleSwingupWeakNoisyTV-v0"
_SEAS = {f"vime/DeepSea{size}-v0": size for size in (10, 20, 30, 40, 50)}
_MAZES = {"vime/PointMazeUMaze-v0": 150_000, "vime/PointMazeMedium-v0": 300_000, "vime/PointMazeLarge-v0": 500_000}
_ROOMS = {"vime/MiniGrid-DoorKey-8x8-v0": 500_000, "vime/MiniGrid-MultiRoom-N4-S5-v0": 600_000}
_LOCKS = {
    "vime/MiniGrid-KeyCorridorS3R3-v0": 2_000_000,
    "vime/MiniGrid-ObstructedMaze-2Dlh-v0": 5_000_000,
    "vime/MiniGrid-LockedRoom-v0": 2_000_000,
}
_IN_ROOMS: Recipe = {
    "environments": 64,
    "scale": 0.3,  # a whole episode of novelty is then worth less than the goal
    "streams": 2,  # or the end of an episode, which the goal is, would cost the novelty that is left
    "algorithm_settings": {
        "n_steps": 128,
        "batch_size": 1024,
        "n_epochs": 4,
        "learning_rate": 5e-4,
        "ent_coef": 0.01,
        "policy_kwargs": {"net_arch": [64], "activation_fn": "relu"},
    },
}
_BEHIND_LOCKS: Recipe = {
    **_IN_ROOMS,
    "self_imitation": True,  # or a goal met once in a hundred episodes would be forgotten
    "algorithm_settings": {**_IN_ROOMS["algorithm_settings"], "gamma": 0.995},  # episodes of hundreds of steps
}

_PIXELS = {
    "vime/PixelMountainCar-v0": 60_000,
    "vime/PixelMountainCarWeak-v0": 120_000,
    "vime/PixelMaze-v0": 60_000,
}
_SEEN: Recipe = {
    "algorithm_settings": {
        "n_epochs": 4,
        "policy_kwargs": {"features_extractor_class": "patches"},  # a third of the time of SB3's convolutions
    },
}

DIVES = 10_000
"""Episodes on every deep sea, as many as bsuite has."""

RECIPES: Mapping[str, Recipe] = {
    _CAR: {"steps": 60_000},
    _POLE: {"steps": 60_000},
    _WEAK: {"steps": 100_000},
    _RUNNER: {
        "steps": 1_000_000,
        "streams": 2,  # with one the reward is found and lost again
        "algorithm_settings": {
            "n_steps": 512,  # whole episodes,
            "gamma": 0.995,  # for 5 m are 400 steps from the start
            "gae_lambda": 0.97,
            "normalize_advantage": False,  # or a rollout without reward would follow its little bonus with full force
        },
    },
    _NOISY_CAR: {"steps": 60_000},
    _NOISY_WEAK: {"steps": 100_000},
    **{
        task: {
            "steps": DIVES * size,
            "environments": 32,
            "streams": 2,  # what a dive found new must not end with it, for all end alike
            "algorithm_settings": {
                "n_steps": size,  # a rollout is of whole dives,
                "gae_lambda": 1.0,  # and each choice is judged by all that came after it
                "n_epochs": 4,
                "learning_rate": 0.01,
                "ent_coef": 0.01,
                "policy_kwargs": {"net_arch": []},  # every cell its own number: actions mean another thing in each
            },
        }
        for task, size in _SEAS.items()
    },
    **{task: {"steps": steps} for task, steps in _MAZES.items()},
    **{task: {"steps": steps, **_IN_ROOMS} for task, steps in _ROOMS.items()},
    **{task: {"steps": steps, **_BEHIND_LOCKS} for task, steps in _LOCKS.items()},
    **{task: {"steps": steps, **_SEEN} for task, steps in _PIXELS.items()},
}
"""What every task needs, the same for all bonuses and in all suites."""

_MOTORS = (_CAR, _POLE, _WEAK, _RUNNER, _NOISY_CAR, _NOISY_WEAK, *_MAZES)
CONTROLS: Mapping[str, tuple[str, ...]] = dict.fromkeys(_MOTORS, ("ppo-entropy", "ppo-gsde"))
"""What runs without a bonus on a task, beside the control `none`; on seas and in rooms all are paid for entropy."""


def _suite(summary: str, *tasks: str) -> Suite:
    return Suite(
        summary=summary,
        tasks=tasks,
        recipes={task: RECIPES[task] for task in tasks},
        controls={task: CONTROLS[task] for task in tasks if task in CONTROLS},
    )


SUITES: Mapping[str, Suite] = MappingProxyType(
    {
        "quick": _suite(
            "a look that takes minutes: a small deep sea and the weak cart-pole", "vime/DeepSea10-v0", _WEAK
        ),
        "sparse-control": _suite(
            "the sparse control tasks of the VIME paper, and the weak cart-pole", _CAR, _POLE, _WEAK, _RUNNER
        ),
        "deep-sea": _suite("bsuite's deep sea of sizes 10 to 50, where one random dive in 2^size pays", *_SEAS),
        "point-maze": _suite("a ball in three mazes, paid at the far end alone", *_MAZES),
        "minigrid": _suite(
            "rooms, doors and keys seen through a window of 7x7 cells, paid at the goal alone", *_ROOMS, *_LOCKS
        ),
        "pixels": _suite("sparse mountain cars and a maze, seen as small grey pictures", *_PIXELS),
        "noisy-tv": _suite(
            "two sparse tasks, each with and without a television", _CAR, _NOISY_CAR, _WEAK, _NOISY_WEAK
        ),
        "all": _suite("every task of every suite", *RECIPES),
    }
)
"""Every suite by its name."""
