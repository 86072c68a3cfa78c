import math

import pytest

from agents.bench.overhead import overhead
from vime import InvalidSettings


@pytest.mark.slow
def test_the_cost_of_curiosity_is_measured() -> None:
    figures = overhead(1, task="Pendulum-v1", copies=1)
    assert 0.3 < figures["steps_ratio"] < 2
    assert 0.9 < figures["memory_ratio"] < 1.3
    rates = figures["curious_steps_per_second"] / figures["plain_steps_per_second"]
    assert math.isclose(figures["steps_ratio"], rates)
    assert figures["threads"] == 1


def test_no_rollout_cannot_be_measured() -> None:
    with pytest.raises(InvalidSettings, match="rollouts"):
        overhead(0)
