"""The study that a suite asks for, with what a user wants otherwise."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from agents.compare.study import GRID, Study, class_of, other_agents
from agents.config import RunConfig
from agents.names import ALGORITHMS
from agents.suites import SUITES, Suite
from vime.errors import InvalidSettings, choose, nearest

OF_ALGORITHM = ("algorithm_settings", "environments", "normalise_observations")
"""Fields of a recipe that are made for its algorithm."""


def suite_study(
    name: str,
    *,
    base: RunConfig,
    bonuses: tuple[str, ...],
    seeds: tuple[int, ...],
    tasks: Iterable[str] = (),
    controls: Iterable[str] | None = None,
    given: Collection[str] = (),
) -> Study:
    """Returns the study of the suite `name`.

    Args:
        name: of the suite.
        base: what all runs share beside their recipes.
        bonuses: names of the bonuses.
        seeds: seeds of every task and bonus.
        tasks: those of the suite that are wanted; all unless given.
        controls: those of the suite that are wanted, and others for every task; the suite's unless given.
        given: names of the fields of `base` that were asked for and so replace those of every recipe; of settings,
            which are mappings, every key that was asked for replaces that of the recipe and the others stay.

    Raises:
        UnknownName: there is no such suite.
        InvalidSettings: a task is not of the suite.
    """
    suite = choose("suite", name, SUITES)
    wanted = tuple(tasks) or suite.tasks
    for task in wanted:
        if task not in suite.tasks:
            raise InvalidSettings(f"The suite {name!r} has no task {task!r}. {nearest(task, suite.tasks)}")
    recipes = {task: _adapted(suite.recipes.get(task, {}), base, given) for task in wanted}
    return Study(
        question=f"Which bonus explores best in the suite {name}: {suite.summary}?",
        suite=name,
        tasks=wanted,
        bonuses=bonuses,
        seeds=seeds,
        base=base,
        recipes=recipes,
        controls={
            task: names if controls is not None else other_agents(names, replace(base, **recipes[task]))
            for task, names in (suite.controls if controls is None else _chosen(suite, controls)).items()
            if task in recipes
        },
    )


def _adapted(recipe: Mapping[str, Any], base: RunConfig, given: Collection[str]) -> dict[str, Any]:
    """The recipe with what was asked for in its place, without what was made for another algorithm or it cannot do."""
    algorithm = recipe.get("algorithm", RunConfig.algorithm)
    foreign = "algorithm" in given and class_of(base.algorithm) != class_of(algorithm)
    able = choose("algorithm", base.algorithm if "algorithm" in given else algorithm, ALGORITHMS)
    beyond = {"streams": not able.on_policy, "self_imitation": not able.imitates}
    adapted = {}
    for field, value in recipe.items():
        if (foreign and field in OF_ALGORITHM) or beyond.get(field):
            continue
        if field not in given or field in GRID:
            adapted[field] = value
        elif isinstance(value, Mapping):
            adapted[field] = {**value, **getattr(base, field)}
    return adapted


def _chosen(suite: Suite, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    names = tuple(names)
    known = {control for controls in suite.controls.values() for control in controls}
    return {
        task: tuple(name for name in names if name not in known or name in suite.controls.get(task, ()))
        for task in suite.tasks
    }
