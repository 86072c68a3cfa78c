import csv
import json
from dataclasses import replace
from pathlib import Path

import fake_runs
import pytest

from agents.compare import compare, report, suite_study
from agents.compare.study import Study
from agents.config import RunConfig
from agents.factory import make_model, make_task
from agents.suites import SUITES

TASK, OTHER = "vime/SparseMountainCar-v0", "vime/DeepSea10-v0"


@pytest.mark.usefixtures("no_pictures")
def test_a_study_with_recipes_and_a_control_runs_and_is_reported(study: Study, tmp_path: Path) -> None:
    mixed = replace(
        study, tasks=(TASK, OTHER), seeds=(0, 1), recipes={OTHER: {"steps": 4000}}, controls={TASK: ("ppo-gsde",)}
    )
    rows = compare(mixed, tmp_path, jobs=2, display=False, run=fake_runs.quick)
    told = [(row["task"], row["algorithm"], row["bonus"], row["seeds"]) for row in rows]
    grid = [(task, "ppo", bonus, 2) for task in (TASK, OTHER) for bonus in ("none", "vime")]
    assert sorted(told) == sorted([*grid, (TASK, "ppo-gsde", "none", 2)])
    assert len(list(tmp_path.rglob("begun.txt"))) == 10
    with (tmp_path / "scores.csv").open() as file:
        assert {line["algorithm"] for line in csv.DictReader(file)} == {"ppo", "ppo-gsde"}
    config = json.loads((tmp_path / "runs" / "vime-DeepSea10-v0" / "vime" / "seed-1" / "config.json").read_text())
    assert config["steps"] == 4000
    report(tmp_path)  # from what stands in the folder
    assert json.loads((tmp_path / "summary.json").read_text()) == rows


@pytest.mark.slow
@pytest.mark.parametrize("task", SUITES["all"].tasks)
def test_every_task_of_a_suite_trains_by_its_recipe(task: str) -> None:
    if "MiniGrid" in task:
        pytest.importorskip("minigrid", reason="minigrid is not installed")
    whole = suite_study("all", base=RunConfig(task=""), bonuses=("none", "rnd"), seeds=(0,), tasks=(task,))
    settings = whole.recipes[task].get("algorithm_settings", {}) | {"n_steps": 16, "n_epochs": 1}
    small = {**whole.recipes[task], "environments": 2, "algorithm_settings": settings}
    for config in replace(whole, recipes={task: small}).runs():
        env = make_task(config)
        model = make_model(config, env)
        model.learn(64)
        assert model.num_timesteps == 64
        env.close()
