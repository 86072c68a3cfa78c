import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from agents.compare.study import Study, open_study, read_study, run_folder
from agents.config import RunConfig
from vime import InvalidSettings, RunConflict, UnknownName

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
    words = shlex.split(replace(study, base=base).command(Path("a folder")))
    expected = f"vime compare --tasks {TASK} --bonuses none vime --seeds 3 --scale 0.5 --steps 20000"
    settings = ["--bonus-settings", "hidden=[8, 8]", "seed=3", "--normalise-observations", "False"]
    assert words == [*expected.split(), *settings, "--out", "a folder"]


def test_command_line_reads_its_own_command(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    import agents.compare
    from agents.__main__ import main

    read: list[tuple[Study, Path]] = []

    def note(study: Study, out: Path, **_: object) -> None:
        read.append((study, out))
        raise KeyboardInterrupt

    monkeypatch.setattr(agents.compare, "compare", note)
    settings = {"hidden": [8, 8], "seed": 3}
    base = replace(study.base, normalise_observations=False, bonus_settings=settings, threads=2, environments=4)
    words = shlex.split(replace(study, base=base).command(Path("a folder")))
    assert main(words[1:]) == 130
    assert read[0][0].runs() == replace(study, base=base).runs()
    assert read[0][1] == Path("a folder")
