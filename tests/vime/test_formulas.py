"""Every formula of a docstring, worked out again from the bonus's own networks and memories."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces

import vime
from tests.vime.test_curiosity import BOX, MOVES, walk
from vime.bonuses.disagreement import Disagreement
from vime.bonuses.icm import Icm
from vime.bonuses.pseudo_counts import PseudoCounts
from vime.bonuses.revd import CLOSEST, Revd
from vime.bonuses.rnd import Rnd
from vime.features import Standardiser
from vime.transitions import Transitions

LEARNED = {"hidden": (8,), "width": 8}


def learned(bonus: vime.Bonus, data: Transitions) -> None:
    bonus.observe(data)
    bonus.learn(data)


def test_rnd_is_the_error_at_the_successor() -> None:
    bonus = Rnd(BOX, MOVES, Rnd.Settings(hidden=(8,), width=4))
    data = walk(30)
    learned(bonus, data)
    d = bonus.distillation
    here, there = (d.error(part.flatten(0, 1)).view(30, 1) for part in (data.obs, data.next_obs))  # type: ignore[union-attr]
    torch.testing.assert_close(bonus.reward(data), there)
    assert not torch.allclose(here, there)


def test_disagreement_is_the_variance_over_the_members() -> None:
    bonus = Disagreement(BOX, MOVES, Disagreement.Settings(hidden=(8,), members=3))
    data = walk(40)
    learned(bonus, data)
    x = torch.cat([bonus.encoded(data.obs.flatten(0, 1)), bonus.actions.encode(data.action.flatten(0, 1))], 1)  # type: ignore[union-attr]
    guesses = bonus.ensemble(x).detach().double()
    by_hand = ((guesses - guesses.mean(0)) ** 2).sum(0).div(3).mean(1)
    torch.testing.assert_close(bonus.reward(data).flatten().double(), by_hand, rtol=1e-4, atol=1e-9)


def test_icm_predicts_from_the_action_that_was_taken() -> None:
    bonus = Icm(BOX, MOVES, Icm.Settings(**LEARNED))
    data = walk(40)
    learned(bonus, data)
    other = replace(data, action=(data.action + 1) % 4)
    assert not torch.allclose(bonus.reward(data), bonus.reward(other))


def _plain(bonus: Revd | PseudoCounts, data: Transitions) -> list[torch.Tensor]:
    return list(bonus.encoder(data.next_obs.flatten(0, 1)).double())  # type: ignore[union-attr]


def _near(row: torch.Tensor, rows: list[torch.Tensor], k: int) -> list[float]:
    return sorted(float((row - one).norm()) for one in rows)[:k]


def test_revd_is_a_ratio_of_distances_to_two_episodes() -> None:
    bonus = Revd(BOX, MOVES, Revd.Settings(k=3, width=8, hidden=(8,), alpha=0.3))
    plain, ends = walk(24), torch.zeros(24, 1, dtype=torch.bool)
    ends[11] = True
    data = Transitions(plain.obs, plain.action, plain.next_obs, plain.terminated, ends)
    bonus.encoder.update(walk(50, seed=1).next_obs.flatten(0, 1))  # type: ignore[union-attr]
    rows, paid = _plain(bonus, data), bonus.reward(data).flatten()
    assert (paid[:13] == 0).all()  # the first episode, and the first step of the second
    for t in range(13, 24):
        own, before = _near(rows[t], rows[12:t], 3), _near(rows[t], rows[:12], 3)
        expected = own[0] * (max(before[-1], CLOSEST) / max(own[-1], CLOSEST)) ** (1 - 0.3)
        assert float(paid[t]) == pytest.approx(expected, rel=1e-3, abs=1e-5)
    assert (paid[13:] > 0).any()


def test_pseudo_counts_are_one_over_the_root_of_kernels() -> None:
    s = PseudoCounts.Settings(k=3, width=8, hidden=(8,), kernel=0.05, cluster=0.3, most=1.2)
    bonus = PseudoCounts(BOX, MOVES, s)
    seen = walk(50, seed=1)
    seen.truncated[-1] = True
    bonus.observe(seen)
    data = walk(20)
    mean = float(bonus.squares.mean)
    rows, paid = _plain(bonus, data), bonus.reward(data).flatten()
    nothing = 0
    for t in range(20):
        near = [d**2 / mean for d in _near(rows[t], rows[:t], 3)]
        shares = near + [1.0] * (3 - len(near))
        root = sum(0.05 / (max(share - 0.3, 0) + 0.05) for share in shares) ** 0.5 + s.floor
        nothing += root > 1.2
        assert float(paid[t]) == pytest.approx(0.0 if root > 1.2 else 1 / root, rel=1e-2)
    assert 0 < nothing < 20


@pytest.mark.parametrize("squash", [True, False])
def test_a_scaled_bonus_is_measured_by_all_batches_but_the_first_and_by_itself(squash: bool) -> None:
    raws = [torch.rand(400, 1, generator=torch.Generator().manual_seed(i)) * (i + 1) ** 2 for i in range(4)]

    class Given:
        scaling = vime.Scaling(squash=squash, unit=0.5)
        at = 0

        def reward(self, batch: Transitions) -> torch.Tensor:
            return raws[self.at]

        def observe(self, batch: Transitions) -> None:
            pass

        def learn(self, batch: Transitions) -> dict[str, float]:
            return {}

        def state_dict(self) -> dict:
            return {}

        def load_state_dict(self, state: dict) -> None:
            pass

    given = Given()
    bonus = vime.ScaledBonus(given)
    flat = [raw.log1p() if squash else raw for raw in raws]
    lengths = [float(raw.double().std(correction=0)) for raw in flat]
    data = walk(400)
    for at, history in enumerate(([0], [1], [1, 2], [1, 2, 3])):
        given.at = at
        expected = flat[at] * 0.5 / np.mean([lengths[i] for i in history])
        batch = replace(data)
        torch.testing.assert_close(bonus.reward(batch), expected, rtol=1e-5, atol=1e-7)
        bonus.observe(batch)
        bonus.learn(batch)


def test_a_standardiser_of_the_parts_is_that_of_the_whole() -> None:
    parts = [torch.randn(n, 3, generator=torch.Generator().manual_seed(n)) * n + 10 * n for n in (5, 1, 30)]
    one, whole = Standardiser(3), torch.cat(parts).double()
    for part in parts:
        one.update(part)
    expected = (whole - whole.mean(0)) / whole.std(0, correction=0)
    torch.testing.assert_close(one(whole.float()).double(), expected.clamp(-5, 5), rtol=1e-3, atol=1e-3)


def test_numbers_of_the_same_cell_are_one_place_and_of_others_not() -> None:
    space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
    for cell, same in ((0.5, False), (4.0, True)):
        bonus = vime.make_bonus("counts", space, MOVES, cell=cell)
        bonus.hash.update(torch.tensor([[-1.0], [1.0]]))  # of deviation one
        assert bool(torch.equal(*bonus.hash(torch.tensor([[-0.6], [0.6]])).chunk(2))) == same
