"""Tasks where exploration decides; importing this package registers them with Gymnasium as `vime/...-v0`."""

import gymnasium as gym

from envs.cart_pole_swingup import CartPoleSwingup, SparseCartPoleSwingup, SparseCartPoleSwingupWeak
from envs.classic import ClassicEnv
from envs.coverage import Projection, projection
from envs.mountain_car import MountainCar, SparseMountainCar
from envs.noisy_tv import NoisyTV
from envs.stochastic_chain import StochasticChain
from envs.vector import ClassicVectorEnv

__all__ = [
    "TASKS",
    "CartPoleSwingup",
    "ClassicEnv",
    "ClassicVectorEnv",
    "MountainCar",
    "NoisyTV",
    "Projection",
    "SparseCartPoleSwingup",
    "SparseCartPoleSwingupWeak",
    "SparseMountainCar",
    "StochasticChain",
    "projection",
]

_CLASSIC: tuple[type[ClassicEnv], ...] = (
    MountainCar,
    SparseMountainCar,
    CartPoleSwingup,
    SparseCartPoleSwingup,
    SparseCartPoleSwingupWeak,
    StochasticChain,
)
_RUNNERS = {"vime/HalfCheetah-v0": "HalfCheetah", "vime/SparseHalfCheetah-v0": "SparseHalfCheetah"}

TASKS: tuple[str, ...] = (*(task.TASK for task in _CLASSIC), *_RUNNERS)
"""The id of every task."""

for _task in _CLASSIC:
    _path = f"{_task.__module__}:{_task.__name__}"
    gym.register(_task.TASK, _path, vector_entry_point=f"{_path}Vector", max_episode_steps=_task.HORIZON)
for _id, _name in _RUNNERS.items():  # named by path, so that MuJoCo is loaded only by those who run
    gym.register(_id, f"envs.half_cheetah:{_name}", max_episode_steps=500)
