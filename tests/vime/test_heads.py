from typing import Any

import pytest
import torch
from torch import Tensor

from vime.errors import InvalidData, InvalidSettings
from vime.heads import Head, HeadSettings, RewardHead, TerminationHead

SMALL = HeadSettings(hidden=(32,), updates=400, minibatch=128, learning_rate=5e-3)


def transitions(n: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Draws states, actions and next states in units far from one."""
    generator = torch.Generator().manual_seed(seed)
    state, action = torch.randn(n, 2, generator=generator) * 50, torch.randn(n, 1, generator=generator)
    return state, action, state + 10 * action


def paid(state: Tensor, action: Tensor, following: Tensor) -> Tensor:
    return 100 + following[:, 0] - 5 * action[:, 0].square()


def ends(state: Tensor, action: Tensor, following: Tensor) -> Tensor:
    """Some two in a hundred."""
    return following[:, 1] > 100


def test_a_known_reward_is_learnt() -> None:
    head = RewardHead(2, 1, SMALL)
    rows = transitions(1000)
    head.add(*rows, paid(*rows))
    head.fit()
    fresh = transitions(1000, seed=1)
    error = (head(*fresh) - paid(*fresh)).square().mean()
    assert error < 0.02 * paid(*fresh).var()


def test_a_head_that_has_seen_nothing_promises_nothing_infinite() -> None:
    head, rows = RewardHead(2, 1, SMALL), transitions(5)
    assert torch.isfinite(head(*rows)).all()
    head.add(*(part[:0] for part in rows), torch.zeros(0))
    assert torch.isfinite(head(*rows)).all()


def test_rewards_stay_within_what_was_seen() -> None:
    head = RewardHead(2, 1, SMALL)
    rows = transitions(500)
    head.add(*rows, paid(*rows))
    head.fit()
    far = head(*(30 * part for part in transitions(500, seed=1)))
    assert paid(*rows).min() <= far.min() < far.max() <= paid(*rows).max()


def test_a_reward_far_from_all_others_is_not_cut() -> None:
    head = RewardHead(2, 1, SMALL)
    state, action, following = transitions(1000)
    state[0], following[0] = 400.0, 400.0
    value = torch.zeros(1000)
    value[0] = 100.0
    head.add(state, action, following, value)
    head.fit()
    assert head(state[:1], action[:1], following[:1]).item() > 50  # ten deviations are 32


def test_rare_ends_are_found_and_hardly_any_other() -> None:
    head = TerminationHead(2, 1, SMALL)
    rows = transitions(3000)
    head.add(*rows, ends(*rows))
    head.fit()
    fresh = transitions(20_000, seed=1)
    truth, guess = ends(*fresh), head(*fresh)
    assert 0.01 < truth.float().mean() < 0.05
    assert guess[truth].float().mean() > 0.8
    assert guess[~truth].float().mean() < 0.01


def test_probabilities_are_those_of_ends_that_nothing_announces() -> None:
    head = TerminationHead(2, 1, SMALL)
    rows = transitions(4000)
    head.add(*rows, torch.rand(4000, generator=torch.Generator().manual_seed(3)) < 0.1)
    head.fit(100)
    assert head.probability(*transitions(1000, seed=1)).mean().item() == pytest.approx(0.1, abs=0.04)
    assert head(*transitions(1000, seed=1)).float().mean() < 0.03


def test_nothing_ends_where_nothing_ever_did() -> None:
    head = TerminationHead(2, 1, SMALL)
    rows = transitions(100)
    head.add(*rows, torch.zeros(100, dtype=torch.bool))
    head.fit(5)
    assert not head(*transitions(1000)).any()


@pytest.mark.parametrize("kind", [RewardHead, TerminationHead])
def test_a_head_saved_and_loaded_goes_on_bit_for_bit(kind: type[Head]) -> None:
    def start(seed: int) -> Any:
        return kind(2, 1, HeadSettings(hidden=(8,), updates=5, minibatch=32, capacity=80, seed=seed))

    def advance(head: Any, seed: int) -> dict[str, float]:
        rows = transitions(60, seed)
        head.add(*rows, ends(*rows) | (rows[1][:, 0] > 1))
        return head.fit()

    whole, other = start(0), start(1)
    advance(whole, 0)
    other.load_state_dict(whole.state_dict())
    assert advance(whole, 1) == advance(other, 1)
    assert torch.equal(whole(*transitions(50)), other(*transitions(50)))


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(InvalidData, match="pool is empty"):
        RewardHead(2, 1).fit()
    state, action, following = transitions(4)
    head = RewardHead(2, 1)
    with pytest.raises(InvalidData, match="NaN"):
        head.add(state, action, following * torch.nan, torch.zeros(4))
    assert len(head.pool) == head.moments.count == head.value_moments.count == 0
    with pytest.raises(InvalidSettings, match="updates"):
        HeadSettings(updates=0)
