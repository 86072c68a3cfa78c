"""The figures of a study as text: the table for a terminal, and the one for Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table

from agents.compare.study import CONTROL

Row = Mapping[str, Any]

HEADERS = {
    "task": "task",
    "rank": "rank",
    "bonus": "bonus",
    "iqm": "return (IQM)",
    "interval": "95 % interval",
    "found": "reward found",
    "first": "first reward at step",
    "improvement": "beats control",
    "difference": "above control",
    "auc": "area under curve",
    "cpu": "CPU s a run",
    "memory": "memory MB",
    "seeds": "seeds",
}
"""Columns of the table, wherever it is shown whole."""
TERMINAL_HEADERS = {
    "rank": "#",
    "bonus": "bonus",
    "iqm": "return",
    "interval": "95 % interval",
    "found": "found",
    "first": "first at",
    "improvement": "beats",
    "seeds": "seeds",
}
"""Columns of the table of a task on a terminal."""
OVERALL_HEADERS = {
    "rank": "rank",
    "bonus": "bonus",
    "iqm": "score (IQM)",
    "interval": "95 % interval",
    "best": "best",
    "improvement": "beats none",
    "solved": "tasks solved",
}
"""Columns of the table of all tasks together."""


def cells(row: Row) -> dict[str, str]:
    """Returns the row as text, one entry for every column of `HEADERS`, in their order."""
    missing = {"failed": row["failed"], "unfinished": row["unfinished"], "without a score": row["unscored"]}
    notes = [f"{count} {what}" for what, count in missing.items() if count]
    first = _number(row["first_reward_median"], ",.0f")
    text = {
        "task": row["task"],
        "rank": ranks(row),
        "bonus": label(row),
        "iqm": score(row["iqm"]),
        "interval": "-" if row["low"] is None else f"{score(row['low'])} to {score(row['high'])}",
        "auc": score(row["auc"]),
        "improvement": bounded(row, "probability_of_improvement", "improvement", ".2f"),
        "difference": bounded(row, "difference", "difference", "+,.3g"),
        "found": f"{row['found']} of {row['finished']}" if row["finished"] else "-",
        "first": "never" if row["finished"] and row["first_reward_median"] is None else first,
        "cpu": _number(row["cpu_seconds"], ".0f"),
        "memory": _number(row["peak_memory_mb"], ",.0f"),
        "seeds": f"{row['seeds']}" + (f" ({', '.join(notes)})" if notes else ""),
    }
    return {name: text[name] for name in HEADERS}


def ranks(row: Row) -> str:
    """Returns a rank with its 95 % interval as text."""
    if row.get("rank") is None:
        return "-"
    apart = row["rank_low"] is not None and not row["rank_low"] == row["rank_high"] == row["rank"]
    return f"{row['rank']} ({row['rank_low']} to {row['rank_high']})" if apart else f"{row['rank']}"


def bounded(row: Row, name: str, stem: str, form: str) -> str:
    """Returns the figure `name` with the bounds `STEM_low` and `STEM_high`, where there are any, as text."""
    text = _number(row[name], form)
    if row[f"{stem}_low"] is None:
        return text
    return f"{text} ({row[f'{stem}_low']:{form}} to {row[f'{stem}_high']:{form}})"


def score(value: float | None) -> str:
    """Returns a return, or an area, as text: two decimals where it is small, as a rate of success is."""
    return "-" if value is None else f"{value:z.2f}" if abs(value) < 10 else f"{value:,.1f}"


def label(row: Row) -> str:
    """Returns how the row is called: its bonus, with the algorithm where the study has several."""
    return row.get("label") or row["bonus"]


def table(rows: Sequence[Row], told: Mapping[str, Any] | None = None) -> Group:
    """Returns the summary for the terminal: a table per task, the best first, narrow enough for 100 columns.

    With several tasks, and `told` what the ranking says, one over all of them comes last, where it stays in sight.
    """
    tables = []
    tasks = dict.fromkeys(row["task"] for row in rows)
    for task in tasks:
        lines = []
        for row in by_rank([row for row in rows if row["task"] == task]):
            total = row["seeds"] + unscored(row)
            text = cells(row) | {"improvement": _number(row["probability_of_improvement"], ".2f")}
            text["rank"] = _number(row.get("rank"), "d")
            text["seeds"] = str(total) if total == row["seeds"] else f"{row['seeds']} of {total}"
            lines.append(([text[name] for name in TERMINAL_HEADERS], row["bonus"] == CONTROL))
        tables.append(_table(task, TERMINAL_HEADERS, lines))
    if told is not None and len(tasks) > 1:
        lines = [
            ([overall(row)[name] for name in OVERALL_HEADERS], row["bonus"] == CONTROL) for row in told["contenders"]
        ]
        tables.append(_table(f"{which_tasks(told, len(tasks))}, by normalised score", OVERALL_HEADERS, lines))
    return Group(*tables)


def _table(title: str, headers: Mapping[str, str], lines: Sequence[tuple[list[str], bool]]) -> Table:
    shown = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name, header in headers.items():
        shown.add_column(header, justify="left" if name == "bonus" else "right", no_wrap=True)
    for values, control in lines:
        shown.add_row(*values, style="" if control else "bold")
    return shown


def overall(row: Row) -> dict[str, str]:
    """Returns what the ranking says of a contender as text, one entry for every column of `OVERALL_HEADERS`."""
    interval = "-" if row["iqm_low"] is None else f"{score(row['iqm_low'])} to {score(row['iqm_high'])}"
    solved = f"{row['solved_tasks']} of {row['marked_tasks']}" if row["marked_tasks"] else "-"
    return {
        "rank": ranks(row),
        "bonus": label(row),
        "iqm": score(row["iqm"]),
        "interval": interval,
        "best": "-" if row["best_probability"] is None else f"{100 * row['best_probability']:.0f} %",
        "improvement": _number(row["improvement"], ".2f"),
        "solved": solved,
    }


def by_rank(rows: Sequence[Row]) -> list[Row]:
    """Returns the rows with the best first, equal ones as over all tasks, and last those without a rank."""
    return sorted(rows, key=lambda row: (row.get("rank") is None, row.get("rank") or 0, row.get("order") or 0))


def markdown(rows: Sequence[Row]) -> str:
    """Returns the summary as a Markdown table, task by task, the best first."""
    right = [name not in ("task", "bonus") for name in HEADERS]
    lines = [_line(HEADERS.values()), _line("---:" if r else "---" for r in right)]
    for task in dict.fromkeys(row["task"] for row in rows):
        lines += [_line(cells(row).values()) for row in by_rank([row for row in rows if row["task"] == task])]
    return "\n".join(lines) + "\n"


def which_tasks(told: Mapping[str, Any], tasks: int) -> str:
    """Returns which of so many tasks are taken together, in words that begin a sentence."""
    scored = len(told["by_task"])
    which = "All" if scored - len(told["tied"]) == tasks else f"{scored - len(told['tied'])} of"
    return f"{which} {tasks} tasks" + ("" if scored == tasks else " (others have no score yet)")


def unscored(row: Row) -> int:
    """Returns how many runs of a row of the summary have no score."""
    return row["failed"] + row["unfinished"] + row["unscored"]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _line(values: Any) -> str:
    return "| " + " | ".join(str(value).replace("|", "\\|") for value in values) + " |"
