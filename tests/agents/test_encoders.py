"""Encoders by name: which there are, what is refused, and that a run with one continues exactly."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

import generative
import vime
from agents import curiosity
from agents.config import RunConfig
from agents.demonstrations import random_play
from agents.encoders import EncoderSettings, coders, encoder_settings, make_bonus, make_features
from agents.factory import make_model, make_task
from agents.features import Coded, Controlled, Pictures
from agents.on_features import OnFeatures
from agents.train import train
from tests.agents.matrix import Ring
from tests.agents.runs import assert_same_run
from tests.vime.tiny import tiny
from vime.features import Standardiser
from vime.inverse import InverseSettings

SIZES = {"latent": 3, "hidden": [8]}
SMALL: dict[str, dict[str, Any]] = {
    "vae": SIZES,
    "iwae": {**SIZES, "samples": 2},
    "iaf-vae": {**SIZES, "flow_hidden": [4], "context": 2},
    "helmholtz": SIZES,
    "inverse": {"width": 3, "hidden": [8]},
}
MOVES = spaces.Discrete(3)
GRAY = spaces.Box(0, 255, (2, 12, 12), np.uint8)
ACTION = spaces.Discrete(3)


def encoder(model: str = "vae", **changes: Any) -> dict[str, Any]:
    """An encoder that is cheap to train."""
    usual = {"model": model, "steps": 3, "minibatch": 16, "until": 48, "settings": SMALL.get(model, {})}
    return usual | changes


def batch(space: spaces.Box = GRAY, t: int = 6, b: int = 4, seed: int = 0) -> vime.Transitions:
    rng = np.random.default_rng(seed)
    obs = rng.integers(0, 256, (t + 1, b, *space.shape)).astype(space.dtype)
    none = np.zeros((t, b), bool)
    return vime.Transitions.from_numpy(obs[:-1], rng.integers(3, size=(t, b)), obs[1:], none, none)


def pixels(**changes: Any) -> RunConfig:
    """A run on the pixel car of a few seconds, on features of a small autoencoder."""
    usual: dict[str, Any] = {
        "task": "vime/PixelMountainCar-v0",
        "bonus": "vime",
        "task_settings": {"horizon": 40},
        "steps": 256,
        "environments": 2,
        "bonus_settings": {"updates": 2, "encoder": encoder(frames=2, until=128), "learn_every": 64},
        "algorithm_settings": {
            "n_steps": 32,
            "batch_size": 64,
            "n_epochs": 1,
            "policy_kwargs": {"features_extractor_class": "patches", "net_arch": [8]},
        },
    }
    return RunConfig(**usual | changes)


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("model", SMALL)
def test_every_encoder_gives_features_learns_and_continues_bit_for_bit(model: str, frames: int) -> None:
    if model == "inverse" and frames > 1:
        pytest.skip("it takes observations whole")
    settings = encoder_settings(encoder(model, frames=frames))
    one, two = (make_features(settings, GRAY, ACTION, seed=seed) for seed in (0, 1))
    data = batch()
    assert all(np.isfinite(value) for value in one.learn(data).values())
    obs = data.obs.flatten(0, 1)  # type: ignore[union-attr]
    features = one.encode(obs)
    assert features.shape == (24, one.features) == (24, 3 * frames)
    assert not torch.equal(features, two.encode(obs))
    two.load_state_dict(one.state_dict())
    assert torch.equal(features, two.encode(obs))
    if isinstance(two, Coded):
        two.encoder.settings = one.encoder.settings  # the seed is the user's to repeat
    assert one.learn(batch(seed=1)) == two.learn(batch(seed=1))
    assert torch.equal(one.encode(obs), two.encode(obs))
    assert not torch.equal(features, one.encode(obs))


def test_frames_are_encoded_by_themselves() -> None:
    features = make_features(encoder_settings(encoder(frames=2)), GRAY, ACTION)
    obs = batch().obs.flatten(0, 1)  # type: ignore[union-attr]
    swapped = features.encode(obs.flip(1))
    torch.testing.assert_close(swapped, features.encode(obs).unflatten(1, (2, 3)).flip(1).flatten(1))


@pytest.mark.parametrize(
    ("space", "shape"),
    [
        (spaces.Box(0, 255, (12, 10, 3), np.uint8), (3, 12, 10)),
        (spaces.Box(0, 255, (3, 12, 10), np.uint8), (3, 12, 10)),
        (spaces.Box(0, 255, (12, 10), np.uint8), (1, 12, 10)),
        (spaces.Box(0, 9, (7, 7, 3), np.uint8), (3, 7, 7)),
        (spaces.Box(0, 1, (12, 10, 1), np.float32), (1, 12, 10)),
        (spaces.Box(0, 255, (2, 12, 10, 3), np.uint8), (6, 12, 10)),
    ],
    ids=str,
)
def test_images_of_any_layout_become_channels_rows_columns_between_nothing_and_one(
    space: spaces.Box, shape: tuple[int, ...]
) -> None:
    space.seed(0)
    obs = torch.from_numpy(np.stack([space.sample(), space.high]))
    pictures = Pictures(space)
    read = pictures.read(obs)
    assert pictures.shape == tuple(read.shape[1:]) == shape
    assert read[1].float().min() == read[1].max() == (255 if read.dtype == torch.uint8 else 1)
    if len(space.shape) == 3:
        kept = obs if space.shape[0] == shape[0] else obs.movedim(-1, 1)
        torch.testing.assert_close(read.double() / float(read.max()), kept.double() / float(kept.max()))


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (-3, 0.5), (0.25, 0.5)])
@pytest.mark.parametrize("model", ["vae", "helmholtz"])
def test_the_bounds_of_a_space_become_nothing_and_one(model: str, low: float, high: float) -> None:
    space = spaces.Box(low, high, (2, 12, 12), np.float32)
    features = make_features(encoder_settings(encoder(model, frames=2)), space, ACTION)
    assert isinstance(features, Coded)
    obs = torch.rand(16, 2, 12, 12, generator=torch.Generator().manual_seed(0)) * (high - low) + low
    torch.testing.assert_close(features.pictures.read(obs), ((obs - low) / (high - low)).view(-1, 1, 12, 12))
    assert np.isfinite(features.fit(obs, 3)["encoder_loss"])


def test_a_model_of_0_to_1_refuses_a_space_without_bounds_and_one_of_any_numbers_does_not() -> None:
    space = spaces.Box(-np.inf, np.inf, (2, 12, 12), np.float32)
    with pytest.raises(
        vime.UnsupportedSpace, match="helmholtz reads values between 0 and 1, and the observations have no"
    ):
        make_features(encoder_settings(encoder("helmholtz")), space, ACTION)
    features = make_features(encoder_settings(encoder("vae")), space, ACTION)
    assert isinstance(features, Coded)
    obs = torch.full((4, 2, 12, 12), -7.0)
    assert torch.equal(features.pictures.read(obs), obs)


def test_features_leap_when_transitions_double_and_then_stay() -> None:
    bonus = make_bonus("vime", GRAY, ACTION, encoder=encoder(until=100), **tiny("vime"))
    assert isinstance(bonus, OnFeatures)
    obs = batch(seed=9).obs.flatten(0, 1)  # type: ignore[union-attr]
    leaps = []
    for seed in range(8):  # 24 transitions each: 24, 48, 72, 96, 120, ...
        before, data = bonus.features.encode(obs), batch(seed=seed)
        bonus.observe(data)
        metrics = bonus.learn(data)
        leaps.append(not torch.equal(before, bonus.features.encode(obs)))
        assert ("encoder_loss" in metrics) == leaps[-1]
        assert len(bonus.bonus.model.pool) == 24 * (seed + 1)  # type: ignore[attr-defined]  # none is lost in a leap
        assert len(bonus.kept) == (seed + 1 if seed < 4 else 0)
    assert leaps == [True, True, False, True, True, False, False, False]


def test_rows_of_the_pool_are_those_of_the_present_features() -> None:
    bonus = make_bonus("vime", GRAY, ACTION, encoder=encoder(until=1000), **tiny("vime"))
    for seed in range(2):
        bonus.learn(batch(seed=seed))
    rows = bonus.bonus.model.pool.rows()["inputs"][:, : bonus.features.features]  # type: ignore[attr-defined]
    expected = [bonus.features.encode(batch(seed=seed).obs.flatten(0, 1)) for seed in range(2)]  # type: ignore[attr-defined, union-attr]
    torch.testing.assert_close(rows, torch.cat(expected))


QUICK = ("vime", "counts", "ngu", "rnd+e3b")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in (*(name for name in vime.BONUSES if name != "none"), "rnd+e3b")
    ],
)
def test_every_bonus_runs_on_them_and_continues_bit_for_bit(name: str) -> None:
    settings = {"encoder": encoder(frames=2, until=60), **tiny(name)}
    one, two = (vime.ScaledBonus(make_bonus(name, GRAY, ACTION, **settings)) for _ in range(2))
    for seed in range(2):
        data = batch(seed=seed)
        assert torch.equal(one.reward(data), one.reward(data))
        one.observe(data)
        one.learn(data)
    two.load_state_dict(one.state_dict())
    for seed in range(2, 5):  # past the last leap
        data = batch(seed=seed)
        for bonus in (one, two):
            bonus.observe(data)
        assert one.learn(data) == two.learn(data)
        assert torch.equal(one.reward(data), two.reward(data))
        assert torch.isfinite(one.reward(data)).all()


def test_random_is_the_bonus_as_it_is() -> None:
    assert isinstance(make_bonus("rnd", GRAY, ACTION, encoder="random"), type(vime.make_bonus("rnd", GRAY, ACTION)))


def test_an_encoder_that_is_an_object_goes_to_the_bonus_itself() -> None:
    class Mean:
        features = 1

        def encode(self, obs: torch.Tensor) -> torch.Tensor:
            return obs.float().flatten(1).mean(1, keepdim=True)

        def fit(self, observations: torch.Tensor, budget: int) -> dict[str, float]:
            return {}

    bonus = make_bonus("vime", GRAY, ACTION, encoder=Mean())
    assert bonus.model.features == 1  # type: ignore[attr-defined]


def test_a_saved_model_is_taken_from_its_folder(tmp_path: Path) -> None:
    model = generative.make_model("vae", (1, 12, 12), seed=5, latent=3, hidden=(8,))
    generative.save(model, tmp_path / "model")
    features = make_features(encoder_settings({"model": f"{tmp_path}/model", "frames": 2}), GRAY, ACTION)
    obs = batch().obs.flatten(0, 1)  # type: ignore[union-attr]
    torch.testing.assert_close(features.encode(obs)[:, :3], model.eval().encode(obs[:, :1].float() / 255))
    with pytest.raises(
        vime.InvalidSettings, match=r"shape \(1, 12, 12\); the task shows \(2, 12, 12\).*Give `frames=2`"
    ):
        make_features(encoder_settings(f"{tmp_path}/model"), GRAY, ACTION)
    with pytest.raises(vime.CheckpointError, match="There is no file"):
        make_features(encoder_settings(f"{tmp_path}/nothing"), GRAY, ACTION)


def test_play_before_the_run_teaches_the_features_and_pays_nothing() -> None:
    config = pixels(bonus_settings={"updates": 2, "encoder": encoder(frames=2, until=0, before=40)})
    bonuses = []
    for _ in range(2):
        env = make_task(config)
        curious = curiosity(make_model(config, env))
        assert curious is not None
        bonuses.append(curious.bonus.bonus)
        env.close()
    one, two = bonuses
    assert one.features.encoder.fits == 1
    assert one.settled
    assert len(one.bonus.model.pool) == 0
    obs = torch.from_numpy(np.stack([gymnasium.make(config.task).reset(seed=0)[0]]))
    assert torch.equal(one.features.encode(obs), two.features.encode(obs))


def test_random_play_gives_true_successors() -> None:
    played = random_play(Ring("float64", "discrete"), 23, seed=0)
    assert played.shape == (23, 1)
    ends = (played.terminated | played.truncated)[:, 0]
    assert ends.sum() == 4
    place, next_place, move = played.obs[:, 0, 2], played.next_obs[:, 0, 2], played.next_obs[:, 0, 3]  # type: ignore[index]
    assert torch.equal((place + move) % 42, next_place)
    assert torch.equal(place[1:][~ends[:-1]], next_place[:-1][~ends[:-1]])
    assert random_play(Ring("dict", "discrete"), 3, seed=0).obs["view"].shape == (3, 1, 7, 7, 3)  # type: ignore[index, call-overload]


@pytest.mark.parametrize("stop", [64, 192])
def test_a_run_on_learned_features_continues_bit_for_bit(tmp_path: Path, stop: int) -> None:
    config = pixels()
    result = train(config, tmp_path / "whole")
    train(config, tmp_path / "parts", stop_after=stop)
    assert_same_run(tmp_path / "whole", tmp_path / "parts", result, train(config, tmp_path / "parts"))


@pytest.mark.slow
def test_an_off_policy_run_asks_for_the_bonus_of_every_minibatch(tmp_path: Path) -> None:
    config = pixels(
        algorithm="sac",
        environments=1,
        steps=80,
        algorithm_settings={
            "learning_starts": 20,
            "batch_size": 8,
            "buffer_size": 100,
            "policy_kwargs": {"features_extractor_class": "patches", "net_arch": [8]},
        },
    )
    assert train(config, tmp_path)["steps"] == 80


def test_every_model_with_a_code_can_be_named() -> None:
    assert {"vae", "iwae", "iaf-vae", "resnet-vae", "infogan"} <= set(coders())
    assert not {"made", "semi-supervised-gan"} & set(coders())  # one has no code, one learns from labels
    for name in ("random", "inverse", *coders()):
        assert encoder_settings(name).model == name


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ("vaee", vime.UnknownName, "Did you mean 'vae'"),
        ("made", vime.UnknownName, "No encoder is named 'made'"),
        (7, vime.InvalidSettings, "must be a name"),
        ({"modell": "vae"}, vime.InvalidSettings, "Did you mean 'model'"),
        ({"steps": 0}, vime.InvalidSettings, "`steps` of an encoder must be at least 1"),
        ({"steps": "many"}, vime.InvalidSettings, "`steps` must be a whole number"),
        ({"settings": {"latents": 3}}, vime.InvalidSettings, "Did you mean 'latent'"),
        ({"model": "inverse", "settings": {"widht": 3}}, vime.InvalidSettings, "Did you mean 'width'"),
        ({"model": "inverse", "frames": 2}, vime.InvalidSettings, "takes observations whole"),
        ({"model": "runs/vae", "settings": {"latnt": 3}}, vime.InvalidSettings, "leave `settings` out; got 'latnt'"),
        ({"until": 0}, vime.InvalidSettings, "would never learn"),
        ({"model": "random", "before": 9}, vime.InvalidSettings, "no settings and no play"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_before_anything_is_built(given: Any, error: type[Exception], text: str) -> None:
    if given != 7:
        with pytest.raises(error, match=text):
            pixels(bonus_settings={"encoder": given}).check()
    with pytest.raises(error, match=text):
        encoder_settings(given)


def test_the_control_has_no_encoder() -> None:
    with pytest.raises(vime.InvalidSettings, match="no setting 'encoder'"):
        pixels(bonus="none", bonus_settings={"encoder": "vae"}).check()


@pytest.mark.parametrize("space", [spaces.Box(-1, 1, (4,)), spaces.Discrete(3), spaces.Dict(view=GRAY)], ids=str)
def test_other_spaces_are_refused(space: spaces.Space) -> None:
    with pytest.raises(vime.UnsupportedSpace, match="reads images"):
        make_bonus("vime", space, ACTION, encoder="vae")


def test_frames_that_cannot_be_are_refused_and_other_observations_too() -> None:
    with pytest.raises(vime.UnsupportedSpace, match="does not make 3 frames"):
        make_bonus("vime", GRAY, ACTION, encoder={"frames": 3})
    features = make_features(EncoderSettings(), GRAY, ACTION)
    with pytest.raises(vime.InvalidData, match="made for observations of shape"):
        features.encode(torch.zeros(2, 3, 12, 12))


def test_features_that_are_to_be_prepared_are_asked_for_nothing_before() -> None:
    bonus = make_bonus("vime", GRAY, ACTION, encoder=encoder(before=9), **tiny("vime"))
    assert isinstance(bonus, OnFeatures)
    with pytest.raises(vime.InvalidSettings, match=r"9 steps of play before the run. `agents\.train` plays them"):
        bonus.reward(batch())
    bonus.prepare(batch(seed=1))
    assert torch.isfinite(bonus.reward(batch())).all()


def test_inverse_features_serve_any_space() -> None:
    space = spaces.Box(-9, 9, (2,), np.float32)
    features = make_features(encoder_settings(encoder("inverse")), space, ACTION)
    assert isinstance(features, Controlled)
    rng = np.random.default_rng(0)
    walk = rng.normal(size=(9, 2, 2)).astype(np.float32)
    none = np.zeros((8, 2), bool)
    moves = vime.Transitions.from_numpy(walk[:-1], rng.integers(3, size=(8, 2)), walk[1:], none, none)
    assert features.learn(moves)["encoder_loss"] > 0
    assert features.encode(moves.obs[0]).shape == (2, 3)  # type: ignore[index]


def test_statistics_of_inverse_features_count_every_transition_once() -> None:
    space, moves = spaces.Box(-9, 9, (3,), np.float32), spaces.Discrete(2)
    features = Controlled(space, moves, InverseSettings(width=4, hidden=(4,), minibatch=16), steps=12)
    obs = torch.linspace(0, 5, 64).view(64, 1, 1).expand(-1, -1, 3).contiguous()
    none = torch.zeros(64, 1, dtype=torch.bool)
    data = vime.Transitions(obs, torch.zeros(64, 1, dtype=torch.int64), obs, none, none)
    for part in (data.map_tensors(lambda tensor: tensor[:32]), data):  # the second time all that was kept
        features.learn(part)
    (standardise,) = (part for part in features.model.net.modules() if isinstance(part, Standardiser))
    assert int(standardise.count) == 64
    torch.testing.assert_close(standardise.mean.float(), obs.mean((0, 1)))
