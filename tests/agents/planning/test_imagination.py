"""Futures in a world that is known exactly, step by step by hand."""

import warnings
from dataclasses import replace

import pytest
import torch

import vime
from agents.planning import Objective, imagine
from agents.planning import imagination as module
from vime.measures import MEASURES, member_gram, trajectory_gain
from vime.members import Members


def right(state: torch.Tensor, action: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
    return following[:, 0]


def beyond(state: torch.Tensor, action: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
    return following[:, 0] > 0.15


REWARD = Objective(measure=None, reward=right)


def test_states_and_rewards_add_up(known: Members) -> None:
    start, actions = torch.zeros(3, 2), torch.ones(3, 4, 2)
    found = imagine(known, start, actions, REWARD)
    torch.testing.assert_close(found.state, torch.full((3, 2), 0.4))
    torch.testing.assert_close(found.reward, torch.full((3,), 0.1 + 0.2 + 0.3 + 0.4))
    assert torch.equal(found.score, found.reward)
    halved = imagine(known, start, actions, Objective(measure=None, reward=right, discount=0.5))
    torch.testing.assert_close(halved.reward, torch.full((3,), 0.1 + 0.2 / 2 + 0.3 / 4 + 0.4 / 8))


def test_nothing_counts_after_an_end(known: Members) -> None:
    objective = Objective(measure=None, reward=right, termination=beyond)
    found = imagine(known, torch.zeros(1, 2), torch.ones(1, 4, 2), objective)
    torch.testing.assert_close(found.reward, torch.tensor([0.1 + 0.2]))  # the step that ends it is paid
    torch.testing.assert_close(found.state, torch.full((1, 2), 0.2))
    logarithm = replace(objective, reward=lambda s, a, f: torch.log(0.25 - s[:, 0]))  # no number from 0.3 on
    told = imagine(known, torch.zeros(1, 2), torch.ones(1, 4, 2), logarithm)
    torch.testing.assert_close(told.reward, torch.log(torch.tensor([0.25, 0.15])).sum().view(1))


def test_an_end_costs_what_it_is_said_to_cost_once(known: Members) -> None:
    objective = Objective(measure=None, reward=right, termination=beyond, end_cost=7.0, discount=0.5)
    found = imagine(known, torch.zeros(2, 2), torch.tensor([1.0, 0.1]).view(2, 1, 1).expand(2, 4, 2), objective)
    torch.testing.assert_close(found.reward[0], torch.tensor(0.1 + (0.2 - 7.0) / 2))
    assert found.reward[1] > 0  # it does not get that far


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.filterwarnings("ignore:The measure")
def test_information_is_the_measure_of_what_members_predict_on_the_way(doubtful: Members, measure: str) -> None:
    start, actions = torch.tensor([[1.0, -0.5]]), torch.ones(1, 3, 2)
    expected, state = torch.zeros(1), start
    for t in range(3):
        mean, variance = doubtful.predict(state, actions[:, t])
        expected += MEASURES[measure](mean, variance)
        state = mean.mean(0)
    torch.testing.assert_close(imagine(doubtful, start, actions, Objective(measure=measure)).gain, expected)


def test_a_trajectory_is_measured_as_a_whole(doubtful: Members) -> None:
    start, actions = torch.tensor([[1.0, -0.5]]), torch.zeros(1, 3, 2)
    gram = member_gram(*doubtful.predict(start, actions[:, 0]))
    found = imagine(doubtful, start, actions, Objective(measure="trajectory"))
    torch.testing.assert_close(found.gain, trajectory_gain(3 * gram))  # it stands still: three times the same place


def test_a_member_follows_its_own_future(doubtful: Members) -> None:
    """The spread of the ends grows as powers of each member's own slope."""
    start, actions = torch.ones(1, 2), torch.zeros(1, 3, 2)
    objective = Objective(measure=None, reward=lambda s, a, f: f[:, 0].square(), propagation="members")
    found = imagine(doubtful, start, actions, objective)
    slopes = 1 + 0.1 * torch.linspace(-1, 1, 4)
    expected = sum(slopes.pow(2 * t).mean() for t in (1, 2, 3))
    torch.testing.assert_close(found.reward[0], expected)
    informed = imagine(
        doubtful, start, actions, Objective(reward=objective.reward, propagation="members", gain_weight=0.0)
    )
    torch.testing.assert_close(informed.reward[0], expected)
    assert informed.gain > 0


def test_chunks_and_batches_change_nothing(doubtful: Members, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    start, actions = torch.randn(50, 2, generator=generator), torch.randn(50, 5, 2, generator=generator)
    noise = torch.randn(5, 50, 2, generator=generator)
    for objective in (Objective(noise=True), Objective(measure="trajectory"), Objective(noise=True, reward=right)):
        whole = imagine(doubtful, start, actions, objective, noise)
        monkeypatch.setattr(module, "CHUNK", 28)
        parts = imagine(doubtful, start, actions, objective, noise)
        monkeypatch.undo()
        torch.testing.assert_close(whole.score, parts.score)
        one = imagine(doubtful, start[7:8], actions[7:8], objective, noise[:, 7:8])
        torch.testing.assert_close(whole.score[7:8], one.score)


def test_noise_spreads_by_its_deviation_and_is_the_callers(known: Members) -> None:
    start, actions = torch.zeros(4000, 2), torch.zeros(4000, 1, 2)
    objective = Objective(measure=None, reward=right, noise=True)
    noise = torch.randn(1, 4000, 2, generator=torch.Generator().manual_seed(0))
    found = imagine(known, start, actions, objective, noise)
    torch.testing.assert_close(found.state, 0.1 * noise[0])
    with pytest.raises(vime.InvalidData, match="noise"):
        imagine(known, start, actions, objective)


def test_optimism_bends_the_future_by_deviations_of_doubt(doubtful: Members) -> None:
    start = torch.tensor([[1.0, 1.0]])
    objective = Objective(optimism=2.0)
    assert objective.extra_actions(2) == 2
    actions = torch.tensor([[[0.0, 0.0, 1.0, -1.0]]])
    deviation = 0.1 * torch.linspace(-1, 1, 4).std(correction=0)
    found = imagine(doubtful, start, actions, objective)
    torch.testing.assert_close(found.state, start + 2 * deviation * torch.tensor([[1.0, -1.0]]))


def test_a_future_that_diverges_is_never_chosen(known: Members) -> None:
    def explodes(state: torch.Tensor, action: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
        return torch.where(action[:, 0] > 0, torch.nan, -1000.0)

    actions = torch.tensor([[[1.0, 0.0]], [[-1.0, 0.0]]])
    found = imagine(known, torch.zeros(2, 2), actions, Objective(measure=None, reward=explodes))
    assert found.score.tolist() == [float("-inf"), -1000.0]
    far = imagine(known, torch.full((1, 2), torch.inf), torch.zeros(1, 1, 2), REWARD)
    assert far.score.item() == float("-inf")


def test_a_reward_of_the_wrong_shape_is_refused(known: Members) -> None:
    objective = Objective(measure=None, reward=lambda s, a, f: f)
    with pytest.raises(vime.InvalidData, match=r"shape \(1,\)"):
        imagine(known, torch.zeros(1, 2), torch.zeros(1, 1, 2), objective)


def test_a_capped_measure_warns_where_members_are_few(doubtful: Members) -> None:
    with pytest.warns(UserWarning, match="log-det"):
        imagine(doubtful, torch.ones(1, 2), torch.zeros(1, 1, 2), Objective(measure="jensen-renyi"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        imagine(doubtful, torch.ones(1, 2), torch.zeros(1, 1, 2), Objective())


@pytest.mark.parametrize(
    "settings",
    [
        {"measure": None},
        {"measure": "log-dot"},
        {"discount": 0.0},
        {"propagation": "mode"},
        {"optimism": -1.0},
        {"optimism": 1.0, "propagation": "members"},
        {"gain_weight": float("nan")},
        {"end_cost": float("inf")},
    ],
)
def test_impossible_objectives_are_refused(settings: dict) -> None:
    with pytest.raises((vime.InvalidSettings, vime.UnknownName)):
        Objective(**settings)


def test_half_precision_keeps_the_order_of_futures(doubtful: Members) -> None:
    generator = torch.Generator().manual_seed(0)
    start, actions = torch.randn(200, 2, generator=generator), torch.randn(200, 5, 2, generator=generator)
    full, half = (imagine(m, start, actions, Objective()).score for m in (doubtful, doubtful.to(torch.bfloat16)))
    assert torch.corrcoef(torch.stack([full, half]))[0, 1] > 0.99
