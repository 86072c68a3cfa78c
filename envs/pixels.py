"""Small grey pictures of tasks in the place of their states: tables of frames, drawn once with numpy alone."""

from functools import cache

import numpy as np
from gymnasium import spaces

from envs.mazes import GOAL, WALL, Maze
from envs.mountain_car import height

SIDE = 42
"""pixels"""
FRAMES = 2
"""Pictures in an observation, the newest last: two show a velocity."""
WINDOW = 1.26
"""m to either side of the valley that the picture of the car shows; no car gets beyond before it gets to the flag"""
PARTS = 16
"""Places of the car that are told apart within a pixel, by how bright its edges are"""
CAR, TRACK, WALLS, PRIZE = 255, 70, 90, 170
"""Grey levels; the ground is black, and what moves is the brightest"""
_METRE = SIDE / (2 * WINDOW)
_RADIUS = 2.5  # pixels, of the car
_GROUND = 0.3  # m below the valley that the picture shows


def picture_space() -> spaces.Box:
    """Returns the space of observations: `FRAMES` pictures of `SIDE` x `SIDE` bytes."""
    return spaces.Box(0, 255, (FRAMES, SIDE, SIDE), np.uint8)


@cache
def valley() -> np.ndarray:
    """Returns the picture of the track alone, uint8 `(side, side)`."""
    x = (np.arange(SIDE) + 0.5) / _METRE - WINDOW
    surface = SIDE - (height(x) + _GROUND) * _METRE  # pixels from the top
    depth = np.arange(SIDE)[:, None] + 0.5 - surface
    return (TRACK * np.clip(depth + 0.5, 0, 1)).round().astype(np.uint8)


@cache
def cars() -> np.ndarray:
    """Returns the picture of the car at every place: uint8 `(places, side, side)`, from left to right."""
    x = np.linspace(-WINDOW, WINDOW, SIDE * PARTS + 1)[:, None, None]
    right = (x + WINDOW) * _METRE
    down = SIDE - (height(x) + _GROUND) * _METRE - _RADIUS
    middles = np.arange(SIDE) + 0.5
    distance = np.hypot(middles - right, middles[:, None] - down)
    share = np.clip(_RADIUS + 0.5 - distance, 0, 1)  # of the pixel that is car, about
    ground = valley().astype(float)
    return (ground + share * (CAR - ground)).round().astype(np.uint8)


def car_frames(x: np.ndarray) -> np.ndarray:
    """Returns the picture of the car at `x`, in m; `(...)` to `(..., side, side)`."""
    place = np.rint((np.asarray(x) + WINDOW) * (_METRE * PARTS)).astype(np.int64)
    return cars()[np.clip(place, 0, SIDE * PARTS)]


def car_places(obs: np.ndarray) -> np.ndarray:
    """Returns where the car is in each picture of `n` observations, in m, by its centre of light: `(n, frames)`."""
    ground = valley().astype(np.float32)
    light = (obs.reshape(len(obs), FRAMES, SIDE, SIDE).astype(np.float32) - ground) / (CAR - ground)
    columns = light.sum(2)
    middles = (np.arange(SIDE, dtype=np.float32) + 0.5) / _METRE - WINDOW
    return (columns @ middles) / np.maximum(columns.sum(2), 1e-6)


@cache
def maze_frames(maze: Maze) -> np.ndarray:
    """Returns the picture of the walker in every cell of a square maze, row by row: uint8 `(cells, side, side)`."""
    size = SIDE // maze.columns
    ground = np.zeros((maze.rows, maze.columns), np.uint8)
    for kind, grey in ((WALL, WALLS), (GOAL, PRIZE)):
        for cell in maze.find(kind):
            ground[cell] = grey
    cells = np.repeat(ground[None], ground.size, axis=0)
    cells.reshape(ground.size, -1)[np.arange(ground.size), np.arange(ground.size)] = CAR
    return cells.repeat(size, axis=1).repeat(size, axis=2)


def maze_cells(obs: np.ndarray, maze: Maze) -> tuple[np.ndarray, np.ndarray]:
    """Returns column and row of the walker in the newest picture of `n` observations, `(n,)` each."""
    size = SIDE // maze.columns
    newest = obs.reshape(len(obs), FRAMES, SIDE, SIDE)[:, -1, ::size, ::size]
    row, column = np.divmod(newest.reshape(len(obs), -1).argmax(1), maze.columns)
    return column, row
