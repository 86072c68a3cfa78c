"""A study in words and tables: what was found, said no more surely than the runs allow."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table

from agents.compare.records import RunRecord
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
TOLD = 3
"""How many bonuses a sentence names, the best ones; the others are counted."""


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
            total = row["seeds"] + row["failed"] + row["unfinished"] + row["unscored"]
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
    """Returns the rows with the best first, and last those without a rank."""
    return sorted(rows, key=lambda row: (row.get("rank") is None, row.get("rank") or 0))


def markdown(rows: Sequence[Row]) -> str:
    """Returns the summary as a Markdown table, task by task, the best first."""
    right = [name not in ("task", "bonus") for name in HEADERS]
    lines = [_line(HEADERS.values()), _line("---:" if r else "---" for r in right)]
    for task in dict.fromkeys(row["task"] for row in rows):
        lines += [_line(cells(row).values()) for row in by_rank([row for row in rows if row["task"] == task])]
    return "\n".join(lines) + "\n"


def headline(rows: Sequence[Row], told: Mapping[str, Any] | None = None) -> list[str]:
    """Returns what the study says: a sentence on all tasks, where there are several, and a few on each of them."""
    tasks = dict.fromkeys(row["task"] for row in rows)
    first = [_overall_verdict(told, len(tasks))] if told is not None and len(tasks) > 1 else []
    return [*first, *(_verdict(task, [row for row in rows if row["task"] == task]) for task in tasks)]


def gaps(records: Sequence[RunRecord]) -> list[str]:
    """Returns what is not there: runs that failed, are unfinished or missing, each in plain words."""
    counts = {status: sum(record.status == status for record in records) for status in GAPS}
    found = [GAPS[status].format(f"{count:,} of {len(records):,} runs") for status, count in counts.items() if count]
    finished = [record for record in records if record.status == "finished"]
    silent = sum(not record.scored for record in finished)
    if silent:
        found.append(f"{silent} of {len(finished)} finished runs ended no episode, and have no score.")
    return found


def _overall_verdict(told: Mapping[str, Any], tasks: int) -> str:
    """Returns the sentences on all tasks together."""
    ranked = [row for row in told["contenders"] if row["rank"] is not None]
    if len(ranked) < 2:
        return f"All {tasks} tasks: no two contenders have scores on the same tasks yet."
    best = [_standing(row) for row in ranked[:TOLD]]
    text = f"{which_tasks(told, tasks)}, by interquartile mean of the normalised scores: {'; '.join(best)}"
    control = next((row for row in ranked[TOLD:] if row["label"] == CONTROL), None)
    if control is not None:
        text += f"; the control {score(control['iqm'])}, rank {ranks(control)} of {len(ranked)}"
    unranked = [label(row) for row in told["contenders"] if row["rank"] is None]
    text += f". Without a score on each of these tasks, and so not ranked: {', '.join(unranked)}." if unranked else "."
    if told["tied"]:
        text += f" Left out, for all runs ended alike there: {', '.join(told['tied'])}."
    seeds = min(row["seeds"] for row in ranked)
    if seeds < FEW_SEEDS:
        text += f" With as few as {seeds} seed{'s' if seeds > 1 else ''} this is a hint, not evidence."
    return text


def which_tasks(told: Mapping[str, Any], tasks: int) -> str:
    """Returns which of so many tasks are taken together, in words that begin a sentence."""
    scored = len(told["by_task"])
    which = "All" if scored - len(told["tied"]) == tasks else f"{scored - len(told['tied'])} of"
    return f"{which} {tasks} tasks" + ("" if scored == tasks else " (others have no score yet)")


def _standing(row: Row) -> str:
    """Returns where a contender stands over all tasks, as part of a sentence."""
    text = f"{label(row)} {score(row['iqm'])}"
    if row["iqm_low"] is not None:
        text += f" ({score(row['iqm_low'])} to {score(row['iqm_high'])})"
    best = row["best_probability"]
    return f"{text}, rank {ranks(row)}" + ("" if best is None else f", best in {100 * best:.0f} % of the draws")


def _verdict(task: str, rows: Sequence[Row]) -> str:
    """Returns the sentences on one task."""
    scored = [row for row in rows if row["iqm"] is not None]
    if not scored:
        return f"{task}: no run has finished with a score yet."
    controls = [row for row in scored if row["bonus"] == CONTROL]
    control = next((row for row in controls if label(row) == CONTROL), next(iter(controls), None))
    curious = sorted((row for row in scored if row["bonus"] != CONTROL), key=lambda row: -row["iqm"])
    seen = any(row["found"] for row in rows)
    told = [_result(row, seen) for row in curious[:TOLD]]
    others = [row["iqm"] for row in curious[TOLD:]]
    if len(others) > 1:
        told.append(f"{len(others)} other bonuses ended at {score(min(others))} to {score(max(others))}")
    elif others:
        told.append(_result(curious[-1], seen))
    told += [_result(row, seen) for row in controls]
    text = f"{task}: {'; '.join(told)}."
    if any(row["seeds"] > 1 for row in scored):
        text += " Returns are interquartile means over the seeds, with 95 % intervals."
    alike = len({(row["iqm"], row["low"], row["high"]) for row in scored}) == 1
    if not seen:
        text += " No run saw a reward" + (", so they cannot be told apart." if alike else " above zero.")
    if (seen or not alike) and control and curious and min(control["seeds"], curious[0]["seeds"]) > 1:
        text += " " + _comparison(curious, control)
    short = [(row, row["failed"] + row["unfinished"] + row["unscored"]) for row in rows]
    left_out = [f"{count} of {count + row['seeds']} of {label(row)}" for row, count in short if count]
    if len(left_out) > TOLD:
        missing, total = sum(count for _, count in short), sum(count + row["seeds"] for row, count in short)
        left_out = [f"{missing} of {total}"]
    if left_out:
        text += f" Runs that failed or are not finished are not counted: {', '.join(left_out)}."
    counts = [row["seeds"] for row in scored]
    if min(counts) < FEW_SEEDS:
        few = "With" if len(set(counts)) == 1 else "With as few as"
        text += f" {few} {min(counts)} seed{'s' if min(counts) > 1 else ''} this is a hint, not evidence."
    if not control:
        text += " There is no control (bonus none) to compare with."
    return text


def _result(row: Row, seen: bool) -> str:
    """Returns what came of a contender; whether it found the reward only if any has `seen` one above zero."""
    name = f"the control ({label(row)})" if row["bonus"] == CONTROL else label(row)
    if seen:
        name += f" found a reward on {row['found']} of {row['finished']} seed{'s' if row['finished'] > 1 else ''}"
        if row["found"] and row["first_reward_median"] is not None:
            name += f" (median step {row['first_reward_median']:,.0f})"
        name += " and"
    ended = f"{name} ended at {score(row['iqm'])} per episode"
    return ended if row["seeds"] == 1 else f"{ended} ({score(row['low'])} to {score(row['high'])})"


def _comparison(curious: Sequence[Row], control: Row) -> str:
    """Returns whether the interval of the best bonus, and those of how many others, are apart from the control's."""
    best, others = curious[0], [row for row in curious[1:] if row["seeds"] > 1]
    if best["high"] < control["low"]:
        return f"The whole interval of {label(best)} lies below that of the control: here no bonus helped."
    if best["low"] <= control["high"]:
        return f"The intervals of {label(best)} and of the control overlap, so this study does not tell them apart."
    above = sum(row["low"] > control["high"] for row in others)
    text = f"The whole interval of {label(best)} lies above that of the control"
    return f"{text}, as do those of {above} of the {len(others)} others." if len(others) > 1 else f"{text}."


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _line(values: Any) -> str:
    return "| " + " | ".join(str(value).replace("|", "\\|") for value in values) + " |"
