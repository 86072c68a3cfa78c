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
_BALLS = {f"vime/PointMaze{name}-v0": name for name in MAZES}
_ANTS = {f"vime/AntMaze{name}-v0": name for name in ANT_HORIZONS}

TASKS: tuple[str, ...] = (*(task.TASK for task in _CLASSIC), *_RUNNERS, *_SEAS, *_BALLS, *_ANTS, *NOISY)
"""The id of every task that needs no further package; `GRIDS` are those of MiniGrid."""

# every task cuts its episodes itself, at its `horizon`: a limit of Gymnasium's on top would cut longer ones unasked
for _task in _CLASSIC:
    _path = f"{_task.__module__}:{_task.__name__}"
    gym.register(_task.TASK, _path, vector_entry_point=f"{_path}Vector")
for _id, _size in _SEAS.items():
    _path, _settings = "envs.deep_sea:DeepSea", {"size": _size}
    gym.register(_id, _path, vector_entry_point=f"{_path}Vector", kwargs=_settings)
for _id, _name in _RUNNERS.items():  # named by path, so that MuJoCo is loaded only by those who run
    gym.register(_id, f"envs.half_cheetah:{_name}")
for _path, _mazes in (("envs.point_maze:PointMaze", _BALLS), ("envs.ant_maze:AntMaze", _ANTS)):
    for _id, _name in _mazes.items():
        gym.register(_id, _path, kwargs={"maze": _name})
for _id, _quiet in NOISY.items():
    gym.register(_id, "envs.noisy_tv:with_noisy_tv", kwargs={"task": _quiet})
for _id, _game in GRIDS.items():
    _pool = "envs.pooled_grids:PooledGrids" if poolable(_game) else None
    gym.register(_id, "envs.grids:Grid", vector_entry_point=_pool, kwargs={"game": _game})
