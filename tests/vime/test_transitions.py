"""The batch that every bonus sees: its shape, its copies, its refusal of numbers that are none."""

from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch

import vime
from vime.transitions import concatenate, map_observation, to_tensor

T, B = 4, 3


def make(t: int = T, b: int = B, seed: int = 0, **changes: Any) -> vime.Transitions:
    rng = np.random.default_rng(seed)
    parts: dict[str, Any] = {
        "obs": rng.normal(size=(t, b, 2)),
        "action": rng.integers(3, size=(t, b)),
        "next_obs": rng.normal(size=(t, b, 2)),
        "terminated": rng.random((t, b)) < 0.2,
        "truncated": rng.random((t, b)) < 0.2,
    }
    return vime.Transitions.from_numpy(**{**parts, **changes})


def test_floats_become_single_precision_and_integers_stay() -> None:
    batch = make()
    assert isinstance(batch.obs, torch.Tensor)
    assert batch.obs.dtype == torch.float32
    assert batch.action.dtype == torch.int64
    assert to_tensor(np.zeros(2, np.uint8)).dtype == torch.uint8  # type: ignore[union-attr]


def test_all_steps_are_valid_unless_said_otherwise() -> None:
    assert make().valid.all()
    assert make().shape == (T, B)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8])
def test_a_batch_does_not_follow_the_array_it_came_from(dtype: type) -> None:
    obs = np.ones((T, B, 2), dtype)
    batch = make(obs=obs)
    obs[:] = 7
    assert (batch.obs == 1).all()  # type: ignore[union-attr]


def test_mappings_are_batched_by_key() -> None:
    obs = {"a": np.zeros((T, B, 2)), "b": np.zeros((T, B), np.int64)}
    batch = make(obs=obs, next_obs=obs)
    assert isinstance(batch.obs, dict)
    assert {key: tuple(part.shape) for key, part in batch.obs.items()} == {"a": (T, B, 2), "b": (T, B)}


@pytest.mark.parametrize("name", ["obs", "action", "next_obs", "valid"])
def test_other_leading_axes_are_refused(name: str) -> None:
    with pytest.raises(vime.InvalidData, match=rf"`{name}` must lead with the axes \(t, b\)"):
        make(**{name: np.zeros((T, B + 1), dtype=bool)})


@pytest.mark.parametrize("after", [np.zeros((T, B, 3)), {"map": np.zeros((T, B, 2))}])
def test_a_successor_of_another_shape_is_refused(after: Any) -> None:
    with pytest.raises(vime.InvalidData, match="`next_obs` must be of the shape of `obs`"):
        make(next_obs=after)


@pytest.mark.parametrize(("t", "b"), [(0, 2), (2, 0)])
def test_an_empty_batch_is_refused(t: int, b: int) -> None:
    with pytest.raises(vime.InvalidData, match="at least one of each"):
        make(t, b)


def test_arrays_without_an_axis_of_environments_are_told_to_add_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # nobody but we should notice
    flags = np.zeros(T, bool)
    with pytest.raises(vime.InvalidData, match=r"shape \(4,\)\. .*add its axis: `array\[:, None\]`"):
        make(terminated=flags, truncated=flags)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("name", "words"), [("obs", "The observation"), ("next_obs", "The next observation"), ("action", "The action")]
)
def test_what_is_not_finite_is_named_by_field_step_and_environment(name: str, words: str, bad: float) -> None:
    values = np.zeros((T, B, 2))
    values[2, 1, 0] = bad
    with pytest.raises(vime.InvalidData, match=f"{words} of environment 1 at step 12"):
        make(**{name: values}).check_finite(first_step=10)


def test_what_is_not_finite_in_a_mapping_is_named_by_key() -> None:
    values = np.zeros((T, B, 2))
    values[0, 2, 1] = np.nan
    after = {"map": np.zeros((T, B)), "depth": np.zeros((T, B, 2))}
    batch = make(obs={"map": np.zeros((T, B)), "depth": values}, next_obs=after)
    with pytest.raises(vime.InvalidData, match=r"observation\['depth'\] of environment 2 at step 0"):
        batch.check_finite()


def test_numbers_of_invalid_steps_do_not_matter() -> None:
    values, valid = np.zeros((T, B, 2)), np.ones((T, B), dtype=bool)
    values[1, 1], valid[1, 1] = np.nan, False
    make(obs=values, valid=valid).check_finite()


def test_flat_keeps_the_valid_transitions_in_order() -> None:
    valid = np.ones((T, B), dtype=bool)
    valid[0, 1] = valid[3, 2] = False
    batch = make(valid=valid)
    flat = batch.flat()
    assert flat.shape == (T * B - 2, 1)
    torch.testing.assert_close(flat.obs[:, 0], batch.obs.flatten(0, 1)[batch.valid.flatten()])  # type: ignore[union-attr,index]
    assert flat.valid.all()


def test_flat_of_nothing_valid_is_refused() -> None:
    with pytest.raises(vime.InvalidData):
        make(valid=np.zeros((T, B), dtype=bool)).flat()


def test_joined_batches_follow_one_another_in_time() -> None:
    first, second = make(seed=1), make(2, seed=2)
    joined = concatenate([first, second])
    assert joined.shape == (T + 2, B)
    assert torch.equal(joined.obs[:T], first.obs)  # type: ignore[index,arg-type]
    assert torch.equal(joined.truncated[T:], second.truncated)


def test_an_empty_rollout_is_refused() -> None:
    with pytest.raises(vime.InvalidData, match="empty rollout"):
        concatenate([])


def test_a_function_reaches_every_entry_of_an_observation() -> None:
    obs = {"a": torch.ones(2), "b": torch.zeros(3)}
    assert {k: v.shape for k, v in map_observation(lambda x: x[None], obs).items()} == {"a": (1, 2), "b": (1, 3)}  # type: ignore[union-attr]
