"""Where an exploration has been: how many states, and pictures of them."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from agents.planning.recording import Recording
from envs.coverage import Projection, projection
from envs.deep_sea import DeepSea
from envs.noisy_tv import NOISY, NoisyTV

CELLS = 20
"""Into which the range of a bounded entry is cut."""
WIDTH = 0.5
"""Of a cell along an entry without bounds, in its own unit."""
MOST_FRAMES = 125
SIDE = 240
"""Pixels of a map in the animation."""
DOT = 4
LEAST = 1e-3
"""Nats below which a step is drawn at the edge."""
PAPER, SEEN, HERE = (255, 255, 255), (15, 96, 166), (217, 72, 15)


class States:
    """Counts the distinct states among observations.

    On the plane of a task that has one (`envs.coverage`), cells of it; values of discrete spaces as they are; else
    boxes of all entries, a twentieth of its range along an entry with bounds and 0.5 along one without.

    Args:
        shown: the task whose observations these are, as `shown_task` says.
        space: of an observation.
    """

    def __init__(self, shown: str | None, space: gymnasium.Space) -> None:
        self.plane, self.space = None if shown is None else projection(shown), space
        self.seen: set[Any] = set()

    def add(self, obs: Any) -> int:
        """Takes an observation in; returns how many states there were so far."""
        self.seen.add(self._key(obs))
        return len(self.seen)

    def _key(self, obs: Any) -> Any:
        if self.plane is not None:
            return int(self.plane.cells(np.asarray(obs)[None])[0])
        if isinstance(obs, dict):
            return tuple(_cell(self.space[key], part) for key, part in sorted(obs.items()))  # type: ignore[index]
        return _cell(self.space, obs)


def shown_task(env: gymnasium.Env) -> str | None:
    """Returns the task as whose its observations can be mapped and drawn; None where a wrapper has changed them."""
    task = env.spec.id if env.spec is not None else None
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, NoisyTV) and task in NOISY:
            return task
        if isinstance(env, gymnasium.ObservationWrapper) or env.observation_space != env.env.observation_space:
            return None
        env = env.env
    return env.TASK if isinstance(env, DeepSea) else task  # a sea of another size is another task


def _cell(space: gymnasium.Space, value: Any) -> Any:
    array = np.asarray(value)
    if not isinstance(space, spaces.Box) or not np.issubdtype(array.dtype, np.floating):
        return array.tobytes()
    low, high = space.low.astype(float), space.high.astype(float)
    bounded = np.isfinite(low) & np.isfinite(high) & (high - low < 1e6)
    width = np.where(bounded, (high - low) / CELLS, WIDTH)
    origin = np.where(bounded, low, 0.0)
    return np.floor((array - origin) / np.where(width > 0, width, 1.0)).astype(np.int64).tobytes()


def plane_of(shown: str | None, observations: np.ndarray) -> Projection:
    """Returns the plane of the task, or one of the first two numbers of an observation over all that were seen."""
    known = None if shown is None else projection(shown)
    if known is not None:
        return known
    points = _first_two(observations.reshape(len(observations), -1).astype(float))
    low, high = points[0].min(), points[0].max()
    below, above = points[1].min(), points[1].max()
    margin, room = 0.05 * (high - low) + 1e-6, 0.05 * (above - below) + 1e-6
    bins = (2 * CELLS, 2 * CELLS)
    labels = ("first number", "second number")
    corners = (low - margin, below - room), (high + margin, above + room)
    return Projection(labels, *corners, bins, lambda obs: _first_two(obs))


def _first_two(obs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return obs[:, 0], obs[:, 1] if obs.shape[1] > 1 else np.zeros(len(obs))


def stacked(observations: Sequence[Any]) -> np.ndarray:
    """Returns observations as one array; of mappings, the entry `observation` or else the first one."""
    first = observations[0]
    if isinstance(first, dict):
        key = "observation" if "observation" in first else sorted(first)[0]
        observations = [obs[key] for obs in observations]
    rows = np.stack([np.asarray(obs) for obs in observations])
    return rows[:, None] if rows.ndim == 1 else rows


def animation(shown: str | None, observations: Sequence[Any]) -> bytes | None:
    """Returns a GIF of the map as it fills, beside the task itself where it can be drawn; None for a single step."""
    from agents.compare.animation import FRAME_MILLISECONDS, gif
    from envs.drawing import frame

    rows = stacked(observations)
    if len(rows) < 2:
        return None
    plane = plane_of(shown, rows)
    moments = sorted({*range(0, len(rows), max(1, -(-len(rows) // MOST_FRAMES))), len(rows) - 1})
    cells = plane.cells(rows)
    pictures = []
    for i in moments:
        drawn = None if shown is None else frame(shown, rows[i])
        chart = _map(plane, cells[: i + 1])
        pictures.append(chart if drawn is None else np.concatenate([drawn, chart], 1))
    return gif(pictures, FRAME_MILLISECONDS)


def _map(plane: Projection, cells: np.ndarray) -> np.ndarray:
    """Returns the plane as a picture: cells that were visited, and the one where it is now; the second axis upwards."""
    counts = np.zeros(plane.bins[0] * plane.bins[1], bool)
    inside = cells[cells >= 0]
    counts[inside] = True
    picture = np.where(counts.reshape(plane.bins)[..., None], SEEN, PAPER).astype(np.uint8)
    if len(inside) and cells[-1] >= 0:
        i, j = divmod(int(cells[-1]), plane.bins[1])
        picture[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2] = HERE
    turned = picture.transpose(1, 0, 2)[::-1]
    rows, columns = (np.arange(SIDE) * size // SIDE for size in turned.shape[:2])
    chart = turned[rows][:, columns]
    chart[:, :1] = chart[:, -1:] = chart[:1] = chart[-1:] = 160
    return chart


def pictures(task: str, shown: str | None, observations: Sequence[Any], recording: Recording) -> dict[str, bytes]:
    """Returns the pictures of an exploration by file name: where it went, and what it learnt beside what it hoped.

    Args:
        task: for the titles.
        shown: as of `States`.
        observations: in order.
        recording: of the steps.
    """
    import io

    from matplotlib.figure import Figure

    made = {}
    rows = stacked(observations)
    plane = plane_of(shown, rows)
    points = plane.project(rows)
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    dots = axes.scatter(points[:, 0], points[:, 1], c=np.arange(len(points)), s=DOT, cmap="viridis")
    axes.set(
        xlabel=plane.labels[0],
        ylabel=plane.labels[1],
        xlim=(plane.low[0], plane.high[0]),
        ylim=(plane.low[1], plane.high[1]),
        title=task,
    )
    figure.colorbar(dots, label="step")
    made["coverage.png"] = figure
    told = recording.calibration()
    if told:
        figure = Figure(figsize=(5, 4), layout="constrained")
        axes = figure.subplots()
        predicted, realised = (np.maximum(part, LEAST) for part in (recording.predicted, recording.realised))
        axes.loglog(predicted, realised, ".", markersize=DOT, alpha=0.5, color="#0f60a6")
        ends = [np.nanmin(predicted), np.nanmax(predicted)]
        axes.loglog(ends, ends, color="#5f5f5f", linewidth=1, label="equal")
        axes.set(xlabel="predicted nats of a step", ylabel="realised", title=f"{task}: slope {told['slope']:.2f}")
        axes.legend(frameon=False)
        made["nats.png"] = figure
    done = {}
    for name, drawn in made.items():
        buffer = io.BytesIO()
        drawn.savefig(buffer, format="png", dpi=150)
        done[name] = buffer.getvalue()
    return done
