"""The folder of a study: what stands in it, and how it grows without changing its meaning."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from agents.compare.study import GRID, QUESTION, Study, is_for_one, parts_of, write
from agents.compare.worker import ERROR_FILE
from agents.config import RunConfig
from agents.folder import STUDY_FILE, TRACKS, contents, differences
from vime.errors import InvalidSettings, RunConflict, nearest


def read_study(out: Path) -> Study | None:
    """Returns the study that lives in `out`; None where there is none.

    Raises:
        RunConflict: the description is there and cannot be read.
    """
    try:
        return Study.from_json(json.loads((out / STUDY_FILE).read_text()))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:  # also what JSON and wrong settings raise
        raise RunConflict(
            f"{out / STUDY_FILE} cannot be read ({error}); move it away, or choose another folder."
        ) from error


def grown_study(study: Study, out: Path) -> Study:
    """Returns `study` grown by the one that stands in `out`; writes nothing.

    More tasks, bonuses, controls or seeds are welcome; the settings that runs share must be the ones that stand there,
    unless every run there failed before it learnt anything.

    Raises:
        RunConflict: the folder holds a study of other settings, or something else.
        InvalidSettings: there are settings for a bonus that is not in it.
    """
    before = read_study(out)
    if before is None and (what := contents(out)) is not None:
        raise RunConflict(f"{out} holds {what}. Choose another folder.")
    if before is None:
        return _known_settings(study)
    if before.suite != study.suite:
        kinds = [f"of the suite {name!r}" if name else "of no suite" for name in (before.suite, study.suite)]
        raise RunConflict(f"The study in {out} is {kinds[0]}, and this one is {kinds[1]}: choose another folder.")
    if not all(_refused(before.folder(out, config)) for config in before.runs()):
        same = {name: getattr(before.base, name) for name in GRID}
        _agree(f"The study in {out}", before.base, replace(study.base, **same))
        for task in set(before.tasks) & set(study.tasks):
            there, here = (replace(part.configured(task), **same) for part in (before, study))
            _agree(f"The study in {out}, on {task!r},", there, here)
    grown = replace(
        study,
        question=before.question if study.question == QUESTION else study.question,
        tasks=_union(before.tasks, study.tasks),
        bonuses=_union(before.bonuses, study.bonuses),
        seeds=tuple(sorted(_union(before.seeds, study.seeds))),
        recipes={**before.recipes, **study.recipes},
        controls={
            task: _union(before.controls.get(task, ()), study.controls.get(task, ()))
            for task in (*before.tasks, *study.tasks)
        },
    )
    return _known_settings(grown)


def _refused(folder: Path) -> bool:
    """Whether the run in `folder` failed before it learnt anything, so that one of other settings may replace it."""
    return (folder / ERROR_FILE).is_file() and not any((folder / name).exists() for name in TRACKS)


def _known_settings(study: Study) -> Study:
    """The study, if every bonus that has settings of its own is in it."""
    for task in study.tasks:
        for key, value in study.configured(task).bonus_settings.items():
            if is_for_one(key, value) and not any(key in (bonus, *parts_of(bonus)) for bonus in study.bonuses):
                raise InvalidSettings(
                    f"There are settings for the bonus {key!r}, which is not in the study. Add it to `bonuses`, or "
                    f"leave them out. {nearest(key, study.bonuses)}"
                )
    return study


def open_study(study: Study, out: Path) -> Study:
    """Writes `study` into `out` and returns what the folder now holds: the study, grown by what was there before.

    Raises:
        RunConflict: the folder holds a study of other settings, or runs of other settings, or is no folder.
        InvalidSettings: there are settings for a bonus that is not in it.
    """
    before, grown = read_study(out), grown_study(study, out)
    for config in grown.runs():
        standing = read_config(grown.folder(out, config))
        if standing is not None and not _refused(grown.folder(out, config)):
            _agree(f"The run in {grown.folder(out, config)}", standing, config)
    make_folder(out)
    if before is None or grown.to_json() != before.to_json():  # many may open it at a time, one for each of its runs
        write(out / STUDY_FILE, json.dumps(grown.to_json(), indent=2) + "\n")
    return grown


def make_folder(out: Path) -> None:
    """Makes the folder of a study, if it is not there yet.

    Raises:
        RunConflict: it cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise RunConflict(f"{out} is a file; `--out` must name a folder, new or of this study.") from error
    except OSError as error:
        raise RunConflict(f"{out} cannot be made the folder of a study: {error.strerror or error}.") from error


def read_config(folder: Path) -> RunConfig | None:
    """Returns the configuration of the run in `folder`; None where there is none that can be read."""
    try:
        return RunConfig.from_json(json.loads((folder / "config.json").read_text()))
    except (OSError, ValueError):
        return None


def _agree(whose: str, standing: RunConfig, wanted: RunConfig) -> None:
    names = standing.differing(wanted)
    if not names:
        return
    changes = differences(names, standing.to_json(), wanted.to_json())
    raise RunConflict(f"{whose} has other settings: {changes}. Use those settings, or another folder.")


def _union(first: Iterable[Any], second: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys([*first, *second]))
