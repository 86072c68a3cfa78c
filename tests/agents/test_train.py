import json
import os
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from agents import metrics
from agents.config import RunConfig
from agents.evaluate import SHORTEST, evaluate, load, play
from agents.factory import make_model, make_task
from agents.folder import RunFolder
from agents.metrics import COLUMNS, MetricsFile
from agents.train import train
from agents.weight import Fading
from tests.agents.runs import CLOCKS, small
from vime.errors import CheckpointError, InvalidData, InvalidSettings, RunConflict, UnsupportedSpace


class Broken(gymnasium.Env):
    """Pays nothing, and after `good` steps shows what no model should see."""

    def __init__(self, *, good: int = 100, what: str = "observation") -> None:
        self.observation_space, self.action_space = spaces.Box(-1, 1, (2,)), spaces.Discrete(2)
        self.good, self.what, self.steps = good, what, 0

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        self.steps += 1
        bad = self.steps > self.good
        obs = np.full(2, np.nan if bad and self.what == "observation" else 0.5, np.float32)
        ends = self.steps % 20 == 0 and not (bad and self.what == "reward")
        return obs, float("inf") if bad and self.what == "reward" else 0.0, ends, False, {}


gymnasium.register("tests/Broken-v0", entry_point=Broken, disable_env_checker=True)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunConfig, Path, dict[str, Any]]:
    """One curious run on a task of ours."""
    config = small(task="vime/SparseCartPoleSwingup-v0", bonus="vime", steps=3000)
    out = tmp_path_factory.mktemp("finished") / "run"
    return config, out, train(config, out)


def test_a_finished_run_leaves_everything(finished: tuple[RunConfig, Path, dict[str, Any]]) -> None:
    config, out, result = finished
    assert json.loads((out / "result.json").read_text()) == result
    assert RunConfig.from_json(json.loads((out / "config.json").read_text())) == config
    assert result["steps"] >= config.steps
    assert {
        "task", "algorithm", "bonus", "scale", "weight", "streams", "self_imitation", "seed",
        "final_return", "evaluation_return", "first_reward_step", "episodes", "coverage",
        "cpu_seconds", "wall_seconds", "peak_memory_mb",
        "resumed", "exact_resume",
    } <= set(result)  # fmt: skip
    versions = json.loads((out / "versions.json").read_text())
    assert versions["threads"] == 1
    assert versions["libraries"]["torch"] == torch.__version__
    rows = [line.split(",") for line in (out / "metrics.csv").read_text().splitlines()]
    assert rows[0] == list(COLUMNS)
    assert [int(row[0]) for row in rows[1:]] == [1024, 2048, 3072]
    assert all(cell for row in rows[2:] for cell in row[4:])  # bonus, model and coverage, from the first update on
    assert json.loads((out / "progress.json").read_text())["step"] == 3072
    assert any((out / "tensorboard").iterdir())
    assert not (out / "error.txt").exists()


def test_rows_tell_the_weight_and_the_result_how_it_was_set(tmp_path: Path) -> None:
    config = small(bonus="counts", scale=2.0, weight="fading", streams=2, steps=4096)
    result = train(config, tmp_path)
    assert (result["scale"], result["weight"], result["streams"]) == (2.0, "fading", 2)
    header, *rows = ((tmp_path / "metrics.csv").read_text()).splitlines()
    weights = [float(row.split(",")[header.split(",").index("weight")]) for row in rows]
    assert weights == pytest.approx([Fading().weight(2.0, step / 4096) for step in (1024, 2048, 3072, 4096)])


def test_rows_of_an_older_version_go_on_in_its_columns(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path / "metrics.csv")
    metrics.start("step,coverage\n64,0.5\n")
    metrics.add({"step": 128, "weight": 1.0, "coverage": 0.75})
    metrics.close()
    assert (tmp_path / "metrics.csv").read_text() == "step,coverage\n64,0.5\n128,0.75\n"


def test_pictures_hold_data_and_no_code(finished: tuple[RunConfig, Path, dict[str, Any]]) -> None:
    _, out, result = finished
    with np.load(out / "coverage.npz", allow_pickle=False) as coverage:
        assert (coverage["counts"] > 0).mean() == result["coverage"]
        assert coverage["counts"].sum() <= result["steps"] + result["episodes"] + 4
        assert len(coverage["labels"]) == 2
    torch.load(out / "checkpoint.pt", weights_only=True)


def test_a_finished_run_is_not_run_again(finished: tuple[RunConfig, Path, dict[str, Any]]) -> None:
    config, out, result = finished
    before = {path: path.stat().st_mtime_ns for path in out.iterdir() if path.is_file()}
    assert train(config, out) == result
    assert {path: path.stat().st_mtime_ns for path in out.iterdir() if path.is_file()} == before | {
        out / ".lock": (out / ".lock").stat().st_mtime_ns
    }


def test_evaluation_rebuilds_the_learner_and_repeats(finished: tuple[RunConfig, Path, dict[str, Any]]) -> None:
    _, out, result = finished
    state = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    again = evaluate(out)
    assert again["mean"] == result["evaluation_return"]
    assert again["std"] == result["evaluation_std"]
    assert len(evaluate(out, 3)["returns"]) == 3
    assert (np.random.get_state()[1] == state[0]).all()  # noqa: NPY002 - nobody's generator moved
    assert torch.equal(torch.get_rng_state(), state[1])
    with pytest.raises(InvalidSettings):
        evaluate(out, 0)


class Endless(Broken):
    """Never ends, and counts the steps of all copies."""

    walked = 0

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        Endless.walked += 1
        return np.zeros(2, np.float32), 1.0, False, False, {}


def test_episodes_without_a_time_limit_are_cut_where_training_could_not_go(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gymnasium.register("Endless-v0", Endless)
    told: list[dict[str, Any]] = []
    try:
        result = train(small(task="Endless-v0"), tmp_path / "open", progress=told.append)
        walked, Endless.walked = Endless.walked, 0
        limited = small(task="Endless-v0", task_settings={"max_episode_steps": SHORTEST + 200})
        assert train(limited, tmp_path / "limited")["evaluation_return"] == SHORTEST + 200
    finally:
        del gymnasium.registry["Endless-v0"]
    assert walked == result["steps"] + 10 * SHORTEST
    assert result["evaluation_return"] == SHORTEST
    assert told[-1]["evaluates"] == 10
    assert "No episode ended in 2048 steps" in caplog.text
    assert caplog.text.count("The task has no time limit: register it with `max_episode_steps=`.") == 1


def test_the_evaluation_is_no_part_of_the_time_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: Any) -> list[float]:
        ends = time.process_time() + 60
        monkeypatch.setattr(time, "process_time", lambda: ends)
        return [0.0]

    monkeypatch.setattr("agents.train.play", slow)
    assert train(small(steps=256), tmp_path)["cpu_seconds"] < 60


def test_the_same_configuration_gives_the_same_run(tmp_path: Path) -> None:
    config = small()
    first, second = (train(config, tmp_path / name) for name in "ab")
    assert {k: v for k, v in first.items() if k not in CLOCKS} == {k: v for k, v in second.items() if k not in CLOCKS}
    assert (tmp_path / "a/metrics.csv").read_bytes() == (tmp_path / "b/metrics.csv").read_bytes()
    train(replace(config, seed=4), tmp_path / "c")
    assert (tmp_path / "a/metrics.csv").read_bytes() != (tmp_path / "c/metrics.csv").read_bytes()


def test_another_configuration_is_refused_and_nothing_is_lost(finished: tuple[RunConfig, Path, dict[str, Any]]) -> None:
    config, out, result = finished
    with pytest.raises(RunConflict, match=r"`scale` is 1\.0 there and 2\.0 here, `seed` is 3 there and 9 here"):
        train(replace(config, seed=9, scale=2.0), out)
    assert train(config, out) == result


def test_a_run_that_was_refused_does_not_keep_the_folder(tmp_path: Path) -> None:
    wrong = RunConfig(task="CartPole-v1", algorithm="sac", bonus="none", steps=64)
    with pytest.raises(UnsupportedSpace):
        train(wrong, tmp_path)
    assert "UnsupportedSpace" in (tmp_path / "error.txt").read_text()
    assert train(small(steps=64), tmp_path)["algorithm"] == "ppo"
    assert not (tmp_path / "error.txt").exists()


def test_a_folder_has_one_master(tmp_path: Path) -> None:
    with RunFolder(tmp_path, small()), pytest.raises(RunConflict, match="Another process"):
        train(small(), tmp_path)


def test_a_file_is_no_run_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunConflict, match="file"):
        train(small(), tmp_path / "file")
    (tmp_path / "metrics.csv").write_text("")
    with pytest.raises(RunConflict, match=r"without its config\.json"):
        train(small(), tmp_path)


@pytest.mark.parametrize(
    "damage", ["truncated", "foreign", "pickle", "empty", "another shape", "another bonus", "parts"]
)
def test_a_checkpoint_that_cannot_be_used_is_said(tmp_path: Path, damage: str) -> None:
    config = small()
    train(config, tmp_path / "run", stop_after=256)
    path = tmp_path / "run" / "checkpoint.pt"
    whole = path.read_bytes()
    rows = (tmp_path / "run" / "metrics.csv").read_bytes()
    if damage in ("another shape", "another bonus"):
        settings = config.algorithm_settings | {"policy_kwargs": {"net_arch": [8]}}
        other = replace(config, **{"bonus": "vime"} if damage == "another bonus" else {"algorithm_settings": settings})
        train(other, tmp_path / "other", stop_after=256)
        whole = (tmp_path / "other" / "checkpoint.pt").read_bytes()
        path.write_bytes(whole)
    elif damage == "parts":
        torch.save({**torch.load(path, weights_only=True), "progress": {}}, path)
    elif damage == "foreign":
        torch.save({"weights": torch.zeros(3)}, path)
    else:
        pickled = b"cos\nsystem\n(S'true'\ntR."
        path.write_bytes({"truncated": whole[: len(whole) // 2], "pickle": pickled, "empty": b""}[damage])
    with pytest.raises(CheckpointError, match="Delete it"):
        train(config, tmp_path / "run")
    assert (tmp_path / "run" / "metrics.csv").read_bytes() == rows
    if damage == "another bonus":
        return
    with pytest.raises(CheckpointError):
        evaluate(tmp_path / "run")


def test_evaluating_nothing_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no run"):
        evaluate(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="JSON"):
        evaluate(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(small().to_json()))
    with pytest.raises(CheckpointError, match="no checkpoint yet"):
        evaluate(tmp_path)


@pytest.mark.parametrize("what", ["observation", "reward"])
@pytest.mark.parametrize("algorithm", ["ppo", "dqn"])
def test_nan_stops_the_run_and_says_where(tmp_path: Path, what: str, algorithm: str) -> None:
    config = small(algorithm, task="tests/Broken-v0", task_settings={"good": 150, "what": what})
    step = 151 * config.copies
    with pytest.raises(InvalidData, match=f"{what} of environment 0 at step {step} "):
        train(config, tmp_path)
    assert "InvalidData" in (tmp_path / "error.txt").read_text()


def test_progress_is_told_and_threads_are_put_back(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    before = torch.get_num_threads()
    train(small(threads=before + 1, steps=256), tmp_path, progress=told.append)
    assert torch.get_num_threads() == before
    assert told[-1]["step"] == told[-1]["steps"] == 256
    assert {"episode_return", "first_reward_step", "bonus_share", "coverage"} <= set(told[-1])


def test_stopping_early_tells_where_it_stands(tmp_path: Path) -> None:
    figures = train(small(), tmp_path, stop_after=500)
    assert figures["step"] == 512
    assert "final_return" not in figures
    assert not (tmp_path / "result.json").exists()
    assert evaluate(tmp_path, 2)["step"] == 512


def test_whatever_was_left_by_a_killed_writer_is_cleared(tmp_path: Path) -> None:
    train(small(), tmp_path, stop_after=300)
    (tmp_path / ".checkpoint.pt.1.tmp").write_bytes(b"half")
    train(small(), tmp_path)
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".tmp")]


@pytest.mark.slow
def test_a_finished_run_is_a_model_again(tmp_path: Path) -> None:
    train(small(task="Pendulum-v1", algorithm="ppo", steps=512), tmp_path)
    model = load(tmp_path)
    normaliser = model.get_vec_normalize_env()
    assert normaliser is not None
    assert model.num_timesteps == 512
    before = normaliser.obs_rms.mean.copy()
    obs = normaliser.reset()
    for _ in range(5):
        obs, *_ = normaliser.step(model.predict(obs, deterministic=True)[0])
    np.testing.assert_array_equal(normaliser.obs_rms.mean, before)
    assert torch.equal(load(tmp_path).policy.state_dict()["action_net.weight"], model.policy.action_net.weight)


def test_a_loaded_model_plays_elsewhere_under_the_normaliser_that_it_learned_with(
    finished: tuple[RunConfig, Path, dict[str, Any]], tmp_path: Path
) -> None:
    config, out, _ = finished
    model = load(out)
    normaliser = model.get_vec_normalize_env()
    assert normaliser is not None
    normaliser.save(str(tmp_path / "normaliser.pkl"))
    env = VecNormalize.load(str(tmp_path / "normaliser.pkl"), make_vec_env(config.task))
    obs = np.full((1, *env.observation_space.shape), 0.3, np.float32)  # type: ignore[misc]
    assert np.array_equal(env.normalize_obs(obs), normaliser.normalize_obs(obs))
    assert not env.training
    assert not env.norm_reward
    assert not np.allclose(env.normalize_obs(obs), obs)


def test_every_column_of_the_metrics_is_described() -> None:
    page = (Path(__file__).parents[2] / "docs/bonuses.md").read_text()
    for name in COLUMNS:
        assert f"`{name}`" in metrics.__doc__  # type: ignore[operator]
        assert re.search(rf"^\|[^|]*`{name}`", page, re.MULTILINE), name


def test_evaluation_shows_the_policy_what_it_was_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    config = small("ppo", normalise_observations=True)
    model = make_model(config, make_task(config))
    normaliser = model.get_vec_normalize_env()
    assert normaliser is not None
    normaliser.obs_rms.mean, normaliser.obs_rms.var = np.full(4, 100.0), np.ones(4)
    seen = []

    def predict(obs: np.ndarray, **_: Any) -> tuple[np.ndarray, None]:
        seen.append(obs.copy())
        return np.zeros(len(obs), int), None

    monkeypatch.setattr(model, "predict", predict)
    returns = play(model, config, 2, 0)
    assert all((obs == -normaliser.clip_obs).all() for obs in seen)
    assert all(8 <= value <= 11 for value in returns)  # a cart-pole that is pushed one way falls after as many steps
