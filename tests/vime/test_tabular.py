"""The Dirichlet model knows exactly what is left to learn."""

import pytest
import torch

import vime
from vime.tabular import DirichletModel


def test_what_an_outcome_tells_is_the_divergence_of_two_dirichlets() -> None:
    model = DirichletModel(3, 1, prior=0.7)
    model.observe(torch.tensor([0, 0]), torch.tensor([0, 0]), torch.tensor([1, 2]))
    before = torch.distributions.Dirichlet(model.counts[0, 0].clone())
    (told,) = model.told(torch.tensor([0]), torch.tensor([0]), torch.tensor([1]))
    model.observe(torch.tensor([0]), torch.tensor([0]), torch.tensor([1]))
    after = torch.distributions.Dirichlet(model.counts[0, 0])
    torch.testing.assert_close(told, torch.distributions.kl_divergence(after, before))


def test_the_expected_gain_is_the_mutual_information_by_sampling() -> None:
    model = DirichletModel(4, 1, prior=0.5)
    model.observe(torch.tensor([0] * 3), torch.tensor([0] * 3), torch.tensor([1, 1, 2]))
    torch.manual_seed(0)
    chances = torch.distributions.Dirichlet(model.counts[0, 0]).sample((200_000,))
    entropy = torch.distributions.Categorical(model.counts[0, 0]).entropy()
    oracle = entropy - torch.distributions.Categorical(chances).entropy().mean()
    torch.testing.assert_close(model.expected_gain()[0, 0], oracle, rtol=0.01, atol=0)


def test_gain_falls_with_visits_and_planning_looks_ahead() -> None:
    model = DirichletModel(3, 2)
    walk = torch.tensor([0, 1, 0, 1] * 20), torch.tensor([0, 1, 0, 1] * 20), torch.tensor([1, 0, 1, 0] * 20)
    before = model.expected_gain()[0, 0]
    model.observe(*walk)
    assert model.expected_gain()[0, 0] < 0.1 * before
    reward = torch.zeros(3, 2, dtype=torch.float64)
    reward[1, 0] = 1.0
    values = model.values(reward, horizon=2)
    assert values[0, 0] > 0.9  # one step from where it is paid
    assert model.values(reward, horizon=1)[0, 0] == 0


def test_what_was_counted_gives_what_a_whole_table_does() -> None:
    model, generator = DirichletModel(6, 3), torch.Generator().manual_seed(0)
    for _ in range(4):
        draws = (torch.randint(n, (20,), generator=generator) for n in (6, 3, 6))
        model.observe(*draws)
    counts = model.counts
    total = counts.sum(2, keepdim=True)
    torch.testing.assert_close(model.visits.sum(), torch.tensor(80.0, dtype=torch.float64))
    told = torch.digamma(counts + 1) - torch.digamma(total + 1) - (counts / total).log()
    torch.testing.assert_close(model.expected_gain(), (counts / total * told).sum(2))
    places = torch.cartesian_prod(*(torch.arange(n) for n in (6, 3, 6)))
    torch.testing.assert_close(model.told(*places.T), told.flatten())
    value = reward = model.expected_gain()
    for _ in range(4):
        value = reward + 0.9 * (counts / total) @ value.amax(1)
    torch.testing.assert_close(model.values(reward, 5, 0.9), value)


def test_nothing_is_to_be_had_after_an_end() -> None:
    model = DirichletModel(3, 2)
    model.observe(*(torch.tensor([i]) for i in (0, 0, 2)), torch.tensor([True]))  # 0 leads to an end, 1 to 1
    model.observe(*(torch.tensor([i]) for i in (0, 1, 1)), torch.tensor([False]))
    gain = model.expected_gain()
    values = model.values(gain, horizon=10)
    assert values[2].tolist() == [0, 0]
    assert float(values[0, 1]) > 1.5 * float(gain[1, 0])  # there is something to learn beyond
    assert float(values[0, 0]) < 0.1 * float(values[0, 1])
    model.observe(*(torch.tensor([i]) for i in (2, 0, 1)))  # it can be left after all
    assert float(model.values(gain, 1)[2, 1]) == float(gain[2, 1])


def test_what_is_none_of_the_tables_is_refused_and_not_counted() -> None:
    model = DirichletModel(3, 2)
    for state, action, following in ((0, 0, 3), (3, 0, 0), (0, 2, 0), (-1, 0, 0)):
        with pytest.raises(vime.InvalidData, match="none of the table's"):
            model.observe(*(torch.tensor([i]) for i in (state, action, following)))
        with pytest.raises(vime.InvalidData, match="none of the table's"):
            model.told(*(torch.tensor([i]) for i in (state, action, following)))
    assert not model.visits.any()


def test_counts_are_saved_and_bad_sizes_refused() -> None:
    model, other = DirichletModel(2, 2), DirichletModel(2, 2)
    model.observe(torch.tensor([1]), torch.tensor([0]), torch.tensor([1]))
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.visits, model.visits)
    assert torch.equal(other.counts, model.counts)
    assert other.visits[1, 0] == 1
    with pytest.raises(vime.InvalidSettings, match="prior"):
        DirichletModel(2, 2, prior=0.0)
