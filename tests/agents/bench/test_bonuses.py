import math

import pytest

from agents.bench.bonuses import bonuses
from vime import InvalidSettings, UnknownName


@pytest.mark.slow
def test_the_cost_of_a_bonus_is_measured_beside_the_plain_model() -> None:
    said: list[str] = []
    table = bonuses(1, names=["rnd", "counts"], copies=2, progress=said.append)
    assert list(table) == ["rnd", "counts"]
    for row in table.values():
        assert 0.2 < row["steps_ratio"] < 2
        assert 0.8 < row["memory_ratio"] < 1.5
        per_step = 1e3 / row["steps_per_second"]
        assert math.isclose(row["overhead"], 1e3 * per_step * (1 - row["steps_ratio"]), rel_tol=1e-6)
    assert said[0] == "round 0 of 1: rnd"
    assert said[-1] == "memory: counts"


def test_no_round_and_no_such_bonus_cannot_be_measured() -> None:
    with pytest.raises(InvalidSettings, match="rounds"):
        bonuses(0)
    with pytest.raises(UnknownName, match="rnd"):
        bonuses(1, names=["rnnd"])
