"""Small versions of the measurements of whole studies; their timings are for `scripts` to tell."""

from pathlib import Path

import pytest

from scripts import kill_study

SCRIPTS = Path(__file__).parents[3] / "scripts"


@pytest.mark.slow
def test_a_study_that_is_killed_ends_with_the_table_of_one_that_was_not(tmp_path: Path) -> None:
    told = kill_study.measure(kill_study.Arguments(seeds=4, kills=2, steps=256, folder=tmp_path))
    assert told["runs"] == 8
    assert len(told["kills"]) == 2
    assert told["same_table"]
    assert told["same_results"]
    assert told["run_again"] == 0


def test_nothing_runs_twice_on_many_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from scripts import scaling

    told = scaling.measure(16, 2, 0.1)
    assert (told["runs"], told["begun_more_than_once"]) == (32, 0)
