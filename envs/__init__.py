"""Tasks where exploration decides; importing this package registers them with Gymnasium as `vime/...-v0`."""

import gymnasium as gym

from envs.cart_pole_swingup import CartPoleSwingup, SparseCartPoleSwingup, SparseCartPoleSwingupWeak
from envs.classic import ClassicEnv
from envs.coverage import Projection, projection
from envs.deep_sea import SIZES, DeepSea
from envs.grids import GRIDS, poolable, pooled
from envs.mazes import ANT_HORIZONS, MAZES
from envs.mountain_car import MountainCar, SparseMountainCar
from envs.noisy_tv import NOISY, NoisyTV
from envs.pixel_tasks import PixelMaze, PixelMountainCar, PixelMountainCarWeak
from envs.stochastic_chain import StochasticChain
from envs.vector import ClassicVectorEnv

__all__ = [
    "GRIDS",
    "NOISY",
    "TASKS",
    "CartPoleSwingup",
    "ClassicEnv",
    "ClassicVectorEnv",
    "DeepSea",
    "MountainCar",
    "NoisyTV",
    "PixelMaze",
    "PixelMountainCar",
    "PixelMountainCarWeak",
    "Projection",
    "SparseCartPoleSwingup",
    "SparseCartPoleSwingupWeak",
    "SparseMountainCar",
    "StochasticChain",
    "pooled",
    "projection",
]

_CLASSIC: tuple[type[ClassicEnv], ...] = (
    MountainCar,
    SparseMountainCar,
    CartPoleSwingup,
    SparseCartPoleSwingup,
    SparseCartPoleSwingupWeak,
    StochasticChain,
    PixelMountainCar,
    PixelMountainCarWeak,
    PixelMaze,
)
_RUNNERS = {"vime/HalfCheetah-v0": "HalfCheetah", "vime/SparseHalfCheetah-v0": "SparseHalfCheetah"}

_SEAS = {f"vime/DeepSea{size}-v0": size for size in SIZES}
_BALLS = {f"vime/PointMaze{name}-v0": (name, maze.horizon) for name, maze in MAZES.items()}
_ANTS = {f"vime/AntMaze{name}-v0": (name, horizon) for name, horizon in ANT_HORIZONS.items()}

TASKS: tuple[str, ...] = (*(task.TASK for task in _CLASSIC), *_RUNNERS, *_SEAS, *_BALLS, *_ANTS, *NOISY)
"""The id of every task that needs no further package; `GRIDS` are those of MiniGrid."""

for _task in _CLASSIC:
    _path = f"{_task.__module__}:{_task.__name__}"
    gym.register(_task.TASK, _path, vector_entry_point=f"{_path}Vector", max_episode_steps=_task.HORIZON)
for _id, _size in _SEAS.items():
    _path, _settings = "envs.deep_sea:DeepSea", {"size": _size}
    gym.register(_id, _path, vector_entry_point=f"{_path}Vector", max_episode_steps=_size + 1, kwargs=_settings)
for _id, _name in _RUNNERS.items():  # named by path, so that MuJoCo is loaded only by those who run
    gym.register(_id, f"envs.half_cheetah:{_name}", max_episode_steps=500)
for _path, _mazes in (("envs.point_maze:PointMaze", _BALLS), ("envs.ant_maze:AntMaze", _ANTS)):
    for _id, (_name, _horizon) in _mazes.items():
        gym.register(_id, _path, max_episode_steps=_horizon, kwargs={"maze": _name})
for _id, _quiet in NOISY.items():
    _horizon = gym.spec(_quiet).max_episode_steps
    gym.register(_id, "envs.noisy_tv:with_noisy_tv", max_episode_steps=_horizon, kwargs={"task": _quiet})
for _id, _game in GRIDS.items():
    _pool = "envs.pooled_grids:PooledGrids" if poolable(_game) else None
    gym.register(_id, "envs.grids:Grid", vector_entry_point=_pool, kwargs={"game": _game})
