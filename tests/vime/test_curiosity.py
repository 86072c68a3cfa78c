"""What makes each of the learned bonuses special, and the arithmetic of mixtures."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces

import vime
from vime.bonuses.deir import Deir
from vime.bonuses.disagreement import Disagreement
from vime.bonuses.e3b import E3b
from vime.bonuses.ex2 import Ex2
from vime.bonuses.girm import Girm
from vime.bonuses.icm import Icm
from vime.bonuses.mixture import Mixture
from vime.bonuses.ride import Ride
from vime.counts import ranks
from vime.elliptical import EllipticalMemory, elliptical
from vime.pairs import PairMemory
from vime.visits import Visits

BOX, MOVES = spaces.Box(-5, 5, (2,), np.float32), spaces.Discrete(4)


def walk(t: int, b: int = 1, seed: int = 0, noise: float = 0.0, space: int = 2) -> vime.Transitions:
    """A random walk in the plane by four actions, beside which `space - 2` numbers are pure noise of size `noise`."""
    rng = np.random.default_rng(seed)
    action = rng.integers(4, size=(t, b))
    step = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]], np.float32)[action] * 0.2
    place = np.concatenate([np.zeros((1, b, 2), np.float32), step.cumsum(0)])
    rest = noise * rng.standard_normal((t + 1, b, space - 2))
    obs = np.concatenate([place, rest], 2).astype(np.float32)
    none = np.zeros((t, b), dtype=bool)
    return vime.Transitions.from_numpy(obs[:-1], action, obs[1:], none, none)


def cut(data: vime.Transitions, start: int, stop: int) -> vime.Transitions:
    return data.map_tensors(lambda part: part[start:stop])


def test_elliptical_novelty_is_that_of_the_matrix_inverted_by_hand() -> None:
    phi = torch.randn(12, 3, 4, generator=torch.Generator().manual_seed(0))
    begins = torch.zeros(12, 3, dtype=torch.bool)
    begins[5, 1] = begins[8, 1] = begins[3, 2] = True
    novelty, inverse = elliptical(phi, begins, torch.eye(4).expand(3, -1, -1) / 0.1, 0.1)
    for env in range(3):
        matrix = 0.1 * torch.eye(4, dtype=torch.float64)
        for t in range(12):
            if begins[t, env]:
                matrix = 0.1 * torch.eye(4, dtype=torch.float64)
            row = phi[t, env].double()
            torch.testing.assert_close(novelty[t, env].double(), row @ matrix.inverse() @ row, rtol=1e-3, atol=1e-4)
            matrix += torch.outer(row, row)
        torch.testing.assert_close(inverse[env].double(), matrix.inverse(), rtol=1e-3, atol=1e-4)


def test_elliptical_novelty_of_one_hot_features_is_one_over_the_count() -> None:
    phi = torch.eye(3)[[0, 0, 1, 0]].unsqueeze(1)
    novelty, _ = elliptical(phi, torch.zeros(4, 1, dtype=torch.bool), torch.eye(3).unsqueeze(0), 1.0)
    torch.testing.assert_close(novelty[:, 0], torch.tensor([1, 1 / 2, 1, 1 / 3]))


def test_an_elliptical_memory_forgets_the_environment_whose_episode_ended() -> None:
    memory = EllipticalMemory(2, 0.5, "cpu")
    phi, go_on = torch.ones(1, 2, 2), torch.zeros(1, 2, dtype=torch.bool)
    memory.advance(phi, go_on, torch.tensor([True, False]))
    novelty, _ = memory.ask(phi, go_on)
    assert novelty[0, 0] == 4.0
    assert novelty[0, 1] < 1.0


@pytest.mark.parametrize("name", ["e3b", "ride", "deir"])
def test_episodic_bonuses_give_step_by_step_what_they_give_at_once(name: str) -> None:
    data = walk(20, 3)
    data.terminated[6, 0] = data.truncated[11, 2] = data.terminated[19, 1] = True
    data = vime.Transitions(data.obs, data.action, data.next_obs, data.terminated, data.truncated)
    whole, steps = (vime.make_bonus(name, BOX, MOVES, hidden=(8,), width=4) for _ in range(2))
    at_once = whole.reward(data)
    single = []
    for t in range(20):
        part = cut(data, t, t + 1)
        single.append(steps.reward(part))
        steps.observe(part)
    torch.testing.assert_close(torch.cat(single), at_once, rtol=1e-3, atol=1e-4)
    whole.observe(data)
    later = walk(5, 3, seed=1)
    torch.testing.assert_close(whole.reward(later), steps.reward(later), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["e3b", "ride", "deir"])
def test_unrelated_transitions_each_count_as_the_first_of_an_episode(name: str) -> None:
    bonus = vime.make_bonus(name, BOX, MOVES, hidden=(8,), width=4)
    bonus.observe(walk(9, 3))
    data = walk(30)
    data = vime.Transitions(data.obs, data.action, data.next_obs, data.terminated, data.truncated)
    scattered = data.map_tensors(lambda part: part[[3, 17, 8, 8]])
    parts = (scattered.obs, scattered.action, scattered.next_obs, scattered.terminated, scattered.truncated)
    assert vime.Transitions(*parts).begins[:, 0].tolist() == [False, True, True, True]
    picked = vime.Transitions(*parts, sampled=True)
    assert picked.begins.all()
    single = torch.cat([bonus.reward(cut(picked, i, i + 1)) for i in range(4)])
    torch.testing.assert_close(bonus.reward(picked), single)


def test_an_autoreset_in_the_middle_of_a_batch_is_to_deir_what_it_is_step_by_step() -> None:
    t = 9
    path, ended = np.random.default_rng(0).normal(size=(t + 1, 2, 2)).astype(np.float32), np.zeros((t, 2), bool)
    ended[3, 0] = ended[0, 1] = True
    valid = np.ones((t, 2), bool)
    valid[4, 0] = valid[1, 1] = False  # the steps that merely reset
    begins = ~valid
    moved, none = np.zeros((t, 2), np.int64), np.zeros_like(ended)
    data = vime.Transitions.from_numpy(path[:-1], moved, path[1:], ended, none, valid, begins=begins)
    whole, steps = (vime.make_bonus("deir", BOX, MOVES, hidden=(8,), width=4) for _ in range(2))
    single, waiting = [], np.zeros(2, bool)
    for i in range(t):
        step = cut(data, i, i + 1)
        waiting = waiting | begins[i]  # as a wrapper says it: of the first step that is one
        single.append(steps.reward(replace(step, begins=torch.from_numpy(waiting & valid[i]).unsqueeze(0))))
        steps.observe(replace(step, begins=torch.from_numpy(waiting & valid[i]).unsqueeze(0)))
        waiting = waiting & ~valid[i]
    torch.testing.assert_close(whole.reward(data), torch.cat(single), rtol=1e-3, atol=1e-4)
    assert (torch.cat(single)[torch.from_numpy(valid)] > 0).all()


@pytest.mark.parametrize("sampled", [False, True])
def test_ride_can_count_over_all_of_training(sampled: bool) -> None:
    space, n = spaces.Discrete(5), 4
    bonus = Ride(space, MOVES, Ride.Settings(episodic=False))
    none = np.zeros((n, 1), dtype=bool)
    path = np.array([0, 1, 0, 1, 0])[:, None]
    data = vime.Transitions.from_numpy(path[:-1], none.astype(int), path[1:], ~none, none, sampled=sampled)
    step = bonus.reward(data)[0, 0]
    for _ in range(3):
        bonus.observe(data)
    counts = torch.full((n,), 6.0) if sampled else torch.tensor([7.0, 7.0, 8.0, 8.0])
    torch.testing.assert_close(bonus.reward(data)[:, 0], step / counts.sqrt())
    assert sum(part.numel() for part in bonus.visits.state_dict().values()) == 4  # two places, however often


def test_counts_of_an_episode_are_those_counted_by_hand() -> None:
    keys = torch.tensor([[7, 1], [7, 2], [8, 1], [7, 1], [7, 1]])
    begins = torch.zeros(5, 2, dtype=torch.bool)
    begins[3, 1] = True
    valid = torch.ones(5, 2, dtype=torch.bool)
    visits = Visits("cpu")
    counts = visits.count(keys, begins, valid)
    assert counts.T.tolist() == [[1, 2, 1, 3, 4], [1, 1, 2, 1, 2]]
    visits.advance(keys, begins, valid, torch.tensor([True, False]))
    assert visits.count(keys[:1], begins[:1], valid[:1]).tolist() == [[1, 3]]
    assert ranks(torch.tensor([[1], [1], [2], [1]])).tolist() == [1, 2, 1, 3]


def test_ride_is_the_change_of_features_over_the_root_of_the_count() -> None:
    space = spaces.Discrete(5)
    bonus = Ride(space, MOVES)
    none = np.zeros((4, 1), dtype=bool)
    path = np.array([0, 1, 0, 1, 1])[:, None]
    data = vime.Transitions.from_numpy(path[:-1], none.astype(int), path[1:], none, none)
    reward = bonus.reward(data)[:, 0]
    step = (bonus.features.net(torch.tensor([0])) - bonus.features.net(torch.tensor([1]))).norm().detach()
    torch.testing.assert_close(reward, torch.stack([step, step, step / 2**0.5, 0 * step]))


def errors(noise: float) -> tuple[float, float]:
    """The share of the bonus that noise alone can explain: of ICM, and of raw prediction, after learning."""
    space = spaces.Box(-np.inf, np.inf, (6,), np.float32)
    icm = Icm(space, MOVES, Icm.Settings(passes=8, minibatch=128, learning_rate=3e-3))
    raw = Girm(space, MOVES, Girm.Settings(passes=8, minibatch=128, learning_rate=3e-3, taken=1.0))
    for seed in range(6):
        for bonus in (icm, raw):
            bonus.learn(walk(64, 16, seed=seed, noise=noise, space=6))
    test = walk(64, 16, seed=99, noise=noise, space=6)
    # in units of what each would earn by predicting the mean
    features = icm.features.net.encode(test.next_obs.flatten(0, 1))  # type: ignore[union-attr]
    spread = 0.5 * features.var(0, correction=0).sum()
    return float(icm.reward(test).mean() / spread), float(raw.reward(test).mean() / 0.5)


@pytest.mark.slow
def test_icm_heeds_uncontrollable_noise_less_than_raw_prediction_error() -> None:
    icm, raw = errors(noise=1.0)
    assert icm < 0.7 * raw, (icm, raw)


def test_every_member_of_the_ensemble_trains_on_its_own_data() -> None:
    bonus = Disagreement(BOX, MOVES, Disagreement.Settings(hidden=(8,), minibatch=64))
    before = [layer.weight.detach().clone() for layer in bonus.ensemble.layers]  # type: ignore[union-attr]
    bonus.learn(walk(64))
    for old, layer in zip(before, bonus.ensemble.layers, strict=True):
        assert layer.weight.shape[0] == 5  # type: ignore[union-attr, index]
        assert ((old - layer.weight).abs().amax((1, 2)) > 0).all()  # type: ignore[operator]
    masks = bonus.pool.rows()["mask"]
    assert len(torch.unique(masks, dim=1).T) == 5
    assert 0.3 < masks.mean() < 0.7


def test_a_member_ignores_what_its_mask_leaves_out() -> None:
    bonus = Disagreement(BOX, MOVES)
    x, y = torch.randn(6, 6, generator=torch.Generator().manual_seed(0)), torch.zeros(6, 2)
    mask = torch.zeros(6, 5)
    mask[:3, 1] = 1.0
    bonus.ensemble.loss(x, y, mask).sum().backward()
    slope = bonus.ensemble.layers[0].weight.grad  # type: ignore[union-attr]
    assert slope.abs().amax((1, 2)).gt(0).tolist() == [False, True, False, False, False]  # type: ignore[union-attr]


def test_disagreement_falls_with_data() -> None:
    bonus = Disagreement(BOX, MOVES, Disagreement.Settings(passes=4, minibatch=64, learning_rate=3e-3))
    test = walk(64, 4, seed=50)
    bonus.learn(walk(64, 4))
    first = bonus.reward(test).mean()
    for seed in range(1, 8):
        bonus.learn(walk(64, 4, seed=seed))
    assert bonus.reward(test).mean() < 0.3 * first


def test_deir_divides_the_squared_distance_of_places_by_that_of_ways() -> None:
    places = torch.tensor([[0.0, 1.0], [1.0, 1.0], [3.0, 1.0], [3.0, 2.0]])  # of one episode
    before, after = places[:-1].unsqueeze(1), places[1:].unsqueeze(1)
    begins, valid = torch.zeros(3, 1, dtype=torch.bool), torch.ones(3, 1, dtype=torch.bool)
    memory = PairMemory(2, 10, "cpu")
    plain = memory.ask(before, after, begins, valid, conditional=False)
    torch.testing.assert_close(plain[:, 0], torch.tensor([1.0, 2.0, 1.0]))
    ways = torch.cat([torch.zeros(1, 2), places])  # the way to the first place is zero
    expected = []
    for t in range(3):
        ratios = [(places[t + 1] - places[i]).square().sum() / (places[t] - ways[i]).norm() for i in range(t + 1)]
        expected.append(min(ratios))
    novelty = memory.ask(before, after, begins, valid, conditional=True)
    torch.testing.assert_close(novelty[:, 0], torch.stack(expected), rtol=1e-4, atol=1e-4)


def test_a_place_that_the_episode_has_seen_is_not_novel_to_deir() -> None:
    space = spaces.Discrete(5)
    none = np.zeros((4, 1), dtype=bool)
    path = np.array([0, 1, 2, 1, 3])[:, None]
    data = vime.Transitions.from_numpy(path[:-1], none.astype(int), path[1:], none, none)
    novelty = Deir(space, MOVES).reward(data)[:, 0]
    assert novelty[2] == 0
    assert (novelty[[0, 1, 3]] > 0).all()


def test_exemplars_that_are_rare_are_told_apart() -> None:
    space = spaces.Discrete(6)
    bonus = Ex2(space, MOVES, Ex2.Settings(passes=10, minibatch=64, learning_rate=3e-3))
    rng = np.random.default_rng(0)
    for _ in range(5):
        seen = rng.choice(6, size=(256, 1), p=[0.6, 0.3, 0.05, 0.05, 0, 0])
        none = np.zeros((256, 1), dtype=bool)
        bonus.learn(vime.Transitions.from_numpy(seen, none.astype(int), seen, none, none))
    ask = np.array([[0], [2], [5]])
    none = np.zeros((3, 1), dtype=bool)
    common, rare, never = bonus.reward(vime.Transitions.from_numpy(ask, none.astype(int), ask, none, none))[:, 0]
    assert common < min(rare, never)


def test_girm_learns_to_rebuild() -> None:
    bonus = Girm(BOX, MOVES, Girm.Settings(passes=4, minibatch=64, learning_rate=3e-3))
    test = walk(64, 4, seed=50)
    bonus.learn(walk(64, 4))
    first = bonus.reward(test).mean()
    for seed in range(1, 8):
        bonus.learn(walk(64, 4, seed=seed))
    assert bonus.reward(test).mean() < 0.5 * first


def test_a_mixture_is_the_weighted_sum_of_its_scaled_parts() -> None:
    settings = {"hidden": (8,)}
    both = vime.make_bonus(
        "icm+disagreement", BOX, MOVES, weights=(2, -0.5), icm=settings, disagreement=settings, seed=3
    )
    alone = [vime.ScaledBonus(vime.make_bonus(n, BOX, MOVES, seed=3, **settings)) for n in ("icm", "disagreement")]
    for seed in range(3):
        data = walk(40, 2, seed=seed)
        one, two = (bonus.reward(data) for bonus in alone)
        torch.testing.assert_close(both.reward(data), 2 * one - 0.5 * two)
        metrics = [bonus.observe(data) or bonus.learn(data) for bonus in alone]
        both.observe(data)
        assert both.learn(data) == {f"icm/{k}": v for k, v in metrics[0].items()} | {
            f"disagreement/{k}": v for k, v in metrics[1].items()
        }
    scaled = vime.ScaledBonus(both)
    data = walk(40, 2, seed=9)
    assert torch.equal(scaled.reward(data), both.reward(data))


def test_equal_weights_add_up_to_one_and_a_mixture_is_saved_whole() -> None:
    one, two = (vime.make_bonus("e3b + ex2", BOX, MOVES, seed=seed) for seed in (0, 1))
    assert isinstance(one, Mixture)
    assert one.weights == (0.5, 0.5)
    one.observe(walk(40, 2))
    one.learn(walk(40, 2))
    two.load_state_dict(one.state_dict())
    assert torch.equal(one.reward(walk(40, 2, seed=4)), two.reward(walk(40, 2, seed=4)))


def test_what_is_wrong_with_a_mixture_is_said() -> None:
    with pytest.raises(vime.UnknownName, match="e3b"):
        vime.make_bonus("icm+e3bb", BOX, MOVES)
    with pytest.raises(vime.UnknownName, match="empty part"):
        vime.make_bonus("icm+", BOX, MOVES)
    with pytest.raises(vime.InvalidSettings, match="weights"):
        vime.make_bonus("icm+e3b", BOX, MOVES, weights=(1,))
    with pytest.raises(vime.InvalidSettings, match="no setting 'wieghts'"):
        vime.make_bonus("icm+e3b", BOX, MOVES, wieghts=(1, 2))
    with pytest.raises(vime.InvalidSettings, match="'e3b' has no setting 'rigde'"):
        vime.make_bonus("icm+e3b", BOX, MOVES, e3b={"rigde": 1.0})


def test_e3b_remembers_for_life_where_asked_to() -> None:
    data = walk(10)
    data.terminated[9] = True
    for_life, episodic = E3b(BOX, MOVES, E3b.Settings(episodic=False)), E3b(BOX, MOVES)
    for bonus in (for_life, episodic):
        bonus.learn(data)
        bonus.observe(data)
    assert for_life.reward(data).mean() < 0.6 * episodic.reward(data).mean()


def test_exemplars_that_are_usual_earn_nothing() -> None:
    bonus = Ex2(BOX, MOVES)
    for seed in range(6):
        bonus.learn(walk(64, 8, seed=seed))
    past = bonus.reward(walk(64, 8, seed=9))
    assert 0.2 < past.eq(0).float().mean() < 0.9
