"""All files that tell what a study found, from what its folder holds now."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agents.compare import animation, plots
from agents.compare.page import Content, Picture, html
from agents.compare.scores import RunRecord, read_arrays, read_runs, scores_csv, study_of, summarise
from agents.compare.study import slug, write
from agents.compare.wording import gaps, headline, markdown

SUMMARY_FILE = "summary.json"
PAGE_FILE = "report.html"
COVERAGE_FILE = "coverage.npz"


def report(out: Path) -> Path:
    """Returns the path of the page, after writing it, `summary.json`, `table.md`, `scores.csv` and the pictures.

    Can be asked at any time, also while the study runs, and of a folder of loose runs.

    Raises:
        InvalidData: the folder holds neither a study nor a run.
        RunConflict: the description of the study cannot be read.
    """
    out = Path(out)
    records = read_runs(out)
    rows = labelled(summarise(records))
    study = study_of(out, records)
    pictures = list(draw(records))
    for picture in pictures:
        write(out / picture.name, picture.content)
    write(out / SUMMARY_FILE, json.dumps(rows, indent=2, allow_nan=False) + "\n")
    words = "\n\n".join([*headline(rows), *gaps(records)])
    write(out / "table.md", f"{markdown(rows)}\n{words}\n")
    write(out / "scores.csv", scores_csv(records))
    content = Content(study=study, out=out, rows=rows, records=records, pictures=pictures)
    write(out / PAGE_FILE, html(content))
    return out / PAGE_FILE


def labelled(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the rows with a `label`: the bonus, and the algorithm too where there are several."""
    several = len({row["algorithm"] for row in rows}) > 1
    return [row | {"label": f"{row['bonus']} ({row['algorithm']})" if several else row["bonus"]} for row in rows]


def draw(records: Sequence[RunRecord]) -> Iterator[Picture]:
    """Yields every picture that the runs allow, task by task."""
    tasks = dict.fromkeys(record.config.task for record in records)
    several = len({record.config.algorithm for record in records}) > 1
    for task in tasks:
        runs: dict[str, list[RunRecord]] = {}
        for record in records:
            if record.config.task == task:
                config = record.config
                label = f"{config.bonus} ({config.algorithm})" if several else config.bonus
                runs.setdefault(label, []).append(record)
        suffix = f"-{slug(task)}" if len(tasks) > 1 else ""
        for stem, content, caption in _of_task(task, runs):
            if content is not None:
                ending = "gif" if content.startswith(b"GIF") else "png"
                yield Picture(task, f"{stem}{suffix}.{ending}", content, caption)


def _of_task(task: str, runs: dict[str, list[RunRecord]]) -> Iterator[tuple[str, bytes | None, str]]:
    text = "Learning curves: interquartile mean over the seeds, with its 95 % interval; bonus left out."
    yield "curves", plots.learning_curves(task, runs), text
    earliest = animation.first_rewarded(record for records in runs.values() for record in records)
    if earliest is not None:
        config, step = earliest.config, earliest.result["first_reward_step"]
        text = f"The first rewarded episode: {config.bonus}, seed {config.seed}, at step {step:,}. "
        text += "The bar fills with time, green once paid."
        yield "first_reward", animation.animate(task, earliest.folder / animation.EPISODE_FILE), text
    yield "coverage", _coverage(task, runs), "Where the agents went during training: visits to each part of the space."
    text = "Steps until a seed first saw a reward; a cross, with their number, for those that never did."
    yield "first_reward_steps", plots.first_rewards(task, runs), text
    text = "How the bonus fades: what it adds to a step, and its share of the reward; band: middle half of seeds."
    yield "bonus", plots.bonus_curves(task, runs), text


def _coverage(task: str, runs: dict[str, list[RunRecord]]) -> bytes | None:
    from envs.coverage import projection

    plane = projection(task)
    if plane is None:
        return None
    sums = {}
    for label, records in runs.items():
        read = (read_arrays(record.folder / COVERAGE_FILE) for record in records)
        counts = [arrays["counts"] for arrays in read if arrays is not None and "counts" in arrays]
        fitting = [visits for visits in counts if visits.shape == tuple(plane.bins)]
        if fitting:
            sums[label] = np.sum(fitting, axis=0)
    return plots.coverage_maps(task, sums, plane)
