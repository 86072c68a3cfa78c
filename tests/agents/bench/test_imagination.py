import json
import sys

import pytest

import agents.bench.imagination as bench
from agents.__main__ import main
from vime.errors import InvalidSettings

TINY = {
    "observation": 3, "action": 2, "layers": 2, "hidden": 8, "members": 5, "rows": 50,
    "plan": {"candidates": 10, "iterations": 2, "elites": 3, "horizon": 3, "particles": 10},
    "fit": {"members": 2, "rows": 64, "minibatch": 16},
}  # fmt: skip


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "SIZES", TINY)
    monkeypatch.setattr(bench, "TASKS", {"mountain_car": (2, 1)})


def test_figures_are_named_and_without_a_peer_no_ratio_is_made_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "imagination", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["transitions_per_second_fp32"] > 0
    assert figures["transitions_per_second_bf16"] > 0
    assert all(figures[name] is None for name in ("peer_ratio", "plan_ratio", "epoch_ratio"))
    assert figures["default_plan_ms"]["mountain_car"] > 0
    assert isinstance(figures["hardware_bf16"], bool)


@pytest.mark.parametrize(("peer", "says"), [(sys.executable, "No module named 'mbrl'"), ("/nowhere", "does not start")])
def test_a_peer_that_does_not_run_is_named(peer: str, says: str) -> None:
    with pytest.raises(InvalidSettings, match=says):
        bench.imagination(1, peer)
    with pytest.raises(InvalidSettings, match="rounds"):
        bench.imagination(0)
