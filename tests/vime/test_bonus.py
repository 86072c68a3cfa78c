"""The contract of a bonus, passed by every entry of the table, for every kind of observation and action."""

import copy
import io
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import Space, spaces

import vime
from vime.bonuses.none import NoBonus

OBSERVATIONS: dict[str, Space] = {
    "vector": spaces.Box(-np.inf, np.inf, (4,), np.float64),
    "discrete": spaces.Discrete(5, start=1),
    "dict": spaces.Dict(pose=spaces.Box(-1, 1, (2,), np.float32), goal=spaces.Discrete(3)),
    "image-7": spaces.Box(0, 255, (7, 7, 3), np.uint8),
    "image-84": spaces.Box(0, 255, (84, 84, 3), np.uint8),
}
ACTIONS: dict[str, Space] = {
    "discrete": spaces.Discrete(3),
    "multi-discrete": spaces.MultiDiscrete([2, 3]),
    "box-1": spaces.Box(-1, 1, (1,), np.float32),
    "box-6": spaces.Box(-1, 1, (6,), np.float32),
}
LEARNING = [name for name in vime.BONUSES if name != "none"]
SMALL: dict[str, dict[str, Any]] = {name: {"hidden": (8,), "updates": 2, "minibatch": 16} for name in LEARNING}
SMALL |= {
    name: {"hidden": (8,), "width": 4, "passes": 1, "minibatch": 16} for name in ("icm", "ride", "e3b", "deir", "ex2")
}
SMALL |= {name: {"hidden": (8,), "passes": 1, "minibatch": 16} for name in ("disagreement", "girm")}
SMALL |= {
    name: {"hidden": (8,), "passes": 1, "minibatch": 16} for name in ("rnd", "ngu", "noveld", "lpm", "density-counts")
}
SMALL |= {name: {"hidden": (8,), "width": 4} for name in ("pseudo-counts", "re3", "rise", "revd")}
SMALL["lpm"]["queue"] = 16
SMALL |= {"counts": {}, "simhash": {"bits": 2}}
OTHER: dict[str, dict[str, Any]] = {"counts": {"cell": 0.25}, "simhash": {"bits": 3}}  # than `hidden` decides the shape
SEEDLESS = ("counts",)  # the seed only shuffles the names of the places


def build(name: str, observation: str = "vector", action: str = "discrete", **settings: Any) -> vime.Bonus:
    return vime.make_bonus(name, OBSERVATIONS[observation], ACTIONS[action], **{**SMALL.get(name, {}), **settings})


def batch(
    observation: str = "vector", action: str = "discrete", t: int = 6, b: int = 3, seed: int = 0
) -> vime.Transitions:
    def draw(space: Space, offset: int) -> Any:
        space.seed(seed + offset)
        if isinstance(space, spaces.Dict):
            return {key: draw(part, offset + i) for i, (key, part) in enumerate(space.spaces.items())}
        drawn = np.stack([space.sample() for _ in range(t * b)])
        return drawn.reshape(t, b, *drawn.shape[1:])

    obs, act = OBSERVATIONS[observation], ACTIONS[action]
    none = np.zeros((t, b), dtype=bool)
    return vime.Transitions.from_numpy(draw(obs, 0), draw(act, 100), draw(obs, 200), none, none)


def without(data: vime.Transitions, step: int, copy: int) -> vime.Transitions:
    valid = data.valid.clone()
    valid[step, copy] = False
    return vime.Transitions(data.obs, data.action, data.next_obs, data.terminated, data.truncated, valid)


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("observation", OBSERVATIONS)
@pytest.mark.parametrize("name", vime.BONUSES)
def test_every_bonus_serves_every_space(name: str, observation: str, action: str) -> None:
    bonus = build(name, observation, action)
    assert isinstance(bonus, vime.Bonus)
    for copies, seed in ((3, 0), (1, 1), (16, 2)):
        data = batch(observation, action, t=2, b=copies, seed=seed)
        reward = bonus.reward(data)
        assert reward.shape == (2, copies)
        assert reward.dtype == torch.float32
        assert torch.isfinite(reward).all()
        bonus.observe(data)
        assert all(math.isfinite(value) for value in bonus.learn(data).values())


@pytest.mark.parametrize("name", vime.BONUSES)
def test_asking_changes_nothing(name: str) -> None:
    bonus, data = build(name), batch()
    bonus.observe(data)
    bonus.learn(data)
    before = through_a_file(bonus.state_dict())
    first = bonus.reward(data)
    assert torch.equal(first, bonus.reward(data))
    assert same(before, through_a_file(bonus.state_dict()))


@pytest.mark.parametrize("name", vime.BONUSES)
def test_the_batch_is_left_as_it_was(name: str) -> None:
    bonus, data, again = build(name), batch(), batch()
    bonus.reward(data)
    bonus.observe(data)
    bonus.learn(data)
    assert torch.equal(data.obs, again.obs)  # type: ignore[arg-type]
    assert torch.equal(data.next_obs, again.next_obs)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", vime.BONUSES)
def test_invalid_steps_earn_nothing_and_teach_nothing(name: str) -> None:
    one, two = vime.ScaledBonus(build(name)), vime.ScaledBonus(build(name))
    data, other = batch(), batch()
    other.next_obs[2, 1] += 100.0  # type: ignore[index]
    for bonus, part in ((one, without(data, 2, 1)), (two, without(other, 2, 1))):
        assert bonus.reward(part)[2, 1] == 0
        bonus.observe(part)
        bonus.learn(part)
    torch.testing.assert_close(one.reward(batch(seed=5)), two.reward(batch(seed=5)), rtol=0, atol=0)


@pytest.mark.parametrize("name", vime.BONUSES)
def test_a_batch_without_any_transition_teaches_nothing(name: str) -> None:
    bonus, data = vime.ScaledBonus(build(name)), batch(t=1, b=1)
    nothing = without(data, 0, 0)
    assert bonus.reward(nothing).tolist() == [[0]]
    bonus.observe(nothing)
    assert bonus.learn(nothing) == {}


@pytest.mark.parametrize("observation", ["vector", "image-7", "dict"])
@pytest.mark.parametrize("name", vime.BONUSES)
def test_saved_loaded_and_continued_is_bit_for_bit_the_uninterrupted(name: str, observation: str) -> None:
    one = vime.ScaledBonus(build(name, observation, seed=1))
    for seed in range(3):
        data = batch(observation, seed=seed)
        one.observe(data)
        one.learn(data)
    one.observe(batch(observation, seed=3))
    two = vime.ScaledBonus(build(name, observation, seed=2))
    settings = getattr(two.bonus, "settings", None)
    two.load_state_dict(through_a_file(one.state_dict()))
    object.__setattr__(settings, "seed", 1)  # settings are the user's to repeat; only the state is saved
    for seed in range(4, 7):
        data = batch(observation, seed=seed)
        rewards = []
        for bonus in (one, two):
            rewards.append(bonus.reward(data))
            bonus.observe(data)
            rewards.append(bonus.learn(data))
        assert torch.equal(rewards[0], rewards[2])
        assert rewards[1] == rewards[3]
    assert same(through_a_file(one.state_dict()), through_a_file(two.state_dict()))


@pytest.mark.parametrize("name", vime.BONUSES)
def test_a_saved_state_does_not_change_with_what_comes_after(name: str) -> None:
    bonus = vime.ScaledBonus(build(name))
    for seed in range(2):
        bonus.observe(batch(t=200, seed=seed))
        state = bonus.state_dict()
        before = through_a_file(state)
        bonus.learn(batch(t=200, seed=seed))
        assert same(before, state)


@pytest.mark.parametrize("name", LEARNING)
def test_two_bonuses_loaded_from_one_state_go_their_own_ways(name: str) -> None:
    one, two = build(name), build(name)
    one.learn(batch(t=200))
    state = one.state_dict()
    before = through_a_file(state)
    two.load_state_dict(state)
    two.learn(batch(t=200, seed=1))
    assert same(before, state)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda bonus: pickle.loads(pickle.dumps(bonus))])
@pytest.mark.parametrize("name", vime.BONUSES)
def test_a_copy_goes_on_as_the_original_does_and_apart_from_it(name: str, copied: Callable[[Any], Any]) -> None:
    one = build(name)
    one.observe(batch(t=50))
    one.learn(batch(t=50))
    before = one.reward(batch(seed=9))
    two = copied(one)
    for seed in range(3):
        two.observe(batch(t=50, seed=seed))
        two.learn(batch(t=50, seed=seed))
    assert torch.equal(one.reward(batch(seed=9)), before)
    for seed in range(3):
        one.observe(batch(t=50, seed=seed))
        one.learn(batch(t=50, seed=seed))
    assert torch.equal(one.reward(batch(seed=9)), two.reward(batch(seed=9)))
    assert name == "none" or not torch.equal(one.reward(batch(seed=9)), before)


@pytest.mark.parametrize("name", LEARNING)
def test_the_seed_decides_and_repeats(name: str) -> None:
    def rewards(seed: int) -> torch.Tensor:
        bonus = build(name, seed=seed)
        for i in range(2):
            bonus.observe(batch(seed=i))
            bonus.learn(batch(seed=i))
        return bonus.reward(batch(seed=9))

    assert torch.equal(rewards(3), rewards(3))
    assert name in SEEDLESS or not torch.equal(rewards(3), rewards(4))


@pytest.mark.parametrize("name", vime.BONUSES)
def test_no_global_random_state_is_touched_once_built(name: str) -> None:
    bonus, data = build(name), batch()
    torch.manual_seed(0)
    before, before_numpy = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    bonus.reward(data)
    bonus.observe(data)
    bonus.learn(data)
    assert torch.equal(before, torch.get_rng_state())
    assert np.array_equal(before_numpy, np.random.get_state()[1])  # type: ignore[index]  # noqa: NPY002


@pytest.mark.parametrize("name", LEARNING)
def test_a_state_of_another_shape_is_refused_and_changes_nothing(name: str) -> None:
    bonus = vime.ScaledBonus(build(name))
    bonus.observe(batch(t=50))
    before = through_a_file(bonus.state_dict())
    with pytest.raises(vime.CheckpointError, match="does not fit the bonus"):
        bonus.load_state_dict(vime.ScaledBonus(build(name, **OTHER.get(name, {"hidden": (9,)}))).state_dict())
    with pytest.raises(vime.CheckpointError, match="does not fit the bonus"):
        bonus.load_state_dict({"kind": type(bonus.bonus).__name__, "bonus": {}})
    assert same(before, through_a_file(bonus.state_dict()))


def test_a_state_of_another_bonus_is_refused_by_name() -> None:
    for here, there in (("none", "rnd"), ("rnd", "e3b"), ("rnd", "rnd+e3b"), ("vime", "rnd")):
        state = vime.ScaledBonus(build(there)).state_dict()
        with pytest.raises(vime.CheckpointError, match="take the same bonus"):
            vime.ScaledBonus(build(here)).load_state_dict(state)


@pytest.mark.parametrize("scale", [math.nan, math.inf, True])
def test_a_weight_that_is_no_number_is_refused_when_it_is_set(scale: Any) -> None:
    scaled = vime.ScaledBonus(build("none"))
    with pytest.raises(vime.InvalidSettings, match="finite"):
        scaled.scale = scale
    with pytest.raises(vime.InvalidSettings, match="negative"):
        scaled.scale = -1.0
    assert scaled.scale == 1


@pytest.mark.parametrize("name", vime.BONUSES)
def test_a_scaled_bonus_is_a_bonus(name: str) -> None:
    bonus, data = vime.ScaledBonus(build(name), scale=3.0), batch()
    assert isinstance(bonus, vime.Bonus)
    first = bonus.reward(data)
    assert first.shape == data.shape
    assert torch.equal(first, bonus.reward(data))
    bonus.scale = 5.0
    assert torch.equal(first, bonus.reward(data)), "the weight is the driver's to apply"


@pytest.mark.parametrize("name", ["vime", "expected-gain"])
def test_one_deviation_of_the_bonus_is_worth_the_unit(name: str) -> None:
    bonus, data = vime.ScaledBonus(build(name), scaling=vime.Scaling(squash=False)), batch(t=50)
    raw = bonus.raw(data)
    torch.testing.assert_close(bonus.reward(data), (0.02 * raw / raw.double().std(correction=0)).float())


@pytest.mark.parametrize("name", vime.BONUSES)
def test_data_that_is_no_number_is_refused_before_it_is_kept(name: str) -> None:
    bonus, data = vime.ScaledBonus(build(name)), batch()
    data.next_obs[3, 2, 0] = math.nan  # type: ignore[index]
    before = through_a_file(bonus.state_dict())
    for verb in (bonus.reward, bonus.observe):
        with pytest.raises(vime.InvalidData, match="next observation of environment 2 at step 3"):
            verb(data)
    assert same(before, through_a_file(bonus.state_dict()))


class Diverged(NoBonus):
    def reward(self, data: vime.Transitions) -> torch.Tensor:
        return torch.full(data.shape, math.inf)


def test_batches_lie_on_the_processor() -> None:
    data = batch().to("meta")
    with pytest.raises(vime.InvalidData, match="on meta"):
        vime.ScaledBonus(build("rnd")).reward(data)


def test_a_model_that_has_diverged_is_named() -> None:
    with pytest.raises(vime.InvalidData, match="its model has diverged"):
        vime.ScaledBonus(Diverged(OBSERVATIONS["vector"], ACTIONS["discrete"])).reward(batch())


def test_the_control_pays_nothing() -> None:
    assert vime.ScaledBonus(build("none")).reward(batch()).eq(0).all()


@pytest.mark.parametrize("space", [spaces.Tuple([spaces.Discrete(2)]), spaces.Text(3)])
@pytest.mark.parametrize("name", LEARNING)
def test_other_spaces_are_refused_by_name(name: str, space: Space) -> None:
    with pytest.raises(vime.UnsupportedSpace, match=type(space).__name__):
        vime.make_bonus(name, space, ACTIONS["discrete"])
    with pytest.raises(vime.UnsupportedSpace, match=type(space).__name__):
        vime.make_bonus(name, OBSERVATIONS["vector"], space)


@pytest.mark.gpu
@pytest.mark.parametrize("observation", OBSERVATIONS)
@pytest.mark.parametrize("name", LEARNING)
def test_a_bonus_learns_and_pays_on_a_gpu(name: str, observation: str) -> None:
    bonus, data = build(name, observation, device="cuda"), batch(observation)
    bonus.observe(data)
    assert all(math.isfinite(value) for value in bonus.learn(data).values())
    assert bonus.reward(data).shape == data.shape
    assert torch.isfinite(bonus.reward(data)).all()


def same(one: Any, two: Any) -> bool:
    """Whether two saved states are equal, to the last bit."""
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(same(a, b) for a, b in zip(one, two, strict=True))
    return torch.equal(one, two) if isinstance(one, torch.Tensor) else one == two


@pytest.mark.parametrize("given", [np.ones((3, 2), np.float32), torch.ones(3), 1.0])
def test_a_bonus_of_the_users_that_returns_something_else_is_named(given: Any) -> None:
    class Mine(NoBonus):
        def reward(self, batch: vime.Transitions) -> Any:
            return given

    zeros, none = torch.zeros(3, 2, 2), torch.zeros(3, 2, dtype=torch.bool)
    data = vime.Transitions(zeros, none.long(), zeros, none, none)
    with pytest.raises(vime.InvalidData, match=r"Mine\.reward must return a tensor of the shape"):
        vime.ScaledBonus(Mine(OBSERVATIONS["vector"], ACTIONS["discrete"])).reward(data)
