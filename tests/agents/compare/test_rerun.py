import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from agents.compare.rerun import row_command, run_command
from agents.config import RunConfig

CONFIG = RunConfig(
    task="CartPole-v1", bonus="rnd", seed=3, steps=5000, algorithm="a2c", scale=0.5, normalise_observations=False,
    bonus_settings={"hidden": [8, 8], "text": "a b"}, environments=4,
)  # fmt: skip


def test_the_command_of_a_run_makes_that_run(monkeypatch: pytest.MonkeyPatch) -> None:
    import agents.train
    from agents.__main__ import main

    read: list[tuple[RunConfig, Path]] = []

    def note(config: RunConfig, out: Path, **_: object) -> None:
        read.append((config, out))
        raise KeyboardInterrupt

    monkeypatch.setattr(agents.train, "train", note)
    assert main(shlex.split(run_command(CONFIG))[1:]) == 130
    assert read == [(CONFIG, Path("runs/again/CartPole-v1/rnd-a2c-seed-3"))]


def test_the_command_of_a_row_makes_all_its_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    import agents.compare
    from agents.__main__ import main

    read: list[tuple[RunConfig, ...]] = []

    def note(study: agents.compare.Study, out: Path, **_: object) -> None:
        read.append(study.runs())
        raise KeyboardInterrupt

    monkeypatch.setattr(agents.compare, "compare", note)
    configs = [replace(CONFIG, seed=seed) for seed in range(3)]
    assert main(shlex.split(row_command(configs))[1:]) == 130
    assert read == [tuple(configs)]


def test_seeds_with_holes_are_run_in_a_loop() -> None:
    command = row_command([replace(CONFIG, seed=seed) for seed in (4, 0)])
    assert command.startswith("for s in 0 4; do vime train --task CartPole-v1 --bonus rnd ")
    assert command.endswith('--seed "$s" --out runs/again/CartPole-v1/rnd-a2c-seed-"$s"; done')


def test_no_two_commands_of_a_page_share_a_folder() -> None:
    others = [{"bonus": "none"}, {"bonus": "none", "algorithm": "trpo"}, {"task": "vime/DeepSea10-v0"}]
    rows = [[replace(CONFIG, seed=seed, **change) for seed in range(2)] for change in ({}, *others)]
    commands = [row_command(row) for row in rows] + [run_command(config) for row in rows for config in row]
    assert len({command.split("--out ")[1] for command in commands}) == len(commands)
