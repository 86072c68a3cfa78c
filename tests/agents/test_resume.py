import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.buffers import NStepReplayBuffer

from agents.checkpoint import _cut_replay
from agents.config import RunConfig
from agents.train import train
from tests.agents.runs import CASES, assert_same_run, small

BOX = spaces.Box(-99, 99, (1,), np.float32)


class Opaque(gymnasium.Env):
    """Keeps its state where nobody can read it."""

    def __init__(self) -> None:
        self.observation_space, self.action_space = spaces.Box(-np.inf, np.inf, (1,)), spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.simulator = (value for value in self.np_random.normal(size=50))
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        value = next(self.simulator, None)
        return np.full(1, value or 0, np.float32), 1.0, value is None, False, {}


gymnasium.register("tests/Opaque-v0", entry_point=Opaque)


QUICK = ("ppo", "dqn")
STOPPED = [
    *(pytest.param(name, "vime", marks=() if name in QUICK else pytest.mark.slow) for name in CASES),
    ("ppo", "none"),
]


@pytest.mark.parametrize(("algorithm", "bonus"), STOPPED)
def test_a_stopped_run_ends_like_one_that_was_not(tmp_path: Path, algorithm: str, bonus: str) -> None:
    config = small(algorithm, bonus=bonus)
    result = train(config, tmp_path / "whole")
    for steps in (config.steps // 3, config.steps // 2):
        train(config, tmp_path / "parts", stop_after=steps)
    again = train(config, tmp_path / "parts")
    assert again["resumed"] == 2
    assert again["exact_resume"]
    assert_same_run(tmp_path / "whole", tmp_path / "parts", result, again)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"task": "vime/SparseCartPoleSwingupWeak-v0"},
        {"task": "vime/SparseHalfCheetah-v0"},
        {"task": "vime/StochasticChain-v0"},
        {"task": "vime/DeepSea10-v0"},
        {"task": "vime/PointMazeUMaze-v0"},
        {"task": "vime/SparseMountainCarNoisyTV-v0"},
        {"task": "Pendulum-v1", "algorithm_settings": {"n_steps": 64, "use_sde": True, "sde_sample_freq": 8}},
        {
            "algorithm": "sac",
            "steps": 300,
            "algorithm_settings": {"use_sde": True, "learning_starts": 50, "batch_size": 16},
        },
        {"algorithm": "td3", "environments": 2, "normalise_observations": True},
        {"bonus": "expected-gain"},
        {"bonus": "vime-faithful"},
    ],
    ids=lambda changes: "-".join(str(value) for value in changes.values() if not isinstance(value, dict)),
)
def test_tasks_noise_and_normalisers_continue_too(tmp_path: Path, changes: dict[str, Any]) -> None:
    config = small(**{"bonus": "vime"} | changes)
    result = train(config, tmp_path / "whole")
    train(config, tmp_path / "parts", stop_after=config.steps // 2)
    assert_same_run(tmp_path / "whole", tmp_path / "parts", result, train(config, tmp_path / "parts"))


@pytest.mark.slow
def test_rows_written_after_the_checkpoint_are_cut(tmp_path: Path) -> None:
    config = small(steps=4096)
    result = train(config, tmp_path / "whole")
    train(config, tmp_path / "parts", stop_after=2048)
    with open(tmp_path / "parts" / "metrics.csv", "a") as file:
        file.write("2304,99,")  # killed while it wrote
    assert_same_run(tmp_path / "whole", tmp_path / "parts", result, train(config, tmp_path / "parts"))


def test_a_run_killed_before_its_first_checkpoint_starts_again(tmp_path: Path) -> None:
    config = small()
    result = train(config, tmp_path / "whole")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "config.json").write_text(json.dumps(config.to_json()))
    (tmp_path / "parts" / "metrics.csv").write_text("step,epi")
    assert_same_run(tmp_path / "whole", tmp_path / "parts", result, train(config, tmp_path / "parts"))


def test_a_run_killed_after_learning_only_evaluates(tmp_path: Path) -> None:
    config = small()
    result = train(config, tmp_path)
    weights = (tmp_path / "checkpoint.pt").read_bytes()
    (tmp_path / "result.json").unlink()
    again = train(config, tmp_path)
    assert (tmp_path / "checkpoint.pt").read_bytes() == weights
    assert again["evaluation_return"] == result["evaluation_return"]
    assert again["final_return"] == result["final_return"]


def test_a_task_that_cannot_be_saved_starts_new_episodes_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = small(task="tests/Opaque-v0", bonus="vime")
    with caplog.at_level(logging.WARNING):
        train(config, tmp_path, stop_after=1000)
        assert not caplog.records
        result = train(config, tmp_path)
    assert [record.getMessage() for record in caplog.records] == [
        "The run continues with new episodes, so not exactly: its task cannot be saved "
        "(Opaque.simulator is not plain data (generator))."
    ]
    assert result["steps"] == config.steps
    assert not result["exact_resume"]


def test_no_return_runs_from_an_episode_into_one_that_was_begun_after_a_resume() -> None:
    buffer, one = NStepReplayBuffer(12, BOX, BOX, n_steps=3, gamma=0.5), np.ones((1, 1), np.float32)
    _cut_replay(buffer)
    for step in range(9):
        if step == 5:
            _cut_replay(buffer)
        buffer.add(one * step, one * (step + 1), one, one[0], 0 * one[0], [{}])
    samples = buffer._get_samples(np.arange(6))
    assert samples.rewards[:, 0].tolist() == [1.75, 1.75, 1.75, 1.5, 1.0, 1.75]
    assert samples.next_observations[3:5, 0].tolist() == [5.0, 5.0]
    assert not samples.dones.any(), "values are still read at what the cut episode led to"
    buffer.add(one, one, one, one[0], one[0], [{}])  # an end by the rules stays one
    _cut_replay(buffer)
    assert buffer._get_samples(np.array([9])).dones.item() == 1


def test_other_versions_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train(small(), tmp_path, stop_after=500)
    record = json.loads((tmp_path / "versions.json").read_text())
    record["libraries"]["numpy"] = "1.0"
    (tmp_path / "versions.json").write_text(json.dumps(record))
    with caplog.at_level(logging.WARNING):
        result = train(small(), tmp_path)
    assert "numpy 1.0 -> " in caplog.text
    assert not result["exact_resume"]


def _start(config: RunConfig, out: Path) -> subprocess.Popen:
    """Starts a run in a process of its own, with a checkpoint whenever there is time for one."""
    code = (
        "import sys, json; from agents.config import RunConfig; from agents.train import train\n"
        "train(RunConfig.from_json(json.loads(sys.argv[1])), sys.argv[2], checkpoint_seconds=0)"
    )
    return subprocess.Popen([sys.executable, "-c", code, json.dumps(config.to_json()), str(out)])


def _wait_for_change(path: Path, process: subprocess.Popen) -> None:
    before = path.stat().st_mtime_ns if path.exists() else None
    while process.poll() is None and (path.stat().st_mtime_ns if path.exists() else None) == before:
        time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "changes"),
    [
        ("ppo", {"task": "vime/SparseCartPoleSwingupWeak-v0", "steps": 10_240, "algorithm_settings": {}}),
        ("sac", {"task": "vime/SparseMountainCar-v0", "steps": 1200}),
    ],
)
def test_a_run_killed_at_any_moment_ends_like_one_that_was_not(
    tmp_path: Path, algorithm: str, changes: dict[str, Any]
) -> None:
    config = small(algorithm, bonus="vime", **changes)
    result = train(config, tmp_path / "whole")
    moments = random.Random(0)
    out = tmp_path / "killed"
    for what in ("config.json", "checkpoint.pt", "checkpoint.pt"):
        process = _start(config, out)
        _wait_for_change(out / what, process)
        time.sleep(moments.uniform(0, 0.6))
        process.kill()
        assert process.wait() == -signal.SIGKILL, "the run is too short to be killed three times"
    again = train(config, out)
    assert again["resumed"] >= 1
    assert_same_run(tmp_path / "whole", out, result, again)


PENDULUM = RunConfig(task="Pendulum-v1", bonus="none", steps=20_000)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Folder and result of a run of `PENDULUM` that nobody stopped."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, train(PENDULUM, folder)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_a_run_that_can_go_on(
    tmp_path: Path, whole: tuple[Path, dict[str, Any]], number: int, code: int
) -> None:
    words = ["train", "--task", "Pendulum-v1", "--bonus", "none", "--steps", "20000", "--out", str(tmp_path / "run")]
    process = subprocess.Popen([sys.executable, "-m", "agents", *words], stderr=subprocess.PIPE, text=True)
    _wait_for_change(tmp_path / "run" / "progress.json", process)
    os.kill(process.pid, number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in said
    if number == signal.SIGINT:
        assert f"vime {' '.join(words)}" in said
    folder, result = whole
    assert_same_run(folder, tmp_path / "run", result, train(PENDULUM, tmp_path / "run"))
