import copy
import io
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecFrameStack,
    VecNormalize,
    VecTransposeImage,
    sync_envs_normalization,
)

from agents.vecenv import Recording, Tape, finite, raw_level, record
from vime import CheckpointError, InvalidData, InvalidSettings


def taped(venv: Any, room: int = 12) -> Tape:
    tape = Tape(venv.observation_space, venv.action_space, venv.num_envs)
    tape.begin(room)
    record(venv, tape)
    return tape


def walked(walk: Any, steps: int, **options: Any) -> tuple[Any, np.ndarray]:
    venv = DummyVecEnv([lambda: walk(**options), lambda: walk(length=4)])
    tape = taped(venv)
    venv.reset()
    for step in range(steps):
        venv.step(np.full((2, 1), step, np.float32))
        tape.keep()
    return tape.take()


def test_the_true_last_observation_is_recorded(walk: Any) -> None:
    batch, rewards = walked(walk, 9)
    np.testing.assert_array_equal(batch.obs[:, 0, 0], [0, 1, 2, 3, 4, 0, 1, 2, 3])
    np.testing.assert_array_equal(batch.next_obs[:, 0, 0], [1, 2, 3, 4, 5, 1, 2, 3, 4])
    np.testing.assert_array_equal(batch.next_obs[:, 0, 1], [0] * 5 + [1] * 4)
    np.testing.assert_array_equal(batch.next_obs[:, 1, 0], [1, 2, 3, 4, 1, 2, 3, 4, 1])
    np.testing.assert_array_equal(batch.action[:, :, 0], np.arange(9)[:, None].repeat(2, 1))
    assert batch.valid.all()
    assert (rewards == 1).all()


@pytest.mark.parametrize("end", ["terminated", "truncated"])
def test_time_limits_and_terminations_are_told_apart(walk: Any, end: str) -> None:
    batch, _ = walked(walk, 9, end=end)
    other = "truncated" if end == "terminated" else "terminated"
    np.testing.assert_array_equal(np.flatnonzero(getattr(batch, end)[:, 0]), [4])
    assert not getattr(batch, other)[:, 0].any()


def test_a_step_that_nobody_keeps_leaves_no_trace(walk: Any) -> None:
    venv = DummyVecEnv([walk])
    tape = taped(venv)
    venv.reset()
    action = np.zeros((1, 1), np.float32)
    venv.step(action)
    tape.keep()
    venv.reset()
    for _ in range(3):
        venv.step(action)
    venv.step(action)
    tape.keep()
    batch, _ = tape.take()
    np.testing.assert_array_equal(batch.obs[:, 0], [[0, 0], [3, 1]])
    np.testing.assert_array_equal(batch.next_obs[:, 0], [[1, 0], [4, 1]])


def test_recording_neither_steps_nor_resets_nor_changes_what_is_returned(walk: Any) -> None:
    plain, recorded = DummyVecEnv([walk]), DummyVecEnv([walk])
    taped(recorded)
    assert recorded.envs[0].resets == 0
    np.testing.assert_array_equal(plain.reset(), recorded.reset())
    for _ in range(8):
        for mine, theirs in zip(plain.step(np.ones((1, 1))), recorded.step(np.ones((1, 1))), strict=True):
            np.testing.assert_equal(mine, theirs)


def test_what_lies_beneath_normalisation_is_raw(walk: Any) -> None:
    inner = DummyVecEnv([walk])
    env = VecFrameStack(VecNormalize(inner), 2)
    assert raw_level(env) == (inner, env.venv)
    assert raw_level(inner) == (inner, None)
    twice = VecNormalize(VecNormalize(inner))
    assert raw_level(twice) == (inner, twice.venv)
    assert raw_level(twice, highest=True) == (twice.venv, twice)
    tape = taped(inner)
    env.reset()
    for _ in range(5):
        env.step(np.zeros((1, 1), np.float32))
        tape.keep()
    assert tape.take()[0].next_obs[4, 0].tolist() == [5, 0]


def test_normalisation_can_still_be_copied_to_an_evaluation_environment(walk: Any) -> None:
    training, evaluation = (VecNormalize(DummyVecEnv([walk])) for _ in range(2))
    taped(training.venv)
    training.reset()
    training.step(np.zeros((1, 1)))
    sync_envs_normalization(training, evaluation)
    np.testing.assert_array_equal(training.obs_rms.mean, evaluation.obs_rms.mean)
    assert isinstance(training.venv, DummyVecEnv)


@pytest.mark.parametrize("broken", ["reward", "observation", "last observation"])
def test_what_is_not_finite_is_refused_with_environment_and_step(walk: Any, broken: str) -> None:
    length = 20 if broken == "observation" else 7
    venv = DummyVecEnv([lambda: walk(length=7), lambda: walk(length=length, broken=broken)])
    tape = taped(venv)
    venv.reset()
    for _ in range(6):
        venv.step(np.zeros((2, 1), np.float32))
        tape.keep()
    with pytest.raises(InvalidData, match=f"The {broken} of environment 1 at step 6"):
        venv.step(np.zeros((2, 1), np.float32))
    assert tape.kept == 6
    with pytest.raises(InvalidSettings):
        tape.keep()


@pytest.mark.parametrize("values", [[1.0, np.nan], [np.inf, 1.0], [-np.inf, np.inf], [3e38, -3e38], [0.0, 1e-45]])
def test_finite_is_what_numpy_calls_so_for_every_number(values: list[float]) -> None:
    array = np.array(values, np.float32)
    assert finite(array) == np.isfinite(array).all()
    assert finite(array.reshape(1, 2).T) == np.isfinite(array).all()


def test_a_number_beyond_single_precision_and_a_broken_reset_are_refused(sampler: Any) -> None:
    venv = DummyVecEnv([lambda: sampler(spaces.Box(-1, 1, (2,), np.float64), spaces.Discrete(2))])
    tape = taped(venv)
    with pytest.raises(InvalidData, match="reset of environment 0"):
        tape.start(np.array([[np.nan, 0]]))
    venv.reset()
    with pytest.raises(InvalidData, match="single precision"):
        tape.see(np.array([[1e300, 0]]), np.zeros(1), np.zeros(1, bool), [{}])


def test_a_step_from_an_unknown_observation_and_a_hidden_end_are_not_valid(walk: Any) -> None:
    tape = Tape(walk.observation_space, walk.action_space, 1)
    tape.begin(3)
    obs = np.ones((1, 2))
    for done in (False, False, True):
        tape.act(np.zeros((1, 1)))
        tape.see(obs, np.zeros(1), np.array([done]), [{}])
        tape.keep()
    assert tape.take()[0].valid[:, 0].tolist() == [False, True, False]


def test_keeping_without_a_step_or_without_room_is_refused(walk: Any) -> None:
    venv = DummyVecEnv([walk])
    tape = taped(venv, room=1)
    venv.reset()
    with pytest.raises(InvalidSettings, match="attach` again"):
        tape.keep()
    for _ in range(2):
        venv.step(np.zeros((1, 1)))
        if not tape.kept:
            tape.keep()
    with pytest.raises(InvalidSettings, match="under way"):
        tape.keep()


def test_an_empty_record_is_refused(walk: Any) -> None:
    with pytest.raises(InvalidData, match="empty rollout"):
        Tape(walk.observation_space, walk.action_space, 1).take()


SPACES = {
    "float32": spaces.Box(-1, 1, (3,), np.float32),
    "float64": spaces.Box(-1, 1, (3,), np.float64),
    "discrete": spaces.Discrete(4, start=2),
    "multidiscrete": spaces.MultiDiscrete([3, 2]),
    "multibinary": spaces.MultiBinary(3),
    "image": spaces.Box(0, 255, (8, 8, 3), np.uint8),
}


@pytest.mark.parametrize("action", ["float64", "discrete", "multidiscrete", "multibinary"])
@pytest.mark.parametrize("observation", [*SPACES, "dict"])
def test_every_space_is_recorded_in_its_own_shape(sampler: Any, observation: str, action: str) -> None:
    space = spaces.Dict(copy.deepcopy(SPACES)) if observation == "dict" else SPACES[observation]
    venv: Any = DummyVecEnv([lambda: sampler(copy.deepcopy(space), SPACES[action]) for _ in range(2)])
    if observation == "image":
        venv = VecTransposeImage(venv)
    tape = taped(venv)
    venv.seed(0)
    obs = venv.reset()
    for _ in range(8):
        venv.step(np.stack([SPACES[action].sample() for _ in range(2)]))
        tape.keep()
    batch, _ = tape.take()
    parts = space.spaces if observation == "dict" else {"": space}
    for key, part in parts.items():
        tensor, first = (batch.obs[key], obs[key]) if key else (batch.obs, obs)
        assert tensor.shape == (8, *first.shape)
        assert tensor.dtype == (torch.float32 if part.dtype.kind == "f" else torch.from_numpy(first).dtype)
        np.testing.assert_allclose(tensor[0], first, rtol=1e-6)
    assert batch.action.shape == (8, 2, *SPACES[action].shape)
    assert batch.terminated[6].all()


def test_a_saved_record_continues_exactly(walk: Any) -> None:
    def venv() -> Any:
        return DummyVecEnv([walk, lambda: walk(length=3)])

    first = venv()
    tape = taped(first)
    first.reset()
    for step in range(4):
        first.step(np.full((2, 1), step, np.float32))
        tape.keep()
    file = io.BytesIO()
    torch.save(tape.state_dict(), file)
    file.seek(0)
    other = taped(venv())
    other.load_state_dict(torch.load(file, weights_only=True))
    seen = first.step(np.zeros((2, 1), np.float32))
    other.act(np.zeros((2, 1), np.float32))
    other.see(*seen)
    batches = []
    for each in (tape, other):
        each.keep()
        batches.append(each.take())
    for name in ("obs", "action", "next_obs", "terminated", "truncated", "valid"):
        assert torch.equal(getattr(batches[0][0], name), getattr(batches[1][0], name))
    assert np.array_equal(batches[0][1], batches[1][1])
    assert tape.steps == other.steps == 5


def test_a_record_of_another_shape_is_refused(walk: Any) -> None:
    tape = Tape(walk.observation_space, walk.action_space, 2)
    for action, copies, says in ((walk.action_space, 3, "2 copies .* here are 3"), (spaces.Discrete(2), 2, "shape")):
        other = Tape(walk.observation_space, action, copies)
        with pytest.raises(CheckpointError, match=says):
            other.load_state_dict(tape.state_dict())


def test_a_second_record_replaces_the_first(walk: Any) -> None:
    venv = DummyVecEnv([walk])
    first, second = taped(venv), taped(venv)
    assert type(venv).__mro__.count(Recording) == 1
    venv.reset()
    venv.step(np.zeros((1, 1)))
    second.keep()
    with pytest.raises(InvalidSettings):
        first.keep()


def test_a_vector_environment_with_a_step_of_its_own_is_recorded(walk: Any) -> None:
    class Direct(DummyVecEnv):
        def step(self, actions: np.ndarray) -> Any:
            self.actions = actions
            return DummyVecEnv.step_wait(self)

    venv = Direct([walk])
    tape = taped(venv)
    venv.reset()
    venv.step(np.zeros((1, 1)))
    tape.keep()
    assert gymnasium.spaces.utils.flatdim(venv.observation_space) == tape.take()[0].obs.shape[2]
