"""Pictures of a study, as PNG: curves with intervals, steps to the first reward, coverage, and how the bonus fades."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from agents.compare import statistics
from agents.compare.scores import BOOTSTRAP_SEED, RunRecord
from agents.compare.study import CONTROL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from envs.coverage import Projection

WIDTH = 5.0
"""Inches; at 72 points to the inch this is the width of a phone, so a 10-point letter stays one there."""
DOTS_PER_INCH = 200
CURVE_POINTS = 60
LEAST_RETURN = 0.1
GREY = "#5f5f5f"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7b3f00", "#000000")
"""Okabe and Ito's palette, told apart by most colour-blind readers; the control is grey."""
DASHES = ("-", "--", "-.", ":")

Runs = Mapping[str, Sequence[RunRecord]]
"""Runs of one task by the label of their line."""


def styles(labels: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Returns colour and dashes of every label, the control's always the same."""
    others = [label for label in labels if label != CONTROL]
    table = {
        label: (COLOURS[i % len(COLOURS)], DASHES[i // len(COLOURS) % len(DASHES)]) for i, label in enumerate(others)
    }
    return table | {CONTROL: (GREY, "--")}


def learning_curves(task: str, runs: Runs) -> bytes | None:
    """Returns the task return over steps: interquartile mean of the seeds with its interval; None without a curve."""
    figure, (axes,) = _figure(1, 3.3)
    drawn = _bands(axes, runs, "episode_return", with_interval=True)
    if not drawn:
        return None
    axes.set(title=_title(task), xlabel="environment steps", ylabel="task return per episode")
    low, high = axes.get_ylim()
    if max(abs(low), abs(high)) < LEAST_RETURN:  # nothing but zeros: do not magnify them
        axes.set_ylim(-0.05, 1.0)
    axes.legend(loc="upper left")
    return _png(figure)


def bonus_curves(task: str, runs: Runs) -> bytes | None:
    """Returns mean bonus per step, and its share of the reward, over steps; None where no run has a bonus."""
    curious = {label: records for label, records in runs.items() if label != CONTROL}
    figure, (top, bottom) = _figure(2, 4.4)
    drawn = _bands(top, curious, "bonus_mean", styled=list(runs))
    drawn = _bands(bottom, curious, "bonus_share", styled=list(runs)) or drawn
    if not drawn:
        return None
    top.set(title=_title(task), ylabel="bonus per step")
    bottom.set(xlabel="environment steps", ylabel="share of the reward", ylim=(-0.03, 1.03))
    top.legend(loc="upper right")
    return _png(figure)


def first_rewards(task: str, runs: Runs) -> bytes | None:
    """Returns a dot per seed at the step of its first reward; those that never found it stand at the right edge."""
    figure, (axes,) = _figure(1, 1.1 + 0.45 * len(runs))
    table = styles(list(runs))
    limit = max((record.config.steps for records in runs.values() for record in records), default=1)
    any_run = False
    for row, (label, records) in enumerate(runs.items()):
        finished = [record for record in records if record.status == "finished"]
        steps = [record.result.get("first_reward_step") for record in finished]
        found = sorted(step for step in steps if step is not None)
        never = len(steps) - len(found)
        any_run = any_run or bool(steps)
        lift = [0.13 * (i % 3 - 1) for i in range(len(found))]  # neighbours do not hide each other
        axes.plot(found, [row + up for up in lift], "o", color=table[label][0], markersize=7, alpha=0.8)
        if never:
            axes.plot([1.06 * limit], [row], "x", color=table[label][0], markersize=8, markeredgewidth=2)
            axes.annotate(f"{never}", (1.06 * limit, row), (7, -4), textcoords="offset points")
    if not any_run:
        return None
    axes.axvline(limit, color=GREY, linewidth=0.8)
    axes.set(title=_title(task), xlabel="environment steps to the first reward (x: never)")
    axes.set(yticks=range(len(runs)), yticklabels=list(runs), ylim=(len(runs) - 0.5, -0.5), xlim=(0, 1.16 * limit))
    _thousands(axes, limit)
    return _png(figure)


def coverage_maps(task: str, counts: Mapping[str, np.ndarray], projection: "Projection") -> bytes | None:
    """Returns visits of the state space, all seeds of a bonus together, a map for each; None without counts."""
    from matplotlib.colors import LogNorm

    if not counts or max(visits.max() for visits in counts.values()) < 1:
        return None
    columns = min(2, len(counts))
    rows = -(-len(counts) // columns)
    figure = _new_figure(2.75 * rows + 0.3)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    top = max(2, *(int(visits.max()) for visits in counts.values()))
    (x_low, y_low), (x_high, y_high) = projection.low, projection.high
    picture = None
    for axes, (label, visits) in zip(grid.flat, counts.items(), strict=False):
        picture = axes.imshow(
            np.ma.masked_equal(visits.T, 0),
            norm=LogNorm(1, top),
            cmap="viridis",
            origin="lower",
            extent=(x_low, x_high, y_low, y_high),
            aspect="auto",
            interpolation="nearest",
        )
        axes.set_facecolor("#e8e8e8")
        axes.set_title(f"{label}: {(visits > 0).mean():.0%} of cells", fontsize=10)
    for axes in list(grid.flat)[len(counts) :]:
        axes.set_axis_off()
    figure.supxlabel(projection.labels[0], fontsize=10)
    figure.supylabel(projection.labels[1], fontsize=10)
    figure.suptitle(_title(task), fontsize=11)
    figure.colorbar(picture, ax=grid, label="visits", shrink=0.8)  # type: ignore[arg-type]
    return _png(figure)


def _bands(axes: "Axes", runs: Runs, column: str, *, with_interval: bool = False, styled: Sequence[str] = ()) -> bool:
    """Draws a line per label; says whether there was any. The band is the interval, or the middle half of the seeds."""
    table = styles(styled or list(runs))
    limit = 0
    for label, records in runs.items():
        # one run under way would cut the curve of all: it waits until there is none that has finished
        complete = [record for record in records if record.status == "finished"]
        curves = [record.curve(column) for record in complete or records]
        curves = [(steps, values) for steps, values in curves if len(steps)]
        if not curves:
            continue
        end = min(float(steps[-1]) for steps, _ in curves)  # beyond it some seeds have nothing yet
        start = max(float(steps[0]) for steps, _ in curves)
        grid = np.linspace(min(start, end), end, CURVE_POINTS)
        heights = np.stack([np.interp(grid, steps, values) for steps, values in curves])
        limit = max(limit, *(record.config.steps for record in records))
        colour, dashes = table[label]
        axes.plot(
            grid,
            statistics.iqm_of_columns(heights),
            dashes,
            color=colour,
            linewidth=2,
            label=label,
            zorder=3 if label == CONTROL else 2,
        )
        if len(curves) > 1:
            rng = np.random.default_rng(BOOTSTRAP_SEED)
            low, high = np.quantile(heights, [0.25, 0.75], axis=0)
            if with_interval:
                low, high = statistics.curve_interval(heights, rng=rng, repetitions=1000)
            axes.fill_between(grid, low, high, color=colour, alpha=0.2, linewidth=0)
    if limit:
        axes.set_xlim(0, limit)
        _thousands(axes, limit)
    return limit > 0


def _thousands(axes: "Axes", limit: int) -> None:
    """Writes steps as 20k or 1.5M."""
    if limit >= 10_000:
        unit, letter = (1e6, "M") if limit >= 2e6 else (1e3, "k")
        axes.xaxis.set_major_formatter(lambda x, _: f"{x / unit:g}{letter}")


def _title(task: str) -> str:
    return task.removeprefix("vime/")


def _new_figure(height: float) -> "Figure":
    from matplotlib.figure import Figure  # no pyplot: it keeps figures in global state

    return Figure(figsize=(WIDTH, height), dpi=DOTS_PER_INCH, layout="constrained")


def _figure(panels: int, height: float) -> tuple["Figure", list["Axes"]]:
    figure = _new_figure(height)
    grid = figure.subplots(panels, 1, squeeze=False, sharex=True)
    for axes in grid.flat:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.set_axisbelow(True)
    return figure, list(grid.flat)


def _png(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    # no date in the file: the same study gives the same bytes
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
