"""A running study on the terminal: a live table where there is one, plain lines in a log file."""

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from agents.compare.launch import RunState
from agents.compare.scores import labels
from agents.compare.statistics import iqm
from agents.compare.wording import score

PLAIN_SECONDS = 30.0
"""How often plain lines tell of runs that are under way."""
EIGHTHS = " ▏▎▍▌▋▊▉"
HEIGHTS = " ▁▂▃▄▅▆▇"
BAR_CELLS = 45
"""Most cells for the bars of all seeds of a row; with many seeds each gets one cell, filled from below."""
OTHER_CELLS = 32
"""What the table takes beside names and bars: two columns of figures, and lines."""
OTHER_LINES = 14
"""Lines that the table takes beside its rows: title, header, summary, failures."""
COLOURS = {"waiting": "bright_black", "running": "cyan", "finished": "green", "failed": "red"}


class Display:
    """Shows the states that a launch reports; used as a context, and called with them."""

    def __init__(self, title: str, console: Console | None = None) -> None:
        self.title = title
        self.console = console or Console()
        self.started = time.monotonic()
        self._live: Live | None = None
        self._told: dict[Path, str] = {}
        self._last_line = self.started

    def __enter__(self) -> "Display":
        if self.console.is_terminal:
            self._live = Live(console=self.console, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __call__(self, states: Sequence[RunState]) -> None:
        """Shows where the runs stand."""
        if self._live is not None:
            self._live.update(self.view(states))
        else:
            self._tell(states)

    def view(self, states: Sequence[RunState]) -> Group:
        """Returns the live table: a row per task and bonus, and a line on the whole study."""
        table = Table(title=self.title, title_justify="left", expand=False)
        for name in ("task", "bonus", "seeds"):
            table.add_column(name, no_wrap=name != "seeds")
        for name in ("return", "found"):
            table.add_column(name, justify="right", no_wrap=True)
        groups = _grouped(states)
        names = max(len(task) for task, _ in groups) + max(len(bonus) for _, bonus in groups)
        room = min(BAR_CELLS, self.console.width - names - OTHER_CELLS)
        shown = self._fitting(groups)
        for (task, bonus), runs in shown.items():
            returns = [state.episode_return for state in runs if state.episode_return is not None]
            found = sum(state.first_reward_step is not None for state in runs)
            begun = sum(state.status != "waiting" or state.step > 0 for state in runs)
            middle = score(iqm(np.array(returns)) if returns else None)
            table.add_row(task, bonus, _bars(runs, room), middle, f"{found} of {begun}" if begun else "-")
        failed = [state for state in states if state.status == "failed"]
        lines = [Text(self._summary(states))]
        if len(shown) < len(groups):
            lines.insert(0, Text(f"and {len(groups) - len(shown)} rows more, of runs that wait or have ended", "dim"))
        called = _names(states)
        lines += [Text(f"failed: {called[state.folder]}: {state.message}", style="red") for state in failed[:5]]
        if not any(state.step for state in states):
            lines.append(Text("loading the libraries, once for all runs ...", style="bright_black"))
        return Group(table, *lines)

    def _fitting(self, groups: dict[tuple[str, str], list[RunState]]) -> dict[tuple[str, str], list[RunState]]:
        """Returns the rows that the height of the terminal has room for: those that move first, the others after."""
        room = max(1, self.console.height - OTHER_LINES)
        if len(groups) <= room:
            return groups
        moving = [key for key, runs in groups.items() if any(state.status == "running" for state in runs)]
        kept = set([*moving, *(key for key in groups if key not in moving)][:room])
        return {key: runs for key, runs in groups.items() if key in kept}

    def _tell(self, states: Sequence[RunState]) -> None:
        done, called = 0, _names(states)
        for state in states:
            done += state.status in ("finished", "failed")
            if self._told.get(state.folder) != state.status:
                if state.status == "finished":
                    ending = "was finished" if state.started is None else _ending(state)
                    self._line(f"{called[state.folder]}: {ending}")
                elif state.status == "failed":
                    self._line(f"{called[state.folder]}: failed: {state.message} (see {state.folder})")
                self._told[state.folder] = state.status
        if time.monotonic() - self._last_line > PLAIN_SECONDS and done < len(states):
            self._line(self._summary(states))

    def _line(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)
        self._last_line = time.monotonic()

    def _summary(self, states: Sequence[RunState]) -> str:
        """Returns one line on the whole study: runs, time, and time left judged by the steps done here."""
        counts = {status: sum(state.status == status for state in states) for status in COLOURS}
        elapsed = time.monotonic() - self.started
        text = f"{counts['finished']} of {len(states)} runs finished, {counts['running']} running"
        if counts["failed"]:
            text += f", {counts['failed']} failed"
        text += f" · {_duration(elapsed)} elapsed"
        here = sum(state.step - state.first_step for state in states)
        left = sum(state.config.steps - state.step for state in states if state.status in ("waiting", "running"))
        if here > 0 and left > 0:
            text += f" · about {_duration(elapsed * left / here)} left"
        return text


def _grouped(states: Sequence[RunState]) -> dict[tuple[str, str], list[RunState]]:
    names = labels(_key(state) for state in states)
    groups: dict[tuple[str, str], list[RunState]] = {}
    for state in states:
        groups.setdefault((state.config.task.removeprefix("vime/"), names[_key(state)]), []).append(state)
    return groups


def _bars(runs: Sequence[RunState], room: int) -> Text:
    """Returns a bar for every seed, its colour the status of the run, in `room` cells or else on several lines."""
    width = min(8, room // len(runs) - 1)
    text = Text(overflow="fold")
    for state in runs:
        part = 1.0 if state.status == "finished" else min(1.0, state.step / state.config.steps)
        colour = COLOURS[state.status]
        if width < 2:
            cell = "✗" if state.status == "failed" else "█" if part == 1 else HEIGHTS[int(part * 8)]
            text.append(cell if cell != " " else "·", style=colour)
            continue
        whole, rest = divmod(int(part * width * 8), 8)
        bar = "█" * whole + (EIGHTHS[rest] if whole < width else "")
        bar = "✗ failed"[:width] if state.status == "failed" else bar
        text.append(bar.ljust(width), style=f"{colour} on grey23")
        text.append(" ")
    return text


def _names(states: Sequence[RunState]) -> dict[Path, str]:
    """Returns what every run is called, by its folder."""
    names = labels(_key(state) for state in states)
    return {state.folder: f"{state.config.task} {names[_key(state)]} seed {state.config.seed}" for state in states}


def _key(state: RunState) -> tuple[str, str, str]:
    return state.config.task, state.config.algorithm, state.config.bonus


def _ending(state: RunState) -> str:
    ended = "no episode ended" if state.episode_return is None else f"return {score(state.episode_return)}"
    first = "no reward found"
    if state.first_reward_step is not None:
        first = f"first reward at step {state.first_reward_step:,}"
    return f"{ended}, {first}, {_duration(state.seconds)}"


def _duration(seconds: float) -> str:
    """Returns a time in words: 45 s, 3 min 05 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
