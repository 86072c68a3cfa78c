"""A study in words and tables: what was found, said no more surely than the runs allow."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table

from agents.compare.scores import RunRecord
from agents.compare.study import CONTROL

FEW_SEEDS = 5
"""With fewer, an interval is hardly one: the bootstrap has too little to draw from."""

Row = Mapping[str, Any]

GAPS = {
    "failed": "Failed: {}. Their tracebacks stand in their folders; the same command tries them again.",
    "unfinished": "Not finished: {}. The same command goes on with them.",
    "missing": "Not begun: {}. The same command begins them.",
}
"""What is said of runs that are not finished, by status."""

HEADERS = {
    "task": "task",
    "bonus": "bonus",
    "iqm": "return (IQM)",
    "interval": "95 % interval",
    "found": "reward found",
    "first": "first reward at step",
    "improvement": "beats control",
    "auc": "area under curve",
    "cpu": "CPU s a run",
    "seeds": "seeds",
}
"""Columns of the table, wherever it is shown whole."""
TERMINAL_HEADERS = {
    "bonus": "bonus",
    "iqm": "return",
    "interval": "95 % interval",
    "found": "found",
    "first": "first step",
    "improvement": "beats none",
    "seeds": "seeds",
}
"""Columns of the table on a terminal."""


def cells(row: Row) -> dict[str, str]:
    """Returns the row as text, one entry for every column of `HEADERS`, in their order."""
    missing = {"failed": row["failed"], "unfinished": row["unfinished"], "without a score": row["unscored"]}
    notes = [f"{count} {what}" for what, count in missing.items() if count]
    improvement = _number(row["probability_of_improvement"], ".2f")
    if row["probability_of_improvement"] is not None and row["seeds"] > 1:
        improvement += f" ({row['improvement_low']:.2f} to {row['improvement_high']:.2f})"
    first = _number(row["first_reward_median"], ",.0f")
    text = {
        "task": row["task"],
        "bonus": label(row),
        "iqm": score(row["iqm"]),
        "interval": f"{score(row['low'])} to {score(row['high'])}" if row["seeds"] > 1 else "-",
        "auc": score(row["auc"]),
        "improvement": improvement,
        "found": f"{row['found']} of {row['finished']}" if row["finished"] else "-",
        "first": "never" if row["finished"] and row["first_reward_median"] is None else first,
        "cpu": _number(row["cpu_seconds"], ".0f"),
        "seeds": f"{row['seeds']}" + (f" ({', '.join(notes)})" if notes else ""),
    }
    return {name: text[name] for name in HEADERS}


def score(value: float | None) -> str:
    """Returns a return, or an area, as text: two decimals where it is small, as a rate of success is."""
    return "-" if value is None else f"{value:.2f}" if abs(value) < 10 else f"{value:,.1f}"


def label(row: Row) -> str:
    """Returns how the row is called: its bonus, with the algorithm where the study has several."""
    return row.get("label") or row["bonus"]


def table(rows: Sequence[Row]) -> Group:
    """Returns the summary for the terminal: a table per task, narrow enough for 80 columns."""
    tables = []
    for task in dict.fromkeys(row["task"] for row in rows):
        shown = Table(title=task, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for name, header in TERMINAL_HEADERS.items():
            shown.add_column(header, justify="left" if name == "bonus" else "right", no_wrap=True)
        for row in rows:
            if row["task"] == task:
                total = row["seeds"] + row["failed"] + row["unfinished"] + row["unscored"]
                text = cells(row) | {"improvement": _number(row["probability_of_improvement"], ".2f")}
                text["seeds"] = str(total) if total == row["seeds"] else f"{row['seeds']} of {total}"
                values = [text[name] for name in TERMINAL_HEADERS]
                shown.add_row(*values, style="" if row["bonus"] == CONTROL else "bold")
        tables.append(shown)
    return Group(*tables)


def markdown(rows: Sequence[Row]) -> str:
    """Returns the summary as a Markdown table."""
    right = [name not in ("task", "bonus") for name in HEADERS]
    lines = [_line(HEADERS.values()), _line("---:" if r else "---" for r in right)]
    return "\n".join([*lines, *(_line(cells(row).values()) for row in rows)]) + "\n"


def headline(rows: Sequence[Row]) -> list[str]:
    """Returns, for every task, what the study says in a sentence or four."""
    tasks = dict.fromkeys(row["task"] for row in rows)
    return [_verdict(task, [row for row in rows if row["task"] == task]) for task in tasks]


def gaps(records: Sequence[RunRecord]) -> list[str]:
    """Returns what is not there: runs that failed, are unfinished or missing, each in plain words."""
    counts = {status: sum(record.status == status for record in records) for status in GAPS}
    found = [GAPS[status].format(f"{count} of {len(records)} runs") for status, count in counts.items() if count]
    finished = [record for record in records if record.status == "finished"]
    silent = sum(not record.scored for record in finished)
    if silent:
        found.append(f"{silent} of {len(finished)} finished runs ended no episode near the end, and have no score.")
    return found


def _verdict(task: str, rows: Sequence[Row]) -> str:
    """Returns the sentences on one task."""
    scored = [row for row in rows if row["iqm"] is not None]
    if not scored:
        return f"{task}: no run has finished with a score yet."
    control = next((row for row in scored if row["bonus"] == CONTROL), None)
    curious = sorted((row for row in scored if row is not control), key=lambda row: -row["iqm"])
    told = [_result(row) for row in [*curious, *([control] if control else [])]]
    text = f"{task}: {'; '.join(told)}."
    if any(row["seeds"] > 1 for row in scored):
        text += " Returns are interquartile means over the seeds, with 95 % intervals."
    if not any(row["found"] for row in rows):
        text += " No run saw a reward, so they cannot be told apart."
    elif control and curious and min(control["seeds"], curious[0]["seeds"]) > 1:
        text += " " + _comparison(curious[0], control)
    short = [(row, row["failed"] + row["unfinished"] + row["unscored"]) for row in rows]
    left_out = [f"{count} of {count + row['seeds']} of {label(row)}" for row, count in short if count]
    if left_out:
        text += f" Runs that failed or are not finished are not counted: {', '.join(left_out)}."
    counts = [row["seeds"] for row in scored]
    if min(counts) < FEW_SEEDS:
        few = "With" if len(set(counts)) == 1 else "With as few as"
        text += f" {few} {min(counts)} seed{'s' if min(counts) > 1 else ''} this is a hint, not evidence."
    if not control:
        text += " There is no control (bonus none) to compare with."
    return text


def _result(row: Row) -> str:
    name = f"the control ({label(row)})" if row["bonus"] == CONTROL else label(row)
    found = f"found a reward on {row['found']} of {row['finished']} seed{'s' if row['finished'] > 1 else ''}"
    if row["found"] and row["first_reward_median"] is not None:
        found += f" (median step {row['first_reward_median']:,.0f})"
    ended = f"{name} {found} and ended at {score(row['iqm'])} per episode"
    return ended if row["seeds"] == 1 else f"{ended} ({score(row['low'])} to {score(row['high'])})"


def _comparison(best: Row, control: Row) -> str:
    """Returns whether the intervals of the best bonus and the control are apart."""
    if best["low"] > control["high"]:
        return f"The whole interval of {label(best)} lies above that of the control."
    if best["high"] < control["low"]:
        return f"The whole interval of {label(best)} lies below that of the control: here no bonus helped."
    return f"The intervals of {label(best)} and of the control overlap, so this study does not tell them apart."


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _line(values: Any) -> str:
    return "| " + " | ".join(str(value).replace("|", "\\|") for value in values) + " |"
