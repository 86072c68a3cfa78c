import json
import multiprocessing
import shlex
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from agents.compare import compare, suite_study
from agents.compare.launch import study_lock
from agents.compare.rerun import study_command
from agents.compare.store import open_study, read_study
from agents.compare.study import Study, run_folder, same_agent
from agents.config import RunConfig
from agents.folder import RunFolder
from agents.names import BONUSES
from agents.suites import SUITES, Suite
from vime import InvalidSettings, RunConflict, UnknownName, UnsupportedSpace

TASK = "vime/SparseMountainCar-v0"


def test_runs_are_the_grid_in_a_fixed_order_seed_by_seed(study: Study) -> None:
    names = [(config.bonus, config.seed) for config in study.runs()]
    assert names == [(bonus, seed) for seed in (0, 1, 2) for bonus in ("none", "vime")]


def test_every_run_has_a_folder_of_its_own(study: Study, tmp_path: Path) -> None:
    folders = [run_folder(tmp_path, config) for config in study.runs()]
    assert len(set(folders)) == len(folders)
    assert folders[1] == tmp_path / "runs" / "vime-SparseMountainCar-v0" / "vime" / "seed-0"


def test_a_number_of_seeds_stands_for_the_seeds_from_zero(study: Study) -> None:
    assert replace(study, seeds=2).seeds == (0, 1)  # type: ignore[arg-type]


def test_names_given_twice_count_once(study: Study) -> None:
    assert replace(study, bonuses=("vime", "none", "vime")).bonuses == ("vime", "none")


@pytest.mark.parametrize("name", ["tasks", "bonuses", "seeds"])
def test_an_empty_grid_is_refused(study: Study, name: str) -> None:
    with pytest.raises(InvalidSettings, match=name):
        replace(study, **{name: ()})


def test_settings_of_a_bonus_are_not_handed_to_the_control(study: Study) -> None:
    runs = replace(study, base=replace(study.base, bonus_settings={"hidden": [8]})).runs()
    assert {config.bonus: config.bonus_settings for config in runs} == {"none": {}, "vime": {"hidden": [8]}}


def test_settings_under_the_name_of_a_bonus_are_for_that_bonus(study: Study) -> None:
    told = {"seed": 3, "rnd": {"hidden": [8]}, "ride+e3b": {"weights": [2, 1]}}
    bonuses = ("none", "vime", "rnd", "ride+e3b")
    runs = replace(study, bonuses=bonuses, base=replace(study.base, bonus_settings=told)).check().runs()
    assert {config.bonus: config.bonus_settings for config in runs} == {
        "none": {},
        "vime": {"seed": 3},
        "rnd": {"seed": 3, "hidden": [8]},
        "ride+e3b": {"seed": 3, "weights": [2, 1]},
    }


def test_a_mixture_gets_the_settings_of_its_parts(study: Study) -> None:
    told = {"e3b": {"ridge": 1.0}}
    runs = replace(study, bonuses=("rnd", "ride+e3b"), base=replace(study.base, bonus_settings=told)).check().runs()
    assert {config.bonus: config.bonus_settings for config in runs} == {"rnd": {}, "ride+e3b": told}
    # its own go over them, so that the two can differ, and a bonus that is added changes no run
    told = {"e3b": {"ridge": 1.0}, "ride+e3b": {"e3b": {}}}
    runs = replace(study, bonuses=("e3b", "ride+e3b"), base=replace(study.base, bonus_settings=told)).check().runs()
    assert {config.bonus: config.bonus_settings for config in runs} == {"e3b": {"ridge": 1.0}, "ride+e3b": {"e3b": {}}}


def test_settings_of_a_bonus_that_is_not_in_the_study_are_refused(study: Study, tmp_path: Path) -> None:
    told = replace(study, base=replace(study.base, bonus_settings={"rnd": {"hidden": [8]}}))
    with pytest.raises(InvalidSettings, match="for the bonus 'rnd', which is not in the study"):
        compare(told, tmp_path / "out", display=False)
    assert not (tmp_path / "out").exists()
    open_study(replace(told, bonuses=("none", "rnd")), tmp_path)
    assert open_study(told, tmp_path).bonuses == ("none", "rnd", "vime")  # there it is


def test_unknown_bonus_is_refused_before_anything_runs(study: Study) -> None:
    with pytest.raises(UnknownName, match="vime"):
        replace(study, bonuses=("none", "vimee")).check()


def test_json_and_back_is_the_same_study(study: Study) -> None:
    assert Study.from_json(json.loads(json.dumps(study.to_json()))).runs() == study.runs()


def test_a_study_is_found_again_in_its_folder(study: Study, tmp_path: Path) -> None:
    open_study(study, tmp_path / "new" / "folder")
    assert read_study(tmp_path / "new" / "folder") == Study.from_json(study.to_json())
    assert read_study(tmp_path) is None


def test_a_study_may_grow(study: Study, tmp_path: Path) -> None:
    open_study(study, tmp_path)
    other = "vime/MountainCar-v0"
    grown = open_study(replace(study, tasks=(other,), bonuses=("expected-gain",), seeds=(7,)), tmp_path)
    assert grown.tasks == (TASK, other)
    assert grown.bonuses == ("none", "vime", "expected-gain")
    assert grown.seeds == (0, 1, 2, 7)
    assert open_study(study, tmp_path).seeds == (0, 1, 2, 7)


def test_a_study_that_grows_keeps_its_question_unless_it_gets_another(study: Study, tmp_path: Path) -> None:
    open_study(replace(study, question="Why?"), tmp_path)
    usual = Study(tasks=study.tasks, base=study.base)
    assert open_study(replace(usual, seeds=(9,)), tmp_path).question == "Why?"
    assert open_study(replace(usual, question="How?"), tmp_path).question == "How?"


@pytest.mark.parametrize(("name", "value"), [("steps", 30_000), ("scale", 0.5), ("algorithm", "a2c"), ("threads", 2)])
def test_other_settings_in_the_same_folder_are_a_conflict_that_names_the_field(
    study: Study, tmp_path: Path, name: str, value: object
) -> None:
    open_study(study, tmp_path)
    with pytest.raises(RunConflict, match=f"`{name}` is .* and {value!r} here"):
        open_study(replace(study, base=replace(study.base, **{name: value})), tmp_path)


def test_task_bonus_and_seed_of_the_base_do_not_matter(study: Study, tmp_path: Path) -> None:
    open_study(study, tmp_path)
    open_study(replace(study, base=replace(study.base, task="vime/MountainCar-v0", bonus="none", seed=9)), tmp_path)


def test_a_run_of_other_settings_in_the_way_is_a_conflict(study: Study, tmp_path: Path) -> None:
    config = study.runs()[0]
    folder = run_folder(tmp_path, config)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(replace(config, steps=5).to_json()))
    with pytest.raises(RunConflict, match="`steps` is 5 there"):
        open_study(study, tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"tasks": []}', "null"])
def test_a_damaged_description_is_a_conflict(study: Study, tmp_path: Path, content: str) -> None:
    (tmp_path / "study.json").write_text(content)
    with pytest.raises(RunConflict, match="cannot be read"):
        open_study(study, tmp_path)


def test_a_file_in_place_of_the_folder_is_a_conflict(study: Study, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunConflict, match="is a file"):
        open_study(study, tmp_path / "file")


def test_command_says_all_that_is_not_usual(study: Study) -> None:
    base = RunConfig(
        task=TASK, steps=20_000, scale=0.5, normalise_observations=False, bonus_settings={"hidden": [8, 8], "seed": 3}
    )
    words = shlex.split(study_command(replace(study, base=base), Path("a folder")))
    expected = f"vime compare --tasks {TASK} --bonuses none vime --seeds 3 --scale 0.5 --steps 20000"
    settings = ["--bonus-settings", "hidden=[8, 8]", "seed=3", "--normalise-observations", "False"]
    assert words == [*expected.split(), *settings, "--out", "a folder"]


@pytest.fixture
def read_back(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], tuple[Study, Path]]:
    """Returns what `vime compare` would run for the words of a command line."""
    import agents.compare
    from agents.__main__ import main

    read: list[tuple[Study, Path]] = []

    def note(study: Study, out: Path, **_: object) -> None:
        read.append((study, out))
        raise KeyboardInterrupt

    monkeypatch.setattr(agents.compare, "compare", note)

    def read_words(words: list[str]) -> tuple[Study, Path]:
        assert main(words) == 130
        return read[-1]

    return read_words


Reader = Callable[[list[str]], tuple[Study, Path]]


def test_command_line_reads_its_own_command(study: Study, read_back: Reader) -> None:
    settings = {"hidden": [8, 8], "seed": 3, "rnd+e3b": {"weights": [2, 1]}}
    base = replace(study.base, normalise_observations=False, bonus_settings=settings, threads=2, environments=4)
    changed = replace(study, base=base, controls=("a2c",))
    read, out = read_back(shlex.split(study_command(changed, Path("a folder")))[1:])
    assert read.runs() == changed.runs()
    assert out == Path("a folder")


OTHER = "CartPole-v1"
RECIPE = {
    "steps": 4096,
    "environments": 2,
    "streams": 2,
    "self_imitation": True,
    "algorithm_settings": {"n_steps": 64, "gamma": 0.999},
}


@pytest.fixture
def mixed(study: Study) -> Study:
    """Two tasks, the second with a recipe, the first with a control."""
    return replace(study, tasks=(TASK, OTHER), recipes={OTHER: RECIPE}, controls={TASK: ("a2c",)})


def test_a_recipe_replaces_fields_of_the_base_on_its_task_for_every_bonus(mixed: Study) -> None:
    runs = mixed.runs()
    assert {config.steps for config in runs if config.task == TASK} == {20_000}
    changed = [config for config in runs if config.task == OTHER]
    assert {config.bonus for config in changed} == {"none", "vime"}
    assert all(getattr(config, name) == value for config in changed for name, value in RECIPE.items())
    assert mixed.configured(OTHER).steps == 4096


def test_controls_run_without_a_bonus_beside_the_grid(mixed: Study) -> None:
    told = [(config.task, config.algorithm, config.bonus) for config in mixed.runs() if config.seed == 1]
    grid = [(TASK, "ppo", "none"), (TASK, "ppo", "vime"), (TASK, "a2c", "none")]
    assert told == [*grid, (OTHER, "ppo", "none"), (OTHER, "ppo", "vime")]
    everywhere = replace(mixed, controls=("a2c", "a2c"))
    assert everywhere.controls == {TASK: ("a2c",), OTHER: ("a2c",)}


def test_a_control_takes_settings_of_its_own_class_of_algorithm_alone(mixed: Study) -> None:
    runs = replace(mixed, controls=("a2c", "ppo-gsde")).runs()
    settings = {config.algorithm: config.algorithm_settings for config in runs if config.task == OTHER}
    told = RECIPE["algorithm_settings"]
    assert settings == {"ppo": told, "ppo-gsde": told, "a2c": {}}


def test_a_control_has_a_folder_of_its_own(mixed: Study, tmp_path: Path) -> None:
    folders = [mixed.folder(tmp_path, config) for config in mixed.runs()]
    assert len(set(folders)) == len(folders)
    assert tmp_path / "runs" / "vime-SparseMountainCar-v0" / "none-a2c" / "seed-0" in folders
    other = replace(mixed, base=replace(mixed.base, algorithm="trpo"))  # that of the grid is no part of the name
    assert other.folder(tmp_path, other.runs()[0]) == folders[0]


def test_an_algorithm_that_cannot_serve_a_task_is_refused_before_anything_runs(study: Study) -> None:
    assert replace(study, tasks=("CartPole-v1",)).check()
    with pytest.raises(UnsupportedSpace, match=r"sac serves Box actions, and 'CartPole-v1' wants Discrete.*dqn"):
        replace(study, tasks=("CartPole-v1",), base=RunConfig(task="CartPole-v1", algorithm="sac")).check()


def test_a_task_that_refuses_its_settings_is_refused_before_anything_runs(study: Study) -> None:
    base = RunConfig(task="CartPole-v1", task_settings={"colour": "red"})
    with pytest.raises(InvalidSettings, match=r"'CartPole-v1' cannot be built with .*colour"):
        replace(study, tasks=("CartPole-v1",), base=base).check()


@pytest.mark.parametrize("algorithm", ["ppo", "dqn"])
def test_a_typo_within_a_setting_is_refused_before_anything_runs(study: Study, tmp_path: Path, algorithm: str) -> None:
    def told(name: str) -> Study:
        settings = {"policy_kwargs": {name: [32, 32]}}
        return replace(
            study, tasks=(OTHER,), base=RunConfig(task=OTHER, algorithm=algorithm, algorithm_settings=settings)
        )

    with pytest.raises(InvalidSettings, match=r"cannot be built with .*net_arhc"):
        compare(told("net_arhc"), tmp_path / "out", display=False)
    assert not (tmp_path / "out").exists()
    assert told("net_arch").check()


def test_count_says_the_size_of_the_study_and_what_was_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from agents.__main__ import main

    words = ["compare", "--tasks", OTHER, "--out", str(tmp_path), "--count", "--seeds", "3", "--bonuses"]
    assert main([*words, "none", "rnd"]) == 0
    assert capsys.readouterr() == ("6\n", "")
    assert main([*words, "icm"]) == 0
    assert capsys.readouterr() == ("9\n", "3 runs asked for, 9 in the study.\n")


def test_a_control_that_runs_anyway_is_refused(study: Study) -> None:
    with pytest.raises(InvalidSettings, match="anyway"):
        replace(study, controls=("ppo",)).check()
    with pytest.raises(UnknownName, match="a2c"):
        replace(study, controls=("a2v",)).check()


def test_a_control_that_is_no_other_agent_is_refused(study: Study) -> None:
    """The settings that all runs have replace those by which the control would be another."""
    paid = replace(study.base, algorithm_settings={"ent_coef": 0.01})
    assert replace(study, controls=("ppo-entropy",)).check()
    assert replace(study, controls=("ppo-gsde",), base=paid).check()
    with pytest.raises(InvalidSettings, match="'ppo-entropy' is on 'vime/SparseMountainCar-v0' the agent"):
        replace(study, controls=("ppo-gsde", "ppo-entropy"), base=paid).check()
    same = {**RECIPE, "algorithm_settings": {"ent_coef": 0.5}}
    with pytest.raises(InvalidSettings, match="'ppo-entropy' is on 'CartPole-v1' the agent"):
        replace(study, tasks=(TASK, OTHER), recipes={OTHER: same}, controls=("ppo-entropy",)).check()


@pytest.mark.parametrize("name", SUITES)
def test_no_suite_has_a_control_that_is_no_other_agent(name: str) -> None:
    study = suite_study(name, base=RunConfig(task=TASK), bonuses=("none",), seeds=(0,))
    assert SUITES[name].controls == study.controls  # it left out none
    for task, controls in study.controls.items():
        assert not any(same_agent(study.configured(task), control) for control in controls)


def test_a_suite_leaves_out_controls_that_a_setting_makes_no_other_agent(read_back: Reader) -> None:
    words = ["--suite", "quick", "--algorithm-settings", "ent_coef=0.01", "--out", "x"]
    asked, _ = read_back(["compare", *words])
    assert set(asked.controls.values()) == {("ppo-gsde",)}


def test_a_study_of_before_goes_on_without_a_control_that_is_no_other_agent(
    study: Study, tmp_path: Path, read_back: Reader
) -> None:
    same = {"algorithm_settings": {"ent_coef": 0.01}}
    open_study(replace(study, recipes={TASK: same}, controls=("ppo-entropy", "ppo-gsde")), tmp_path)
    asked, _ = read_back(["compare", "--out", str(tmp_path)])
    assert asked.check().controls == {TASK: ("ppo-gsde",)}


@pytest.mark.parametrize("name", ["seed", "bonus", "task", "stepps"])
def test_a_recipe_of_unknown_fields_or_of_the_grid_is_refused(study: Study, name: str) -> None:
    with pytest.raises(InvalidSettings, match=name):
        replace(study, recipes={TASK: {name: 1}})


def test_recipes_and_controls_are_found_again_and_may_grow(mixed: Study, tmp_path: Path) -> None:
    assert open_study(mixed, tmp_path) == mixed
    found = read_study(tmp_path)
    assert found is not None
    assert found.runs() == mixed.runs()
    grown = open_study(replace(mixed, tasks=(OTHER,), controls={OTHER: ("trpo",)}), tmp_path)
    assert grown.controls == {TASK: ("a2c",), OTHER: ("trpo",)}
    assert grown.recipes == {OTHER: RECIPE}
    assert all(run in grown.runs() for run in mixed.runs())


def test_another_recipe_of_a_task_that_is_there_is_a_conflict(mixed: Study, tmp_path: Path) -> None:
    open_study(mixed, tmp_path)
    with pytest.raises(RunConflict, match="on 'CartPole-v1', has other settings: `steps` is 4096 there and 9 here"):
        open_study(replace(mixed, recipes={OTHER: {**RECIPE, "steps": 9}}), tmp_path)
    with pytest.raises(RunConflict, match="`environments` is None there"):
        open_study(replace(mixed, recipes={OTHER: RECIPE, TASK: {"environments": 3}}), tmp_path)


def test_a_description_of_before_there_were_recipes_is_read(study: Study, tmp_path: Path) -> None:
    told = study.to_json()
    for name in ("recipes", "controls", "suite"):
        del told[name]
    (tmp_path / "study.json").write_text(json.dumps(told))
    assert read_study(tmp_path) == study
    assert open_study(study, tmp_path) == study


@pytest.fixture
def suite(monkeypatch: pytest.MonkeyPatch) -> Suite:
    """A suite of two tasks, `pair`, in place of all others."""
    pair = Suite(summary="a pair", tasks=(TASK, OTHER), recipes={OTHER: RECIPE}, controls={TASK: ("ppo-gsde",)})
    for module in ("rerun", "suite"):
        monkeypatch.setattr(f"agents.compare.{module}.SUITES", {"pair": pair})
    return pair


@pytest.mark.parametrize(
    "words",
    [
        "",
        "--steps 100000",
        "--steps 300 --scale 0.5",
        "--tasks CartPole-v1 --bonuses all",
        "--algorithm-settings gamma=0.9 n_epochs=3",
        "--controls a2c",
        "--algorithm a2c",
        "--algorithm a2c --algorithm-settings n_steps=8",
        "--algorithm ppo-gsde",
        "--environments 4 --normalise-observations False",
        "--no-self-imitation",
        "--self-imitation",
        "--algorithm dqn",
        "--algorithm recurrent-ppo",
    ],
)
def test_the_command_of_a_suite_reads_back_as_the_same_study(suite: Suite, read_back: Reader, words: str) -> None:
    asked, out = read_back(["compare", "--suite", "pair", *words.split(), "--seeds", "2", "--out", "x"])
    command = shlex.split(study_command(asked, out))
    assert command[:4] == ["vime", "compare", "--suite", "pair"]
    again, _ = read_back(command[1:])
    assert again == asked


def test_a_suite_brings_recipes_and_what_is_given_replaces_them(suite: Suite, read_back: Reader) -> None:
    plain, _ = read_back(["compare", "--suite", "pair", "--out", "x"])
    assert plain.tasks == (TASK, OTHER)
    assert plain.configured(OTHER).steps == 4096
    assert plain.configured(TASK).steps == 100_000
    assert plain.controls == {TASK: ("ppo-gsde",)}
    words = ["--steps", "100000", "--algorithm-settings", "gamma=0.5", "--controls", "ppo-gsde", "a2c"]
    asked, _ = read_back(["compare", "--suite", "pair", *words, "--out", "x"])
    assert asked.configured(OTHER).steps == 100_000  # asked for, though it is what stands there anyway
    assert asked.configured(OTHER).environments == 2
    assert asked.configured(OTHER).algorithm_settings == {"n_steps": 64, "gamma": 0.5}
    assert asked.controls == {TASK: ("ppo-gsde", "a2c"), OTHER: ("a2c",)}


def test_another_algorithm_takes_no_settings_that_were_made_for_its_own(suite: Suite, read_back: Reader) -> None:
    other, _ = read_back(["compare", "--suite", "pair", "--algorithm", "a2c", "--out", "x"])
    assert (other.configured(OTHER).algorithm_settings, other.configured(OTHER).environments) == ({}, None)
    assert other.configured(OTHER).steps == 4096
    assert (other.configured(OTHER).streams, other.configured(OTHER).self_imitation) == (2, True)
    alike, _ = read_back(["compare", "--suite", "pair", "--algorithm", "ppo-gsde", "--out", "x"])
    assert alike.configured(OTHER).algorithm_settings == RECIPE["algorithm_settings"]
    assert not alike.controls  # it runs without a bonus anyway


@pytest.mark.parametrize(("algorithm", "streams"), [("recurrent-ppo", 2), ("dqn", 1)])
def test_an_algorithm_is_spared_what_it_cannot_do(
    suite: Suite, read_back: Reader, algorithm: str, streams: int
) -> None:
    asked, _ = read_back(["compare", "--suite", "pair", "--algorithm", algorithm, "--out", "x"])
    assert (asked.configured(OTHER).streams, asked.configured(OTHER).self_imitation) == (streams, False)


def test_a_switch_turned_off_replaces_that_of_the_recipe(suite: Suite, read_back: Reader) -> None:
    asked, _ = read_back(["compare", "--suite", "pair", "--no-self-imitation", "--out", "x"])
    assert not asked.configured(OTHER).self_imitation
    assert asked.configured(OTHER).streams == 2


def test_all_bonuses_are_those_of_the_table(read_back: Reader) -> None:
    asked, _ = read_back(["compare", "--tasks", TASK, "--bonuses", "all", "rnd+e3b", "--out", "x"])
    assert asked.bonuses == (*BONUSES, "rnd+e3b")


def test_a_task_that_is_not_of_the_suite_is_refused(suite: Suite, study: Study) -> None:
    with pytest.raises(InvalidSettings, match=r"no task 'CartPole-v0'.*CartPole-v1"):
        suite_study("pair", base=study.base, bonuses=("none",), seeds=(0,), tasks=("CartPole-v0",))
    with pytest.raises(UnknownName, match="pair"):
        suite_study("pear", base=study.base, bonuses=("none",), seeds=(0,))


def test_a_suite_and_other_tasks_do_not_share_a_folder(suite: Suite, study: Study, tmp_path: Path) -> None:
    open_study(suite_study("pair", base=study.base, bonuses=("none",), seeds=(0,)), tmp_path)
    with pytest.raises(RunConflict, match="of the suite 'pair', and this one is of no suite"):
        open_study(study, tmp_path)


def test_the_folder_alone_goes_on_with_its_study(mixed: Study, tmp_path: Path, read_back: Reader) -> None:
    open_study(mixed, tmp_path)
    assert shlex.split(study_command(mixed, tmp_path)) == ["vime", "compare", "--out", str(tmp_path)]
    assert read_back(["compare", "--out", str(tmp_path)])[0] == mixed
    more, _ = read_back(["compare", "--bonuses", "rnd", "--seeds", "1", "--scale", "3", "--out", str(tmp_path)])
    assert (more.bonuses, more.seeds, more.base.scale) == (("rnd",), (0,), 3.0)
    with pytest.raises(RunConflict, match=r"`scale` is 1\.0 there and 3\.0 here"):
        open_study(more, tmp_path)


def test_no_task_no_suite_and_no_study_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from agents.__main__ import main

    assert main(["compare", "--out", str(tmp_path)]) == 2
    assert "no study to go on with: name `--tasks`" in capsys.readouterr().err


def test_every_suite_can_start(study: Study) -> None:
    for name in SUITES:
        base = RunConfig(task="")
        suite_study(name, base=base, bonuses=tuple(BONUSES), seeds=(0,)).check()


def test_a_folder_of_another_kind_is_refused(study: Study, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.json").write_text(json.dumps(RunConfig(task="CartPole-v1").to_json()))
    with pytest.raises(RunConflict, match="holds a run of `vime train`"):
        open_study(study, tmp_path / "run")
    open_study(study, tmp_path / "study")
    with pytest.raises(RunConflict, match="holds a study"), RunFolder(tmp_path / "study", study.base):
        pass


def test_what_words_cannot_say_is_said_by_the_folder(study: Study) -> None:
    folder = ["vime", "compare", "--out", "a folder"]
    assert shlex.split(study_command(replace(study, seeds=(5, 7)), Path("a folder"))) == folder
    uneven = replace(study, tasks=(TASK, OTHER), controls={OTHER: ("a2c",)})
    assert shlex.split(study_command(uneven, Path("a folder"))) == folder
    even = replace(study, tasks=(TASK, OTHER), controls=("a2c",))
    assert "--controls a2c" in study_command(even, Path("a folder"))


def test_a_study_under_way_is_not_changed_by_a_launch_that_is_refused(study: Study, tmp_path: Path) -> None:
    open_study(study, tmp_path)
    before = (tmp_path / "study.json").read_text()
    more = replace(study, seeds=(0, 1, 2, 3, 4))
    others = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    with others, study_lock(tmp_path), pytest.raises(RunConflict, match="at work"):
        others.submit(compare, more, tmp_path, display=False).result()
    assert (tmp_path / "study.json").read_text() == before
