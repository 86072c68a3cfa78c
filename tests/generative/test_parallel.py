"""Several processes that train one model, as torchrun starts them."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from generative import Dataset, InvalidSettings, fit, load, make_model
from generative.checkpoint import read
from generative.data import Minibatches
from generative.parallel import Group
from tests.generative.small import generator, settings

PROGRAM = """
import sys
from generative import FitSettings, fit, load_data, make_model

name, out, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
data = load_data("digits").binarised("threshold")
sizes = {"made": {"hidden": [32]}, "vae": {"hidden": [16], "latent": 3}}[name]
fitting = FitSettings(steps=steps, batch_size=32, report_every=5, save_every=10, average=0.9)
print(fit(make_model(name, data.shape, **sizes), data, fitting, folder=out))
"""


def together(folder: Path, name: str, steps: int, processes: int = 2) -> None:
    program = folder.parent / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    ran = subprocess.run(
        [*command, str(program), name, str(folder), str(steps)], capture_output=True, text=True, timeout=200
    )
    assert ran.returncode == 0, ran.stderr[-2000:]


def test_shares_of_a_minibatch_make_it_whole(digits: Dataset) -> None:
    whole = Minibatches(digits, 24, seed=1)
    parts = [Minibatches(digits, 8, seed=1, rank=rank, of=3) for rank in range(3)]
    for _ in range(60):  # more than one pass
        shares = [part.next(generator(), torch.zeros(())).x for part in parts]
        assert torch.equal(torch.cat(shares), whole.next(generator(), torch.zeros(())).x)


def test_a_minibatch_that_cannot_be_shared_out_is_refused() -> None:
    assert Group(0, 4).share(32) == 8
    with pytest.raises(InvalidSettings, match="shared out evenly among 3"):
        Group(1, 3).share(32)


def test_alone_nothing_is_exchanged() -> None:
    slope = torch.ones(3)
    Group().average([slope, None])
    assert torch.equal(slope, torch.ones(3))
    assert Group().gather(slope) == [slope]


@pytest.mark.slow
def test_two_processes_learn_what_one_does(digits: Dataset, tmp_path: Path) -> None:
    together(tmp_path / "two", "made", 20)
    data = digits.binarised("threshold")
    alone = make_model("made", data.shape, hidden=[32])
    fit(alone, data, settings(20, batch_size=32, report_every=5, save_every=10, average=0.9))
    x = data.examples("test", generator())
    torch.testing.assert_close(load(tmp_path / "two").log_prob(x), alone.log_prob(x), rtol=1e-4, atol=1e-4)  # type: ignore[operator]


@pytest.mark.slow
def test_two_processes_with_noise_of_their_own_go_on_exactly(tmp_path: Path) -> None:
    together(tmp_path / "whole", "vae", 20)
    together(tmp_path / "parts", "vae", 10)
    together(tmp_path / "parts", "vae", 20)
    (_, whole), (_, parts) = (read(tmp_path / name / "training.safetensors") for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert not torch.equal(whole["generator"], whole["generator.1"])
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
