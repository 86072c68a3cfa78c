"""Code of the user's own, named by its module: bonuses, tasks and rewards."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv

import vime
from agents import RunConfig, attach, curiosity
from agents.compare.study import Study, run_folder
from agents.planning.rewards import find
from agents.tasks import check_task
from agents.train import train
from tests.agents.runs import small
from tests.agents.test_attach import build
from tests.test_readme import BLOCKS, ROOT
from vime.bonuses.none import NoBonus

DOCUMENTED = next(block for block in BLOCKS[ROOT / "docs/bonuses.md"] if "class Far" in block)


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "mybonus.py").write_text(DOCUMENTED)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("mybonus", None)


@pytest.mark.usefixtures("far")
@pytest.mark.parametrize("bonus", ["mybonus:Far", "none+mybonus:Far"])
def test_a_run_takes_the_documented_bonus_by_name(tmp_path: Path, bonus: str) -> None:
    settings: dict[str, Any] = {"power": 2} if "+" not in bonus else {"mybonus:Far": {"power": 2}}
    config = small(bonus=bonus, bonus_settings=settings, steps=256).check()
    result = train(config, tmp_path / "run")
    assert result["bonus"] == bonus
    assert (tmp_path / "run/result.json").is_file()


@pytest.mark.usefixtures("far")
def test_a_study_and_attach_take_it_too(walk: Any, tmp_path: Path) -> None:
    study = Study(tasks=("CartPole-v1",), bonuses=("none", "mybonus:Far"), seeds=(0,), base=small(steps=256))
    folders = [run_folder(tmp_path, config).relative_to(tmp_path) for config in study.runs()]
    assert Path("runs/CartPole-v1/mybonus-Far/seed-0") in folders
    model = attach(build("ppo", DummyVecEnv([walk])), "mybonus:Far", power=2.0)
    assert curiosity(model).bonus.bonus.settings.power == 2.0


@pytest.mark.parametrize(
    ("bonus", "words"),
    [
        ("nowhere_at_all:Far", "looked for in the present folder and on PYTHONPATH"),
        ("./mybonus:Far", "as mybonus:Far, and stand in its folder"),
        ("none,rnd", "spaces between them"),
        ("rnd+", "empty part"),
        ("RND", "Did you mean 'rnd'"),
        ("", "Known: "),
    ],
)
def test_a_bonus_that_is_not_found_is_said_before_anything_is_written(bonus: str, words: str) -> None:
    with pytest.raises(vime.UnknownName, match=words):
        RunConfig(task="CartPole-v1", bonus=bonus).check()


def test_what_is_wrong_with_a_bonus_is_said_by_attach(walk: Any) -> None:
    class Half:
        scaling = vime.Scaling()

    venv = DummyVecEnv([walk])
    plain = NoBonus(venv.observation_space, venv.action_space)
    model = build("ppo", venv)
    unscaled = type("Mine", (NoBonus,), {"scaling": 1.0})(venv.observation_space, venv.action_space)
    for bonus, words in (
        (vime.BONUSES["rnd"], r"the class Rnd: hand in its name, 'rnd', or an object"),
        (Half(), "a Half came, which has no `reward`, `observe`, `learn`, `state_dict` and `load_state_dict`"),
        (unscaled, "must be a vime.Scaling"),
    ):
        with pytest.raises(vime.InvalidSettings, match=words):
            attach(model, bonus)
    with pytest.raises(vime.InvalidSettings, match="for a bonus or a mixture as a whole"):
        attach(model, "rnd+icm", rnd={"encoder": "inverse"})
    plain.learn = lambda batch: None  # type: ignore[method-assign,assignment,return-value]
    attach(model, plain, learn_every=np.int64(8)).learn(16)
    assert curiosity(model).learn_every == 8


@pytest.mark.parametrize("name", ["./mytasks:My-v0", "mytasks.py:My-v0", "/some/where/mytasks.py:My-v0"])
def test_the_path_of_a_task_is_answered_by_the_name_of_its_module(name: str) -> None:
    with pytest.raises(vime.UnknownName, match="as mytasks:My-v0, and stand in its folder"):
        check_task(name)


def test_a_module_that_is_not_there_is_looked_for_here_and_a_broken_one_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_tasks.py").write_text("import nothing_of_that_name")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("nowhere_at_all:My-v0", "nowhere_at_all.tasks:My-v0"):
        with pytest.raises(vime.UnknownName, match="looked for in the present folder and on PYTHONPATH"):
            check_task(name)
    with pytest.raises(vime.UnknownName) as refused:
        check_task("broken_tasks:My-v0")
    assert "No module named 'nothing_of_that_name'" in str(refused.value)
    assert "PYTHONPATH" not in str(refused.value)


def test_a_task_is_named_by_the_module_that_registers_it(tmp_path: Path) -> None:
    """As the README says, in a process that has imported nothing yet."""
    (tmp_path / "mytasks.py").write_text(
        "import gymnasium\ngymnasium.register('My-v0', 'gymnasium.envs.toy_text:CliffWalkingEnv')\n"
    )
    code = (
        "from agents.tasks import check_task; assert check_task('mytasks:My-v0'); import gymnasium;"
        "assert gymnasium.make('envs:vime/DeepSea10-v0').spec.id == 'vime/DeepSea10-v0'"
    )
    places = os.pathsep.join([str(tmp_path), str(ROOT)])
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": places})


def test_the_path_of_a_reward_is_answered_by_the_name_of_its_module() -> None:
    with pytest.raises(vime.UnknownName, match="as x:flag, and stand in its folder"):
        find("./my/x.py:flag")
