import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from agents.__main__ import _how_to_go_on, _pair, main
from agents.names import ALGORITHMS, BONUSES
from agents.suites import SUITES
from envs.bench import speeds

COMMANDS = ("train", "evaluate", "compare", "report", "demo", "list", "bench")
QUICK = ("--task", "CartPole-v1", "--bonus", "none", "--steps", "256", "--environments", "2")
QUICK += ("--algorithm-settings", "n_steps=64", 'policy_kwargs={"net_arch":[8]}')


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert f"Example: vime {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("word", "value"),
    [("a=True", True), ("a=true", True), ("a=None", None), ("a=[1,2]", [1, 2]), ("a=high", "high"), ("a=b=c", "b=c")],
)
def test_settings_are_json_or_pythons_words_or_else_text(word: str, value: object) -> None:
    assert _pair(word) == ("a", value)


def test_train_evaluate_and_train_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "run")
    assert main(["train", *QUICK, "--out", out]) == 0
    assert "return over the last tenth" in capsys.readouterr().out
    assert main(["train", "--out", out, "--json"]) == 0  # finished: the folder alone is enough, and nothing runs
    result = json.loads(capsys.readouterr().out)
    assert (result["task"], result["steps"], result["environments"]) == ("CartPole-v1", 256, 2)
    assert main(["evaluate", out, "--episodes", "10", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mean"] == result["evaluation_return"]
    assert main(["evaluate", out]) == 0
    assert "over 10 episodes" in capsys.readouterr().out
    assert main(["train", "--out", out, "--seed", "5"]) == 2
    assert "`seed` is 0 there and 5 here" in capsys.readouterr().err
    assert main(["train", *QUICK, "--seed", "5", "--out", out]) == 2


def test_lists_name_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    tables = json.loads(capsys.readouterr().out)
    assert list(tables["bonuses"]) == list(BONUSES)
    assert list(tables["algorithms"]) == list(ALGORITHMS)
    assert "vime/SparseCartPoleSwingupWeak-v0" in tables["tasks"]
    assert all(text for table in tables.values() for text in table.values())
    assert list(tables["suites"]) == list(SUITES)
    assert tables["suites"]["deep-sea"]["tasks"] == [f"vime/DeepSea{size}-v0" for size in (10, 20, 30, 40, 50)]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["train", "--task", "vime/SparseMountanCar-v0"], "Did you mean 'vime/SparseMountainCar-v0'?"),
        (["train", "--task", "CartPole-v1", "--algorithm", "pp0"], "Did you mean 'ppo'?"),
        (["train", "--task", "CartPole-v1", "--bonus", "vine"], "Did you mean 'vime'?"),
        (["train", "--task", "CartPole-v1", "--steps", "-1"], "`steps`"),
        (["train", "--task", "CartPole-v1", "--algorithm", "sac"], "These serve it: ppo"),
        (["train", "--task", "CartPole-v1", "--bonus-settings", "hiden=[8]"], "Did you mean 'hidden'?"),
        (["train", "--task", "CartPole-v1", "--checkpoint-seconds", "-1"], "`checkpoint_seconds`"),
        (["compare", "--tasks", "CartPole-v1", "--bonuses", "nune"], "Did you mean 'none'?"),
        (["compare", "--tasks", "CartPole-v1", "--seeds", "0"], "--seeds"),
        (["compare", "--tasks", "CartPole-v1", "--only", "0", "--jobs", "2"], "leave out --count, --json, --ray and"),
        (["train", "--task", "CartPole-v1", "--bonus-settings", "samples=many"], "must be a whole number"),
        (["train", "--task", "CartPole-v1", "--algorithm-settings", "gamma=high"], "takes no text"),
        (["explore", "--task", "MountainCarContinuous-v0", "--steps", "-3"], "`steps` must be at least 1; got -3."),
        (["explore", "--task", "MountainCarContinuous-v0", "--horizon", "0"], "`horizon` must be at least 1; got 0."),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("vime: ")
    assert says in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out" / "result.json").exists()


@pytest.mark.parametrize("command", ["evaluate", "report"])
def test_an_empty_folder_is_said(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        "", "trian", "train", "train --task A --out x --bonus-settings n", "train --task A --out x --steps 1.5",
        "train --task A --out x --steps 1e999", "train --task A --out x --streams 3",
    ],
)  # fmt: skip
def test_words_that_make_no_command_are_refused(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words.split())
    assert stop.value.code == 2
    assert "vime" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["train", "train --bonus rnd", "explore", "generate train"])
def test_a_folder_with_nothing_in_it_is_not_gone_on_with(
    words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words.split(), "--out", str(tmp_path)]) == 2
    assert f"{tmp_path} holds nothing to go on with: name a " in capsys.readouterr().err


def test_an_option_of_another_command_is_named_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--tasks", "CartPole-v1", "--out", str(tmp_path)])
    said = capsys.readouterr().err
    assert "--tasks" in said
    assert "holds nothing" not in said


def test_the_folder_of_a_study_is_known_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "study.json").write_text("{}")
    assert main(["train", "--no-json", "--out", str(tmp_path)]) == 2
    assert f"{tmp_path} holds a study; `vime compare`" in capsys.readouterr().err


def test_a_damaged_checkpoint_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert main(["train", *QUICK, "--out", str(out)]) == 0
    (out / "result.json").unlink()
    (out / "checkpoint.pt").write_bytes((out / "checkpoint.pt").read_bytes()[:1000])
    capsys.readouterr()
    assert main(["train", "--out", str(out)]) == 2
    assert "truncated, damaged or foreign" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["train", "compare"])
def test_a_folder_that_cannot_be_made_is_one_sentence(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    task = ["--task" if command == "train" else "--tasks", "CartPole-v1"]
    assert main([command, *task, "--out", "/dev/null/run"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("vime: /dev/null/run ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("name", ["result.json", "versions.json"])
@pytest.mark.parametrize("text", ["", "[1]", '{"a": '])
def test_a_damaged_record_is_set_aside_and_the_run_goes_on(
    name: str, text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert main(["train", *QUICK, "--out", str(tmp_path)]) == 0
    before = json.loads((tmp_path / "result.json").read_text())
    (tmp_path / "result.json").unlink()
    (tmp_path / name).write_text(text)
    assert main(["train", "--out", str(tmp_path)]) == 0
    assert f"{name} cannot be read as a JSON object" in caplog.text
    assert (tmp_path / f"damaged-{name}").read_text() == text
    after = json.loads((tmp_path / "result.json").read_text())
    assert after["evaluation_return"] == before["evaluation_return"]
    assert after["exact_resume"] == (name == "result.json")


def test_a_finished_run_is_not_extended_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *QUICK, "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    assert main(["train", "--out", str(tmp_path), "--steps", "100000"]) == 2
    assert "A run keeps the length that it began with" in capsys.readouterr().err


def test_a_negative_seed_of_an_evaluation_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(tmp_path), "--seed", "-1"]) == 2
    assert "`seed`" in capsys.readouterr().err


def test_a_reader_that_leaves_is_no_error() -> None:
    command = [sys.executable, "-m", "agents", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.slow
def test_a_benchmark_prints_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("envs.bench.speeds", partial(speeds, seconds=0.01))
    assert main(["bench", "envs", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["vime/MountainCar-v0"] > 0


@pytest.mark.slow
def test_a_comparison_prints_json(tmp_path: Path) -> None:
    def told(*words: str) -> object:
        command = [sys.executable, "-m", "agents", *words, "--json"]
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    rows = told(
        "compare", "--tasks", "CartPole-v1", "--bonuses", "none", "vime", "--seeds", "2", "--steps", "512",
        "--environments", "2", "--algorithm-settings", "n_steps=64", "--out", str(tmp_path),
    )  # fmt: skip
    assert isinstance(rows, list)
    assert {row["bonus"] for row in rows} == {"none", "vime"}
    assert all({"iqm", "low", "high", "seeds"} <= set(row) for row in rows)
    assert told("report", str(tmp_path)) == rows


def test_a_study_whose_runs_fail_is_no_success(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["--tasks", "CartPole-v1", "--bonuses", "none", "--seeds", "1", "--environments", "1", "--steps", "100"]
    with pytest.raises(SystemExit, match="1 run failed; it has its"):
        main(["compare", *words, "--algorithm-settings", "n_steps=1", "--out", str(tmp_path)])
    told = capfd.readouterr().out
    assert "CartPole-v1: the run failed." in told
    assert "Failed: 1 of 1 runs: " in told


@pytest.mark.parametrize(("words", "said"), [(["explore"], "goes on"), (["transfer", "x"], "begins anew")])
def test_what_was_stopped_says_whether_it_goes_on(words: list[str], said: str) -> None:
    assert said in _how_to_go_on(words)
