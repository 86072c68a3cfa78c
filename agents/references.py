"""What scores mean: of random actions, of the best that is known, and from where on a task counts as solved."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The scores of one task, as mean return per episode, against which results are measured."""

    random: float
    """Of uniform random actions, measured by `scripts/random_scores.py`."""
    best: float
    """The best that is known, or that the rules allow."""
    solved: float
    """A run whose final return reaches this has solved the task."""
    steps: int = 0
    """Environment steps after which `best` was reached; 0 where it is the bound that the rules set."""
    source: str = "the bound that the rules set"
    """Where `best` comes from, and what else is published."""


def _success(random: float, source: str = "the bound that the rules set", solved: float = 0.5) -> Reference:
    """A task whose return is the success, at most 1."""
    return Reference(random=random, best=1.0, solved=solved, source=source)


_OURS = "own measurement: the best run of results/"
_ZOO = "the bound of the return; rl-zoo3's PPO (flat observation, one run, benchmark.md):"

REFERENCES: Mapping[str, Reference] = MappingProxyType(
    {
        "vime/SparseMountainCar-v0": _success(0.0025),
        "vime/SparseCartPoleSwingup-v0": Reference(
            random=0.3736,
            best=131.1,
            solved=65.5,
            steps=60_000,
            source=f"{_OURS}cart_pole_paper (expected-gain, seed 0)",
        ),
        "vime/SparseCartPoleSwingupWeak-v0": Reference(
            random=0.0, best=88.0, solved=44.0, steps=100_000, source=f"{_OURS}baselines (e3b, seed 0)"
        ),
        "vime/SparseHalfCheetah-v0": Reference(
            random=0.0, best=237.3, solved=118.6, steps=1_000_000, source=f"{_OURS}half_cheetah (expected-gain, seed 0)"
        ),
        "vime/SparseMountainCarNoisyTV-v0": _success(0.0075),
        "vime/SparseCartPoleSwingupWeakNoisyTV-v0": Reference(
            random=0.0, best=88.0, solved=44.0, steps=100_000, source=f"{_OURS}baselines (e3b, seed 0), without noise"
        ),
        **{
            f"vime/DeepSea{size}-v0": Reference(random=random, best=0.99, solved=0.5, source="the only dive that pays")
            for size, random in ((10, -0.004), (20, -0.005), (30, -0.005), (40, -0.005), (50, -0.005))
        },
        "vime/PointMazeUMaze-v0": _success(0.0),
        "vime/PointMazeMedium-v0": _success(0.003),
        "vime/PointMazeLarge-v0": _success(0.0),
        "vime/PixelMountainCar-v0": _success(0.0025),
        "vime/PixelMountainCarWeak-v0": _success(0.0),
        "vime/PixelMaze-v0": _success(0.0),
        "vime/MiniGrid-DoorKey-8x8-v0": _success(
            0.0165, "the bound of the return; DEIR 0.908 after 122,880 steps (log in its README)", solved=0.9
        ),
        "vime/MiniGrid-KeyCorridorS3R3-v0": _success(
            0.0006, f"{_ZOO} no row; KeyCorridorS3R1 0.949 after 500,000 steps"
        ),
        "vime/MiniGrid-MultiRoom-N4-S5-v0": _success(0.0, f"{_ZOO} 0.000 after 10,000,000 steps"),
        "vime/MiniGrid-ObstructedMaze-2Dlh-v0": _success(0.0018, f"{_ZOO} 0.000 after 10,000,000 steps"),
        "vime/MiniGrid-LockedRoom-v0": _success(0.0, f"{_ZOO} 0.000 after 10,000,000 steps"),
    }
)
"""The tasks of the suites."""


def normalised(task: str, score: float) -> float | None:
    """Returns `score` on a scale where random actions have 0 and the best that is known has 1.

    None for a task without reference.
    """
    reference = REFERENCES.get(task)
    if reference is None:
        return None
    return (score - reference.random) / (reference.best - reference.random)


def is_solved(task: str, score: float) -> bool | None:
    """Returns whether a run whose final return is `score` solved the task; None for a task without reference."""
    reference = REFERENCES.get(task)
    return None if reference is None else score >= reference.solved
