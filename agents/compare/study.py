"""A study: a question, and the runs that answer it, in a folder that can grow but never change its meaning."""

import json
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from agents.config import RunConfig
from agents.folder import write_atomically
from vime.errors import InvalidSettings, RunConflict

STUDY_FILE = "study.json"
RUNS = "runs"
CONTROL = "none"
GRID = ("task", "bonus", "seed")
"""Fields of a run that the study sets; all others come from `base`."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """A question, and the grid of runs that answers it; their order is fixed, so an index names a run."""

    tasks: tuple[str, ...]
    """Names of the tasks."""
    bonuses: tuple[str, ...] = (CONTROL, "vime")
    """Names of the bonuses, the control among them."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds of every task and bonus; the same for all. A whole number n stands for 0 to n-1."""
    base: RunConfig
    """Everything else; its task, bonus and seed are not looked at."""
    question: str = "Which bonus finds the reward?"
    """What the study asks, in words; the title of its page."""

    def __post_init__(self) -> None:
        if isinstance(self.seeds, int) and not isinstance(self.seeds, bool):
            object.__setattr__(self, "seeds", tuple(range(self.seeds)))
        for name in ("tasks", "bonuses", "seeds"):
            given = getattr(self, name)
            if isinstance(given, str):
                given = (given,)
            values = tuple(dict.fromkeys(given))
            if not values:
                raise InvalidSettings(f"A study needs at least one of `{name}`; got none.")
            object.__setattr__(self, name, values)

    def runs(self) -> tuple[RunConfig, ...]:
        """Returns the configuration of every run: seed by seed, so that early results cover every task and bonus.

        Settings of a bonus are not handed to the control, which has none.
        """
        return tuple(
            replace(
                self.base,
                task=task,
                bonus=bonus,
                seed=seed,
                bonus_settings={} if bonus == CONTROL else self.base.bonus_settings,
            )
            for seed in self.seeds
            for task in self.tasks
            for bonus in self.bonuses
        )

    def check(self) -> "Study":
        """Returns itself, if every run could start.

        Raises:
            VimeError: a name is unknown or a number out of range.
        """
        for config in replace(self, seeds=(min(self.seeds), max(self.seeds))).runs():
            config.check()
        return self

    def to_json(self) -> dict[str, Any]:
        """Returns the study as values that JSON can hold."""
        base = self.base.to_json()
        return {
            "question": self.question,
            "tasks": list(self.tasks),
            "bonuses": list(self.bonuses),
            "seeds": list(self.seeds),
            "base": {name: value for name, value in base.items() if name not in GRID},
        }

    @classmethod
    def from_json(cls, values: Any) -> "Study":
        """Returns the study that `to_json` wrote.

        Raises:
            InvalidSettings: it is no such object.
        """
        try:
            settings = {name: values[name] for name in ("question", "tasks", "bonuses", "seeds")}
            return cls(**settings, base=RunConfig.from_json({"task": settings["tasks"][0], **values["base"]}))
        except (KeyError, TypeError, IndexError) as error:
            raise InvalidSettings(f"This is no description of a study: {error!r}.") from error

    def command(self, out: Path) -> str:
        """Returns the command line that runs the study, or goes on with it."""
        words = ["vime", "compare", "--tasks", *self.tasks, "--bonuses", *self.bonuses]
        words += ["--seeds", str(len(self.seeds))]
        usual = RunConfig(task=self.tasks[0])
        for field in fields(RunConfig):
            value = getattr(self.base, field.name)
            if field.name in GRID or (value == getattr(usual, field.name) and field.name != "steps"):
                continue
            flag = "--" + field.name.replace("_", "-")
            if isinstance(value, dict):
                words += [flag, *(f"{key}={json.dumps(item)}" for key, item in value.items())]
            else:
                words += [flag, str(value)]
        return shlex.join([*words, "--out", str(out)])


def run_folder(out: Path, config: RunConfig) -> Path:
    """Returns the folder of one run of the study in `out`."""
    return out / RUNS / slug(config.task) / slug(config.bonus) / f"seed-{config.seed}"


def slug(name: str) -> str:
    """Returns `name` as it stands in a path: `vime/X-v0` is `vime-X-v0`."""
    return "".join(c if c.isalnum() or c in "-_.+" else "-" for c in name)


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


def open_study(study: Study, out: Path) -> Study:
    """Writes `study` into `out` and returns what the folder now holds: the study, grown by what was there before.

    More tasks, bonuses or seeds are welcome; the settings that all runs share must be the ones that stand there.

    Raises:
        RunConflict: the folder holds a study of other settings, or runs of other settings, or is no folder.
    """
    before = read_study(out)
    grown = study
    if before is not None:
        same = {name: getattr(before.base, name) for name in GRID}
        _agree(f"The study in {out}", before.base, replace(study.base, **same))
        grown = replace(
            study,
            tasks=_union(before.tasks, study.tasks),
            bonuses=_union(before.bonuses, study.bonuses),
            seeds=tuple(sorted(_union(before.seeds, study.seeds))),
        )
    for config in grown.runs():
        standing = read_config(run_folder(out, config))
        if standing is not None:
            _agree(f"The run in {run_folder(out, config)}", standing, config)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise RunConflict(f"{out} is a file; `--out` must name a folder, new or of this study.") from error
    except OSError as error:
        raise RunConflict(f"{out} cannot be made the folder of a study: {error.strerror or error}.") from error
    write(out / STUDY_FILE, json.dumps(grown.to_json(), indent=2) + "\n")
    return grown


def read_config(folder: Path) -> RunConfig | None:
    """Returns the configuration of the run in `folder`; None where there is none that can be read."""
    try:
        return RunConfig.from_json(json.loads((folder / "config.json").read_text()))
    except (OSError, ValueError):
        return None


def write(path: Path, content: str | bytes) -> None:
    """Writes `content` so that a reader, or a crash, sees the old file or the new one and nothing between."""
    data = content.encode() if isinstance(content, str) else content
    write_atomically(path, lambda file: file.write(data))


def _agree(whose: str, standing: RunConfig, wanted: RunConfig) -> None:
    names = standing.differing(wanted)
    if not names:
        return
    was, now = standing.to_json(), wanted.to_json()
    changes = ", ".join(f"`{name}` is {was[name]!r} there and {now[name]!r} here" for name in names)
    raise RunConflict(f"{whose} has other settings: {changes}. Use those settings, or another folder.")


def _union(first: Iterable[Any], second: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys([*first, *second]))
