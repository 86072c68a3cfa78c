"""A study in sentences: what was found, said no more surely than the runs allow, and what is not there."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from agents.compare.records import RunRecord
from agents.compare.study import CONTROL
from agents.compare.wording import Row, label, ranks, score, unscored, which_tasks

FEW_SEEDS = 5
"""With fewer, an interval is hardly one: the bootstrap has too little to draw from."""
TOLD = 3
"""How many bonuses, or folders, a sentence names, the best ones or the first; the others are counted."""

GAPS = {
    "failed": "Failed: {}. Their tracebacks stand in their folders; the same command tries them again.",
    "unfinished": "Not finished: {}. The same command goes on with them.",
    "missing": "Not begun: {}. The same command begins them.",
}
"""What is said of runs that are not finished, by status."""

MISSING = {"failed": "failed", "unfinished": "are not finished", "unscored": "ended no episode"}
"""Why a run has no score, by the name of its number in a row of the summary."""
LETTERS = 160
"""How much is said of a reason."""


def headline(rows: Sequence[Row], told: Mapping[str, Any] | None = None) -> list[str]:
    """Returns what the study says: a sentence on all tasks, where there are several, and a few on each of them."""
    tasks = dict.fromkeys(row["task"] for row in rows)
    first = [_overall_verdict(told, len(tasks))] if told is not None and len(tasks) > 1 else []
    return [*first, *(_verdict(task, [row for row in rows if row["task"] == task]) for task in tasks)]


def gaps(records: Sequence[RunRecord]) -> list[str]:
    """Returns what is not there: runs that failed, are unfinished or missing, each in plain words."""
    counts = {status: sum(record.status == status for record in records) for status in GAPS}
    reasons = _reasons(record.reason for record in records if record.status == "failed")
    found = []
    for status, count in counts.items():
        if count:
            runs = f"all {count:,}" if count == len(records) > 1 else f"{count:,} of {len(records):,}"
            found.append(GAPS[status].format(f"{runs} runs{reasons if status == 'failed' else ''}"))
    finished = [record for record in records if record.status == "finished"]
    silent = sum(not record.scored for record in finished)
    if silent:
        found.append(f"{silent} of {len(finished)} finished runs ended no episode, and have no score.")
    copies = [copy for record in records for copy in record.copies]
    if copies:
        named = ", ".join(copies[:TOLD]) + (f" and {len(copies) - TOLD} more" if len(copies) > TOLD else "")
        found.append(f"Copies of runs that count once, equal in all settings and the seed: {named}.")
    return found


def _reasons(told: Iterable[str]) -> str:
    """Returns why runs failed, the most frequent reasons first, each with its number where there are several."""
    counts = Counter(reason if len(reason) <= LETTERS else f"{reason[:LETTERS]}…" for reason in told if reason)
    several = len(counts) > 1
    named = [f"{reason} ({count:,})" if several else reason for reason, count in counts.most_common(TOLD)]
    named += [f"{len(counts) - TOLD} other reasons"] if len(counts) > TOLD else []
    return f": {'; '.join(named).removesuffix('.')}" if named else ""


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
    unranked: dict[str, list[str]] = {}
    for row in told["contenders"]:
        if row["rank"] is None:
            unranked.setdefault(lacking(row, tasks), []).append(label(row))
    reasons = [f"{', '.join(names)} ({reason})" for reason, names in unranked.items()]
    text += f". Not ranked: {'; '.join(reasons)}." if reasons else "."
    if told["tied"]:
        text += f" Left out, for all runs ended alike there: {', '.join(told['tied'])}."
    text += _short_of(ranked, lambda row: row["asked"] - row["runs"], "runs", " Runs without a score")
    seeds = min(row["seeds"] for row in ranked)
    if seeds < FEW_SEEDS:
        text += f" With as few as {seeds} seed{'s' if seeds > 1 else ''} this is a hint, not evidence."
    return text


def lacking(row: Row, tasks: int) -> str:
    """Returns why a contender is not ranked over so many tasks."""
    absent, silent = len(row["absent"]), len(row["missing"]) - len(row["absent"])
    parts = [f"{words} {count}" for words, count in (("not run on", absent), ("no score on", silent)) if count]
    return f"{' and '.join(parts)} of {tasks} tasks"


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
        return f"{task}: {_nothing(rows)}."
    controls = [row for row in scored if row["bonus"] == CONTROL]
    control = next((row for row in controls if label(row) == CONTROL), next(iter(controls), None))
    curious = sorted(
        (row for row in scored if row["bonus"] != CONTROL), key=lambda row: (-row["iqm"], row.get("order") or 0)
    )
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
    kinds = [words for name, words in MISSING.items() if any(row[name] for row in rows)]
    text += _short_of(rows, unscored, "seeds", f" Runs that {' or '.join(kinds)} are not counted")
    counts = [row["seeds"] for row in scored]
    if min(counts) < FEW_SEEDS:
        few = "With" if len(set(counts)) == 1 else "With as few as"
        text += f" {few} {min(counts)} seed{'s' if min(counts) > 1 else ''} this is a hint, not evidence."
    if not control:
        text += " There is no control (bonus none) to compare with."
    return text


def _short_of(rows: Sequence[Row], missing: Callable[[Row], int], there: str, words: str) -> str:
    """Returns a sentence on the runs that have no score, of how many; empty where all have one."""
    short = [(row, missing(row)) for row in rows]
    left_out = [f"{count} of {count + row[there]} of {label(row)}" for row, count in short if count]
    if len(left_out) > TOLD:
        left_out = [f"{sum(count for _, count in short)} of {sum(count + row[there] for row, count in short)}"]
    return f"{words}: {', '.join(left_out)}." if left_out else ""


def _nothing(rows: Sequence[Row]) -> str:
    """Returns why there is no score on a task."""
    failed, runs = sum(row["failed"] for row in rows), sum(unscored(row) for row in rows)
    if failed == runs:
        return f"all {runs:,} runs failed" if runs > 1 else "the run failed"
    if failed + sum(row["unscored"] for row in rows) < runs:
        return "no run has finished with a score yet"
    return "no run that finished ended an episode, so there is no score" + (
        f", and {failed:,} failed" if failed else ""
    )


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
