"""InfoGAN: what its codes cost, who learns them, and what they find."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from generative import Dataset, InvalidSettings, fit, make_model
from generative.data import Minibatches
from generative.infogan import Codes, InfoGAN
from generative.metrics import clustering_error
from generative.model import Batch
from tests.generative.small import SMALL, generator, settings


def build(**changes: Any) -> InfoGAN:
    model = make_model("infogan", (1, 8, 8), **(SMALL["infogan"] | changes))
    assert isinstance(model, InfoGAN)
    return model


def batch_of(digits: Dataset) -> Batch:
    return Minibatches(digits, 32, seed=0).next(generator(), torch.zeros(()))


def slopes(model: InfoGAN, loss: torch.Tensor, part: str) -> list[torch.Tensor]:
    found = torch.autograd.grad(loss, list(model.get_submodule(part).parameters()), retain_graph=True)
    return list(found)


def test_a_code_read_without_fail_carries_its_whole_entropy() -> None:
    model = build(categories=[10, 3])
    codes = model.draw_codes(50, generator())
    hot = torch.zeros(50, 13)
    hot[torch.arange(50), codes.category[:, 0]] = 100.0
    hot[torch.arange(50), 10 + codes.category[:, 1]] = 100.0
    surprise, error = model.misreading(torch.cat([hot, codes.continuous], 1), codes)
    assert float(surprise) == pytest.approx(0, abs=1e-6)
    assert float(error) == 0
    surprise, error = model.misreading(torch.zeros(50, 15), codes)
    assert float(surprise) == pytest.approx(math.log(30))
    assert float(error) == pytest.approx(0.5 * float(codes.continuous.square().sum(1).mean()))


def test_the_information_is_the_entropy_less_the_surprise(digits: Dataset) -> None:
    model = build()
    terms = model.losses(batch_of(digits), "generator", generator())
    surprise = math.log(10) - terms["information"]
    torch.testing.assert_close(terms["loss"], terms["game"] + surprise + terms["code_error"])


def test_both_players_learn_the_codes(digits: Dataset) -> None:
    """The trunk must learn them too, with the discriminator's optimiser, else nothing in it serves to read them."""
    model, batch = build(), batch_of(digits)
    for player, parts in (("discriminator", ("trunk", "reader")), ("generator", ("generator",))):
        terms = model.losses(batch, player, generator())
        for part in parts:
            assert sum(float(slope.abs().sum()) for slope in slopes(model, -terms["information"], part)) > 0
            assert sum(float(slope.abs().sum()) for slope in slopes(model, terms["code_error"], part)) > 0
    moved = {player.name: player.parts for player in model.players}
    assert moved == {"discriminator": ("trunk", "head", "reader"), "generator": ("generator",)}


def test_real_and_generated_images_are_normalised_apart(digits: Dataset) -> None:
    model, batch = build(), batch_of(digits)
    seen: list[int] = []
    model.trunk.register_forward_hook(lambda *call: seen.append(len(call[1][0])))
    terms = model.losses(batch, "discriminator", generator())
    assert seen == [32, 32]
    other = model.losses(replace(batch, x=torch.zeros_like(batch.x)), "discriminator", generator())
    torch.testing.assert_close(terms["information"], other["information"])


def test_agreement_is_the_information_between_two_readings() -> None:
    model = build(categories=[4, 2], agreement=1.0)
    sure = 100 * torch.eye(4)[torch.arange(40) % 4]
    pair = 100 * torch.eye(2)[torch.arange(40) % 2]
    rest = torch.zeros(40, 2)
    read = torch.cat([sure, pair, rest], 1)
    assert float(model.agreement(read, read)) == pytest.approx(math.log(8))  # certain, even, and always the same
    shuffled = torch.cat([sure[torch.arange(40) // 4 % 4], pair * 0, rest], 1)
    assert float(model.agreement(read, shuffled)) < 0.3  # what one says tells little of the other
    assert float(model.agreement(read, 0 * read)) == pytest.approx(0, abs=1e-6)
    one = torch.cat([0 * sure + 100 * torch.eye(4)[0], pair, rest], 1)
    assert float(model.agreement(one, one)) == pytest.approx(math.log(2))  # one value for all says nothing


def test_agreement_teaches_the_reader_of_real_images_alone(digits: Dataset) -> None:
    model, batch = build(agreement=2.0), batch_of(digits)
    terms = model.losses(batch, "discriminator", generator())
    surprise = math.log(10) - terms["information"]
    torch.testing.assert_close(terms["loss"], terms["game"] + surprise + terms["code_error"] - 2 * terms["agreement"])
    for part in ("trunk", "reader"):
        assert sum(float(slope.abs().sum()) for slope in slopes(model, terms["agreement"], part)) > 0
    assert "agreement" not in model.losses(batch, "generator", generator())
    with pytest.raises(InvalidSettings, match="`agreement` is of categorical codes"):
        build(agreement=1.0, categories=[])


def test_codes_are_uniform() -> None:
    codes = build(categories=[4], continuous=3).draw_codes(20_000, generator())
    assert (codes.category[:, 0].bincount() / 20_000 - 0.25).abs().max() < 0.02
    assert codes.continuous.abs().max() <= 1
    torch.testing.assert_close(codes.continuous.mean(0), torch.zeros(3), atol=0.02, rtol=0)
    torch.testing.assert_close(codes.continuous.std(0), torch.full((3,), 3**-0.5), atol=0.01, rtol=0)


def test_a_traversal_changes_one_code_alone() -> None:
    model = build().eval()
    rows = model.traverse(1, [-2.0, 0.0, 2.0], 4, generator(3))
    assert rows.shape == (4, 3, 1, 8, 8)
    drawn = generator(3)
    codes, noise = model.draw_codes(4, drawn), model._noise(4, drawn)
    column = codes.continuous.clone()
    column[:, 0] = 2.0
    expected = model.make(Codes(category=codes.category, continuous=column), noise)
    torch.testing.assert_close(rows[:, 2], expected)
    kinds = model.traverse(0, list(range(10)), 4, generator(3))
    own = kinds[torch.arange(4), codes.category[:, 0]]
    torch.testing.assert_close(own, model.make(codes, noise))
    for code, values in ((3, [0.0]), (-1, [0.0]), (0, [0.5]), (0, [10]), (1, [])):
        with pytest.raises(InvalidSettings, match=r"numbered from 0 to 2|cannot take"):
            model.traverse(code, values, 1, generator())


def test_clusters_are_those_of_the_first_category(digits: Dataset) -> None:
    model = build(categories=[3, 10], continuous=1).eval()
    x = digits.examples("test", generator())[:30]
    code = model.encode(x)
    assert code.shape == (30, model.features) == (30, 14)
    torch.testing.assert_close(code[:, :3].sum(1), torch.ones(30))
    torch.testing.assert_close(code[:, 3:13].sum(1), torch.ones(30))
    assert torch.equal(model.clusters(x), code[:, :3].argmax(1))
    with pytest.raises(InvalidSettings, match="continuous codes alone"):
        build(categories=[]).clusters(x)


@pytest.mark.parametrize(
    "changes", [{"categories": [1]}, {"categories": [], "continuous": 0}, {"latent": 0}, {"information": -1.0}]
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidSettings, match=next(iter(changes))):
        build(**changes)


@pytest.mark.slow
def test_classes_are_found_without_labels(digits: Dataset) -> None:
    model = build(channels=32, hidden=128, code_hidden=64)
    last = fit(model, digits, settings(1000, batch_size=64, report_every=100, save_every=1000, average=0.99))
    assert last["generator/information"] > 2.1  # of 2.303 nats
    assert model.information(500, generator()) > 2
    assert digits.test.label is not None
    found = model.clusters(digits.examples("test", generator()))
    assert clustering_error(digits.test.label, found) < 0.5  # 0.9 by chance
