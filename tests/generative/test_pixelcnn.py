"""What a pixel sees, what the likelihoods sum to, and that the cache changes nothing."""

from itertools import product

import pytest
import torch
from torch import Tensor

from generative import InvalidSettings, make_model
from generative.model import Batch
from generative.pixelcnn import PixelCNN
from tests.generative.small import generator


def pixelcnn(shape: tuple[int, ...] = (1, 5, 5), **settings: object) -> PixelCNN:
    chosen = {"filters": 6, "blocks": 2, "kernel": 3} | settings
    model = make_model("pixelcnn", shape, **chosen)  # type: ignore[arg-type]
    assert isinstance(model, PixelCNN)
    noise = generator(4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=noise))
    return model.eval()


@pytest.mark.parametrize(("side", "blocks", "kernel"), [(5, 2, 3), (9, 2, 5)])
def test_a_pixel_sees_all_of_the_past_and_nothing_else(side: int, blocks: int, kernel: int) -> None:
    model = pixelcnn((1, side, side), blocks=blocks, kernel=kernel).double()
    x = torch.rand(1, 1, side, side, generator=generator()).double()
    slopes = torch.autograd.functional.jacobian(lambda x: model.conditionals(x).sum(1).flatten(), x)
    assert isinstance(slopes, Tensor)
    found = slopes.reshape(side * side, side * side) != 0
    past = torch.ones(side * side, side * side, dtype=torch.bool).tril(-1)
    assert torch.equal(found, past), (found ^ past).nonzero().tolist()


@pytest.mark.parametrize(
    ("shape", "levels", "settings"),
    [
        ((1, 2, 3), 2, {}),
        ((2, 2, 2), 2, {}),
        ((1, 2, 2), 4, {"likelihood": "discretised", "levels": 4, "components": 3}),
        ((3, 1, 2), 3, {"likelihood": "discretised", "levels": 3, "components": 2}),
    ],
    ids=["binary", "channels", "grey", "colour"],
)
def test_probabilities_of_all_images_sum_to_one(
    shape: tuple[int, ...], levels: int, settings: dict[str, object]
) -> None:
    model = pixelcnn(shape, **settings)
    size = torch.Size(shape).numel()
    every = torch.tensor(list(product([i / (levels - 1) for i in range(levels)], repeat=size))).view(-1, *shape)
    assert float(model.log_prob(every).exp().sum()) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((1, 6, 5), {}),
        ((1, 6, 5), {"likelihood": "discretised", "levels": 17, "components": 3}),
        ((3, 4, 5), {"likelihood": "discretised", "components": 2}),
    ],
    ids=["binary", "grey", "colour"],
)
def test_the_cache_gives_the_same_images(shape: tuple[int, ...], settings: dict[str, object], kernel: int) -> None:
    model = pixelcnn(shape, kernel=kernel, **settings)
    quick, slow = model.sample(4, generator()), model.sample(4, generator(), cached=False)
    assert quick.std() > 0.1
    if len(settings) < 2 or "levels" in settings:
        assert torch.equal(quick, slow)
    else:  # of 256 levels, rounding may move a value to the next one
        assert ((quick - slow).abs() < 1.5 / 255).all()


def test_samples_follow_the_likelihood() -> None:
    model, n = pixelcnn((1, 2, 2)), 20_000
    every = torch.tensor(list(product([0.0, 1.0], repeat=4))).view(-1, 1, 2, 2)
    codes = 2.0 ** torch.arange(3, -1, -1)
    found = torch.bincount((model.sample(n, generator()).flatten(1) @ codes).long(), minlength=16) / n
    expected = model.log_prob(every).exp()
    assert ((found - expected).abs() < 5 * (expected * (1 - expected) / n).sqrt() + 1e-4).all()


def test_training_is_noisy_and_a_likelihood_is_not() -> None:
    model = pixelcnn().train()
    x = (torch.rand(8, 1, 5, 5, generator=generator()) < 0.3).float()
    batch = Batch(x=x, step=torch.zeros(()))
    first, second = (model.losses(batch, "model", generator(seed))["loss"] for seed in (0, 1))
    assert first != second
    assert torch.equal(model.log_prob(x), model.log_prob(x))
    model.eval()
    torch.testing.assert_close(-model.losses(batch, "model", generator())["loss"], model.log_prob(x).mean())


def test_the_start_is_at_the_mean_of_the_images() -> None:
    model = make_model("pixelcnn", (1, 6, 6), filters=8, blocks=2, kernel=3)
    assert isinstance(model, PixelCNN)
    x = (torch.rand(64, 1, 6, 6, generator=generator()) < 0.2).float()
    model.initialise(Batch(x=x, step=torch.zeros(())), generator())
    p = x.mean()
    entropy = -36 * (p * p.log() + (1 - p) * (1 - p).log())
    assert float(-model.log_prob(x).mean()) == pytest.approx(float(entropy), rel=0.03)


def test_vectors_are_refused() -> None:
    with pytest.raises(InvalidSettings, match="models images"):
        make_model("pixelcnn", (5,))


@pytest.mark.parametrize(("blocks", "kernel", "left", "above"), [(2, 3, 6, 7), (3, 3, 8, 9), (2, 5, 11, 13)])
def test_a_pixel_sees_as_far_as_the_settings_say(blocks: int, kernel: int, left: int, above: int) -> None:
    assert left == 1 + (2 * blocks + 1) * (kernel // 2)
    assert above == 1 + 2 * (blocks + 1) * (kernel // 2)
    model = make_model("pixelcnn", (1, 20, 30), filters=4, blocks=blocks, kernel=kernel, dropout=0.0).double()
    x = torch.rand(1, 1, 20, 30, generator=generator(), dtype=torch.float64).requires_grad_()
    felt = torch.autograd.grad(model.conditionals(x)[0, 0, 17, 15], x)[0][0, 0] != 0  # type: ignore[operator]
    assert 15 - int(felt[17].nonzero().min()) == left
    assert 17 - int(felt.any(1).nonzero().min()) == above
