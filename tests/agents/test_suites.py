import json
import subprocess
import sys
from dataclasses import fields

import pytest

from agents.config import RunConfig
from agents.names import ALGORITHMS
from agents.references import REFERENCES
from agents.suites import SUITES

FIELDS = {field.name for field in fields(RunConfig)} - {"task", "bonus", "seed"}


def test_it_does_not_import_torch() -> None:
    code = "import agents.suites, agents.references, sys; print('torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"


@pytest.mark.parametrize("name", SUITES)
def test_every_task_has_its_budget_a_reference_and_only_known_fields(name: str) -> None:
    suite = SUITES[name]
    assert suite.summary
    assert len(set(suite.tasks)) == len(suite.tasks) > 0
    assert set(suite.recipes) == set(suite.tasks)
    assert set(suite.controls) <= set(suite.tasks)
    for task in suite.tasks:
        assert suite.recipes[task]["steps"] > 0
        assert set(suite.recipes[task]) <= FIELDS
        assert task in REFERENCES
        assert all(control in ALGORITHMS for control in suite.controls.get(task, ()))
    assert json.loads(json.dumps(suite.to_json())) == suite.to_json()


@pytest.mark.parametrize("name", SUITES)
def test_a_task_has_the_same_recipe_wherever_it_is(name: str) -> None:
    for task in SUITES[name].tasks:
        assert SUITES[name].recipes[task] == SUITES["all"].recipes[task]
        assert SUITES[name].controls.get(task) == SUITES["all"].controls.get(task)


def test_the_suite_of_all_has_every_task_of_the_others_once() -> None:
    others = {task for name, suite in SUITES.items() if name != "all" for task in suite.tasks}
    assert set(SUITES["all"].tasks) == others
