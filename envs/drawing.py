"""Pictures of the classic tasks, drawn from an observation alone."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from envs import cart_pole_swingup, mountain_car
from envs.deep_sea import size_of
from envs.mazes import ANT_CELL, ANT_HORIZONS, MAZES, WALL, Maze
from envs.noisy_tv import NOISY

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

WIDTH, HEIGHT = 400, 240
"""pixels"""
PIXELS = ("vime/PixelMountainCar-v0", "vime/PixelMountainCarWeak-v0", "vime/PixelMaze-v0")
"""Tasks whose observations are pictures already."""
_OVERSAMPLED = 2
_STEP = 1e-4
"""m; from it a track's slope is told"""
_PAPER, _INK, _BODY, _ACCENT, _PALE = "#ffffff", "#333333", "#2b6cb0", "#d9480f", "#d5dbe1"


def frame(task_id: str, obs: np.ndarray) -> np.ndarray | None:
    """Returns the picture of one observation, uint8 `(240, 400, 3)`; None for a task that is not drawn here.

    Raises:
        gymnasium.error.DependencyNotInstalled: Pillow is missing.
    """
    if task_id in PIXELS:
        return _enlarged(np.asarray(obs)[-1])
    size = size_of(task_id)
    draw = partial(_draw_sea, size=size) if size else _PAINTERS.get(task_id)
    if draw is None:
        return None
    try:
        from PIL import Image, ImageDraw
    except ImportError as reason:
        from gymnasium.error import DependencyNotInstalled

        raise DependencyNotInstalled("Pictures need Pillow: run `pip install pillow`.") from reason
    image = Image.new("RGB", (_OVERSAMPLED * WIDTH, _OVERSAMPLED * HEIGHT), _PAPER)
    draw(ImageDraw.Draw(image), np.asarray(obs, np.float64).ravel())
    return np.asarray(image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS))


def _enlarged(picture: np.ndarray) -> np.ndarray:
    """Returns a grey picture as large as fits, in the middle of white paper."""
    times = min(WIDTH // picture.shape[1], HEIGHT // picture.shape[0])
    large = picture.repeat(times, axis=0).repeat(times, axis=1)
    canvas = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    top, left = (HEIGHT - large.shape[0]) // 2, (WIDTH - large.shape[1]) // 2
    canvas[top : top + large.shape[0], left : left + large.shape[1]] = large[..., None]
    return canvas


def _draw_gym_car(pen: "ImageDraw", obs: np.ndarray) -> None:
    """Gymnasium's car, its track shifted to the middle and stretched to the size of ours."""
    stretch = 2.0
    valley = -np.pi / 6

    def height(x: Any) -> Any:
        return stretch * (0.45 + 0.45 * np.sin(3 * (x / stretch + valley)))

    shifted = np.array([stretch * (obs[0] - valley)])
    _draw_car(pen, shifted, height, (stretch * (-1.2 - valley), stretch * (0.6 - valley)), stretch * (0.45 - valley))


def _draw_car(
    pen: "ImageDraw",
    obs: np.ndarray,
    height: Callable[[Any], Any] = mountain_car.height,
    edges: tuple[float, float] = (-mountain_car.EDGE, mountain_car.EDGE),
    flag: float = mountain_car.FLAG,
) -> None:
    scale = _OVERSAMPLED * 95

    def at(x: float, up: float) -> tuple[float, float]:
        return scale * (x + 0.5 * WIDTH * _OVERSAMPLED / scale), _OVERSAMPLED * (HEIGHT - 20) - scale * up

    track = np.linspace(*edges, 200)
    pen.line([at(x, height(x)) for x in track], fill=_INK, width=2 * _OVERSAMPLED)
    base = float(height(flag))
    pen.line([at(flag, base), at(flag, base + 0.45)], fill=_INK, width=2 * _OVERSAMPLED)
    pen.polygon([at(flag, base + 0.45), at(flag, base + 0.27), at(flag + 0.22, base + 0.36)], fill=_ACCENT)
    x = float(obs[0])
    slope = float(height(x + _STEP) - height(x - _STEP)) / (2 * _STEP)
    along = np.array([1.0, slope]) / np.hypot(1.0, slope)
    above = np.array([-along[1], along[0]])
    middle = np.array([x, height(x)])
    box = [middle + 0.2 * a * along + (0.05 + b) * above for a, b in ((-1, 0), (1, 0), (0.7, 0.15), (-0.7, 0.15))]
    pen.polygon([at(*corner) for corner in box], fill=_BODY)
    for side in (-0.12, 0.12):
        u, v = at(*(middle + side * along + 0.05 * above))
        radius = 0.05 * scale
        pen.ellipse([u - radius, v - radius, u + radius, v + radius], fill=_INK)


def _draw_pole(pen: "ImageDraw", obs: np.ndarray) -> None:
    scale = _OVERSAMPLED * 60
    x, cosine, sine = float(obs[0]), float(obs[2]), float(obs[3])
    middle, level = 0.5 * WIDTH * _OVERSAMPLED, 0.55 * HEIGHT * _OVERSAMPLED
    rail, tall = cart_pole_swingup.RAIL * scale, 0.15 * scale
    pen.line([middle - rail, level, middle + rail, level], fill=_INK, width=2 * _OVERSAMPLED)
    for end in (-rail, rail):
        pen.line([middle + end, level - tall, middle + end, level + tall], fill=_INK, width=2 * _OVERSAMPLED)
    u = middle + scale * x
    pen.rectangle([u - 2 * tall, level - tall, u + 2 * tall, level + tall], fill=_BODY)
    length = cart_pole_swingup.POLE_LENGTH * scale
    tip = (u + length * sine, level - length * cosine)
    paid = cosine > cart_pole_swingup.UPRIGHT_COSINE
    pen.line([(u, level), tip], fill=_ACCENT if paid else _INK, width=5 * _OVERSAMPLED)
    for centre, radius in (((u, level), 4 * _OVERSAMPLED), (tip, 5 * _OVERSAMPLED)):
        pen.ellipse(
            [centre[0] - radius, centre[1] - radius, centre[0] + radius, centre[1] + radius],
            fill=_ACCENT if paid else _INK,
        )


def _draw_chain(pen: "ImageDraw", obs: np.ndarray) -> None:
    columns, cell, first = 10, 20 * _OVERSAMPLED, 5 * _OVERSAMPLED
    left, top = 0.5 * (WIDTH * _OVERSAMPLED - 10 * 1.5 * cell), 2 * cell
    for state in range(50):
        row, column = divmod(state, columns)
        u, v = left + 1.5 * cell * column + first, top + 1.6 * cell * row
        colour = _BODY if state == int(obs[0]) else _PALE
        pen.rectangle([u, v, u + cell, v + cell], fill=colour, outline=_ACCENT if state in (0, 49) else _INK)


def _draw_sea(pen: "ImageDraw", obs: np.ndarray, size: int) -> None:
    cell = (HEIGHT - 16) * _OVERSAMPLED / size
    left, top = 0.5 * (WIDTH * _OVERSAMPLED - size * cell), 8 * _OVERSAMPLED
    pen.rectangle([left, top, left + size * cell, top + size * cell], fill=_PALE, outline=_INK)
    corner = left + (size - 1) * cell, top + (size - 1) * cell
    pen.rectangle([*corner, corner[0] + cell, corner[1] + cell], fill=_ACCENT)
    row, column = divmod(int(obs[0]), size)
    if row < size:
        pen.ellipse([left + column * cell, top + row * cell, left + (column + 1) * cell, top + (row + 1) * cell], _BODY)


class _Plan:
    """A maze from above, filling the picture: walls and goal, and where on it things lie, in sides of a cell."""

    def __init__(self, pen: "ImageDraw", maze: Maze) -> None:
        self.cell = _OVERSAMPLED * min(WIDTH / maze.columns, HEIGHT / maze.rows)
        for wall in maze.find(WALL):
            pen.rectangle(self.square(maze.middle(wall), 0.5), fill=_PALE)
        pen.ellipse(self.square(maze.middle(maze.goal), 0.35), outline=_ACCENT, width=3 * _OVERSAMPLED)

    def point(self, place: Any) -> tuple[float, float]:
        """Returns the pixel of a place."""
        return 0.5 * WIDTH * _OVERSAMPLED + self.cell * place[0], 0.5 * HEIGHT * _OVERSAMPLED - self.cell * place[1]

    def square(self, place: Any, half: float) -> list[float]:
        """Returns the square about a place."""
        (u, v), reach = self.point(place), half * self.cell
        return [u - reach, v - reach, u + reach, v + reach]


def _draw_ball(pen: "ImageDraw", obs: np.ndarray, maze: Maze) -> None:
    pen.ellipse(_Plan(pen, maze).square(obs[:2], 0.15), fill=_BODY)


def _draw_ant(pen: "ImageDraw", obs: np.ndarray, maze: Maze) -> None:
    """The legs from above, as they lie where the torso does not tip."""
    plan, place = _Plan(pen, maze), obs[:2] / ANT_CELL
    w, x, y, z = obs[3:7]
    heading = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    for leg in range(4):
        out = heading + np.pi * (0.25 + 0.5 * leg)
        ends = [0.28, 0.28, 0.57 * np.cos(obs[8 + 2 * leg])]  # m: hip, thigh and foot
        turns = [out, out + obs[7 + 2 * leg], out + obs[7 + 2 * leg]]
        steps = [r * np.array([np.cos(a), np.sin(a)]) / ANT_CELL for r, a in zip(ends, turns, strict=True)]
        points = place + np.cumsum([np.zeros(2), *steps], axis=0)
        pen.line([plan.point(point) for point in points], fill=_INK, width=2 * _OVERSAMPLED)
    pen.ellipse(plan.square(place, 0.25 / ANT_CELL), fill=_BODY)


_PAINTERS = {
    "vime/MountainCar-v0": _draw_car,
    "vime/SparseMountainCar-v0": _draw_car,
    "vime/CartPoleSwingup-v0": _draw_pole,
    "vime/SparseCartPoleSwingup-v0": _draw_pole,
    "vime/SparseCartPoleSwingupWeak-v0": _draw_pole,
    "MountainCar-v0": _draw_gym_car,
    "MountainCarContinuous-v0": _draw_gym_car,
    "vime/StochasticChain-v0": _draw_chain,
    **{f"vime/PointMaze{name}-v0": partial(_draw_ball, maze=maze) for name, maze in MAZES.items()},
    **{f"vime/AntMaze{name}-v0": partial(_draw_ant, maze=MAZES[name]) for name in ANT_HORIZONS},
}
_PAINTERS |= {noisy: _PAINTERS[quiet] for noisy, quiet in NOISY.items()}
