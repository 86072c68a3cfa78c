"""The pool: first in, first out, uniform, and saved whole."""

import pytest
import torch

import vime
from vime.replay import Pool


def numbers(start: int, n: int) -> dict[str, torch.Tensor]:
    values = torch.arange(start, start + n, dtype=torch.float32).unsqueeze(1)
    return {"a": values, "b": values.repeat(1, 2)}


@pytest.mark.parametrize("sizes", [(3, 3, 3), (7,), (1,) * 11, (4, 9), (5, 5)])
def test_pool_keeps_the_newest(sizes: tuple[int, ...]) -> None:
    pool, start = Pool(5, {"a": 1, "b": 2}), 0
    for n in sizes:
        pool.add(numbers(start, n))
        start += n
    kept = sorted(pool.rows()["a"].flatten().tolist())
    assert kept == list(range(max(0, start - 5), start))
    assert torch.equal(pool.rows()["a"].repeat(1, 2), pool.rows()["b"])


def test_samples_cover_the_pool_and_repeat_by_generator() -> None:
    pool = Pool(8, {"a": 1, "b": 2})
    pool.add(numbers(0, 6))
    first, second = (pool.sample(400, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first["a"], second["a"])
    assert set(first["a"].flatten().tolist()) == set(range(6))


def test_a_saved_pool_continues_as_if_never_saved() -> None:
    pool, other = (Pool(5, {"a": 1, "b": 2}) for _ in range(2))
    pool.add(numbers(0, 7))
    other.load_state_dict(pool.state_dict())
    for p in (pool, other):
        p.add(numbers(7, 2))
    assert torch.equal(pool.rows()["a"], other.rows()["a"])


@pytest.mark.parametrize("capacity", [3, 5, 8])
@pytest.mark.parametrize("before", [2, 5, 7, 13])
def test_a_pool_loaded_with_another_capacity_keeps_the_latest_and_goes_on(before: int, capacity: int) -> None:
    pool, other = Pool(5, {"a": 1, "b": 2}), Pool(capacity, {"a": 1, "b": 2})
    pool.add(numbers(0, before))
    other.load_state_dict(pool.state_dict())
    for start, n in ((before, 0), (before, 1), (before + 1, 3), (before + 4, 2)):
        other.add(numbers(start, n))
        new = start + n - before
        kept = range(max(0, before - min(5, capacity), start + n - capacity), start + n)
        assert sorted(other.rows()["a"].flatten().tolist()) == list(kept), new
        assert torch.equal(other.rows()["a"].repeat(1, 2), other.rows()["b"])


def test_what_is_stored_holds_on_to_no_graph() -> None:
    pool = Pool(5, {"a": 1})
    pool.add({"a": torch.ones(2, 1, requires_grad=True) * 2})
    assert not pool.rows()["a"].requires_grad


def test_bad_rows_are_refused_whole() -> None:
    pool = Pool(5, {"a": 1, "b": 2})
    rows = numbers(0, 3)
    rows["b"][1, 0] = float("nan")
    with pytest.raises(vime.InvalidData, match="'b'"):
        pool.add(rows)
    assert len(pool) == 0
    with pytest.raises(vime.InvalidData, match="empty"):
        pool.sample(1, torch.Generator())
    with pytest.raises(vime.InvalidSettings, match="0"):
        Pool(0, {"a": 1})
