"""The live display of one run."""

import sys
import time
from collections.abc import Callable
from typing import Any

PLAIN_SECONDS = 10.0  # from one line to the next where there is no terminal to draw on


def _earnings(figures: dict[str, Any]) -> str:
    """Returns what an agent's run tells beside its step."""
    parts = [f"return {number(figures['episode_return'])}"]
    if figures["bonus_share"] is not None:
        parts.append(f"bonus share {figures['bonus_share']:.0%}")
    if figures["coverage"] is not None:
        parts.append(f"coverage {figures['coverage']:.0%}")
    if figures["first_reward_step"] is not None:
        parts.append(f"first reward at {figures['first_reward_step']:,}")
    if "evaluates" in figures:
        parts.append(f"plays {figures['evaluates']} episodes without exploration")
    return " · ".join(parts)


class Bar:
    """The live display of one run, on standard error; where that is no terminal, a line now and then.

    Args:
        told: what is said beside `step` of `steps`, from the figures of the moment.
    """

    def __init__(self, told: Callable[[dict[str, Any]], str] = _earnings) -> None:
        self._tell = told

    def __enter__(self) -> "Bar":
        from rich.console import Console

        self._console = Console(stderr=True)
        self._bar: Any = None
        self._told = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, figures: dict[str, Any]) -> None:
        """Shows the figures of the moment."""
        text = self._tell(figures)
        if self._console.is_terminal:
            self._draw(figures, text)
        elif time.monotonic() - self._told > PLAIN_SECONDS or "evaluates" in figures:
            self._told = time.monotonic()
            print(f"step {figures['step']:,} of {figures['steps']:,} · {text}", file=sys.stderr)

    def _draw(self, figures: dict[str, Any], text: str) -> None:
        if self._bar is None:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[figures]}"), TimeRemainingColumn())
            self._bar = Progress(*columns, console=self._console)
            self._task = self._bar.add_task("", total=figures["steps"], figures=text)
            self._bar.start()
        self._bar.update(
            self._task, total=figures["steps"], completed=min(figures["step"], figures["steps"]), figures=text
        )


def number(value: float | None) -> str:
    """Returns a return as text; a dash where there is none."""
    return "-" if value is None else f"{value:,.2f}"
