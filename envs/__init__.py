"""Tasks where exploration decides; importing this package registers them with Gymnasium as `vime/...-v0`."""

import gymnasium as gym

from envs.cart_pole_swingup import CartPoleSwingup, SparseCartPoleSwingup, SparseCartPoleSwingupWeak
from envs.classic import ClassicEnv
from envs.mountain_car import MountainCar, SparseMountainCar
from envs.vector import ClassicVectorEnv

_CLASSIC: tuple[type[ClassicEnv], ...] = (
    MountainCar,
    SparseMountainCar,
    CartPoleSwingup,
    SparseCartPoleSwingup,
    SparseCartPoleSwingupWeak,
)

TASKS: tuple[str, ...] = tuple(task.TASK for task in _CLASSIC)
"""The id of every task."""

for _task in _CLASSIC:
    _path = f"{_task.__module__}:{_task.__name__}"
    gym.register(
        _task.TASK, entry_point=_path, vector_entry_point=f"{_path}Vector", max_episode_steps=_task.HORIZON
    )
