"""Running statistics agree with those of the whole history; a bonus may fade, unless the published rule forbids it."""

import io
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import vime
from vime.normalise import RunningMoments, Scaling, Yardstick


def reload(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(0, 20), min_size=1, max_size=6), offset=st.floats(-1e3, 1e3), seed=st.integers(0, 99))
def test_moments_of_the_parts_are_moments_of_the_whole(sizes: list[int], offset: float, seed: int) -> None:
    values = torch.randn(sum(sizes), 3, generator=torch.Generator().manual_seed(seed)) * 5 + offset
    moments = RunningMoments((3,))
    for part in values.split(sizes):
        moments.update(part)
    assert moments.count == len(values)
    if len(values):
        torch.testing.assert_close(moments.mean, values.double().mean(0), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(moments.deviation, values.double().std(0, correction=0), rtol=1e-6, atol=1e-9)


def test_moments_before_any_value_are_zero() -> None:
    assert RunningMoments((2,)).deviation.tolist() == [0, 0]


def test_reloaded_moments_continue_bit_for_bit() -> None:
    values = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
    one, two = RunningMoments((2,)), RunningMoments((2,))
    one.update(values[:20])
    two.load_state_dict(reload(one.state_dict()))
    for moments in (one, two):
        moments.update(values[20:])
    assert torch.equal(one.mean, two.mean)
    assert torch.equal(one.square, two.square)


@pytest.mark.parametrize(
    ("rule", "expected"), [("deviation", 2**0.5), ("median", 3.0), ("quantile", 4.6), ("none", 1.0)]
)
def test_each_rule_measures_what_it_says(rule: Any, expected: float) -> None:
    yardstick = Yardstick(Scaling(rule=rule))
    assert yardstick.measure(torch.tensor([1.0, 2, 3, 4, 5])) == pytest.approx(expected)


def test_equal_bonuses_are_not_blown_up() -> None:
    assert Yardstick(Scaling()).measure(torch.full((9,), 5.0)) == pytest.approx(0.5)


def fed(scaling: Scaling, batches: list[torch.Tensor]) -> Yardstick:
    yardstick = Yardstick(scaling)
    for batch in batches:
        yardstick.observe(batch)
        yardstick.commit()
    return yardstick


SPREAD = torch.tensor([1.0, 2.0, 3.0])


@pytest.mark.parametrize("rule", ["deviation", "quantile"])
def test_a_bonus_that_dries_up_fades(rule: Any) -> None:
    yardstick = fed(Scaling(rule=rule), [SPREAD * 2.0**-i for i in range(12)])
    late = SPREAD * 2.0**-12
    assert (late / yardstick.length(late)).max() < 0.01


def test_the_published_rule_never_fades() -> None:
    yardstick = fed(Scaling(rule="median"), [SPREAD * 2.0**-i for i in range(40)])
    late = SPREAD * 2.0**-40
    assert (late / yardstick.length(late)).max() > 0.001
    assert len(yardstick.recent) == 10


@pytest.mark.parametrize("rule", ["deviation", "quantile", "median", "none"])
def test_asking_for_the_length_changes_nothing(rule: Any) -> None:
    yardstick = fed(Scaling(rule=rule), [SPREAD, 3 * SPREAD])
    yardstick.observe(SPREAD)
    before = yardstick.state_dict()
    assert yardstick.length(SPREAD) == yardstick.length(SPREAD) > 0
    after = yardstick.state_dict()
    assert torch.equal(before.pop("pending"), after.pop("pending"))
    assert before == after


@pytest.mark.parametrize("rule", ["deviation", "quantile", "median", "none"])
def test_a_reloaded_yardstick_continues_bit_for_bit(rule: Any) -> None:
    one = fed(Scaling(rule=rule), [SPREAD * i for i in range(1, 12)])
    one.observe(SPREAD * 0.7)
    two = Yardstick(one.scaling)
    two.load_state_dict(reload(one.state_dict()))
    for yardstick in (one, two):
        yardstick.observe(SPREAD * 0.1)
        yardstick.commit()
    assert one.length(SPREAD) == two.length(SPREAD)
    assert one.total == two.total
    assert one.recent == two.recent


@pytest.mark.parametrize("wrong", [{"quantile": 0.0}, {"quantile": 1.0}, {"window": 0}, {"unit": 0.0}, {"unit": -1.0}])
def test_a_scaling_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(vime.InvalidSettings, match=f"`{next(iter(wrong))}`"):
        Scaling(**wrong)


def test_an_unknown_rule_is_refused() -> None:
    scaling = Scaling()
    object.__setattr__(scaling, "rule", "mean")  # the type checker of the tests would stop it on the usual way
    with pytest.raises(vime.InvalidSettings, match=r"`rule` must be 'deviation', .* or 'none'; got 'mean'"):
        scaling.__post_init__()


@pytest.mark.parametrize("rule", ["deviation", "quantile", "median"])
@pytest.mark.parametrize("size", [1, 16, 64])
def test_bonuses_that_begin_with_zeros_are_not_blown_up_afterwards(rule: Any, size: int) -> None:
    yardstick = Yardstick(Scaling(rule=rule))
    generator = torch.Generator().manual_seed(0)
    paid = []
    for batch in range(6):
        for _ in range(128 // size):
            raw = torch.rand(size, generator=generator) * (batch > 2)
            paid.append(float((raw / yardstick.length(raw)).max()))
            yardstick.observe(raw)
        yardstick.commit()
    assert max(paid) < 20
    assert max(paid[-128 // size :]) > 1
    assert yardstick.count == 3
