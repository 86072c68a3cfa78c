import pytest

import envs
from envs.bench import speeds, steps_per_second


def test_every_task_is_measured_in_steps_per_second() -> None:
    measured = speeds(seconds=0.02)
    assert set(measured) == set(envs.TASKS)
    assert min(measured.values()) > 1000


def test_copies_are_counted() -> None:
    assert steps_per_second("vime/MountainCar-v0", copies=1024, seconds=0.1) > 5 * steps_per_second(
        "vime/MountainCar-v0", copies=1, seconds=0.1
    )
    assert steps_per_second("vime/HalfCheetah-v0", copies=2, seconds=0.05) > 1000


@pytest.mark.slow
def test_four_thousand_mountain_cars_make_five_million_steps_per_second() -> None:
    assert max(steps_per_second("vime/MountainCar-v0", copies=4096, seconds=0.5) for _ in range(3)) > 5e6


def test_nonsense_is_refused() -> None:
    for wrong in ({"copies": 0}, {"seconds": 0.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            steps_per_second("vime/MountainCar-v0", **wrong)
