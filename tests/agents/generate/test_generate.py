"""`vime generate`: what its commands print and write, how runs go on, and what they say of bad input."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import agents.generate.assess
from agents.__main__ import main
from agents.config import RunConfig
from agents.generate.config import ModelRun, merged
from agents.generate.names import DATA, RECIPES
from agents.generate.train import train_model
from agents.generate.wording import command
from generative import MODELS, load_data, make_model, save
from generative.checkpoint import read
from tests.generative.small import SMALL

QUICK = ("--steps", "40", "--batch-size", "32")
TINY = ("--settings", "hidden=[16]", "latent=3")


def run_of(name: str, **changes: Any) -> ModelRun:
    base: dict[str, Any] = {"steps": 40, "batch_size": 32, "settings": SMALL[name] | {"likelihood": "bernoulli"}}
    if "likelihood" not in {*MODELS[name].Settings.__dataclass_fields__}:
        del base["settings"]["likelihood"]
    return ModelRun(model=name, **(base | changes))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small run that has ended; the tests leave it as it is."""
    out = tmp_path_factory.mktemp("runs") / "vae"
    train_model(run_of("vae", settings=SMALL["vae"] | {"likelihood": "bernoulli"}), out)
    return out


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """A folder like it that may be changed."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


@pytest.fixture(autouse=True)
def _quick_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents.generate.assess, "JUDGE_STEPS", 30)
    monkeypatch.setattr(agents.generate.assess, "JUDGED", 200)


def test_every_model_has_a_recipe_and_the_list_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert RECIPES.keys() == MODELS.keys()
    assert main(["generate", "list", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["models"].keys() == MODELS.keys()
    assert list(told["data"]) == list(DATA)
    assert main(["generate", "list"]) == 0
    lines = capsys.readouterr().out
    assert all(name in lines for name in (*MODELS, *DATA))


def test_every_recipe_can_be_built_for_every_data_set() -> None:
    shapes = {"digits": (1, 8, 8), "mnist": (1, 28, 28), "mnist-14": (1, 14, 14), "cifar10": (3, 32, 32)}
    assert shapes.keys() == DATA.keys()
    for name in RECIPES:
        for data, shape in shapes.items():
            if data == "digits" or name in ("vae", "made"):  # large ones take their time
                make_model(name, shape, **ModelRun(model=name, data=data).plan.settings)


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["list"]])
def test_help_and_list_do_not_import_torch(words: list[str]) -> None:
    code = f"import sys\nfrom agents.__main__ import main\ntry: main({['generate', *words]!r})\n"
    code += "except SystemExit: pass\n"
    code += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=120)


@pytest.mark.parametrize("name", ["list", "train", "sample", "evaluate"])
def test_every_command_has_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["generate", name, "--help"])
    assert stop.value.code == 0
    assert f"Example: vime generate {name}" in capsys.readouterr().out


def test_train_prints_one_line_of_figures_last_and_runs_nothing_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "vae")
    assert main(["generate", "train", "vae", *QUICK, *TINY, "--out", out, "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["steps"] == 40
    assert 0 < told["nats"] <= told["bound_nats"] + 1e-6
    assert told["bits_per_dim"] == pytest.approx(told["nats"] / 64 / np.log(2))
    assert main(["generate", "train", "--out", out, "--json"]) == 0  # finished: nothing runs
    assert json.loads(capsys.readouterr().out) == told
    assert main(["generate", "train", "vae", *QUICK, *TINY, "--seed", "1", "--out", out]) == 2
    said = capsys.readouterr().err
    assert "`seed` is 0 there and 1 here" in said
    assert f"With `--begin {out}` a run in another folder begins with its weights." in " ".join(said.split())


def test_evaluating_gives_the_same_figures_again_or_others_as_asked(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = json.loads((copy / "result.json").read_text())
    assert main(["generate", "evaluate", str(copy), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["nats"], again["steps"]) == (told["nats"], 40)
    assert main(["generate", "evaluate", str(copy), "--samples", "7", "--examples", "20"]) == 0
    assert "from 7 importance samples, over 20 test data" in capsys.readouterr().out
    assert main(["generate", "evaluate", str(copy), "--samples", "0"]) == 2


def test_a_folder_of_another_kind_is_named(copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(copy)]) == 2
    assert "holds a generative model; `vime generate evaluate`" in capsys.readouterr().err
    (tmp_path / "config.json").write_text(json.dumps(RunConfig(task="CartPole-v1").to_json()))
    assert main(["generate", "evaluate", str(tmp_path)]) == 2
    assert "holds a run of `vime train`; `vime evaluate`" in capsys.readouterr().err


def test_samples_are_a_picture_or_numbers(copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "sample", str(copy), "--count", "12"]) == 0
    picture = Image.open(copy / "samples-0.png")
    assert picture.size[0] > picture.size[1]
    file = tmp_path / "new" / "x.npy"
    capsys.readouterr()
    assert main(["generate", "sample", str(copy), "--count", "5", "--file", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["file"] == str(file)
    first = np.load(file)
    assert first.shape == (5, 1, 8, 8)
    assert main(["generate", "sample", str(copy), "--count", "5", "--file", str(file)]) == 0
    assert (np.load(file) == first).all()
    assert main(["generate", "sample", str(copy), "--file", "x.jpg"]) == 2


def test_figures_that_a_model_does_not_have_take_no_samples(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train_model(run_of("made"), tmp_path)
    assert main(["generate", "evaluate", str(tmp_path), "--samples", "5"]) == 2
    assert "made has no use for it" in capsys.readouterr().err


def test_a_density_is_called_no_length_of_a_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--settings", "likelihood=gaussian", "hidden=[16]", "--steps", "5", "--out", str(tmp_path)]
    assert main(["generate", "train", "made", *words]) == 0
    assert "a density, which no code has" in capsys.readouterr().out
    assert json.loads((tmp_path / "result.json").read_text())["bits_per_dim"] is None


def test_codes_without_categories_are_judged_by_their_samples(tmp_path: Path) -> None:
    settings = {"categories": [], "continuous": 2, "channels": 4, "hidden": 8}
    told = train_model(ModelRun(model="infogan", steps=2, settings=settings), tmp_path)
    assert np.isfinite(told["score"])


def test_the_page_needs_nothing_else(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    assert "<script" not in page
    assert not re.findall(r"(?:src|href)=[\"'](?!data:)", page)
    for name in ("samples", "expected", "reconstructions", "traversal", "curves"):
        assert (finished / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert page.count("data:image/png;base64,") == 5


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_model_runs_and_has_the_figures_that_its_recipe_names(name: str, tmp_path: Path) -> None:
    told = train_model(run_of(name), tmp_path)
    for figure in RECIPES[name].figures:
        assert np.isfinite(told[figure]), figure
    assert {"steps", "seed", "seconds", "cpu_seconds", "parameters"} <= told.keys()
    assert (tmp_path / "samples.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["infogan", "lapgan"])
def test_a_model_with_pictures_of_its_own_has_them(name: str, tmp_path: Path) -> None:
    train_model(run_of(name), tmp_path)
    own = {"infogan": ("category-0", "continuous-1", "continuous-2"), "lapgan": ("stages",)}[name]
    assert all((tmp_path / f"{picture}.png").exists() for picture in own)


def test_a_run_that_was_stopped_goes_on_exactly(tmp_path: Path) -> None:
    run = run_of("made", seed=3, steps=60)
    whole = train_model(run, tmp_path / "whole")

    def stop(figures: dict[str, Any]) -> None:
        if figures["step"] == 37:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_model(run, tmp_path / "parts", progress=stop)
    parts = train_model(run, tmp_path / "parts")
    assert parts["resumed"] == 1
    assert parts["training"] == whole["training"]
    _, first = read(tmp_path / "whole" / "training.safetensors")
    _, second = read(tmp_path / "parts" / "training.safetensors")
    assert all((first[key] == second[key]).all() for key in first)
    assert (tmp_path / "whole" / "metrics.csv").read_text() == (tmp_path / "parts" / "metrics.csv").read_text()


def test_rows_say_a_test_figure_where_it_was_taken(finished: Path) -> None:
    lines = (finished / "metrics.csv").read_text().splitlines()
    assert "test_nats" in lines[0]
    place = lines[0].split(",").index("test_nats")
    filled = [line.split(",")[place] for line in lines[1:]]
    assert 2 <= sum(bool(cell) for cell in filled) < len(filled)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["vaee"], "Did you mean 'vae'?"),
        (["vae", "--data", "digit"], "Did you mean 'digits'?"),
        (["vae", "--data", "mnist"], "say where with --data-dir"),
        (["vae", "--steps", "0"], "`steps`"),
        (["vae", "--labels", "100"], "vae has no use for it"),
        (["gan", "--members", "2"], "gan has no use for it"),
        (["semi-supervised-gan", "--labels", "15"], "multiple of 10"),
        (["semi-supervised-gan", "--labels", "9000"], "cannot give 900 labelled examples"),
        (["vae", "--settings", "latnt=3"], "Did you mean 'latent'?"),
        (["vae", "--settings", "optimiser.rat=3"], "Did you mean 'rate'?"),
        (["vae", "--settings", "latent=many"], "`latent` of VAESettings must be a whole number; got 'many'"),
        (["vae", "--settings", "hidden=64,64"], "must be a sequence as [...], each entry a whole number"),
        (["vae", "--settings", "optimiser.epsilon=-1"], "`epsilon`"),
        (["vae", "--begin", "nowhere"], "There is no file nowhere"),
        (["vae", "--device", "gpu"], "`device`"),
        (["lapgan", "--settings", "levels=9"], "cannot be halved"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", "train", *words, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("vime: ")
    assert says in said
    assert said.count("\n") == 1


def test_missing_files_are_named_with_their_checksums(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["generate", "train", "vae", "--data", "mnist", "--data-dir", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "train-images-idx3-ubyte" in said
    assert "6bbc9ace898e44ae57da46a324031adb" in said
    assert said.count("\n") == 1


def test_a_folder_of_something_else_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("evaluate", "sample"):
        assert main(["generate", name, str(tmp_path)]) == 2
        assert "holds no run" in capsys.readouterr().err
    (tmp_path / "config.json").write_text('{"task": "CartPole-v1"}')
    assert main(["generate", "evaluate", str(tmp_path)]) == 2
    assert "run of an agent" in capsys.readouterr().err


def test_a_checkpoint_of_another_model_is_said(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(make_model("made", (1, 8, 8), **SMALL["made"]), copy / "model.safetensors")
    assert main(["generate", "evaluate", str(copy)]) == 2
    assert "holds a model 'made', not 'vae'" in capsys.readouterr().err
    (copy / "model.safetensors").write_bytes(b"\x00" * 100)
    assert main(["generate", "sample", str(copy)]) == 2
    assert "truncated" in capsys.readouterr().err


def test_a_diverged_training_says_so_and_keeps_the_last_good_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["generate", "train", "vae", *QUICK, "--settings", "hidden=[8]", "optimiser.rate=1e30"]
    assert main([*words, "optimiser.rule=sgd", "--out", str(tmp_path)]) == 2
    assert "diverged by step" in capsys.readouterr().err
    assert main(["generate", "sample", str(tmp_path), "--count", "3"]) == 0


def test_the_command_of_a_run_makes_it_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import shlex

    run = ModelRun(model="vae", steps=40, seed=2, compile=True, settings={"latent": 3, "hidden": [16]})
    words = shlex.split(command(run, tmp_path))
    met: list[ModelRun] = []
    monkeypatch.setattr(agents.generate.train, "train_model", lambda run, out, progress: met.append(run) or {
        "model": "vae", "data": "digits", "score": 1.0, "frechet": 1.0, "classes": 1, "samples": 1,
    })  # fmt: skip
    assert main(words[1:]) == 0
    assert met == [run]


def test_a_run_begins_with_the_weights_of_another(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of("iwae", begin=str(finished), settings=SMALL["vae"] | {"likelihood": "bernoulli", "samples": 3})
    begun, still = {}, {"optimiser": {"rate": 1e-30}}
    for name, settings in {"learning": {}, "still": still}.items():
        here = ModelRun(**vars(run) | {"settings": run.settings | settings})
        begun[name] = train_model(here, tmp_path / name)
    before = json.loads((finished / "result.json").read_text())
    assert begun["still"]["nats"] == pytest.approx(before["nats"], rel=1e-6)
    assert begun["learning"]["nats"] < before["nats"]
    assert main(["generate", "train", "vae", "--begin", str(finished), *TINY, "--out", str(tmp_path / "other")]) == 2
    assert "do not fit this vae: " in capsys.readouterr().err


def test_settings_are_put_over_those_of_the_recipe() -> None:
    base = {"a": 1, "inner": {"rate": 1, "rule": "adam"}}
    assert merged(base, {"inner.rate": 2, "b": [3]}) == {"a": 1, "inner": {"rate": 2, "rule": "adam"}, "b": [3]}
    assert merged(base, {"new.rate": 2})["new"] == {"rate": 2}
    assert base["inner"] == {"rate": 1, "rule": "adam"}


def test_labels_are_hidden_as_asked() -> None:
    run = run_of("semi-supervised-gan")
    assert run.shown == 100
    _, data = agents.generate.assess.prepare(run)
    assert data.labelled is not None
    assert len(data.labelled) == 100
    _, data = agents.generate.assess.prepare(run_of("semi-supervised-gan", labels=0))
    assert data.labelled is None
    assert len(load_data("digits").train) == len(data.train)


def test_options_may_stand_before_the_model(tmp_path: Path) -> None:
    assert main(["generate", "train", "--out", str(tmp_path), "vae", *QUICK, *TINY, "--steps", "2"]) == 0
    assert main(["generate", "train", "--out", str(tmp_path)]) == 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", "train", "vae", *QUICK, *TINY, "--device", "cuda", "--out", str(tmp_path / "new")]) == 2
    assert "torch finds no CUDA device here. Use cpu." in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_several_processes_train_one_model_of_which_the_first_writes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "agents"]
    command += ["generate", "train", "vae", *QUICK, *TINY, "--out", str(tmp_path / "vae"), "--json"]
    told = []
    for _ in range(2):  # the second time there is nothing to train
        ran = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert ran.returncode == 0, ran.stderr[-2000:]
        told += [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    assert len(told) == 2
    assert told[0] == told[1]
    assert told[0]["steps"] == 40
