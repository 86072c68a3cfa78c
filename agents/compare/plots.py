"""Pictures of a study for where the page cannot go, as PNG: curves with intervals, and coverage."""

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from agents.compare.curves import bands
from agents.compare.records import RunRecord
from agents.compare.study import CONTROL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from envs.coverage import Projection

WIDTH = 5.0
"""Inches; at 72 points to the inch this is the width of a phone, so a 10-point letter stays one there."""
DOTS_PER_INCH = 200
LEAST_RETURN = 0.1
SHORT = 14  # letters of a label of which three fit side by side
GREY = "#5f5f5f"
COLOURS = ("#0f60a6", "#dc2c0d", "#009260", "#d969ac", "#a88f47", "#1493f5", "#844327", "#4d27c3")
"""The page's palette, given out in the order of the ranking as there: told apart by colour-blind readers, the control
grey."""
DASHES = ("-", (0, (3.5, 1.5)), (0, (1, 1.25)), (0, (4, 1.5, 1, 1.5)))
CONTROL_DASHES = ((0, (2.5, 1.5)), *DASHES[1:])
FEATURED = 6
"""How many bonuses a picture names, the best ones; with the controls. The page shows all."""

Runs = Mapping[str, Sequence[RunRecord]]
"""Runs of one task by the label of their line."""


Look = tuple[str, Any]
"""Colour and dashes of a line."""


def looks(contenders: Iterable[Mapping[str, Any]]) -> dict[str, Look]:
    """Returns by label how the page draws these contenders, which are in the order of the ranking."""
    found: dict[str, Look] = {}
    bonuses = controls = 0
    for row in contenders:
        if row["bonus"] == CONTROL:
            found[row["label"]] = GREY, CONTROL_DASHES[controls % len(CONTROL_DASHES)]
            controls += 1
        else:
            found[row["label"]] = COLOURS[bonuses % len(COLOURS)], DASHES[bonuses // len(COLOURS) % len(DASHES)]
            bonuses += 1
    return found


def featured(runs: Runs) -> list[str]:
    """Returns the labels that a picture has room for: of `runs`, the best first, these bonuses, and every control."""
    controls = [label for label, records in runs.items() if records[0].config.bonus == CONTROL]
    best = [label for label in runs if label not in controls]
    return [*(best if len(best) <= FEATURED + 1 else best[:FEATURED]), *controls]


def learning_curves(task: str, runs: Runs, looks: Mapping[str, Look]) -> bytes | None:
    """Returns the task return over steps: interquartile mean of the seeds with its interval; None without a curve.

    Of many bonuses the best have a colour and a name, the others are grey. `runs` have the best first.
    """
    named = featured(runs)
    others = [label for label in runs if label not in named]
    figure = new_figure(3.3 + 0.17 * -(-(len(named) + bool(others)) // 3))
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    limit, hues = 0, 0
    for label in [*others, *reversed(named)]:
        curve = bands(runs[label]).get("episode_return")
        if curve is None:
            continue
        steps = np.linspace(curve["from"], curve["to"], len(curve["middle"]))
        limit = max(limit, *(record.config.steps for record in runs[label]))
        if label in others:
            axes.plot(steps, curve["middle"], color=GREY, alpha=0.35, linewidth=0.8, zorder=1)
            continue
        colour, dashes = looks[label]
        axes.plot(steps, curve["middle"], linestyle=dashes, color=colour, linewidth=2, label=label, zorder=3)
        axes.fill_between(steps, curve["low"], curve["high"], color=colour, alpha=0.16, linewidth=0)
        hues += 1
    if not limit:
        return None
    axes.set_xlim(0, limit)
    _thousands(axes, limit)
    axes.set(title=_title(task), xlabel="environment steps", ylabel="task return per episode")
    low, high = axes.get_ylim()
    if max(abs(low), abs(high)) < LEAST_RETURN:  # nothing but zeros: do not magnify them
        axes.set_ylim(-0.05, 1.0)
    if others:
        axes.plot([], [], color=GREY, alpha=0.35, linewidth=0.8, label=f"{len(others)} others")
    handles, texts = axes.get_legend_handles_labels()
    order = [*reversed(range(hues)), *range(hues, len(texts))]
    columns = 3 if max(map(len, texts)) <= SHORT else 2
    figure.legend(
        [handles[i] for i in order], [texts[i] for i in order], loc="outside lower center", ncols=columns, frameon=False
    )
    return figure_png(figure)


def coverage_maps(task: str, counts: Mapping[str, np.ndarray], projection: "Projection") -> bytes | None:
    """Returns visits of the state space, all seeds of a bonus together, a map for each; None without counts."""
    from matplotlib.colors import LogNorm

    if not counts or max(visits.max() for visits in counts.values()) < 1:
        return None
    columns = min(2 if len(counts) <= 4 else 3, len(counts))
    rows = -(-len(counts) // columns)
    figure = new_figure((2.75 if columns < 3 else 1.9) * rows + 0.3)
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
        axes.set_title(f"{label}: {(visits > 0).mean():.0%} of cells", fontsize=10 if columns < 3 else 7)
    for axes in list(grid.flat)[len(counts) :]:
        axes.set_axis_off()
    figure.supxlabel(projection.labels[0], fontsize=10)
    figure.supylabel(projection.labels[1], fontsize=10)
    figure.suptitle(_title(task), fontsize=11)
    figure.colorbar(picture, ax=grid, label="visits", shrink=0.8)  # type: ignore[arg-type]
    return figure_png(figure)


def _thousands(axes: "Axes", limit: int) -> None:
    """Writes steps as 20k or 1.5M."""
    if limit >= 10_000:
        unit, letter = (1e6, "M") if limit >= 2e6 else (1e3, "k")
        axes.xaxis.set_major_formatter(lambda x, _: f"{x / unit:g}{letter}")


def _title(task: str) -> str:
    return task.removeprefix("vime/")


def new_figure(height: float) -> "Figure":
    """Returns an empty figure of `WIDTH` by `height` inches."""
    from matplotlib.figure import Figure  # no pyplot: it keeps figures in global state

    return Figure(figsize=(WIDTH, height), dpi=DOTS_PER_INCH, layout="constrained")


def figure_png(figure: "Figure") -> bytes:
    """Returns the figure as PNG."""
    buffer = io.BytesIO()
    # no date in the file: the same study gives the same bytes
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
