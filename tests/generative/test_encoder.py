"""A model as features that go on learning."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor

from generative import Diverged, InvalidData, InvalidSettings, LearnedEncoder, dataset, fit, make_model
from generative.encoder import Encoder
from generative.errors import CheckpointError
from generative.training import FitSettings


def frames(n: int = 64, seed: int = 0) -> Tensor:
    """Bytes: a bright square at one of nine places."""
    place = torch.randint(9, (n,), generator=torch.Generator().manual_seed(seed))
    x = torch.zeros(n, 1, 9, 9, dtype=torch.uint8)
    for i, at in enumerate(place.tolist()):
        x[i, 0, at // 3 * 3 : at // 3 * 3 + 3, at % 3 * 3 : at % 3 * 3 + 3] = 255
    return x


def encoder(**changes: object) -> LearnedEncoder:
    model = make_model("vae", (1, 9, 9), **{"latent": 3, "hidden": [16], **changes})
    return LearnedEncoder(model, FitSettings(batch_size=16, average=None))


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "discretised"])
def test_it_learns_from_bytes_and_encodes_them(likelihood: str) -> None:
    features = encoder(likelihood=likelihood)
    assert isinstance(features, Encoder)
    first = features.fit(frames(), 5)
    last = features.fit(frames(seed=1), 60)
    assert last["loss"] < first["loss"]
    codes = features.encode(frames())
    assert codes.shape == (64, features.features) == (64, 3)
    assert not codes.requires_grad
    torch.testing.assert_close(codes, features.encode(frames() / 255))


def test_one_that_has_learned_goes_on_from_its_weights() -> None:
    model = make_model("vae", (1, 9, 9), latent=3, hidden=[16])
    new = deepcopy(model)
    fit(model, dataset(frames()).suited(model), FitSettings(steps=200, batch_size=16))
    moved = []
    for start in (model, new):
        known = start.encode(frames() / 255.0)
        features = LearnedEncoder(start, FitSettings(batch_size=16, average=None))
        features.fit(frames(), 1)
        moved.append(float((features.encode(frames()) - known).norm() / known.norm()))
    assert 0 < 3 * moved[0] < moved[1]  # a step of Adam, or first values too


def test_saved_and_continued_it_is_the_same() -> None:
    whole, parts = encoder(), encoder()
    for features in (whole, parts):
        features.fit(frames(), 10)
    again = encoder()
    again.load_state_dict(parts.state_dict())
    assert again.fit(frames(seed=1), 10) == whole.fit(frames(seed=1), 10)
    assert torch.equal(again.encode(frames()), whole.encode(frames()))


def test_after_a_divergence_it_is_as_before() -> None:
    features = encoder(likelihood="gaussian", deviation="shared", optimiser={"rule": "sgd", "rate": 1e8})
    before = features.encode(frames())
    with pytest.raises(Diverged, match="as they were"):
        features.fit(frames(), 50)
    assert torch.equal(features.encode(frames()), before)


def test_misuse_is_answered_in_a_sentence() -> None:
    features = encoder()
    with pytest.raises(InvalidData, match="built for examples of shape"):
        features.fit(frames()[:, :, :8], 1)
    with pytest.raises(InvalidData, match="takes examples of shape"):
        features.encode(frames()[:, :, :8])
    with pytest.raises(InvalidSettings, match="`budget`"):
        features.fit(frames(), 0)
    with pytest.raises(InvalidSettings, match="gan has no code"):
        LearnedEncoder(make_model("gan", (1, 9, 9)))
    with pytest.raises(CheckpointError, match="no saved state"):
        features.load_state_dict({})
    with pytest.raises(CheckpointError, match="does not fit"):
        encoder(latent=4).load_state_dict(features.state_dict())
