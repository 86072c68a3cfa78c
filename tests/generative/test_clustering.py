"""Sorting without labels, naming by a few, and the way from one to the other."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from generative import Dataset, InvalidData, InvalidSettings, load, save
from generative.clustering import Clustering, ClusteringSettings, divergence
from generative.data import Minibatches
from generative.divergences import entropy
from generative.few_labels import FewLabels, learn_few_labels, name, sort
from generative.model import Batch
from generative.optimiser import Optimiser
from tests.generative.small import generator, settings

SMALL = ClusteringSettings(hidden=(64, 64), bank=100, optimiser=Optimiser(rate=2e-3, decay="linear", decay_from=0.5))


def started(digits: Dataset, **changes: Any) -> tuple[Clustering, torch.Tensor]:
    model = Clustering(digits.shape, replace(SMALL, **changes))
    batch = Minibatches(digits, 200, seed=0).next(generator(), torch.zeros(()))
    model.initialise(batch, generator())
    return model, batch.x.flatten(1)


def test_entropy_and_divergence_equal_torch() -> None:
    a, b = torch.randn(5, 4, generator=generator()), torch.randn(5, 4, generator=generator(1))
    p, q = (torch.distributions.Categorical(logits=logits) for logits in (a, b))
    torch.testing.assert_close(entropy(p.probs), p.entropy())
    torch.testing.assert_close(divergence(a, b), torch.distributions.kl_divergence(p, q).mean())
    assert float(entropy(torch.tensor([0.0, 1.0]))) == 0


def test_changes_are_as_long_as_a_share_of_the_distance_to_the_third_neighbour() -> None:
    model = Clustering((1,), ClusteringSettings(hidden=(4,), bank=5, radius=0.5))
    model.bank.copy_(torch.tensor([[0.0], [0.1], [0.3], [0.6], [1.0]]))
    found = model.radii(torch.tensor([[0.0], [0.2]]))  # one is in the bank itself, one is not
    torch.testing.assert_close(found, torch.tensor([0.3, 0.1]))


def test_data_of_the_bank_are_told_from_others_and_empty_places_are_no_neighbours(digits: Dataset) -> None:
    few, x = started(digits, bank=150)
    many, _ = started(digits, bank=1000)  # of 200 data
    assert torch.equal(many.bank[:150], few.bank)
    exact = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").topk(4, largest=False).values[:, 3]
    torch.testing.assert_close(many.radii(x), many.settings.radius * exact, rtol=1e-3, atol=0)
    with pytest.raises(InvalidData, match="the first are 3"):
        few.initialise(Minibatches(digits, 3, seed=0).next(generator(), torch.zeros(())), generator())


def test_changed_data_leave_the_running_statistics_alone(digits: Dataset) -> None:
    model, x = started(digits)
    batch = Batch(x=x.unflatten(1, digits.shape), step=torch.zeros(()))
    model.train().losses(batch, "model", generator())
    found = {name: value for name, value in model.named_buffers() if "running" in name}
    alone, _ = started(digits)
    alone.train().logits(x)
    for key, value in alone.named_buffers():
        if "running" in key:
            torch.testing.assert_close(found[key], value)


def test_the_worst_change_sways_more_than_a_random_one_of_its_length(digits: Dataset) -> None:
    model, x = started(digits)
    with torch.no_grad():
        model.head.weight.normal_(0, 1, generator=generator())
    model.eval()
    logits = model.logits(x).detach()
    worst = model.worst(x, logits, generator())
    torch.testing.assert_close(worst.norm(dim=1), model.radii(x))
    other = (
        torch.nn.functional.normalize(torch.randn(x.shape, generator=generator(5)), dim=1) * worst.norm(dim=1)[:, None]
    )
    assert float(divergence(logits, model.logits(x + worst))) > 3 * float(divergence(logits, model.logits(x + other)))


def test_outputs_are_put_in_the_order_of_the_classes(digits: Dataset) -> None:
    model, _ = started(digits)
    x = torch.rand(300, *digits.shape, generator=generator())
    with torch.no_grad():
        model.head.weight.normal_(0, 1, generator=generator())
    model.eval()
    before = model.clusters(x)
    names = torch.randperm(10, generator=generator())
    model.name_clusters(x, names[before])
    assert torch.equal(model.clusters(x), names[before])


def test_it_is_saved_exactly(digits: Dataset, tmp_path: Path) -> None:
    model, x = started(digits)
    save(model.eval(), tmp_path)
    again = load(tmp_path, name="clustering")
    assert isinstance(again, Clustering)
    assert torch.equal(
        again.probabilities(x.unflatten(1, digits.shape)), model.probabilities(x.unflatten(1, digits.shape))
    )


def test_data_without_hidden_labels_are_refused(digits: Dataset) -> None:
    with pytest.raises(InvalidData, match="hides no labels"):
        learn_few_labels(digits, settings(10), SMALL)
    with pytest.raises(InvalidSettings, match="`members`"):
        learn_few_labels(digits.with_labels(2, 0), settings(10), SMALL, members=0)


def test_more_classes_than_outputs_are_refused_before_anything_is_sorted(digits: Dataset) -> None:
    data, few = digits.with_labels(2, 0), replace(SMALL, classes=4)
    with pytest.raises(InvalidData, match="10 classes, and the sortings have 4 outputs"):
        learn_few_labels(data, settings(10), few, log=lambda *_: pytest.fail("sorted"))
    with pytest.raises(InvalidData, match="10 classes, and the sortings have 4 outputs"):
        name([Clustering(digits.shape, few)], data)


def test_members_outvote_the_one_that_is_wrong(digits: Dataset) -> None:
    x = torch.rand(40, *digits.shape, generator=generator())
    right, wrong = torch.eye(10)[torch.arange(40) % 10], torch.eye(10)[(torch.arange(40) + 1) % 10]

    def sure(opinion: torch.Tensor) -> Clustering:
        member = Clustering(digits.shape, SMALL)
        member.probabilities = lambda x: opinion  # type: ignore[method-assign]
        return member

    ensemble = FewLabels(members=(sure(right), sure(wrong), sure(right)))
    torch.testing.assert_close(ensemble.probabilities(x), (2 * right + wrong) / 3)
    assert torch.equal(ensemble.classes(x), torch.arange(40) % 10)


def test_naming_leaves_the_sortings_as_they_are(digits: Dataset) -> None:
    sortings = sort(digits, settings(3, initial_examples=100), SMALL, members=2)
    before = [member.head.weight.detach().clone() for member in sortings]
    assert not torch.equal(*before)
    named = name(sortings, digits.with_labels(2, 0))
    assert all(torch.equal(member.head.weight, was) for member, was in zip(sortings, before, strict=True))
    assert all(
        torch.equal(member.head.weight.sort(0).values, was.sort(0).values)
        for member, was in zip(named.members, before, strict=True)
    )


def test_sortings_look_at_no_label(digits: Dataset) -> None:
    others = replace(digits, train=replace(digits.train, label=digits.train.label.flip(0)))  # type: ignore[union-attr]
    one, two = (sort(data, settings(3, initial_examples=100), SMALL, members=1)[0] for data in (digits, others))
    assert torch.equal(one.head.weight, two.head.weight)


@pytest.mark.slow
def test_twenty_labels_do_for_the_digits(digits: Dataset, tmp_path: Path) -> None:
    data = digits.with_labels(2, seed=0)
    fitting = settings(600, batch_size=100, average=None, initial_examples=500)
    found = learn_few_labels(data, fitting, replace(SMALL, bank=500), members=3, folder=tmp_path)
    x = data.examples("test", generator())
    wrong = float((found.classes(x) != data.test.label).float().mean())
    alone = [float((member.clusters(x) != data.test.label).float().mean()) for member in found.members]
    assert wrong < min(0.35, sum(alone) / len(alone))
    again = learn_few_labels(data, fitting, replace(SMALL, bank=500), members=3, folder=tmp_path)  # all of it is there
    assert torch.equal(again.classes(x), found.classes(x))
