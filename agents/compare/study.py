"""A study: a question, and the runs that answer it, in a folder that can grow but never change its meaning."""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from agents.config import RunConfig
from agents.folder import write_atomically
from agents.names import ALGORITHMS, BONUSES
from agents.tasks import check_spaces, make_environment
from vime.errors import InvalidSettings, nearest

RUNS = "runs"
CONTROL = "none"
QUESTION = "Which bonus finds the reward?"
GRID = ("task", "bonus", "seed")
"""Fields of a run that the study sets; all others come from `base` and the recipe of the task."""
KNOWN = tuple(field.name for field in fields(RunConfig) if field.name not in GRID)


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
    """Everything else; its task, bonus and seed are not looked at. Of `bonus_settings` a mapping under the name of a
    bonus, a mixture's whole name among them, is for that bonus and for mixtures that it is a part of; the rest is for
    all."""
    recipes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By task: fields of a run that replace those of `base` there, the same for every bonus."""
    controls: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By task: algorithms that run there without a bonus, beside the grid. A tuple alone counts for every task."""
    suite: str = ""
    """Name of the suite that tasks, recipes and controls were taken from; empty where they were not."""
    question: str = QUESTION
    """What the study asks, in words; the title of its page."""

    def __post_init__(self) -> None:
        if isinstance(self.seeds, int) and not isinstance(self.seeds, bool):
            object.__setattr__(self, "seeds", tuple(range(self.seeds)))
        for name in ("tasks", "bonuses", "seeds"):
            values = _names(getattr(self, name))
            if not values:
                raise InvalidSettings(f"A study needs at least one of `{name}`; got none.")
            object.__setattr__(self, name, values)
        controls = self.controls
        if not isinstance(controls, Mapping):
            controls = dict.fromkeys(self.tasks, controls)
        kept = {task: _names(controls[task]) for task in self.tasks if controls.get(task)}
        object.__setattr__(self, "controls", kept)
        recipes = {task: dict(self.recipes[task]) for task in self.tasks if self.recipes.get(task)}
        object.__setattr__(self, "recipes", recipes)
        for task, recipe in recipes.items():
            for name in recipe:
                if name not in KNOWN:
                    raise InvalidSettings(f"The recipe of {task!r} has a field {name!r}. {nearest(name, KNOWN)}")

    def configured(self, task: str) -> RunConfig:
        """Returns what all runs of `task` share: `base` with the recipe of the task over it."""
        return replace(self.base, task=task, **self.recipes.get(task, {}))

    def runs(self) -> tuple[RunConfig, ...]:
        """Returns the configuration of every run: seed by seed, so that early results cover every task and bonus.

        Settings of a bonus are not handed to the control, which has none.
        """
        return tuple(
            replace(config, seed=seed)
            for seed in self.seeds
            for task in self.tasks
            for config in self._contenders(task)
        )

    def _contenders(self, task: str) -> Iterable[RunConfig]:
        """The runs of one seed of `task`. A control of another class of algorithm has its own settings alone."""
        shared = self.configured(task)
        for bonus in self.bonuses:
            yield replace(shared, bonus=bonus, bonus_settings=settings_of(bonus, shared.bonus_settings))
        for name in self.controls.get(task, ()):
            alike = class_of(name) == class_of(shared.algorithm)
            settings = shared.algorithm_settings if alike else {}
            yield replace(shared, algorithm=name, bonus=CONTROL, bonus_settings={}, algorithm_settings=settings)

    def folder(self, out: Path, config: RunConfig) -> Path:
        """Returns the folder of one run of this study, which lives in `out`; a control's name has its algorithm."""
        return run_folder(out, config, algorithm=self.configured(config.task).algorithm)

    def check(self) -> "Study":
        """Returns itself, if every run could start.

        Raises:
            VimeError: a name is unknown, a number out of range, or an algorithm cannot serve its task.
        """
        for task, names in self.controls.items():
            for name in names if CONTROL in self.bonuses else ():
                if same_agent(self.configured(task), name):
                    raise InvalidSettings(
                        f"The control {name!r} is on {task!r} the agent that runs there without a bonus anyway, "
                        f"{self.configured(task).algorithm!r} with the settings that all runs have. Leave it out."
                    )
        served: set[tuple[str, str]] = set()
        for config in replace(self, seeds=(min(self.seeds), max(self.seeds))).runs():
            config.check()
            if (pair := (config.task, config.algorithm)) not in served:
                served.add(pair)
                env = make_environment(config.task, config.task_settings)
                check_spaces(*pair, env.observation_space, env.action_space)
                env.close()
                if any(isinstance(value, Mapping) for value in config.algorithm_settings.values()):
                    _try_out(config)
        return self

    def to_json(self) -> dict[str, Any]:
        """Returns the study as values that JSON can hold."""
        base = self.base.to_json()
        return {
            "question": self.question,
            "suite": self.suite,
            "tasks": list(self.tasks),
            "bonuses": list(self.bonuses),
            "controls": {task: list(names) for task, names in self.controls.items()},
            "seeds": list(self.seeds),
            "base": {name: value for name, value in base.items() if name not in GRID},
            "recipes": {
                task: {name: self.configured(task).to_json()[name] for name in recipe}
                for task, recipe in self.recipes.items()
            },
        }

    @classmethod
    def from_json(cls, values: Any) -> "Study":
        """Returns the study that `to_json` wrote; the older form without recipes and controls is read too.

        Raises:
            InvalidSettings: it is no such object.
        """
        try:
            settings = {name: values[name] for name in ("question", "tasks", "bonuses", "seeds")}
            settings |= {name: values[name] for name in ("suite", "recipes", "controls") if name in values}
            return cls(**settings, base=RunConfig.from_json({"task": settings["tasks"][0], **values["base"]}))
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise InvalidSettings(f"This is no description of a study: {error!r}.") from error


def run_folder(out: Path, config: RunConfig, *, algorithm: str | None = None) -> Path:
    """Returns the folder of one run of the study in `out`; one of another than the grid's `algorithm` says which."""
    name = config.bonus if algorithm in (None, config.algorithm) else f"{config.bonus}-{config.algorithm}"
    return out / RUNS / slug(config.task) / slug(name) / f"seed-{config.seed}"


def slug(name: str) -> str:
    """Returns `name` as it stands in a path: `vime/X-v0` is `vime-X-v0`."""
    return "".join(c if c.isalnum() or c in "-_.+" else "-" for c in name)


def write(path: Path, content: str | bytes) -> None:
    """Writes `content` so that a reader, or a crash, sees the old file or the new one and nothing between."""
    data = content.encode() if isinstance(content, str) else content
    write_atomically(path, lambda file: file.write(data))


def other_agents(controls: Iterable[str], shared: RunConfig) -> tuple[str, ...]:
    """Returns the controls that are another agent than `shared` without a bonus, which runs anyway."""
    return tuple(name for name in controls if not same_agent(shared, name))


def _try_out(config: RunConfig) -> None:
    """Builds the learner once, small: names within a mapping of settings are known to parts of the algorithm alone."""
    from agents.factory import make_model, make_task

    few = min(config.copies, 2)
    small = replace(config, bonus=CONTROL, bonus_settings={}, environments=few, device="cpu")
    memory = {"buffer_size": 1000} if "buffer_size" in ALGORITHMS[config.algorithm].settings else {}
    env = make_task(small)
    try:
        with warnings.catch_warnings(action="ignore"):  # of rollouts that do not fill the last batch
            make_model(small, env, **memory)
    finally:
        env.close()


def settings_of(bonus: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of one bonus of a study, where `settings` are the study's; the control has none.

    What stands under its own name comes over what is for all; a mixture gets the settings of its parts by their names.
    """
    if bonus == CONTROL:
        return {}
    parts = parts_of(bonus)
    told = {
        key: value for key, value in settings.items() if not is_for_one(key, value) or (key in parts and key != bonus)
    }
    return told | dict(settings[bonus] if is_for_one(bonus, settings.get(bonus)) else {})


def is_for_one(key: str, value: Any) -> bool:
    """Whether what `bonus_settings` has under `key` is for one bonus: the name of a bonus or mixture, and a mapping."""
    return isinstance(value, Mapping) and all(part in BONUSES for part in parts_of(key))


def parts_of(bonus: str) -> tuple[str, ...]:
    """Returns the names of the parts of a mixture; of a plain bonus its own."""
    return tuple(part.strip() for part in bonus.split("+"))


def same_agent(shared: RunConfig, control: str) -> bool:
    """Whether the algorithm `control`, with the settings of `shared`, is no other agent than `shared` without a bonus.

    It is another by the settings of its recipe alone, and those of a run replace them.
    """
    mine, other = ALGORITHMS.get(shared.algorithm), ALGORITHMS.get(control)
    if mine is None or other is None or class_of(shared.algorithm) != class_of(control) or mine.dyna != other.dyna:
        return False
    return {**mine.settings, **shared.algorithm_settings} == {**other.settings, **shared.algorithm_settings}


def class_of(algorithm: str) -> tuple[str, str] | None:
    """Returns where the class of `algorithm` lives and its name; None where nothing is named so."""
    recipe = ALGORITHMS.get(algorithm)
    return None if recipe is None else (recipe.module, recipe.cls)


def _names(given: Any) -> tuple[Any, ...]:
    return tuple(dict.fromkeys((given,) if isinstance(given, str) else given))
