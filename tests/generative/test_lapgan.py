"""The pyramid of GANs: its sizes, and how the levels join."""

from typing import Any

import pytest
import torch

from generative import Dataset, InvalidSettings, fit, make_model
from generative.data import Minibatches
from generative.gan_losses import discriminator_loss
from generative.lapgan import LAPGAN, doubled, halved, pyramid
from generative.model import Batch, moved_by
from generative.randomness import normal
from tests.generative.small import SMALL, generator, settings


def build(shape: tuple[int, ...] = (1, 8, 8), **changes: Any) -> LAPGAN:
    model = make_model("lapgan", shape, **(SMALL["lapgan"] | changes))
    assert isinstance(model, LAPGAN)
    return model


def batch_of(digits: Dataset) -> Batch:
    return Minibatches(digits, 16, seed=0).next(generator(), torch.zeros(()))


def test_sizes_of_a_pyramid_are_halves_and_keep_the_mean() -> None:
    x = torch.rand(3, 2, 16, 8, generator=generator())
    sizes = pyramid(x, 3)
    assert [tuple(size.shape[2:]) for size in sizes] == [(16, 8), (8, 4), (4, 2)]
    for size in sizes:
        torch.testing.assert_close(size.mean((2, 3)), x.mean((2, 3)))
    torch.testing.assert_close(sizes[1][:, :, 0, 0], x[:, :, :2, :2].mean((2, 3)))
    flat = torch.full((1, 1, 4, 4), 0.3)
    torch.testing.assert_close(doubled(flat), torch.full((1, 1, 8, 8), 0.3))


def test_before_any_training_an_image_is_the_smallest_one_doubled() -> None:
    model = build((1, 16, 16), levels=3).eval()
    small, middle, large = model.stages(4, generator())
    assert small.shape == (4, 1, 4, 4)
    torch.testing.assert_close(middle, doubled(small))
    torch.testing.assert_close(large, doubled(middle))


def test_discriminators_judge_whole_images_real_and_generated(digits: Dataset) -> None:
    model, batch = build(dropout=0.0), batch_of(digits)
    seen: list[torch.Tensor] = []
    handle = model.discriminators[0].register_forward_hook(lambda *call: seen.append(call[1][0]))
    terms = model.losses(batch, "discriminator-0", generator(3))
    handle.remove()
    torch.testing.assert_close(seen[0], 2 * batch.x - 1)
    drawn, coarse = generator(3), doubled(halved(batch.x))
    coarse = coarse + model.settings.condition_noise * normal(coarse.shape, drawn, coarse)
    made = model.detailed(coarse, 0, drawn)
    torch.testing.assert_close(seen[1], 2 * made - 1)
    real, fake = (model.discriminators[0](x).squeeze(1) for x in seen)
    torch.testing.assert_close(terms["loss"], discriminator_loss(model.settings.game, real, fake))


def test_each_level_learns_from_real_images_alone(digits: Dataset) -> None:
    model, batch = build(levels=3), batch_of(digits)
    names = [player.name for player in model.players]
    assert names == [
        "base-discriminator", "base-generator", "discriminator-1", "generator-1", "discriminator-0", "generator-0",
    ]  # fmt: skip
    before = {name: model.losses(batch, name, generator())["loss"] for name in names}
    with torch.no_grad():
        for parameter in [*model.base.parameters(), *model.generators[1].parameters()]:
            parameter.add_(0.1)
    after = {name: model.losses(batch, name, generator())["loss"] for name in names}
    changed = {name for name in names if not torch.equal(before[name], after[name])}
    assert changed == {"base-discriminator", "base-generator", "discriminator-1", "generator-1"}


def test_all_levels_are_trained(digits: Dataset) -> None:
    model = build(levels=2)
    before = {key: value.clone() for key, value in model.named_parameters()}
    told = fit(model, digits, settings(10, average=None))
    for player in model.players:
        moved = moved_by(model, player).items()
        assert all(not torch.equal(before[key], value) for key, value in moved if key.endswith("weight")), player.name
    assert {"base-generator/loss", "generator-0/loss", "discriminator-0/fake"} <= told.keys()


def test_shapes_that_cannot_be_halved_are_refused() -> None:
    with pytest.raises(InvalidSettings, match="of 6x8 cannot be halved 2 times"):
        build((1, 6, 8), levels=3)
    with pytest.raises(InvalidSettings, match="of 9x8 cannot be halved 1 times; cut or pad it to even sides"):
        build((1, 9, 8), levels=2)
    with pytest.raises(InvalidSettings, match="takes images"):
        build((64,))


@pytest.mark.parametrize(
    "changes", [{"levels": 1}, {"channels": 0}, {"dropout": 1.0}, {"game": "chess"}, {"base": {"support": "real"}}]
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidSettings, match=next(iter(changes))):
        build(**changes)
