"""The model of the environment learns, tells noise from ignorance, and predicts in the units of the features."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

import vime
from tests.vime.smooth import transitions
from vime.bayesian import BayesianDynamics, BayesianSettings
from vime.bonuses.expected_gain import ExpectedGain
from vime.bonuses.faithful import FaithfulVime, _copy_last
from vime.bonuses.vime import Vime
from vime.dynamics import Rows

OBS, ACT = spaces.Box(-np.inf, np.inf, (3,)), spaces.Box(-1, 1, (1,))


def fitted(cls: type = Vime, batches: int = 6, noise: float = 0.0, **settings) -> Vime:
    bonus = cls(OBS, ACT, cls.Settings(**settings))
    for seed in range(batches):
        bonus.learn(transitions(500, seed, noise))
    return bonus


def test_model_learns_and_its_posterior_tightens_with_data() -> None:
    bonus = Vime(OBS, ACT)
    history = [bonus.learn(transitions(500, seed)) for seed in range(6)]
    assert history[-1]["model_error"] < 0.05 < 0.5 < history[0]["model_error"]
    widths = [metrics["posterior_std"] for metrics in history]
    assert widths == sorted(widths, reverse=True)
    assert history[-1]["predicted_gain"] < 0.4 * history[1]["predicted_gain"]


@pytest.mark.slow
def test_gain_of_a_transition_falls_the_more_it_was_seen() -> None:
    bonus, seen = Vime(OBS, ACT), transitions(200, 99)
    bonus.learn(transitions(500, 0))
    gains = [float(bonus.reward(seen).mean())]
    for _ in range(6):
        bonus.learn(seen)
        gains.append(float(bonus.reward(seen).mean()))
    assert gains[-1] < 0.7 * gains[0]


@pytest.mark.parametrize("cls", [Vime, ExpectedGain])
def test_new_places_earn_more_than_known_ones(cls: type) -> None:
    bonus = fitted(cls)
    new, old = bonus.reward(transitions(300, 50, centre=4.0)), bonus.reward(transitions(300, 51))
    assert float(new.median()) > 5 * float(old.median())


@pytest.mark.slow
def test_noise_earns_no_expected_gain_once_its_size_is_known() -> None:
    """The same world with and without a noisy entry: what is paid for a known place hardly differs."""
    quiet, noisy = (fitted(ExpectedGain, noise=noise).reward(transitions(300, 50, noise)) for noise in (0.0, 1.0))
    assert float(noisy.median()) < 1.5 * float(quiet.median()) + 0.1


def test_prediction_is_in_feature_units() -> None:
    model, batch = fitted().model, transitions(200, 60).flat()
    obs, action, next_obs = batch.obs[:, 0], batch.action[:, 0], batch.next_obs[:, 0]
    prediction = model.predict(obs, action, samples=7, generator=torch.Generator().manual_seed(0))
    assert prediction.mean.shape == prediction.variance.shape == (7, 200, 3)
    assert (prediction.variance >= 0).all()
    error = (prediction.mean.mean(0) - next_obs)[:, :2].square().mean()
    assert error < 0.05 * (next_obs - obs)[:, :2].square().mean()
    steps = [model.step(obs, action, torch.Generator().manual_seed(1)) for _ in range(2)]
    assert torch.equal(*steps)
    assert steps[0].shape == (200, 3)


def test_targets_are_changes_unless_told_otherwise() -> None:
    batch = transitions(4)
    for target, expected in (("change", batch.next_obs - batch.obs), ("next", batch.next_obs)):
        rows = BayesianDynamics(OBS, ACT, BayesianSettings(target=target)).rows(batch)
        torch.testing.assert_close(rows.targets, expected[:, 0])


def test_a_constant_entry_neither_explodes_nor_divides_by_zero() -> None:
    model = BayesianDynamics(OBS, ACT, BayesianSettings())
    model.add(Rows(torch.ones(50, 4), torch.zeros(50, 3)))
    x, y = model.standardise(Rows(torch.full((1, 4), 1e6), torch.full((1, 3), 1e6)))
    assert torch.isfinite(x).all()
    assert x.max() <= 10
    assert y.max() <= 10


def test_an_encoder_handed_in_is_used() -> None:
    class Half:
        features = 1

        def encode(self, obs: torch.Tensor) -> torch.Tensor:
            return obs[:, :1] / 2

        def fit(self, observations: torch.Tensor, budget: int) -> dict[str, float]:
            return {}

    batch = transitions(4)
    model = BayesianDynamics(OBS, ACT, BayesianSettings(encoder=Half()))
    torch.testing.assert_close(model.rows(batch).inputs[:, :1], batch.obs[:, 0, :1] / 2)


@pytest.mark.parametrize(
    "settings", [{"updates": 0}, {"minibatch": 0}, {"learning_rate": -1.0}, {"samples": 0}, {"step_size": 0.0}]
)
def test_impossible_settings_are_refused(settings: dict) -> None:
    with pytest.raises(vime.InvalidSettings, match="got"):
        vime.make_bonus("vime", OBS, ACT, **settings)


@pytest.mark.slow
def test_published_settings_collapse_to_the_prior_and_the_corrected_ones_do_not() -> None:
    """Noise of 5 and an over-weighted divergence: the mean prediction ends at the mean of the pool."""
    faithful = FaithfulVime(OBS, ACT, FaithfulVime.Settings(learning_rate=1e-2, updates=1500, cross_episodes=False))
    corrected = Vime(OBS, ACT)
    for seed in range(3):
        published = faithful.learn(transitions(500, seed))
        ours = corrected.learn(transitions(500, seed))
    final = faithful.learn(transitions(500, 9))
    assert 0.8 < final["model_error"] < 1.6
    assert published["posterior_std"] > 0.35
    assert ours["model_error"] < 0.2


def test_published_quirks_of_the_last_step() -> None:
    gain = torch.arange(10.0).view(5, 2)
    done = torch.zeros(5, 2, dtype=torch.bool)
    done[2, 0] = done[3, 0] = True
    expected = gain.clone()
    expected[2, 0], expected[4, 1] = gain[1, 0], gain[3, 1]  # (3, 0) and (4, 0) are paths of one step
    begins = torch.zeros_like(done)
    begins[1:] = done[:-1]
    torch.testing.assert_close(_copy_last(gain, done, begins), expected)


def test_published_recipe_pays_nothing_at_first_and_pairs_across_episodes() -> None:
    bonus = FaithfulVime(OBS, ACT, FaithfulVime.Settings(updates=1))
    batch = transitions(600)
    assert not bonus.reward(batch).any()
    bonus.learn(batch)
    assert bonus.reward(batch).any()
    stored = bonus.pool.rows()
    assert not stored["obs"][0].any()  # the row of zeros
    torch.testing.assert_close(stored["next_obs"][1:-1], batch.obs[1:, 0])
    torch.testing.assert_close(stored["next_obs"][-1], batch.next_obs[-1, 0])


def test_published_pairs_across_episodes_leave_out_the_step_that_merely_resets() -> None:
    bonus, batch = FaithfulVime(OBS, ACT, FaithfulVime.Settings(updates=1)), transitions(6)
    batch.valid[3, 0] = False
    bonus.learn(batch)
    expected = torch.cat([batch.obs[[1, 2, 4, 5], 0], batch.next_obs[-1:, 0]])  # type: ignore[index]
    torch.testing.assert_close(bonus.pool.rows()["next_obs"][1:], expected)
