"""Measures of expected information, against the quantity itself by sampling, and against what can be worked out."""

import math

import pytest
import torch
from scipy.stats import spearmanr

from vime.information import expected_gain
from vime.measures import (
    MEASURES,
    gaussian_gain,
    jensen_renyi,
    log_determinant,
    member_gram,
    mixture_information,
    moments,
    trajectory_gain,
    variance,
)


def cases(n: int = 200, m: int = 5, d: int = 4, largest: float = 0.7) -> tuple[torch.Tensor, torch.Tensor]:
    """Members whose ratio of epistemic to noise variance spreads from a thousandth to `largest`, row by row."""
    generator = torch.Generator().manual_seed(0)
    ratio = torch.logspace(-3, math.log10(largest), n)
    noise = torch.rand(n, d, generator=generator) + 0.5
    spread = (ratio.unsqueeze(1) * noise * (torch.rand(n, d, generator=generator) + 0.5)).sqrt()
    return spread * torch.randn(m, n, d, generator=generator), noise.unsqueeze(0)


@pytest.mark.parametrize("name", MEASURES)
def test_measures_rank_as_the_mutual_information_does_below_the_cap(name: str) -> None:
    mean, noise = cases()
    oracle = mixture_information(mean, noise, torch.Generator().manual_seed(1), samples=400)
    below = oracle < 0.6 * math.log(len(mean))
    assert below.sum() > 100
    assert spearmanr(MEASURES[name](mean, noise)[below], oracle[below]).statistic >= 0.95


def test_log_determinant_bounds_the_information_and_agrees_with_it_where_doubt_is_small() -> None:
    mean, noise = cases(n=12, largest=0.2)
    oracle = mixture_information(mean, noise, torch.Generator().manual_seed(1), samples=1000)
    ours = log_determinant(mean, noise)
    torch.testing.assert_close(ours, oracle, rtol=0.1, atol=0.015)


@pytest.mark.parametrize("measure", [jensen_renyi, mixture_information])
def test_what_members_can_tell_apart_is_capped_at_the_logarithm_of_their_number(measure) -> None:
    mean = 100 * torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(measure(mean, torch.ones(1, 3, 4)), torch.full((3,), math.log(5)), rtol=1e-3, atol=0)
    assert (log_determinant(mean, torch.ones(1, 3, 4)) > 10).all()


def test_variance_is_the_first_order_of_the_log_determinant() -> None:
    mean, noise = cases(n=20, largest=1e-3)
    torch.testing.assert_close(variance(mean, noise), log_determinant(mean, noise), rtol=2e-3, atol=1e-7)


def test_members_that_agree_tell_nothing_however_noisy_it_is() -> None:
    mean, noise = torch.zeros(5, 3, 4), 9 * torch.ones(1, 3, 4)
    for measure in MEASURES.values():
        torch.testing.assert_close(measure(mean, noise), torch.zeros(3))


def test_a_trajectory_counts_a_place_revisited_once_and_new_places_in_full() -> None:
    generator = torch.Generator().manual_seed(0)
    mean, noise = 30 * torch.randn(40, 2, 3, generator=generator), torch.ones(1, 2, 3)
    one = member_gram(mean, noise)
    again = trajectory_gain(one + one)
    assert (trajectory_gain(one) < again).all()
    assert (again < trajectory_gain(one) + 1.5 * math.log(2) + 1e-4).all()  # half as much noise, in three outputs
    elsewhere = member_gram(30 * torch.randn(40, 2, 3, generator=generator), noise)
    assert (trajectory_gain(one + elsewhere) > 1.8 * trajectory_gain(one)).all()


def test_the_gain_of_a_trajectory_of_one_step_is_its_log_determinant_where_outputs_do_not_share_doubt() -> None:
    deviations = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(0)))[0]
    deviations = (deviations - deviations.mean(0))[:, :3]
    deviations = torch.linalg.qr(deviations)[0]  # centred and orthogonal over the members
    mean = deviations.unsqueeze(1) * torch.tensor([1.0, 2.0, 3.0])
    noise = torch.ones(1, 1, 3)
    torch.testing.assert_close(trajectory_gain(member_gram(mean, noise)), log_determinant(mean, noise))


def test_realised_nats_average_to_those_that_were_predicted() -> None:
    generator = torch.Generator().manual_seed(0)
    epistemic, aleatoric = torch.tensor([0.1, 2.0]), torch.tensor([0.5, 0.25])
    errors = torch.randn(200_000, 2, generator=generator) * (epistemic + aleatoric).sqrt()
    realised = gaussian_gain(epistemic.expand_as(errors), aleatoric, errors).mean()
    torch.testing.assert_close(realised, expected_gain(epistemic, aleatoric), rtol=0.01, atol=0)


def test_realised_nats_are_the_divergence_of_two_gaussians() -> None:
    prior = torch.distributions.Normal(0.0, 0.8)
    noise, outcome = 0.3, 1.1
    width = 1 / (1 / prior.variance + 1 / noise)
    posterior = torch.distributions.Normal(width * outcome / noise, width.sqrt())
    expected = torch.distributions.kl_divergence(posterior, prior)
    ours = gaussian_gain(prior.variance.view(1), torch.tensor([noise]), torch.tensor([outcome]))
    torch.testing.assert_close(ours, expected)


def test_moments_are_those_of_the_members() -> None:
    mean, noise = torch.tensor([[[0.0]], [[2.0]]]), torch.tensor([[[1.0]], [[3.0]]])
    epistemic, aleatoric = moments(mean, noise)
    assert epistemic.item() == 1.0
    assert aleatoric.item() == 2.0
