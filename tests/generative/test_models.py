"""The contract of a model, run on every entry of the table."""

import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path

import pytest
import torch

from generative import MODELS, Dataset, InvalidData, InvalidSettings, Model, UnknownName, fit, load, make_model, save
from generative.errors import CheckpointError
from generative.metrics import frechet_distance
from generative.model import Bounded, Coder, Decoder, Density, Sampler, moved_by
from generative.settings import from_plain, to_plain
from tests.generative.small import SMALL, STEPS, data_for, generator, settings, small, trained

HEAVY = ("lapgan", "pixelcnn", "resnet-vae")
names = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in HEAVY else ()) for name in sorted(MODELS)]
)
Trained = Callable[[str], tuple[Model, dict[str, float]]]


@pytest.fixture(scope="module")
def ready(digits: Dataset) -> Trained:
    """A trained small model of each name, made when it is first asked for; the tests leave it as it is."""
    return cache(lambda name: trained(name, digits))


def test_every_model_has_a_small_size() -> None:
    assert SMALL.keys() == MODELS.keys()


@names
def test_settings_survive_json_and_are_documented(name: str) -> None:
    cls = MODELS[name]
    assert cls.name == name
    assert is_dataclass(cls.Settings)
    assert inspect.getdoc(cls.Settings)
    default = cls.Settings()
    assert from_plain(cls.Settings, to_plain(default)) == default


@names
def test_an_unknown_setting_is_named(name: str) -> None:
    setting = fields(MODELS[name].Settings)[0].name
    with pytest.raises(InvalidSettings, match=f"Did you mean {setting!r}"):
        make_model(name, (1, 8, 8), **{f"{setting}s": 1})


@names
def test_the_seed_alone_decides_the_first_weights(name: str, digits: Dataset) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, again, other = small(name, digits), small(name, digits), small(name, digits, seed=1)
    assert torch.equal(before, torch.get_rng_state())
    pairs = list(zip(first.parameters(), again.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


@names
def test_players_share_out_the_parameters(name: str, digits: Dataset) -> None:
    model = small(name, digits)
    moved = [key for player in model.players for key in moved_by(model, player)]
    assert set(moved) == {key for key, parameter in model.named_parameters() if parameter.requires_grad}


@names
def test_every_player_has_a_finite_loss_and_moves_by_it(name: str, digits: Dataset) -> None:
    from generative.data import Minibatches

    model, data = small(name, digits), data_for(name, digits)
    batch = Minibatches(data, 16, seed=0).next(generator(), torch.zeros(()))
    with torch.no_grad():
        model.initialise(batch, generator())
    for player in model.players:
        terms = model.losses(batch, player.name, generator(3))
        again = model.losses(batch, player.name, generator(3))
        assert all(term.ndim == 0 and torch.isfinite(term) for term in terms.values())
        if len(model.players) == 1:  # those of a game may keep a history
            assert torch.equal(terms["loss"], again["loss"])
        slopes = torch.autograd.grad(terms["loss"], list(moved_by(model, player).values()), allow_unused=True)
        assert any(slope is not None and slope.abs().sum() > 0 for slope in slopes)


@pytest.mark.slow
@names
def test_training_brings_samples_closer_to_the_data(name: str, digits: Dataset, ready: Trained) -> None:
    model, _ = ready(name)
    if not isinstance(model, Sampler):
        pytest.skip("makes no samples")
    begun, _ = trained(name, digits, steps=1)
    real = data_for(name, digits).examples("test", generator()).flatten(1)
    far, near = (frechet_distance(real, m.sample(500, generator()).flatten(1)) for m in (begun, model))  # type: ignore[attr-defined]
    assert near < 0.9 * far


@names
def test_the_loss_of_a_lone_player_falls(name: str, digits: Dataset, ready: Trained) -> None:
    model, last = ready(name)
    if len(model.players) > 1:
        pytest.skip("what one player loses another one wins")
    _, first = trained(name, digits, steps=5)
    assert last["loss"] < first["loss"]


@names
def test_sampling_is_seeded_and_within_the_support(name: str, ready: Trained) -> None:
    model, _ = ready(name)
    if not isinstance(model, Sampler):
        pytest.skip("makes no samples")
    first, again, other = (model.sample(5, generator(seed)) for seed in (1, 1, 2))
    assert first.shape == (5, *model.shape)
    assert first.dtype == torch.float32
    assert not first.requires_grad
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    model.checked(first)


@names
def test_bounds_grow_with_the_samples_and_stay_below_the_likelihood(name: str, digits: Dataset, ready: Trained) -> None:
    model, _ = ready(name)
    x = data_for(name, digits).examples("test", generator())[:64]
    if not isinstance(model, Bounded):
        pytest.skip("has no bound")
    one, few, many = (model.bound(x, k, generator()).mean() for k in (1, 5, 50))
    assert one < few < many
    if isinstance(model, Density):
        assert many <= model.log_prob(x).mean() + 0.1


@names
def test_a_likelihood_is_of_each_datum_alone(name: str, digits: Dataset, ready: Trained) -> None:
    model, _ = ready(name)
    if not isinstance(model, Density):
        pytest.skip("has no exact likelihood")
    x = data_for(name, digits).examples("test", generator())[:8]
    nats = model.log_prob(x)
    assert nats.shape == (8,)
    torch.testing.assert_close(model.log_prob(x[3:4]), nats[3:4], rtol=1e-4, atol=1e-4)
    assert (nats <= 0).all() or model.levels is None


@names
def test_codes_go_there_and_back(name: str, digits: Dataset, ready: Trained) -> None:
    model, _ = ready(name)
    if not isinstance(model, Coder):
        pytest.skip("has no code")
    x = data_for(name, digits).examples("test", generator())[:200]
    codes = model.encode(x)
    assert codes.shape == (200, model.features)
    assert torch.equal(codes, model.encode(x))
    if isinstance(model, Decoder):
        rebuilt, mean = model.decode(codes), x.mean(0)
        assert rebuilt.shape == x.shape
        assert (rebuilt - x).square().mean() < (mean - x).square().mean()


@names
def test_a_saved_model_is_the_same_model(name: str, ready: Trained, tmp_path: Path) -> None:
    model, _ = ready(name)
    save(model, tmp_path)
    again = load(tmp_path, name=name)
    assert type(again) is type(model)
    assert again.settings == model.settings
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in model.state_dict().items())
    if isinstance(model, Sampler) and isinstance(again, Sampler):
        assert torch.equal(model.sample(3, generator()), again.sample(3, generator()))
    with pytest.raises(CheckpointError, match=f"holds a model '{name}', not 'other'"):
        load(tmp_path, name="other")


@names
def test_a_resumed_training_is_the_same_training(name: str, digits: Dataset, tmp_path: Path) -> None:
    from generative.checkpoint import read

    class Killed(Exception):
        pass

    def kill(step: int, metrics: object) -> None:
        if step == 30:
            raise Killed

    data = data_for(name, digits)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    fit(small(name, digits), data, settings(40), folder=whole)
    with pytest.raises(Killed):
        fit(small(name, digits), data, settings(40), folder=parts, log=kill)
    fit(small(name, digits, seed=7), data, settings(40), folder=parts)
    for file in ("training.safetensors", "model.safetensors"):
        expected, found = read(whole / file), read(parts / file)
        assert expected[0] == found[0]
        assert expected[1].keys() == found[1].keys()
        assert [key for key, value in expected[1].items() if not torch.equal(value, found[1][key])] == []


@names
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda x: x[:, :, :-1], "takes examples of shape"),
        (lambda x: x[:0], "n at least 1"),
        (lambda x: x * float("nan"), "finite"),
        (lambda x: x + 2, "between 0 and 1"),
    ],
    ids=["shape", "empty", "nan", "range"],
)
def test_bad_input_is_refused_in_a_sentence(
    name: str, spoil: Callable[[torch.Tensor], torch.Tensor], said: str, digits: Dataset, ready: Trained
) -> None:
    model, _ = ready(name)
    x = spoil(data_for(name, digits).examples("test", generator())[:4])
    if said == "between 0 and 1" and model.support == "real":
        pytest.skip("takes any number")
    calls: list[Callable[[], object]] = [lambda: model.checked(x)]
    if isinstance(model, Density):
        calls.append(lambda: model.log_prob(x))
    if isinstance(model, Bounded):
        calls.append(lambda: model.bound(x, 2, generator()))
    if isinstance(model, Coder):
        calls.append(lambda: model.encode(x))
    for call in calls:
        with pytest.raises(InvalidData, match=said):
            call()


@names
def test_whole_numbers_are_refused_in_a_sentence(name: str, digits: Dataset) -> None:
    with pytest.raises(InvalidData, match="floating-point"):
        small(name, digits).checked(digits.test.x[:4])


@names
def test_data_of_another_shape_are_refused_before_training(name: str, digits: Dataset) -> None:
    model = make_model(name, (1, 12, 12), **SMALL[name])
    with pytest.raises(InvalidData, match="built for examples of shape"):
        fit(model, data_for(name, digits), settings(1))


@pytest.mark.gpu
@names
def test_a_gpu_gives_what_the_cpu_gives(name: str, digits: Dataset, tmp_path: Path) -> None:
    data = data_for(name, digits)
    on_cpu, on_gpu = small(name, digits), small(name, digits)
    fit(on_gpu, data, settings(STEPS, device="cuda"))
    save(on_gpu, tmp_path)
    on_cpu.load_state_dict(load(tmp_path).state_dict())
    on_cpu.eval()
    x = data.examples("test", generator())[:16]
    close = {"rtol": 1e-3, "atol": 1e-3}
    if isinstance(on_cpu, Sampler) and isinstance(on_gpu, Sampler):  # a generator of the CPU gives both the same noise
        found = (on_cpu.sample(8, generator()) - on_gpu.sample(8, generator()).cpu()).abs()
        assert (found < 1e-3).float().mean() > 0.99  # a draw may fall on the other side of a threshold
    if isinstance(on_cpu, Bounded) and isinstance(on_gpu, Bounded):
        torch.testing.assert_close(on_cpu.bound(x, 5, generator()), on_gpu.bound(x, 5, generator()).cpu(), **close)
    if isinstance(on_cpu, Density) and isinstance(on_gpu, Density):
        torch.testing.assert_close(on_cpu.log_prob(x), on_gpu.log_prob(x).cpu(), **close)
    if isinstance(on_cpu, Coder) and isinstance(on_gpu, Coder):
        torch.testing.assert_close(on_cpu.encode(x), on_gpu.encode(x).cpu(), **close)


@pytest.mark.parametrize("name", ["infogan", "semi-supervised-gan"])
def test_a_minibatch_of_one_cannot_be_normalised(name: str, digits: Dataset) -> None:
    with pytest.raises(InvalidSettings, match=f"A {name} normalises by the minibatch.*got 1. Raise `batch_size`"):
        fit(small(name, digits), data_for(name, digits), settings(1, batch_size=1))
    fit(small("dcgan", digits), digits, settings(1, batch_size=1))  # an image has more than one place


def test_a_gan_decodes_codes_of_its_width_without_gradients(digits: Dataset) -> None:
    model = small("gan", digits)
    assert not model.decode(torch.zeros(2, 8)).requires_grad  # type: ignore[operator]
    with pytest.raises(InvalidData, match=r"codes of shape \(n, 8\); got \(2, 5\)"):
        model.decode(torch.zeros(2, 5))  # type: ignore[operator]


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'iwae'"):
        make_model("iwa", (1, 8, 8))


@names
def test_a_shape_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InvalidSettings, match="positive whole numbers"):
        make_model(name, (1, 0, 8), **SMALL[name])
