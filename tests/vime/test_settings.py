"""Every setting of every bonus, given what it cannot be: it is refused when the bonus is built, or the bonus works."""

import math
from collections.abc import Iterator
from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import jaxtyping
import numpy as np
import pytest
import torch
from gymnasium import spaces

import vime
from tests.vime.tiny import tiny

SPACES = spaces.Box(-10, 10, (3,), np.float64), spaces.Discrete(3)
NAN, INF = math.nan, math.inf
WRONG: dict[Any, tuple[Any, ...]] = {  # refused whatever the setting means
    int: (2.5, 2.0, NAN, INF, True, "64", None, [1]),
    float: (NAN, INF, -INF, True, "0.1", None, [1.0]),
    bool: (1, 0, 1.0, "yes"),
    str: (3, None, 1.5, True, ["cpu"]),
    tuple: ("64", 8, 2.5, None, (2.5,), (True,), ("8",), (NAN,), {"width": 8}),
    Literal: (3, "nonsense", None, True),
}
ODD: dict[Any, tuple[Any, ...]] = {  # refused, or it works
    int: (-1, 0, 1, np.int64(3), -(2**70)),
    float: (-1.0, -1, -1e-9, 0, 0.0, 1e-12, 1, np.float32(0.5)),
    tuple: ((), [8], (0,), (-1,), (8, 0), (1,), (4, 4, 4), np.array([8])),
    str: ("", "nonsense", "gpu", "cuda:99", "meta", "cpu:x"),
    bool: (True, False, np.True_),
}


def kind(hint: Any) -> Any:
    """What a field takes, `None` aside."""
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return kind(next(part for part in get_args(hint) if part is not NoneType))
    return origin or hint


def cases(table: dict[Any, tuple[Any, ...]]) -> Iterator[tuple[str, str, tuple[Any, ...]]]:
    """Every setting of every bonus, with the values of the table that are to be tried."""
    for name, cls in vime.BONUSES.items():
        settings = cls.Settings  # type: ignore[attr-defined]
        hints = get_type_hints(settings)
        for field in fields(settings):
            optional = NoneType in get_args(hints[field.name])
            values = [value for value in table.get(kind(hints[field.name]), ()) if not (value is None and optional)]
            if values:
                yield name, field.name, tuple(values)


@pytest.fixture(autouse=True)
def _kinds_unchecked() -> Iterator[None]:
    """Nobody but we should notice what is wrong."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def walk(seed: int, t: int = 12, b: int = 2) -> vime.Transitions:
    rng = np.random.default_rng(seed)
    path = rng.standard_normal((t + 1, b, 3)).cumsum(0)
    ends = rng.random((t, b)) < 0.2
    return vime.Transitions.from_numpy(path[:-1], rng.integers(0, 3, (t, b)), path[1:], ends, np.zeros_like(ends))


@pytest.mark.parametrize(("name", "setting", "values"), list(cases(WRONG)), ids=str)
def test_a_value_of_another_kind_is_refused(name: str, setting: str, values: tuple[Any, ...]) -> None:
    for value in values:
        with pytest.raises(vime.InvalidSettings) as caught:
            raise AssertionError(f"{setting}={value!r} built {vime.make_bonus(name, *SPACES, **{setting: value})}")
        assert f"`{setting}`" in str(caught.value)
        assert repr(value) in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "setting", "values"), list(cases(ODD)), ids=str)
def test_an_odd_value_is_refused_at_once_or_works(name: str, setting: str, values: tuple[Any, ...]) -> None:
    for value in values:
        try:
            bonus = vime.ScaledBonus(vime.make_bonus(name, *SPACES, **tiny(name) | {setting: value}))
        except vime.InvalidSettings as error:
            refusals = str(error)
        else:
            refusals = f"`{setting}`"
            for seed in range(3):
                batch = walk(seed)
                assert torch.isfinite(bonus.reward(batch)).all(), value
                bonus.observe(batch)
                metrics = bonus.learn(batch)
                assert all(math.isfinite(x) for x in metrics.values()), (value, metrics)
        assert f"`{setting}`" in refusals


@pytest.mark.parametrize(
    "wrong",
    [
        {"rule": "mean"}, {"rule": None}, {"squash": "yes"}, {"squash": 1},
        {"unit": "0.1"}, {"unit": 0}, {"unit": -1.0}, {"unit": NAN}, {"unit": INF},
        {"quantile": "high"}, {"quantile": 0.0}, {"quantile": 1}, {"quantile": NAN},
        {"window": 2.5}, {"window": 0}, {"window": "3"}, {"window": True},
    ],
    ids=str,
)  # fmt: skip
def test_a_scaling_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(vime.InvalidSettings, match=f"`{next(iter(wrong))}` must"):
        vime.Scaling(**wrong)


def test_the_expected_gain_takes_no_settings_of_a_realised_one() -> None:
    with pytest.raises(vime.InvalidSettings, match="samples"):
        vime.make_bonus("expected-gain", spaces.Box(-1, 1, (2,), np.float32), spaces.Discrete(2), samples=20)
