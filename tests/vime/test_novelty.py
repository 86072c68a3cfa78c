"""Counts, distillation and learning progress: what is new pays, what is known does not."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

import vime
from vime.visits import Keys

PLACES, ACTION = spaces.Discrete(9), spaces.Discrete(2)
VECTOR = spaces.Box(-np.inf, np.inf, (3,), np.float64)


def visits(*places: int) -> vime.Transitions:
    path = np.array([0, *places])
    none = np.zeros((len(places), 1), bool)
    return vime.Transitions.from_numpy(path[:-1, None], none.astype(np.int64), path[1:, None], none, none)


def cloud(centre: float, n: int = 256, seed: int = 0, noise: bool = False) -> vime.Transitions:
    rng = np.random.default_rng(seed)
    obs = rng.normal(size=(n, 1, 3)) + centre
    after = rng.normal(size=obs.shape) + centre if noise else obs[..., ::-1] * 1.5
    none = np.zeros((n, 1), bool)
    return vime.Transitions.from_numpy(obs, none.astype(np.int64), after.copy(), none, none)


def test_a_count_falls_as_one_over_the_root_of_the_visits() -> None:
    bonus = vime.make_bonus("counts", PLACES, ACTION)
    data = visits(3, 3, 4, 3)
    expected = torch.tensor([1, 2, 1, 3]).rsqrt().view(4, 1)
    torch.testing.assert_close(bonus.reward(data), expected)
    bonus.observe(data)
    torch.testing.assert_close(bonus.reward(visits(3, 4, 8)), torch.tensor([4, 2, 1]).rsqrt().view(3, 1))


def test_counts_of_a_sampled_minibatch_are_those_of_the_past() -> None:
    bonus = vime.make_bonus("counts", PLACES, ACTION)
    bonus.observe(visits(3, 3, 3, 3))
    data = visits(3, 3, 3)
    sampled = vime.Transitions(
        torch.full((3, 1), 7), data.action, data.next_obs, data.terminated, data.truncated, sampled=True
    )
    assert bonus.reward(sampled).flatten().tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("name", ["counts", "simhash"])
def test_episodic_counts_begin_anew_with_every_episode_and_sampled_steps_have_none(name: str) -> None:
    settings = {"bits": 62} if name == "simhash" else {}
    bonus = vime.make_bonus(name, PLACES, ACTION, episodic=True, settle=3, **settings)
    first = visits(3, 3, 4)
    first.terminated[-1] = True
    torch.testing.assert_close(bonus.reward(first), torch.tensor([1, 2, 1]).rsqrt().view(3, 1))
    bonus.observe(first)
    second = visits(3, 4, 4)
    torch.testing.assert_close(bonus.reward(second), torch.tensor([1, 1, 2]).rsqrt().view(3, 1))
    bonus.observe(second)
    torch.testing.assert_close(bonus.reward(visits(3, 5)), torch.tensor([2, 1]).rsqrt().view(2, 1))  # it goes on
    s = second
    sampled = vime.Transitions(s.obs, s.action, s.next_obs, s.terminated, s.truncated, sampled=True)
    torch.testing.assert_close(bonus.reward(sampled), torch.tensor([3, 3, 3]).rsqrt().view(3, 1))  # of all training


def test_a_grid_settles_and_counts_start_anew() -> None:
    bonus = vime.make_bonus("counts", VECTOR, ACTION, settle=300, cell=1.0)
    bonus.observe(cloud(0))
    bonus.observe(cloud(0, seed=1))
    assert sum(bonus.table.counts.values()) == 256
    before = bonus._keys(cloud(0).next_obs.flatten(0, 1))
    bonus.observe(cloud(5, seed=2))
    assert torch.equal(before, bonus._keys(cloud(0).next_obs.flatten(0, 1)))


def test_near_observations_share_a_hash_and_far_ones_do_not() -> None:
    bonus = vime.make_bonus("simhash", VECTOR, ACTION, bits=16, settle=256)
    bonus.observe(cloud(0))
    point = torch.tensor([[1.0, -2.0, 0.5]])
    key, near, far = (bonus._keys(p) for p in (point, point + 1e-5, -point))
    assert torch.equal(key, near)
    assert not torch.equal(key, far)


def test_a_hash_is_the_signs_of_its_projections() -> None:
    bonus = vime.make_bonus("simhash", VECTOR, ACTION, bits=5)
    points = cloud(0).next_obs.flatten(0, 1)
    signs = (points @ bonus.projections + bonus.offsets).numpy() > 0
    by_hand = [sum(1 << i for i, sign in enumerate(row) if sign) for row in signs]
    assert bonus._keys(points).tolist() == by_hand


@pytest.mark.parametrize("name", ["rnd", "ngu", "noveld"])
def test_distillation_falls_with_data_and_is_larger_where_it_is_new(name: str) -> None:
    bonus = vime.make_bonus(name, VECTOR, ACTION, passes=4)
    known, new = cloud(0), cloud(4, seed=9)
    bonus.observe(known)
    obs = known.next_obs.flatten(0, 1)
    first = bonus.distillation.error(obs).mean()
    for _ in range(40):
        bonus.learn(known)
    last = bonus.distillation.error(obs).mean()
    assert last < 0.3 * first
    assert bonus.distillation.error(new.next_obs.flatten(0, 1)).mean() > 3 * last


def test_the_modulator_of_ngu_lies_between_one_and_its_largest() -> None:
    bonus = vime.make_bonus("ngu", VECTOR, ACTION, largest=2.0)
    bonus.observe(cloud(0))
    far = cloud(50, seed=3)
    factor = bonus.reward(far) / bonus.episodic.reward(far)
    assert factor.min() >= 1 - 1e-6
    assert factor.max() == pytest.approx(2.0)


def test_noveld_pays_the_first_visit_of_the_episode_alone() -> None:
    bonus = vime.make_bonus("noveld", PLACES, ACTION, alpha=0.0)
    earned = bonus.reward(visits(3, 4, 3, 4, 5)).flatten()
    assert earned.gt(0).tolist() == [True, True, False, False, True]
    bonus.observe(visits(3, 4))
    assert bonus.reward(visits(3, 5)).flatten().gt(0).tolist() == [False, True]


def test_noveld_is_the_rise_of_the_distillation_error() -> None:
    bonus = vime.make_bonus("noveld", PLACES, ACTION, alpha=0.5)
    novelty = bonus.distillation.error(torch.arange(9)).sqrt()
    expected = (novelty[[3, 4]] - 0.5 * novelty[[0, 3]]).clamp_min(0)
    torch.testing.assert_close(bonus.reward(visits(3, 4)).flatten(), expected)


def test_progress_is_paid_where_a_model_learns_and_not_for_noise() -> None:
    learnt, noisy = (vime.make_bonus("lpm", VECTOR, ACTION, learning_rate=3e-3, queue=512) for _ in range(2))
    progress: dict[str, list[float]] = {"learnt": [], "noisy": []}
    for i in range(25):
        for name, bonus, noise in (("learnt", learnt, False), ("noisy", noisy, True)):
            data = cloud(0, seed=i, noise=noise)
            progress[name].append(float(bonus.reward(data).mean()))
            bonus.observe(data)
            bonus.learn(data)
    assert progress["learnt"][0] == 0
    assert np.mean(progress["learnt"][5:]) > 0.05
    assert abs(np.mean(progress["noisy"][5:])) < 0.3 * np.mean(progress["learnt"][5:])


def test_planes_with_offsets_tell_distances_apart_and_planes_without_do_not() -> None:
    offset, through = (vime.make_bonus("simhash", VECTOR, ACTION, offset=o) for o in (1.0, 0.0))
    ray = torch.tensor([[1.0, -2.0, 0.5]]) * torch.tensor([[0.5], [1.0], [2.0]])
    assert len(offset._keys(ray).unique()) == 3
    assert len(through._keys(ray).unique()) == 1


def test_numbers_of_one_byte_that_are_no_image_are_told_apart() -> None:
    for entries in (4, 6):
        space = spaces.MultiDiscrete([3] * entries, dtype=np.uint8)
        keys = Keys(space, 0.5, 0, "cpu")
        rows = torch.tensor(np.stack([np.full(entries, i, np.uint8) for i in (0, 1, 2, 1)]))
        found = keys(rows).tolist()
        assert found[1] == found[3]
        assert len(set(found)) == 3
