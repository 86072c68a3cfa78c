"""Exploration: what it finds, keeps, resumes and refuses."""

import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

import agents
import vime
from agents.__main__ import main
from agents.folder import hold
from agents.planning import Objective
from agents.planning.coverage import shown_task
from agents.planning.exploration import load
from agents.planning.recording import read
from agents.planning.settings import ExploreConfig, ExploreSettings, PlannerSettings
from tests.agents.planning.conftest import CAR, QUICK


@pytest.mark.slow
def test_the_flag_is_found_without_any_reward_and_nats_come_as_predicted() -> None:
    """A random policy never finds it in 40 episodes of 999 steps."""
    found = agents.explore(CAR, 200, seed=0)
    assert found.recording.first_termination is not None
    told = found.figures["calibration"]
    assert 0.5 < told["slope"] < 2
    assert told["steps"] == 170


def test_every_transition_of_the_chain_is_tried_within_ten_episodes() -> None:
    """The best published takes about 15, and reward bonuses reach 40 % in 60."""
    found = agents.explore("vime/StochasticChain-v0", 10 * 59, seed=0, planner=PlannerSettings(horizon=59))
    assert (found.model.visits > 0).all()


@pytest.mark.parametrize("model", ["ensemble", "bayesian", "last-layer", "random"])
def test_what_is_kept_can_be_read_again(model: str, tmp_path: Path) -> None:
    how = {**QUICK, "model_settings": {} if model == "random" else QUICK["model_settings"]}
    found = agents.explore(CAR, 20, seed=0, out=tmp_path / "x", model=model, **how)
    again = load(tmp_path / "x")
    assert again.figures == found.figures == json.loads((tmp_path / "x" / "result.json").read_text())
    steps = read(tmp_path / "x" / "data")
    np.testing.assert_array_equal(steps.obs, found.recording.obs)
    np.testing.assert_array_equal(steps.next_obs, found.recording.next_obs)
    np.testing.assert_array_equal(steps.action, found.recording.action)
    assert steps.truncated[-1]
    if model != "random":
        obs, action = (
            torch.tensor(np.array(found.recording.obs[-1:])),
            torch.tensor(np.array(found.recording.action[-1:])),
        )
        one, two = (
            m.predict(obs, action, generator=torch.Generator().manual_seed(0)) for m in (found.model, again.model)
        )
        assert torch.equal(one.mean, two.mean)
        assert (tmp_path / "x" / "nats.png").stat().st_size > 1000
    for name in ("coverage.png", "exploration.gif"):
        assert (tmp_path / "x" / name).stat().st_size > 1000


@pytest.mark.parametrize("model", ["ensemble", "bayesian", "random"])
def test_one_that_was_stopped_continues_bit_for_bit(model: str, tmp_path: Path) -> None:
    how = {**QUICK, "model_settings": {} if model == "random" else QUICK["model_settings"], "model": model}
    whole = agents.explore(CAR, 24, seed=3, **how).recording
    agents.explore(CAR, 13, seed=3, out=tmp_path / "x", **how)
    rest = agents.explore(CAR, 24, seed=3, out=tmp_path / "x", **how).recording
    np.testing.assert_array_equal(whole.action, rest.action)
    np.testing.assert_array_equal(whole.realised, rest.realised)


def test_minari_reads_the_data_set(tmp_path: Path) -> None:
    import minari

    found = agents.explore("Acrobot-v1", 15, seed=0, out=tmp_path / "x", **QUICK)
    dataset = minari.MinariDataset(tmp_path / "x" / "data")
    (episode,) = dataset.iterate_episodes()
    assert episode.observations.shape == (16, 6)
    assert dataset.total_steps == 15
    assert episode.infos["predicted_nats"].shape == (15,)
    np.testing.assert_array_equal(episode.actions, found.recording.action)
    assert dataset.recover_environment().spec.id == "Acrobot-v1"


class Odd(gymnasium.Env):
    """Dictionaries of observations, and a number that is not finite after some steps."""

    observation_space = spaces.Dict({"a": spaces.Box(-1, 1, (2,), np.float64), "b": spaces.Discrete(3)})
    action_space = spaces.MultiDiscrete([2, 3])

    def __init__(self, last: int = 10**9) -> None:
        self.last, self.steps = last, 0

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        return {"a": np.zeros(2), "b": 0}, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        self.steps += 1
        value = float("nan") if self.steps > self.last else 0.5
        return {"a": np.full(2, value), "b": int(action[1])}, 0.0, self.steps % 7 == 0, False, {}


def test_dictionaries_and_several_choices_are_explored(tmp_path: Path) -> None:
    found = agents.explore(Odd(), 16, seed=0, out=tmp_path / "x", **QUICK)
    assert found.figures["episodes"] == 2
    assert found.figures["first_termination_step"] == 7
    assert len(read(tmp_path / "x" / "data")) == 16
    ends = found.termination(updates=1)
    assert ends is not None
    assert ends.share == 2 / 16
    assert agents.explore(Odd(), 6, seed=0, **QUICK).termination() is None


def test_a_number_that_is_not_finite_is_refused_and_what_came_before_is_kept(tmp_path: Path) -> None:
    with pytest.raises(vime.InvalidData, match="step 12"):
        agents.explore(Odd(last=12), 30, seed=0, out=tmp_path / "x", **QUICK)
    assert len(load(tmp_path / "x").recording) == 12


def test_a_reward_can_be_pursued_at_once() -> None:
    objective = Objective(measure=None, reward=lambda s, a, f: f[:, 0])
    found = agents.explore(CAR, 15, seed=0, objective=objective, **QUICK)
    assert len(found.recording) == 15
    with pytest.raises(vime.InvalidSettings, match="objective"):
        agents.explore(CAR, 15, out="nowhere", objective=objective)


def test_folders_of_others_are_left_alone(tmp_path: Path) -> None:
    agents.explore(CAR, 8, seed=0, out=tmp_path / "x", **QUICK)
    with pytest.raises(vime.RunConflict, match="seed"):
        agents.explore(CAR, 8, seed=1, out=tmp_path / "x", **QUICK)
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / "mine.txt").write_text("mine")
    with pytest.raises(vime.RunConflict, match="something else"):
        agents.explore(CAR, 8, seed=0, out=tmp_path / "y", **QUICK)
    with pytest.raises(vime.CheckpointError, match="vime explore"):
        load(tmp_path / "y")


@pytest.mark.parametrize(
    "settings",
    [
        {"model": "ensembl"}, {"fit_every": 0}, {"warm_up": 0}, {"measure": "log"}, {"model": "tabular"},
        {"model_settings": {"hiden": [3]}}, {"optimism": -1.0},
        {"model": "random", "model_settings": {"hidden": [3]}}, {"precision": "float16"},
    ],
)  # fmt: skip
def test_bad_settings_cost_nothing(settings: dict) -> None:
    with pytest.raises((vime.InvalidSettings, vime.UnknownName)):
        agents.explore(CAR, 10, **settings)


def test_a_table_knows_its_settings() -> None:
    with pytest.raises(vime.InvalidSettings, match="Did you mean 'prior'"):
        agents.explore("FrozenLake-v1", 10, model_settings={"pror": 1.0})


def test_what_a_killed_writer_left_is_in_nobodys_way(tmp_path: Path) -> None:
    left = tmp_path / ".config.json.7-ab.tmp"
    left.write_text("{")
    agents.explore(CAR, 8, seed=0, out=tmp_path, **QUICK)
    assert not left.exists()


def test_no_planner_serves_actions_without_bounds() -> None:
    env = gymnasium.wrappers.TransformAction(gymnasium.make(CAR), lambda a: a, spaces.Box(-np.inf, np.inf, (1,)))
    with pytest.raises(vime.UnsupportedSpace, match="TransformAction"):
        agents.explore(env, 10)


def test_settings_survive_json() -> None:
    config = ExploreConfig(task=CAR, steps=5, how=ExploreSettings(**QUICK))
    assert ExploreConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_the_command_line_explores_and_transfers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "x")
    words = ["--candidates", "12", "--elites", "4", "--iterations", "1", "--horizon", "8", "--updates", "3"]
    assert main(["explore", "--task", CAR, "--steps", "40", "--out", out, "--json", *words]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    wanted = {"first_termination_step", "steps", "cpu_seconds", "predicted_nats", "realised_nats", "states_covered"}
    assert wanted <= told.keys()
    assert told["steps"] == 40
    transfer = ["transfer", out, "--episodes", "1", "--steps", "5", "--horizon", "4", "--candidates", "12"]
    assert main([*transfer, "--reward", "agents.planning.rewards:flag", "--json"]) == 0
    scored = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert scored["lengths"] == [5]
    assert scored["score"] == 0
    for reward in ("agents.planning.rewards:flog", "flag", "nowhere.at.all:flag", "agents.planning.rewards:check"):
        assert main([*transfer, "--reward", reward]) == 2
        assert "reward" in capsys.readouterr().err


def test_a_step_is_a_surprise_or_counts_for_the_slope() -> None:
    recording = agents.explore(CAR, 3, model="random").recording
    recording.predicted, recording.realised = [1.0, 1.0, 1.0], [0.5, 1.5, 40.0]
    assert recording.calibration() == {"slope": 1.0, "surprises": 1, "steps": 3}


def test_a_table_has_no_features_to_learn_from_where_episodes_end() -> None:
    found = agents.explore("FrozenLake-v1", 60, seed=0)
    assert found.figures["first_termination_step"] is not None
    assert found.termination() is None


def test_a_folder_may_be_named_from_where_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = agents.explore(CAR, 12, seed=0, out="runs/here", **QUICK)
    assert len(load("runs/here").recording) == len(read(Path("runs/here/data"))) == found.figures["steps"] == 12


def test_a_folder_is_held_by_one_process_at_a_time_and_of_one_kind(tmp_path: Path) -> None:
    agents.explore(CAR, 12, seed=0, out=tmp_path / "one", **QUICK)
    with hold(tmp_path / "one"), pytest.raises(vime.RunConflict, match="Another process"):
        agents.explore(CAR, 14, seed=0, out=tmp_path / "one", **QUICK)
    assert agents.explore(CAR, 5, seed=0, out=tmp_path / "one", **QUICK).figures["steps"] == 12
    assert json.loads((tmp_path / "one/config.json").read_text())["steps"] == 12
    (tmp_path / "two").mkdir()
    (tmp_path / "two/config.json").write_text(json.dumps(agents.RunConfig(task=CAR).to_json()))
    with pytest.raises(vime.RunConflict, match="a run of `vime train`"):
        agents.explore(CAR, 5, out=tmp_path / "two")
    with pytest.raises(vime.CheckpointError, match="a run of `vime train`"):
        load(tmp_path / "two")
    (tmp_path / "two/config.json").rename(tmp_path / "two/study.json")
    with pytest.raises(vime.CheckpointError, match="a study; `vime compare`"):
        load(tmp_path / "two")


def test_a_model_of_other_spaces_is_refused_for_a_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    agents.explore(CAR, 12, seed=0, out=tmp_path, **QUICK)
    words = ["transfer", str(tmp_path), "--reward", "agents.planning.rewards:flag", "--task", "CartPole-v1"]
    assert main(words) == 2
    assert "CartPole-v1 has other spaces than MountainCarContinuous-v0" in capsys.readouterr().err


def test_a_task_registered_with_a_class_is_explored_into_a_folder(tmp_path: Path) -> None:
    from gymnasium.envs.classic_control import PendulumEnv

    if "ByClass-v0" not in gymnasium.registry:
        gymnasium.register("ByClass-v0", entry_point=PendulumEnv, max_episode_steps=20)
    agents.explore("ByClass-v0", 12, out=tmp_path, **QUICK)
    minari = pytest.importorskip("minari")
    spec = minari.MinariDataset(tmp_path / "data").env_spec
    assert spec.entry_point == "gymnasium.envs.classic_control.pendulum:PendulumEnv"


def test_a_model_of_random_steps_alone_has_learned_from_them(tmp_path: Path) -> None:
    found = agents.explore(CAR, 12, **{**QUICK, "warm_up": 40})
    untrained = agents.explore(CAR, 12, **{**QUICK, "warm_up": 40, "updates": 1})
    weights = [next(iter(one.model.network.parameters())) for one in (found, untrained)]
    assert not torch.equal(*weights)


def test_the_folder_alone_goes_on_and_warnings_are_said_plainly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "x")
    words = ["--candidates", "12", "--elites", "4", "--iterations", "1", "--horizon", "8", "--updates", "3"]
    assert main(["explore", "--task", CAR, "--steps", "12", "--out", out, "--measure", "jensen-renyi", *words]) == 0
    capsys.readouterr()
    assert main(["explore", "--out", out, "--steps", "40", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out.splitlines()[-1])["steps"] == 40
    warned = [line for line in said.err.splitlines() if "cannot exceed" in line]
    assert warned
    assert all(line.startswith("vime: ") for line in warned)


def test_a_table_knows_that_nothing_comes_after_an_end() -> None:
    """Chance tries about half of the pairs in as many steps; holes and the goal have four each that cannot be tried."""
    found = agents.explore(gymnasium.make("FrozenLake-v1", map_name="8x8", is_slippery=False), 600, seed=0)
    assert int((found.model.visits > 0).sum()) == 4 * (64 - 11)


def test_a_great_table_takes_no_time() -> None:
    found = agents.explore("vime/DeepSea50-v0", 100, seed=0)
    assert found.figures["states_covered"] > 60


@pytest.mark.slow
def test_where_episodes_end_is_learned_and_shunned() -> None:
    covered = {
        model: sum(agents.explore("CartPole-v1", 300, seed=s, model=model).figures["states_covered"] for s in range(2))
        for model in ("ensemble", "random")
    }
    assert covered["ensemble"] > 1.2 * covered["random"]


@pytest.mark.parametrize("task", ["vime/PixelMaze-v0", "vime/PixelMountainCar-v0", "vime/DeepSea10-v0"])
def test_tasks_seen_as_pictures_or_numbers_are_kept_with_theirs(task: str, tmp_path: Path) -> None:
    agents.explore(task, 3, seed=0, out=tmp_path, model="random")
    assert (tmp_path / "exploration.gif").exists()
    assert json.loads((tmp_path / "result.json").read_text())["steps"] == 3


@pytest.mark.parametrize(
    "wrap",
    [
        lambda env: gymnasium.wrappers.TimeAwareObservation(env, flatten=False),
        lambda env: gymnasium.wrappers.RescaleObservation(env, np.float32(-100), np.float32(100)),
        lambda env: gymnasium.wrappers.TransformObservation(
            env, lambda o: o[1:], spaces.Box(-0.07, 0.07, (1,), np.float32)
        ),
        lambda env: gymnasium.wrappers.FrameStackObservation(env, 2),
    ],
    ids=["dictionary", "rescaled", "cut", "stacked"],
)
def test_observations_that_a_wrapper_changed_are_mapped_as_they_are(wrap: Any, tmp_path: Path) -> None:
    found = agents.explore(wrap(gymnasium.make(CAR)), 40, seed=0, out=tmp_path, model="random")
    assert (tmp_path / "coverage.png").exists()
    assert found.figures["states_covered"] > 1
    assert shown_task(wrap(gymnasium.make(CAR))) is None
    assert shown_task(gymnasium.make(CAR)) == CAR
    assert shown_task(gymnasium.make("vime/DeepSea10-v0", size=12)) == "vime/DeepSea12-v0"
    noisy = "vime/SparseMountainCarNoisyTV-v0"
    assert shown_task(gymnasium.make(noisy)) == noisy
    assert shown_task(gymnasium.wrappers.NormalizeObservation(gymnasium.make(noisy))) is None


def test_an_exploration_that_is_not_finished_says_which_command_goes_on(tmp_path: Path) -> None:
    agents.explore(CAR, 8, seed=0, out=tmp_path, **QUICK)
    (tmp_path / "result.json").unlink()
    with pytest.raises(vime.CheckpointError, match=r"`vime explore --out .*` goes on"):
        load(tmp_path)


class Walk(gymnasium.Env):
    """A point on a line, observed as an array that the environment itself goes on changing."""

    observation_space = spaces.Box(-50, 50, (1,), np.float64)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, pace: float = 1.0, own: bool = True) -> None:
        self.pace, self.own, self.place = pace, own, np.zeros(1)
        self.noise = (number for number in ())  # a thing that cannot be saved

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.place[:] = 0.0
        return self._seen(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.place += self.pace * np.asarray(action)
        action[:] = 0.0
        return self._seen(), 0.0, False, False, {}

    def _seen(self) -> np.ndarray:
        return self.place if self.own else self.place.copy()


gymnasium.register("tests/Walk-v0", Walk)


def test_an_environment_that_changes_what_it_gave_is_recorded_as_it_was() -> None:
    one, two = (agents.explore(gymnasium.make("tests/Walk-v0", own=own), 14, **QUICK) for own in (True, False))
    for name in ("obs", "next_obs", "action", "realised"):
        np.testing.assert_array_equal(getattr(one.recording, name), getattr(two.recording, name))
    assert np.abs(np.diff(one.recording.obs, axis=0)).max() > 0.1
    assert np.abs(one.recording.action).min() > 0


def test_a_task_keeps_its_module_and_its_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task, out = f"{__name__}:tests/Walk-v0", str(tmp_path / "x")
    words = ["--steps", "8", "--task-settings", "pace=0.25", "--model-settings", "hidden=[8]", "--updates", "2"]
    assert main(["explore", "--task", task, "--out", out, *words]) == 0
    steps = load(out).recording
    np.testing.assert_allclose(np.subtract(steps.next_obs, steps.obs), 0.25 * np.array(steps.action), rtol=1e-5)
    assert main(["explore", "--out", out, "--steps", "10"]) == 0
    steps = load(out).recording
    np.testing.assert_allclose(np.subtract(steps.next_obs, steps.obs), 0.25 * np.array(steps.action), rtol=1e-5)
    planner = ["--horizon", "4", "--candidates", "8", "--elites", "2", "--iterations", "1"]
    reward = f"{__name__}:place"
    assert main(["transfer", out, "--reward", reward, "--episodes", "1", "--steps", "3", "--json", *planner]) == 0
    assert abs(json.loads(capsys.readouterr().out.splitlines()[-1])["score"]) <= 0.25 * (1 + 2 + 3)
    agents.explore(gymnasium.make("tests/Walk-v0", pace=1.0), 10, out=tmp_path / "y", **QUICK)
    with pytest.raises(vime.RunConflict, match="task_settings"):
        agents.explore(gymnasium.make("tests/Walk-v0", pace=2.0), 20, out=tmp_path / "y", **QUICK)
    with pytest.raises(vime.InvalidSettings, match="`task_settings` are for a task given by its name"):
        agents.explore(gymnasium.make(CAR), 5, task_settings={"goal_velocity": 1})


def place(state: torch.Tensor, action: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
    return following[:, 0]


def test_a_finished_exploration_stays_as_it_is(tmp_path: Path) -> None:
    first, again = (agents.explore("tests/Walk-v0", 12, out=tmp_path, **QUICK) for _ in range(2))
    assert {**first.figures, "cpu_seconds": 0} == {**again.figures, "cpu_seconds": 0}
    assert agents.explore("tests/Walk-v0", 15, out=tmp_path, **QUICK).figures["steps"] == 15


@pytest.mark.parametrize("steps", [QUICK["warm_up"] - 1, QUICK["warm_up"], 9])
def test_one_that_was_finished_grows_as_if_it_had_never_ended(steps: int, tmp_path: Path) -> None:
    whole = agents.explore(CAR, 20, seed=3, **QUICK).recording
    agents.explore(CAR, steps, seed=3, out=tmp_path, **QUICK)
    agents.explore(CAR, steps, seed=3, out=tmp_path, **QUICK)
    rest = agents.explore(CAR, 20, seed=3, out=tmp_path, **QUICK).recording
    np.testing.assert_array_equal(whole.action, rest.action)


def test_the_model_that_is_handed_over_has_learned_from_every_step(tmp_path: Path) -> None:
    found = agents.explore(CAR, 12, out=tmp_path, **{**QUICK, "fit_every": 100})
    assert found.explorer.unseen == 0  # type: ignore[attr-defined]
    again = load(tmp_path)
    for one, two in zip(found.model.network.parameters(), again.model.network.parameters(), strict=True):
        assert torch.equal(one, two)


def test_a_model_that_diverges_says_so_and_what_was_seen_is_kept(tmp_path: Path) -> None:
    how = {**QUICK, "model_settings": {"hidden": [16], "learning_rate": 1e25}}
    with pytest.raises(vime.InvalidData, match="its training diverged"):
        agents.explore(CAR, 20, out=tmp_path, **how)
    assert len(read(tmp_path / "data")) == QUICK["warm_up"]


@pytest.mark.parametrize(
    ("env", "settings", "says"),
    [
        (CAR, {"model_settings": {"device": "cuda:99"}}, "no device"),
        (CAR, {"model_settings": {"device": "abacus"}}, "`device` is cpu, cuda"),
        (CAR, {"model": "bayesian", "samples": 1}, "`samples` must be at least 2"),
        (CAR, {"objective": Objective(), "measure": "variance"}, "Where an `objective` is given"),
        (CAR, {"objective": Objective(reward=lambda s, a, f: f)}, "one value a row"),
        ("FrozenLake-v1", {"warm_up": 5}, "`warm_up`"),
        ("FrozenLake-v1", {"planner": PlannerSettings(kind="cem")}, "`planner`"),
    ],
)
def test_what_has_no_effect_or_cannot_be_is_refused_at_once(env: str, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(vime.InvalidSettings, match=says):
        agents.explore(env, 10**9, **settings)


def test_several_environments_are_not_explored_at_once() -> None:
    with pytest.raises(vime.UnsupportedEnvironment, match="One environment is explored at a time"):
        agents.explore(gymnasium.make_vec("CartPole-v1", num_envs=2), 5)  # type: ignore[arg-type]
