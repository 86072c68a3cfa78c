import json
from pathlib import Path

import pytest

from agents.table import Table


def test_a_row_is_measured_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calls = []

    def measure() -> dict[str, float]:
        calls.append(1)
        return {"nats": 80.5}

    path = tmp_path / "deep" / "table.json"
    first = Table(path, "How many?").row({"model": "vae", "seed": 0}, measure)
    again = Table(path, "How many?").row({"model": "vae", "seed": 0}, measure)
    assert len(calls) == 1
    assert first == again
    assert json.loads(capsys.readouterr().out) == first
    table = Table(path, "How many?")
    table.row({"model": "vae", "seed": 1}, measure)
    table.summary("mean", 80.5)
    content = json.loads(path.read_text())
    assert [row["seed"] for row in content["rows"]] == [0, 1]
    assert content["mean"] == 80.5
    assert len(content["machines"]) == 1
    assert content["machines"][0]["libraries"]["torch"]
    assert content["commands"][0].startswith("python ")
