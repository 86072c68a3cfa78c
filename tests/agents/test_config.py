import json
import subprocess
import sys
from typing import Any

import pytest

import vime
from agents.config import RunConfig
from agents.factory import algorithm_class
from agents.names import ALGORITHMS, BONUSES
from vime.errors import InvalidSettings, UnknownName

TASK = "CartPole-v1"


def test_a_configuration_survives_json() -> None:
    config = RunConfig(task=TASK, bonus_settings={"hidden": [8, 8]}, algorithm_settings={"gamma": 0.9}, seed=7)
    assert RunConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_tuples_and_lists_of_settings_are_the_same_run() -> None:
    first, second = (RunConfig(task=TASK, bonus_settings={"hidden": value}) for value in ((8, 8), [8, 8]))
    assert first.differing(second) == []


def test_what_differs_is_named() -> None:
    assert RunConfig(task=TASK).differing(RunConfig(task=TASK, seed=1, bonus="none")) == ["bonus", "seed"]


def test_on_policy_gets_eight_normalised_copies_and_off_policy_one_plain() -> None:
    for name, recipe in ALGORITHMS.items():
        config = RunConfig(task=TASK, algorithm=name)
        assert (config.copies, config.normalises) == ((8, True) if recipe.on_policy else (1, False))
    asked = RunConfig(task=TASK, environments=3, normalise_observations=False)
    assert (asked.copies, asked.normalises) == (3, False)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"task": "CartPol-v1"}, "Did you mean 'CartPole-v1'"),
        ({"task": "vime/SparseMountanCar-v0"}, "Did you mean 'vime/SparseMountainCar-v0'"),
        ({"task": "nowhere.at_all:X-v0"}, "nowhere"),
        ({"task": "qqqqqqqqqqqqqqqqqqq"}, "vime/MountainCar-v0"),
        ({"algorithm": "PPO2"}, "ppo"),
        ({"algorithm": "PPO"}, "Did you mean 'ppo'"),
        ({"bonus": "vim"}, "Did you mean 'vime'"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UnknownName, match=says):
        RunConfig(**{"task": TASK} | changes).check()


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 0},
        {"steps": -3},
        {"steps": 1.5},
        {"steps": True},
        {"seed": -1},
        {"seed": 2**32},
        {"environments": 0},
        {"threads": 0},
        {"scale": float("nan")},
        {"scale": float("inf")},
        {"scale": -1.0},
        {"scale": "1"},
        {"weight": "tunde"},
        {"weight": 0.5},
        {"streams": 0},
        {"streams": True},
        {"streams": 2, "algorithm": "sac"},
        {"self_imitation": 1},
        {"self_imitation": True, "algorithm": "sac"},
        {"self_imitation": True, "algorithm": "recurrent-ppo"},
        {"device": "tpu"},
        {"device": "cuda:99"},
        {"task": 3},
        {"normalise_observations": 1},
        {"bonus_settings": [1]},
        {"bonus_settings": {"hiden": [8]}},
        {"bonus_settings": {"hidden": "wide"}},
        {"bonus_settings": {"scaling": "median"}},
        {"bonus_settings": {"scaling": {"rule": "mean"}}},
        {"algorithm_settings": {"gama": 0.9}},
        {"algorithm_settings": {"policy": "MlpPolicy"}},
        {"algorithm_settings": {"gamma": object()}},
        {"task_settings": {"x": float("nan")}},
    ],
)
def test_bad_settings_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidSettings):
        RunConfig(**{"task": TASK} | changes).check()


@pytest.mark.parametrize("values", [[1], {"algorithm": "ppo"}, {"task": TASK, "speed": 3}])
def test_foreign_json_is_refused(values: Any) -> None:
    with pytest.raises(InvalidSettings):
        RunConfig.from_json(values)


def test_the_cheap_tables_name_what_is_there() -> None:
    assert list(BONUSES) == list(vime.BONUSES)
    for name, recipe in ALGORITHMS.items():
        assert algorithm_class(name).__name__ == recipe.cls
        RunConfig(task=TASK, algorithm=name, algorithm_settings=dict(recipe.settings)).check()


def test_help_and_list_do_not_import_torch() -> None:
    code = "import sys; from agents.__main__ import main; main(['list']); assert 'torch' not in sys.modules"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "vime/SparseMountainCar-v0" in shown
    assert "recurrent-ppo" in shown
