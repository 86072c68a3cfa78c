"""Training: what it keeps, when it stops, and how it goes on."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from generative import Dataset, Diverged, InvalidData, InvalidSettings, checkpoint, fit, load, make_model, save
from generative.errors import CheckpointError
from generative.model import Batch, Model, Player
from tests.generative.small import data_for, generator, settings, small, weights


def test_it_reports_at_the_steps_asked_for_and_returns_the_last(digits: Dataset) -> None:
    seen: list[tuple[int, dict[str, float]]] = []
    last = fit(
        small("vae", digits),
        data_for("vae", digits),
        settings(45),
        log=lambda step, metrics: seen.append((step, dict(metrics))),
        evaluate=lambda model: {"answer": 42.0, "training": float(model.training)},
    )
    assert [step for step, _ in seen] == [10, 20, 30, 40, 45]
    assert seen[-1][1] == last
    assert "answer" not in seen[0][1]
    assert last["answer"] == 42
    assert last["training"] == 0


def test_evaluating_changes_nothing(digits: Dataset) -> None:
    def evaluate(model: Model) -> dict[str, float]:
        return {"nats": float(model.bound(torch.zeros(3, 1, 8, 8), 2, generator()).mean())}  # type: ignore[operator]

    first, second = small("vae", digits), small("vae", digits)
    fit(first, data_for("vae", digits), settings(30), evaluate=evaluate)
    fit(second, data_for("vae", digits), settings(30))
    assert all(torch.equal(a, b) for a, b in zip(weights(first), weights(second), strict=True))


class Explosive(Dataset):
    """Data that turn to infinity after some minibatches."""

    draws = 0

    def values(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        Explosive.draws += 1
        return super().values(x, generator) * (float("inf") if Explosive.draws > 26 else 1)


def explosive(digits: Dataset) -> Dataset:
    Explosive.draws = 0
    data = data_for("vae", digits)
    return Explosive(**{name: getattr(data, name) for name in data.__dataclass_fields__})


def test_a_diverged_training_says_so_and_keeps_the_last_good_weights(digits: Dataset, tmp_path: Path) -> None:
    model, healthy = small("vae", digits), small("vae", digits)
    with pytest.raises(Diverged, match=r"diverged by step 30 .* of step 20\. Lower the learning rate"):
        fit(model, explosive(digits), settings(100), folder=tmp_path)
    fit(healthy, data_for("vae", digits), settings(20))
    for kept in (model, load(tmp_path)):
        assert not kept.training
        assert all(torch.equal(a, b) for a, b in zip(weights(kept), weights(healthy), strict=True))


def test_a_high_learning_rate_diverges_clearly(digits: Dataset) -> None:
    data = digits.first(200, 0)
    model = make_model(
        "vae", digits.shape, latent=2, hidden=[8], likelihood="gaussian", deviation="shared",
        optimiser={"rule": "sgd", "rate": 1e6},
    )  # fmt: skip
    with pytest.raises(Diverged, match="vae diverged"):
        fit(model, data, settings(200))
    assert all(torch.isfinite(weight).all() for weight in weights(model))


@pytest.mark.parametrize(
    ("hidden", "rate", "every", "said"),
    [([8, 8], 1e3, 10, "the loss leapt to"), ([8], 1e6, 1, "the weights leapt to")],
    ids=["loss", "weights"],
)
def test_the_last_good_weights_are_those_before_a_leap(
    hidden: list[int], rate: float, every: int, said: str, digits: Dataset, tmp_path: Path
) -> None:
    data = digits.binarised("threshold")
    model = make_model("made", digits.shape, hidden=hidden, optimiser={"rule": "sgd", "rate": rate})
    with pytest.raises(Diverged, match=said):
        fit(model, data, settings(200, average=None, report_every=every), folder=tmp_path)
    x = data.examples("test", torch.Generator())
    for kept in (model, load(tmp_path)):
        assert float(kept.log_prob(x).mean()) > -100  # type: ignore[operator]


def test_a_loss_that_falls_far_and_rises_again_is_no_leap(digits: Dataset) -> None:
    class Wave(Model):
        name, Settings = "wave", dict  # type: ignore[assignment]

        def __init__(self) -> None:
            super().__init__(digits.shape, {})
            self.weight = torch.nn.Parameter(torch.zeros(()))

        @property
        def players(self) -> tuple[Player, ...]:
            return (Player(),)

        def losses(self, batch: Batch, player: str, generator: torch.Generator) -> dict[str, torch.Tensor]:
            height = 1e6 * torch.cos(batch.step / 20).relu() ** 8
            return {"loss": height + 0 * self.weight, "other": height**4}

    found = fit(Wave(), digits, settings(300))
    assert abs(found["loss"]) <= 1e6


def test_an_interruption_is_kept_and_goes_on_bit_for_bit(digits: Dataset, tmp_path: Path) -> None:
    class Interrupting(Explosive):
        def values(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
            Explosive.draws += 1
            if Explosive.draws == 20:
                raise KeyboardInterrupt
            return Dataset.values(self, x, generator)

    data = data_for("vae", digits)
    stops = Interrupting(**{name: getattr(data, name) for name in data.__dataclass_fields__})
    Explosive.draws = 0
    with pytest.raises(KeyboardInterrupt):
        fit(small("vae", digits), stops, settings(40), folder=tmp_path)
    assert int(checkpoint.read(tmp_path / "training.safetensors")[1]["counters"][0]) == 10  # the last whole report
    resumed, whole = small("vae", digits), small("vae", digits)
    fit(resumed, data, settings(40), folder=tmp_path)
    fit(whole, data, settings(40))
    assert all(torch.equal(a, b) for a, b in zip(weights(resumed), weights(whole), strict=True))


def test_a_finished_training_returns_at_once_and_a_longer_one_goes_on(digits: Dataset, tmp_path: Path) -> None:
    data = data_for("vae", digits)
    first = fit(small("vae", digits), data, settings(20), folder=tmp_path)
    again = small("vae", digits, seed=9)
    assert fit(again, data, settings(20), folder=tmp_path, log=lambda *_: pytest.fail("trained")) == first
    assert all(torch.equal(a, b) for a, b in zip(weights(again), weights(load(tmp_path)), strict=True))
    steps: list[int] = []
    fit(small("vae", digits), data, settings(30), folder=tmp_path, log=lambda step, _: steps.append(step))
    assert steps == [30]


@pytest.mark.parametrize("name", ["vae", "made", "pixelcnn", "semi-supervised-gan", "lapgan"])
def test_a_model_that_has_learned_goes_on_from_its_weights(name: str, digits: Dataset, tmp_path: Path) -> None:
    model, data = small(name, digits), data_for(name, digits)
    assert not model.begun
    fit(model, data, settings(5), folder=tmp_path)
    read, taken = load(tmp_path), small(name, digits, seed=9)
    checkpoint.load_weights(taken, tmp_path)
    found = []
    for again in (model, read, taken):
        fit(again, data, settings(3, initial_examples=100, seed=3))
        found.append(weights(again))
    model = load(tmp_path)
    fit(model, data, settings(3, initial_examples=0, seed=3))
    assert all(torch.equal(a, b) for other in found for a, b in zip(weights(model), other, strict=True))


def test_a_model_saved_before_it_could_tell_counts_as_one_that_has_learned(digits: Dataset, tmp_path: Path) -> None:
    model, data = small("lapgan", digits), data_for("lapgan", digits)
    fit(model, data, settings(5), folder=tmp_path)
    facts, tensors = checkpoint.read(tmp_path / "model.safetensors")
    checkpoint.write(
        tmp_path / "old.safetensors", {name: value for name, value in tensors.items() if "begun" not in name}, facts
    )
    old, taken = load(tmp_path / "old.safetensors"), small("lapgan", digits)
    checkpoint.load_weights(taken, tmp_path / "old.safetensors")
    assert old.begun
    assert taken.begun
    assert all(torch.equal(a, b) for a, b in zip(weights(old), weights(taken), strict=True))


@pytest.mark.parametrize("change", ["model", "setting", "data", "fit"])
def test_a_folder_of_another_training_is_refused(change: str, digits: Dataset, tmp_path: Path) -> None:
    data = data_for("vae", digits)
    fit(small("vae", digits), data, settings(5), folder=tmp_path)
    model = small("iwae" if change == "model" else "vae", digits)
    if change == "setting":
        model = make_model("vae", digits.shape, latent=5, hidden=[32])
    with pytest.raises(CheckpointError, match="belongs to another training"):
        fit(
            model,
            data.first(100, 0) if change == "data" else data,
            settings(10, seed=1 if change == "fit" else 0),
            folder=tmp_path,
        )


def test_a_folder_of_another_rate_names_the_rate_alone_and_the_way_on(digits: Dataset, tmp_path: Path) -> None:
    data = data_for("vae", digits)
    model = {"latent": 4, "hidden": [8]}
    fit(make_model("vae", digits.shape, **model, optimiser={"rate": 1e-3}), data, settings(5), folder=tmp_path)
    other = make_model("vae", digits.shape, **model, optimiser={"rate": 1e-4})
    with pytest.raises(CheckpointError, match=r"checkpoint\.load_weights") as told:
        fit(other, data, settings(10), folder=tmp_path)
    assert ": model.settings.optimiser.rate is 0.001 there and 0.0001 here. Choose" in str(told.value)


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


@pytest.mark.parametrize(
    "spoil",
    [damage, lambda path: path.write_bytes(b"PK\x03\x04 something else"), lambda path: path.write_bytes(b"")],
    ids=["truncated", "foreign", "empty"],
)
def test_a_damaged_file_is_refused_in_a_sentence(
    spoil: Callable[[Path], object], digits: Dataset, tmp_path: Path
) -> None:
    fit(small("vae", digits), data_for("vae", digits), settings(5), folder=tmp_path)
    for file in ("model.safetensors", "training.safetensors"):
        spoil(tmp_path / file)
    with pytest.raises(CheckpointError, match="truncated, or no file of a model"):
        load(tmp_path)
    with pytest.raises(CheckpointError, match="truncated, or no file of a model"):
        fit(small("vae", digits), data_for("vae", digits), settings(9), folder=tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"There is no file .*model\.safetensors"):
        load(tmp_path)


@pytest.mark.parametrize("place", ["rate-0.001", "other.safetensors"])
def test_a_model_is_found_where_it_was_saved(place: str, digits: Dataset, tmp_path: Path) -> None:
    model = small("vae", digits)
    (tmp_path / "rate-0.001").mkdir()
    checkpoint.save(model, tmp_path / place)
    assert all(torch.equal(a, b) for a, b in zip(weights(load(tmp_path / place)), weights(model), strict=True))


def test_a_crash_while_writing_leaves_the_old_file(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.save(small("vae", digits), tmp_path)

    def crash(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(OSError, match="disk full"):
        checkpoint.save(small("vae", digits, seed=3), tmp_path)
    found = zip(weights(load(tmp_path)), weights(small("vae", digits)), strict=True)
    assert all(torch.equal(a, b) for a, b in found)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


COMPILED = """
import functools, torch
import generative as g
torch.compile = functools.partial(torch.compile, backend="aot_eager")  # traced; compiling C++ takes minutes
from tests.generative.small import data_for, settings, small
data = data_for("vae", g.load_data("digits"))
plain, compiled = (g.fit(small("vae", data), data, settings(20, compile=how))["loss"] for how in (False, True))
print(plain, compiled)
assert abs(plain - compiled) < 1e-3 * plain
"""


@pytest.mark.slow
def test_compiled_losses_give_the_same_training() -> None:
    run_apart(COMPILED).check_returncode()  # apart, since the check of shapes cannot be compiled


def test_settings_out_of_range_are_refused(digits: Dataset) -> None:
    with pytest.raises(InvalidSettings, match="`batch_size` must be a whole number, 1 at least; got 0"):
        settings(5, batch_size=0)
    with pytest.raises(InvalidSettings, match="`device` is cpu, cuda"):
        fit(small("vae", digits), data_for("vae", digits), settings(1, device="tpu!"))
    if not torch.cuda.is_available():
        with pytest.raises(InvalidSettings, match="finds no CUDA device"):
            fit(small("vae", digits), data_for("vae", digits), settings(1, device="cuda"))
    with pytest.raises(InvalidData, match="takes binary values; digits has unit ones"):
        fit(small("vae", digits), digits, settings(1))


def run_apart(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.run([sys.executable, "-c", code, *arguments], cwd=root, env=environment, text=True, check=False)


KILLED = """
import os, signal, sys
import generative as g
from tests.generative.small import settings, small
data = g.load_data("digits")
def kill(step, metrics):
    if step == 130:
        os.kill(os.getpid(), signal.SIGKILL)
g.fit(small("gan", data), data, settings(200), folder=sys.argv[1], log=kill)
"""


@pytest.mark.slow
def test_a_process_killed_without_warning_goes_on_bit_for_bit(digits: Dataset, tmp_path: Path) -> None:
    assert run_apart(KILLED, str(tmp_path)).returncode == -signal.SIGKILL
    resumed, whole = small("gan", digits), small("gan", digits)
    fit(resumed, digits, settings(200), folder=tmp_path)
    fit(whole, digits, settings(200))
    assert all(torch.equal(a, b) for a, b in zip(weights(resumed), weights(whole), strict=True))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_model_cannot_be_loaded_to_a_device_that_is_not_there(digits: Dataset, tmp_path: Path) -> None:
    save(small("vae", digits), tmp_path)
    with pytest.raises(InvalidSettings, match="torch finds no CUDA device here"):
        load(tmp_path, device="cuda")
    with pytest.raises(InvalidSettings, match="got 'graphics'"):
        load(tmp_path, device="graphics")
