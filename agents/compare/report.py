"""All files that tell what a study found, from what its folder holds now."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agents.compare import animation, maps, plots
from agents.compare.content import content
from agents.compare.page import html
from agents.compare.ranking import by_contender, ranking, with_ranks
from agents.compare.records import RunRecord, read_runs, scores_csv, study_of
from agents.compare.scales import scales
from agents.compare.scores import summarise
from agents.compare.study import slug, write
from agents.compare.verdict import gaps, headline
from agents.compare.wording import by_rank, markdown

SUMMARY_FILE = "summary.json"
RANKING_FILE = "ranking.json"
PAGE_FILE = "report.html"


class Picture(NamedTuple):
    """One picture of a task."""

    task: str
    name: str
    """File name; its ending gives the kind."""
    content: bytes
    caption: str = ""


class Findings(NamedTuple):
    """What a study found, before it is written anywhere."""

    records: list[RunRecord]
    rows: list[dict[str, Any]]
    """Of `summary.json`."""
    told: dict[str, Any]
    """Of `ranking.json`."""


def report(out: Path) -> Path:
    """Returns the path of the page, after writing it, the figures and the pictures.

    `summary.json` has a row per task and contender, `ranking.json` what is said over all tasks, `scores.csv` a line per
    run, `table.md` the table and the verdict. Can be asked at any time, also while the study runs, and of a folder of
    loose runs.

    Raises:
        InvalidData: the folder holds neither a study nor a run.
        RunConflict: the description of the study cannot be read.
    """
    out = Path(out)
    found = find(out)
    pictures = list(draw(found))
    for picture in pictures:
        write(out / picture.name, picture.content)
    write(out / SUMMARY_FILE, json.dumps(found.rows, indent=2, allow_nan=False) + "\n")
    write(out / RANKING_FILE, json.dumps(found.told, indent=2, allow_nan=False) + "\n")
    words = "\n\n".join([*headline(found.rows, found.told), *gaps(found.records)])
    write(out / "table.md", f"{markdown(found.rows)}\n{words}\n")
    write(out / "scores.csv", scores_csv(found.records))
    write(out / PAGE_FILE, html(shown(out, found, episodes(pictures)), found.rows))
    return out / PAGE_FILE


def find(out: Path) -> Findings:
    """Returns what the study in `out`, or the loose runs there, have found so far."""
    records = read_runs(out)
    told = ranking(records, scales(records))
    return Findings(records, with_ranks(summarise(records), told), told)


def shown(out: Path, found: Findings, moving: Mapping[str, tuple[bytes, str]]) -> dict[str, Any]:
    """Returns the content of the page; `moving` are by task an animation and its caption."""
    return content(study_of(out, found.records), out, found.records, found.rows, found.told, moving)


def episodes(pictures: Sequence[Picture]) -> dict[str, tuple[bytes, str]]:
    """Returns by task the animation among the pictures, with its caption."""
    return {picture.task: (picture.content, picture.caption) for picture in pictures if picture.name.endswith(".gif")}


def draw(found: Findings) -> Iterator[Picture]:
    """Yields every picture that the runs allow, task by task; contenders stand and look in them as on the page."""
    tasks = dict.fromkeys(record.config.task for record in found.records)
    table, looks = by_contender(found.records), plots.looks(found.told["contenders"])
    for task in tasks:
        rows = by_rank([row for row in found.rows if row["task"] == task])
        runs = {row["label"]: table[row["label"]][task] for row in rows}
        suffix = f"-{slug(task)}" if len(tasks) > 1 else ""
        for name, picture, caption in _of_task(task, runs, looks):
            if picture is not None:
                stem, ending = name.split(".")
                yield Picture(task, f"{stem}{suffix}.{ending}", picture, caption)


def _of_task(
    task: str, runs: Mapping[str, Sequence[RunRecord]], looks: Mapping[str, plots.Look]
) -> Iterator[tuple[str, bytes | None, str]]:
    yield "curves.png", plots.learning_curves(task, runs, looks), ""
    yield "coverage.png", _coverage(task, runs), ""
    earliest = animation.first_rewarded(record for records in runs.values() for record in records)
    if earliest is not None:
        config, step = earliest.config, earliest.result["first_reward_step"]
        caption = f"The first rewarded episode: {config.bonus}, seed {config.seed}, at step {step:,}. "
        caption += "The bar fills with time, green once paid."
        yield "first_reward.gif", animation.animate(task, earliest.folder / animation.EPISODE_FILE), caption


def _coverage(task: str, runs: Mapping[str, Sequence[RunRecord]]) -> bytes | None:
    from envs.coverage import projection

    plane = projection(task)
    if plane is None:
        return None
    counts = {label: maps.visits(runs[label], plane.bins) for label in plots.featured(runs)}
    return plots.coverage_maps(task, {label: cells for label, cells in counts.items() if cells is not None}, plane)
