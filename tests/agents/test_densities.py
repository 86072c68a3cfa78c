"""Densities by name: what they gain, what is refused, and that a run with one continues exactly."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

import generative
import vime
from agents.config import RunConfig
from agents.densities import DensitySettings, Likelihoods, densities, density_settings
from agents.encoders import make_bonus
from agents.train import train
from tests.agents.matrix import same, through_a_file
from tests.agents.runs import assert_same_run
from vime.density import Density

SPACE, ACTION = spaces.Box(0, 255, (2, 10, 10), np.uint8), spaces.Discrete(2)
SMALL: dict[str, dict[str, Any]] = {
    "made": {"hidden": [16], "optimiser": {"rate": 0.01}},
    "pixelcnn": {"filters": 4, "blocks": 1, "optimiser": {"rate": 0.01}},
}


def pictures(columns: list[int]) -> torch.Tensor:
    """Observations whose newest frame has one white column; the older frame is noise."""
    rng = np.random.default_rng(0)
    obs = rng.integers(0, 255, (len(columns), 2, 10, 10)).astype(np.uint8)
    obs[:, 1] = 0
    obs[np.arange(len(columns)), 1, :, columns] = 255
    return torch.from_numpy(obs)


def density(model: str = "made", seed: int = 0, **changes: Any) -> Likelihoods:
    settings = {"model": model, "frames": 2, "minibatch": 8, "settings": SMALL.get(model, {}), **changes}
    return Likelihoods(SPACE, density_settings(settings), seed=seed)


@pytest.mark.parametrize("model", SMALL)
def test_what_was_seen_often_gains_less_than_what_was_not(model: str) -> None:
    found = density(model)
    assert isinstance(found, Density)
    for _ in range(15):
        loss = found.learn(pictures([1, 2, 3, 4] * 8))["density_loss"]
    assert np.isfinite(loss)
    gains = found.gains(pictures([1, 2, 3, 4] * 7 + [8, 8, 8, 8]))
    assert gains[28:].mean() > 2 * gains[:28].mean().clamp_min(0.01)


@pytest.mark.parametrize("model", SMALL)
def test_asking_changes_nothing_and_a_saved_one_continues_bit_for_bit(model: str) -> None:
    one, two = density(model), density(model)
    seen = pictures([1, 5, 2, 2, 9])
    before = through_a_file(one.state_dict())
    first = one.gains(seen)
    assert torch.equal(first, one.gains(seen))
    assert same(before, through_a_file(one.state_dict()))
    one.learn(seen)
    two.load_state_dict(through_a_file(one.state_dict()))
    assert one.learn(seen) == two.learn(seen)
    assert torch.equal(one.gains(seen), two.gains(seen))
    assert not torch.equal(first, one.gains(seen))


def test_the_newest_frame_alone_counts() -> None:
    found, seen = density(), pictures([1, 5])
    other = seen.clone()
    other[:, 0] = 0
    assert torch.equal(found.gains(seen), found.gains(other))


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
@pytest.mark.parametrize("model", SMALL)
def test_dim_pictures_are_told_apart(model: str, kind: type) -> None:
    high = 255 if kind is np.uint8 else 1
    space = spaces.Box(0, high, (1, 10, 10), kind)
    found = Likelihoods(space, density_settings({"model": model, "minibatch": 8, "settings": SMALL[model]}))
    dim = pictures([1, 2, 3, 4] * 7 + [8, 8, 8, 8])[:, 1:] / 255 * 0.4 * high
    dim = dim.to(torch.uint8) if kind is np.uint8 else dim
    for _ in range(15):
        found.learn(dim[:28])
    gains = found.gains(dim)
    assert gains[28:].mean() > 2 * gains[:28].mean().clamp_min(0.01)


def test_pictures_are_read_in_the_levels_of_the_model() -> None:
    found = density()
    assert found.model.levels == 8
    ramp = torch.arange(256).to(torch.uint8).view(-1, 1, 1, 1)
    for seen, levels in ((ramp, 8), (ramp / 255, 8)):
        data = found._data(seen)
        assert data.levels == levels
        assert torch.equal(data.train.x.flatten(), torch.arange(256).to(torch.uint8) // 32)
    whole = density(settings=SMALL["made"] | {"levels": 256})._data(ramp)
    assert torch.equal(whole.train.x, ramp)
    cut = density(settings=SMALL["made"] | {"likelihood": "bernoulli"})._data(ramp)
    assert torch.equal(cut.train.x.flatten(), (torch.arange(256) > 127).to(torch.uint8))


def test_a_trained_density_is_taken_from_its_folder_and_goes_on(tmp_path: Path) -> None:
    new = density()
    new.learn(pictures([1, 2, 3, 4] * 8))
    generative.save(new.model, tmp_path / "made")
    found = density(f"{tmp_path}/made", settings={})
    seen = pictures([1, 5])
    assert torch.equal(found._log_prob(found._newest(seen)), new._log_prob(new._newest(seen)))
    found.learn(seen)
    wide = spaces.Box(0, 255, (4, 10, 10), np.uint8)
    with pytest.raises(vime.InvalidSettings, match=r"built for images of shape \(1, 10, 10\).*Give `frames=4`"):
        Likelihoods(wide, density_settings(f"{tmp_path}/made"))
    generative.save(generative.make_model("vae", (1, 10, 10), hidden=[4], latent=2), tmp_path / "vae")
    with pytest.raises(vime.InvalidSettings, match="A vae has no exact likelihood"):
        density(f"{tmp_path}/vae", settings={})


def test_a_run_continues_bit_for_bit(tmp_path: Path) -> None:
    config = RunConfig(
        task="vime/PixelMaze-v0",
        bonus="density-counts",
        steps=192,
        environments=2,
        task_settings={"horizon": 20},
        bonus_settings={"density": {"frames": 2, "settings": {"hidden": [4]}}, "learn_every": 64},
        algorithm_settings={
            "n_steps": 32,
            "batch_size": 64,
            "n_epochs": 1,
            "policy_kwargs": {"features_extractor_class": "patches", "net_arch": [8]},
        },
    )
    result = train(config, tmp_path / "whole")
    train(config, tmp_path / "parts", stop_after=64)
    assert_same_run(tmp_path / "whole", tmp_path / "parts", result, train(config, tmp_path / "parts"))


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ("maed", vime.UnknownName, "Did you mean 'made'"),
        ("vae", vime.UnknownName, "No density is named 'vae'"),
        (7, vime.InvalidSettings, "must be a name"),
        ({"minibatch": 0}, vime.InvalidSettings, "`minibatch` of a density"),
        ({"settings": {"hiden": [3]}}, vime.InvalidSettings, "Did you mean 'hidden'"),
        (
            {"model": "runs/made", "settings": {"hidden": [3]}},
            vime.InvalidSettings,
            "leave `settings` out; got 'hidden'",
        ),
    ],
    ids=str,
)
def test_what_is_wrong_is_said(given: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        density_settings(given)
    if given != 7:
        settings = {"density": given}
        with pytest.raises(error, match=text):
            RunConfig(task="vime/PixelMaze-v0", bonus="density-counts", bonus_settings=settings).check()


def test_models_with_an_exact_likelihood_can_be_named() -> None:
    assert {"made", "pixelcnn"} <= set(densities())
    assert "vae" not in densities()
    with pytest.raises(vime.UnsupportedSpace, match="reads images"):
        Likelihoods(spaces.Box(-1, 1, (3,)), DensitySettings())
    with pytest.raises(vime.InvalidSettings, match="name one of the two"):
        make_bonus("density-counts", SPACE, ACTION, density="made", encoder="vae")
    with pytest.raises(vime.InvalidSettings, match="no setting 'density'"):
        make_bonus("rnd", SPACE, ACTION, density="made")
