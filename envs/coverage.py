"""Where in the state space a run has been: a plane of cells for each task."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from envs.deep_sea import size_of
from envs.mazes import ANT_CELL, ANT_HORIZONS, MAZES, ROOMS
from envs.mountain_car import TIME_STEP
from envs.noisy_tv import NOISY
from envs.pixels import car_places, maze_cells

_BINS = (50, 50)


@dataclass(frozen=True)
class Projection:
    """A plane of cells over two numbers of an observation.

    Raises:
        ValueError: a range is empty, or there are no bins.
    """

    labels: tuple[str, str]
    """What the two axes show, with their unit."""
    low: tuple[float, float]
    high: tuple[float, float]
    bins: tuple[int, int]
    """Cells along each axis."""
    coordinates: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    """Takes observations `(n, d)` to the two numbers, `(n,)` each."""

    def __post_init__(self) -> None:
        if not all(low < high for low, high in zip(self.low, self.high, strict=True)):
            raise ValueError(f"`low` must lie below `high`; got {self.low} and {self.high}.")
        if min(self.bins) < 1:
            raise ValueError(f"`bins` must be positive; got {self.bins}.")

    def project(self, obs: np.ndarray) -> np.ndarray:
        """Returns the point on the plane of each of `n` observations: `(n, ...)` to `(n, 2)`."""
        obs = np.asarray(obs)
        obs = obs if obs.dtype == np.uint8 else obs.astype(np.float64)  # pictures stay small
        return np.stack(self.coordinates(obs.reshape(len(obs), -1)), axis=1).astype(np.float64)

    def cells(self, obs: np.ndarray) -> np.ndarray:
        """Returns the cell of each of `n` observations, -1 where it lies outside (or is NaN): `(n, ...)` to `(n,)`.

        Cell `i * bins[1] + j` is the `i`-th along the first axis and the `j`-th along the second.
        """
        low, high, bins = np.array(self.low), np.array(self.high), np.array(self.bins)
        points = self.project(obs)
        inside = np.all((points >= low) & (points <= high), axis=1)
        scaled = (np.where(inside[:, None], points, low) - low) / (high - low) * bins
        index = np.minimum(scaled.astype(np.int64), bins - 1)  # the upper edge belongs to the last cell
        return np.where(inside, index[:, 0] * bins[1] + index[:, 1], -1)


def projection(task_id: str) -> Projection | None:
    """Returns the plane on which exploration of a task is drawn and counted; None where none is known."""
    size = size_of(task_id)
    return _sea_plane(size) if size else _PROJECTIONS.get(task_id)


def _first_two(obs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return obs[:, 0], obs[:, 1]


def _pole(obs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.arctan2(obs[:, 3], obs[:, 2]), obs[:, 4]


def _runner(obs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return obs[:, 17], obs[:, 8]


def _pendulum(obs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.arctan2(obs[:, 1], obs[:, 0]), obs[:, 2]


def _two_links(obs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.arctan2(obs[:, 1], obs[:, 0]), np.arctan2(obs[:, 3], obs[:, 2])


def _position(obs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return obs[:, 0], np.full(len(obs), 0.5)


def _sea(obs: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    return obs[:, 0] % size, obs[:, 0] // size


def _sea_plane(size: int) -> Projection:
    """A cell of the plane for every cell of the sea; the end of a dive lies below."""
    last = size - 0.5
    return Projection(("column", "row"), (-0.5, -0.5), (last, last), (size, size), partial(_sea, size=size))


def _pixel_car(obs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    places = car_places(obs)
    return places[:, -1], (places[:, -1] - places[:, -2]) / TIME_STEP


def _maze_plane(name: str, cell: float = 1.0) -> Projection:
    """Five bins for every side of a cell."""
    x, y = 0.5 * cell * MAZES[name].columns, 0.5 * cell * MAZES[name].rows
    bins = (5 * MAZES[name].columns, 5 * MAZES[name].rows)
    return Projection(("x (m)", "y (m)"), (-x, -y), (x, y), bins, _first_two)


_CAR = Projection(("position (m)", "velocity (m/s)"), (-1.0, -3.5), (0.7, 3.5), _BINS, _first_two)
_POLE = Projection(("angle (rad), 0 upright", "angular velocity (rad/s)"), (-np.pi, -12.0), (np.pi, 12.0), _BINS, _pole)
_RUNNER = Projection(("position (m)", "forward speed (m/s)"), (-5.0, -5.0), (15.0, 7.0), _BINS, _runner)
_GYM_CAR = Projection(("position", "velocity"), (-1.2, -0.07), (0.6, 0.07), _BINS, _first_two)
_PENDULUM = Projection(
    ("angle (rad), 0 upright", "angular velocity (rad/s)"), (-np.pi, -8), (np.pi, 8), _BINS, _pendulum
)
_LINKS = Projection(("first angle (rad)", "second angle (rad)"), (-np.pi, -np.pi), (np.pi, np.pi), _BINS, _two_links)
_CHAIN = Projection(("position", ""), (-0.5, 0.0), (49.5, 1.0), (50, 1), _position)

_ROOMS = Projection(
    ("column", "row"), (-0.5, -0.5), (ROOMS.columns - 0.5, ROOMS.rows - 0.5), (ROOMS.columns, ROOMS.rows),
    partial(maze_cells, maze=ROOMS),
)  # fmt: skip

_PROJECTIONS = {
    "vime/MountainCar-v0": _CAR,
    "vime/SparseMountainCar-v0": _CAR,
    "vime/CartPoleSwingup-v0": _POLE,
    "vime/SparseCartPoleSwingup-v0": _POLE,
    "vime/SparseCartPoleSwingupWeak-v0": _POLE,
    "vime/HalfCheetah-v0": _RUNNER,
    "vime/SparseHalfCheetah-v0": _RUNNER,
    "vime/StochasticChain-v0": _CHAIN,
    "vime/PixelMountainCar-v0": replace(_CAR, coordinates=_pixel_car),
    "vime/PixelMountainCarWeak-v0": replace(_CAR, coordinates=_pixel_car),
    "vime/PixelMaze-v0": _ROOMS,
    "MountainCar-v0": _GYM_CAR,
    "MountainCarContinuous-v0": _GYM_CAR,
    "Pendulum-v1": _PENDULUM,
    "Acrobot-v1": _LINKS,
    **{f"vime/PointMaze{name}-v0": _maze_plane(name) for name in MAZES},
    **{f"vime/AntMaze{name}-v0": _maze_plane(name, ANT_CELL) for name in ANT_HORIZONS},
}
_PROJECTIONS |= {noisy: _PROJECTIONS[quiet] for noisy, quiet in NOISY.items()}
