from dataclasses import replace
from typing import Any

import pytest
import torch

from vime.members import CLIP, PIECE, Members, bounded_log

ROWS = 2 * PIECE + 77  # the last piece is a short one


def networks(learned_noise: bool = True, shared: bool = False, change: bool = True, seed: int = 0) -> Members:
    """Three networks from 2 + 1 numbers by way of 9 and 7 units; where shared, all have the first two layers."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    widths, stacks = (3, 9, 7, 4 if learned_noise else 2), (1, 1, 3) if shared else (3, 3, 3)
    return Members(
        weights=tuple(draw(m, i, o) for m, i, o in zip(stacks, widths, widths[1:], strict=False)),
        biases=tuple(draw(m, 1, o) for m, o in zip(stacks, widths[1:], strict=True)),
        activation="silu",
        input_centre=draw(3) + 100,
        input_spread=draw(3).abs() + 0.5,
        target_centre=draw(2),
        target_spread=draw(2).abs() + 0.1,
        noise=None if learned_noise else torch.tensor([0.5, 2.0]),
        noise_floor=0.01,
        change=change,
    )


def by_the_book(members: Members, state: torch.Tensor, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What the fields say, written out, for every network and row."""
    x = ((torch.cat([state, action], -1) - members.input_centre) / members.input_spread).clamp(-CLIP, CLIP)
    hidden = x.expand(3, *x.shape[-2:])
    for i, (weight, bias) in enumerate(zip(members.weights, members.biases, strict=True)):
        hidden = torch.nn.functional.silu(hidden) if i else hidden
        hidden = hidden @ weight + bias
    mean, spread = hidden[..., :2], members.target_spread
    noise = bounded_log(hidden[..., 2:], members.noise_floor).exp() if members.noise is None else members.noise
    variance = (noise * spread.square()).expand(1 if members.noise is not None else 3, *mean.shape[1:])
    return mean * spread + members.target_centre + (state if members.change else 0), variance


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("settings", [{}, {"learned_noise": False}, {"shared": True}, {"change": False}])
def test_prediction_is_by_the_book_whole_and_in_pieces(settings: dict[str, Any], own: bool) -> None:
    members = networks(**settings)
    lead = (3, ROWS) if own else (ROWS,)
    generator = torch.Generator().manual_seed(1)
    state = torch.randn(*lead, 2, generator=generator) * 3 + 100
    action = torch.randn(*lead, 1, generator=generator) + 100
    expected = by_the_book(members, state, action)
    with torch.no_grad():
        in_pieces = members.predict(state, action)
    for found in (in_pieces, members.predict(state, action)):  # with slopes it comes in one piece
        for part, truth in zip(found, expected, strict=True):
            assert part.shape == truth.shape
            torch.testing.assert_close(part, truth, atol=1e-4, rtol=1e-4)


def test_variances_are_bounded_and_bad_rows_stay_bad() -> None:
    members = networks()
    for raw, expected in ((1000.0, 100.0), (-1000.0, 1e-4)):
        members = networks()
        members.biases[-1][..., 2:] = raw
        variance = members.predict(torch.zeros(5, 2), torch.zeros(5, 1)).variance
        torch.testing.assert_close(variance / members.target_spread.square(), torch.full_like(variance, expected))
    state = torch.zeros(ROWS, 2)
    state[ROWS - 1] = torch.nan
    with torch.no_grad():
        mean, variance = members.predict(state, torch.zeros(ROWS, 1))
    assert torch.isfinite(mean[:, :-1]).all()
    assert mean[:, -1].isnan().all()


def test_half_precision_is_close_and_gives_states_in_full() -> None:
    members = networks()
    state, action = torch.randn(ROWS, 2) + 100, torch.randn(ROWS, 1) + 100
    with torch.no_grad():
        whole, half = (some.predict(state, action) for some in (members, members.to(torch.bfloat16)))
    assert half.mean.dtype == half.variance.dtype == torch.float32
    assert (half.mean - whole.mean).abs().mean() < 0.05 * whole.mean.std()


def test_what_is_saved_is_the_fields_alone_and_comes_back() -> None:
    members = networks()
    members.predict(torch.zeros(1, 2), torch.zeros(1, 1))
    state = members.state_dict()
    again = Members.from_state(state)
    assert set(state) == set(Members.__dataclass_fields__)
    inputs = torch.randn(4, 2), torch.randn(4, 1)
    assert torch.equal(members.predict(*inputs).mean, again.predict(*inputs).mean)
    changed = replace(members, target_centre=members.target_centre + 1)
    torch.testing.assert_close(changed.predict(*inputs).mean, members.predict(*inputs).mean + 1)
