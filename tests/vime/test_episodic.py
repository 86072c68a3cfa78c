"""Episodic memories and nearest neighbours, against brute force and against single steps."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces

import vime
from vime.episodic import EpisodicMemory, nearest, smallest

VECTOR, ACTION = spaces.Box(-np.inf, np.inf, (2,), np.float64), spaces.Discrete(2)
EPISODIC = ("pseudo-counts", "revd")


def walk(t: int = 30, b: int = 2, seed: int = 0, ends: tuple[int, ...] = (11, 20)) -> vime.Transitions:
    rng = np.random.default_rng(seed)
    path = rng.normal(size=(t + 1, b, 2)).astype(np.float32)
    obs, after = path[:-1].copy(), path[1:].copy()
    done = np.zeros((t, b), bool)
    for end in ends:
        done[end, 0] = True
        obs[end + 1, 0] = 7.0  # the next episode starts elsewhere
    return vime.Transitions.from_numpy(obs, np.zeros((t, b), np.int64), after, done, np.zeros_like(done))


def part(data: vime.Transitions, first: int, last: int) -> vime.Transitions:
    return data.map_tensors(lambda x: x[first:last])


def test_distances_equal_brute_force_over_the_earlier_steps_of_the_episode() -> None:
    generator = torch.Generator().manual_seed(0)
    t, b, k = 300, 2, 3
    features = torch.randn(t, b, 4, generator=generator)
    begins = torch.rand(t, b, generator=generator) < 0.05
    valid = torch.rand(t, b, generator=generator) < 0.9
    memory = EpisodicMemory(4, 1000, "cpu")
    memory.advance(features[:40], begins[:40], valid[:40], torch.tensor([False, False]))
    found = memory.distances(features[40:], begins[40:], valid[40:], k)
    episode = begins.long().cumsum(0)
    for env in range(b):
        for step in range(40, t):
            gaps = sorted(
                float((features[step, env] - features[i, env]).norm())
                for i in range(step)
                if valid[i, env] and episode[i, env] == episode[step, env]
            )[:k]
            expected = gaps + [math.inf] * (k - len(gaps))
            torch.testing.assert_close(found[step - 40, env], torch.tensor(expected))


def test_a_memory_is_cleared_where_an_episode_ends_and_nowhere_else() -> None:
    memory, one = EpisodicMemory(1, 10, "cpu"), torch.ones(1, 2, 1)
    no, yes = torch.zeros(1, 2, dtype=torch.bool), torch.ones(1, 2, dtype=torch.bool)
    memory.advance(one, no, yes, torch.tensor([True, False]))
    assert memory.distances(one, no, yes, 1)[0, :, 0].tolist() == [math.inf, 0.0]


def test_the_episode_before_is_kept_where_asked_for() -> None:
    memory = EpisodicMemory(1, 10, "cpu", previous=True)
    no, yes = torch.zeros(1, 1, dtype=torch.bool), torch.ones(1, 1, dtype=torch.bool)
    for value in (1.0, 5.0):
        memory.advance(torch.full((1, 1, 1), value), no, yes, torch.tensor([True]))
    assert memory.distances(torch.full((1, 1, 1), 7.0), no, yes, 2, back=1)[0, 0].tolist() == [2.0, math.inf]
    assert memory.distances(torch.full((1, 1, 1), 7.0), no, yes, 1)[0, 0].tolist() == [math.inf]


def test_only_the_last_steps_are_kept() -> None:
    memory = EpisodicMemory(1, 4, "cpu")
    no, yes = torch.zeros(9, 1, dtype=torch.bool), torch.ones(9, 1, dtype=torch.bool)
    memory.advance(torch.arange(9.0).view(9, 1, 1), no, yes, torch.tensor([False]))
    assert memory.rows.flatten().tolist() == [5.0, 6.0, 7.0, 8.0]


def test_equal_vectors_are_at_distance_zero() -> None:
    rows = torch.full((40, 64), 1234.567)
    assert nearest(rows, rows, torch.ones(40, 40, dtype=torch.bool), 3).eq(0).all()


@pytest.mark.parametrize("name", EPISODIC)
def test_a_rollout_earns_what_its_steps_earn_one_by_one(name: str) -> None:
    whole, single = (vime.make_bonus(name, VECTOR, ACTION) for _ in range(2))
    data = walk()
    for bonus in (whole, single):
        bonus.observe(walk(seed=1))
        for part_of in ("encoder",):  # the statistics would move between single steps
            getattr(bonus, part_of).update = lambda obs: None
        if name == "pseudo-counts":
            bonus.squares.update = lambda values: None
    together = whole.reward(data)
    steps = []
    for i in range(30):
        steps.append(single.reward(part(data, i, i + 1)))
        single.observe(part(data, i, i + 1))
    torch.testing.assert_close(torch.cat(steps), together)


def test_pseudo_counts_pay_less_for_a_place_the_episode_has_seen() -> None:
    bonus = vime.make_bonus("pseudo-counts", VECTOR, ACTION)
    bonus.observe(walk(b=1, ends=()))
    bonus.squares.count, bonus.squares.mean[()] = 1, 1.0
    path = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 0.0], [1.0, 1.0], [0.0, 0.0]]).view(5, 1, 2)
    none = torch.zeros(4, 1, dtype=torch.bool)
    data = vime.Transitions(path[:-1], torch.zeros(4, 1, dtype=torch.int64), path[1:], none, none)
    bonus.observe(vime.Transitions(path[:1], data.action[:1], path[:1], ~none[:1], none[:1]))  # the episode ends
    earned = bonus.reward(data).flatten()
    assert earned[2] < 0.2 * earned[0]
    # a place seen once before: one neighbour at distance zero; nine, missing or far, hardly count
    assert earned[2] == pytest.approx(1 / (1 + 1e-3), rel=0.02)


def test_in_its_first_episode_revd_pays_nothing_and_later_for_leaving_the_last_one() -> None:
    bonus = vime.make_bonus("revd", VECTOR, ACTION)
    data = walk(b=1, ends=(9,))
    earned = bonus.reward(data).flatten()
    assert earned[:11].eq(0).all()
    assert earned[12:].gt(0).all()


def test_entropy_bonuses_are_the_stated_functions_of_the_nearest_distance() -> None:
    re3, rise = (vime.make_bonus(name, VECTOR, ACTION, k=3) for name in ("re3", "rise"))
    first, data = walk(seed=1), walk(seed=2)
    for bonus in (re3, rise):
        bonus.observe(first)
    queries = re3.encoder(data.next_obs.flatten(0, 1))
    rows = torch.cat([re3.recent.rows()["features"], queries])
    gaps = torch.stack([(rows - query).norm(dim=1) for query in queries])
    gap = gaps.sort(1).values[:, 3].view(data.shape)  # the nearest of all is the row itself
    torch.testing.assert_close(re3.reward(data), torch.log1p(gap))
    torch.testing.assert_close(rise.reward(data), gap.sqrt())


@pytest.mark.parametrize("name", ["pseudo-counts", "ngu"])
def test_off_policy_a_fresh_step_is_worth_what_an_old_one_is(name: str) -> None:
    """Of points that are all equally new, those still remembered are not their own neighbours."""
    rng = np.random.default_rng(0)
    points, none = rng.normal(size=(600, 1, 2)).astype(np.float32), np.zeros((600, 1), bool)
    data = vime.Transitions.from_numpy(points, np.zeros((600, 1), np.int64), points[::-1].copy(), none, none)
    bonus = vime.make_bonus(name, VECTOR, ACTION, capacity=300)
    for start in range(0, 600, 100):
        bonus.observe(part(data, start, start + 100))
    sampled = replace(data.map_tensors(lambda x: x.transpose(0, 1)), sampled=True)
    earned = bonus.reward(sampled)[0]
    assert 0.5 < float(earned[:300].mean() / earned[300:].mean()) < 2.0


def test_revd_pays_sampled_transitions_by_the_episodes_of_all_environments() -> None:
    bonus, data = vime.make_bonus("revd", VECTOR, ACTION), walk(ends=(11, 20))
    bonus.observe(data)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    sampled = replace(data.map_tensors(lambda x: x[order, :1]), sampled=True)
    earned = bonus.reward(sampled)
    assert earned.gt(0).all()
    assert earned.std() > 0


def test_the_smallest_are_found_group_by_group_as_at_once() -> None:
    generator = torch.Generator().manual_seed(0)
    for length in (5, 400, 1000, 1024):
        values = torch.randn(7, length, generator=generator)
        found = values.gather(1, smallest(values, 3)).sort(1).values
        assert torch.equal(found, values.sort(1).values[:, :3])


def test_a_query_that_is_a_row_itself_does_not_count() -> None:
    rows = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
    found = nearest(rows, rows, None, 2, torch.arange(300))
    gaps = torch.stack([(rows - row).norm(dim=1) for row in rows]).sort(1).values[:, 1:3]
    torch.testing.assert_close(found, gaps)
    allowed = (torch.arange(300) < 1).unsqueeze(0)
    assert nearest(rows[:1], rows, allowed, 1, torch.arange(1)).isinf().all()


@pytest.mark.parametrize("name", ["pseudo-counts", "ngu"])
def test_pseudo_counts_may_go_by_what_the_agent_controls(name: str) -> None:
    bonus, data = vime.make_bonus(name, VECTOR, ACTION, features="inverse"), walk()
    bonus.observe(data)
    assert "inverse_loss" in bonus.learn(data)
    other = vime.make_bonus(name, VECTOR, ACTION, features="inverse", seed=1)
    other.load_state_dict(bonus.state_dict())
    assert torch.equal(bonus.reward(walk(seed=3)), other.reward(walk(seed=3)))
    with pytest.raises(vime.InvalidSettings, match="features"):
        vime.make_bonus(name, VECTOR, ACTION, features="learned")
