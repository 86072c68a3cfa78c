"""Studies on a Ray cluster: a real one, of two nodes on loopback."""

import json
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import fake_runs
import pytest

from agents.__main__ import main
from agents.compare import Study, cluster, compare, machines
from agents.compare.launch import launch
from agents.compare.states import RunState
from agents.config import RunConfig
from agents.lease import LEASE_FILE
from tests.agents.compare.clusters import LocalCluster, local_cluster
from tests.agents.runs import NET, assert_same_run
from vime import ClusterError

Runs = list[tuple[RunConfig, Path]]


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[LocalCluster]:
    pytest.importorskip("ray", reason="Ray is not installed: `pip install .[ray]`")
    with local_cluster() as there:
        yield there


@pytest.fixture(scope="module")
def ray(two_nodes: LocalCluster) -> Iterator[ModuleType]:
    """One connection for all tests: Ray's workers, and what they have loaded, stay from one to the next."""
    with machines.joined(two_nodes.address) as there:
        yield there


def placed(study: Study, out: Path) -> Runs:
    """The runs of a study with their folders, below a folder that is there."""
    out.mkdir(parents=True, exist_ok=True)
    return [(config, study.folder(out, config)) for config in study.runs()]


def test_without_ray_the_extra_is_named(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ClusterError, match=r"pip install \.\[ray\]"):
        compare(study, tmp_path / "new", ray="127.0.0.1:6379", display=False)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("address", ["127.0.0.1", "cluster:x", ":6379", "ray://cluster:10001"])
def test_an_address_of_another_form_is_refused(study: Study, tmp_path: Path, address: str) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: `pip install .[ray]`")
    with pytest.raises(ClusterError, match="HOST:PORT"):
        compare(study, tmp_path / "new", ray=address, display=False)


def test_an_unreachable_cluster_is_said_within_seconds_and_leaves_no_trace(study: Study, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: `pip install .[ray]`")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound and not listening: whoever knocks is refused
        before = time.monotonic()
        with pytest.raises(ClusterError, match="No Ray cluster answers"):
            compare(study, tmp_path / "new", ray=f"127.0.0.1:{free.getsockname()[1]}", display=False)
    assert time.monotonic() - before < 10
    assert not (tmp_path / "new").exists()


def test_the_command_line_says_it_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: `pip install .[ray]`")
    words = ["compare", "--tasks", "CartPole-v1", "--ray", "127.0.0.1:1", "--out", str(tmp_path / "new")]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("vime: No Ray cluster answers at 127.0.0.1:1")
    assert said.count("\n") == 1


def test_a_head_that_is_gone_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "HEAD_ATTEMPTS", 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        context = SimpleNamespace(gcs_address=f"127.0.0.1:{free.getsockname()[1]}")
        ray = SimpleNamespace(get_runtime_context=lambda: context)
        with pytest.raises(ClusterError, match=r"has gone.*the same command goes on"):
            machines.check_head(ray)  # type: ignore[arg-type]


@pytest.mark.slow
def test_what_listens_and_is_no_cluster_is_given_up(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: `pip install .[ray]`")
    monkeypatch.setattr(machines, "ANSWER_SECONDS", 5.0)
    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(ClusterError, match="let nobody in"):
        compare(study, tmp_path / "new", ray=f"127.0.0.1:{mute.getsockname()[1]}", display=False)
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_runs_go_to_both_nodes_once_each_and_failures_are_recorded(
    study: Study, tmp_path: Path, ray: ModuleType
) -> None:
    runs = placed(study, tmp_path)
    states = cluster.launch_on_cluster(runs, tmp_path, ray=ray, run=fake_runs.one_raises)
    assert [state.status for state in states] == ["finished"] * 2 + ["failed"] * 2 + ["finished"] * 2
    assert {state.message for state in states} == {"", "ValueError: the pole fell off"}
    again = cluster.launch_on_cluster(runs, tmp_path, ray=ray, run=fake_runs.quick)
    assert {state.status for state in again} == {"finished"}
    assert [len((folder / "begun.txt").read_text().split()) for _, folder in runs] == [1, 1, 2, 2, 1, 1]
    assert not list(tmp_path.rglob(LEASE_FILE))


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_is_given_up(study: Study, tmp_path: Path, ray: ModuleType) -> None:
    one = replace(study, bonuses=("none",), seeds=(1,))
    runs = placed(one, tmp_path)
    (state,) = cluster.launch_on_cluster(runs, tmp_path, ray=ray, run=fake_runs.one_is_killed)
    assert state.status == "failed"
    assert "given up after 3 attempts" in state.message
    assert len((state.folder / "begun.txt").read_text().split()) == 3


@pytest.mark.slow
def test_an_interrupt_saves_what_runs_on_the_nodes(study: Study, tmp_path: Path, ray: ModuleType) -> None:
    def interrupt(states: Sequence[RunState]) -> None:
        if len(list(tmp_path.rglob("begun.txt"))) == 2:
            raise KeyboardInterrupt

    runs = placed(study, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        cluster.launch_on_cluster(runs, tmp_path, ray=ray, run=fake_runs.saves_when_stopped, watch=interrupt)
    left = sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.txt"))
    assert len(list(tmp_path.rglob("saved.txt"))) == 2, left  # at once: not after the connection is closed
    assert not list(tmp_path.rglob("error.txt"))
    assert not list(tmp_path.rglob(LEASE_FILE))


@pytest.mark.slow
def test_machines_of_other_versions_or_too_small_are_refused(
    study: Study, tmp_path: Path, two_nodes: LocalCluster, ray: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = replace(study, base=replace(study.base, threads=2))
    assert ray.is_initialized()  # so `compare` uses the connection that is there
    with pytest.raises(ClusterError, match="2 CPU of one machine"):
        compare(wide, tmp_path / "wide", ray=two_nodes.address, display=False, run=fake_runs.quick)
    ours = machines.facts_here() | {"torch": "1.0"}
    monkeypatch.setattr(cluster, "facts_here", lambda: ours)
    with pytest.raises(ClusterError, match=r"torch 2\.\S+ where we have 1\.0"):
        compare(study, tmp_path / "other", ray=two_nodes.address, display=False, run=fake_runs.quick)
    assert not list(tmp_path.rglob("begun.txt"))


@pytest.mark.slow
def test_a_study_outlives_a_node_and_equals_the_local_one_bit_for_bit(
    tmp_path: Path, two_nodes: LocalCluster, ray: ModuleType
) -> None:
    """Last, for it leaves one node: the other is killed while a run on it is between two checkpoints."""
    settings = {**NET, "n_steps": 64, "batch_size": 64, "n_epochs": 2}
    base = RunConfig(task="CartPole-v1", steps=6000, environments=4, algorithm_settings=settings)
    study = Study(tasks=("CartPole-v1",), bonuses=("none", "rnd"), seeds=(0, 1), base=base)
    here, there = tmp_path / "here", tmp_path / "there"
    killed: list[Path] = []

    def kill(states: Sequence[RunState]) -> None:
        processes = two_nodes.processes() if not killed else set()
        for folder in [state.folder for state in states if (state.folder / "checkpoint.pt").exists()]:
            lease = folder / LEASE_FILE
            if not killed and lease.exists() and json.loads(lease.read_text())["process"] in processes:
                killed.append(folder)
                two_nodes.kill_second()

    states = cluster.launch_on_cluster(
        placed(study, there), there, ray=ray, run=fake_runs.trains_with_checkpoints, watch=kill
    )
    assert killed, "no run of the second node had a checkpoint before its end"
    assert [state.status for state in states] == ["finished"] * 4
    launch(placed(study, here), run=fake_runs.trains_with_checkpoints, jobs=1)
    resumed = 0
    for (_, ours), (_, theirs) in zip(placed(study, here), placed(study, there), strict=True):
        one, two = (json.loads((folder / "result.json").read_text()) for folder in (ours, theirs))
        assert_same_run(ours, theirs, one, two)
        resumed += two["resumed"]
        assert len((theirs / "begun.txt").read_text().split()) == two["resumed"] + 1
    assert resumed == 1
    assert json.loads((killed[0] / "result.json").read_text())["resumed"] == 1
    assert not list(there.rglob(LEASE_FILE))
