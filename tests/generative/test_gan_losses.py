"""Costs of the adversarial games against what they stand for."""

import pytest
import torch
from torch.nn import functional as F

from generative.errors import UnknownName
from generative.gan_losses import GAMES, class_loss, discriminator_loss, existence_loss, generator_loss, realness
from tests.generative.small import generator


def test_k_plus_one_costs_equal_those_of_an_explicit_last_class() -> None:
    real, fake, unlabelled = (torch.randn(9, 4, generator=generator(seed)) * 3 for seed in range(3))
    label = torch.randint(4, (9,), generator=generator())
    whole = [torch.cat([logits, torch.zeros(9, 1)], 1) for logits in (real, fake, unlabelled)]
    log_real = torch.log_softmax(whole[2], 1)[:, :4].logsumexp(1)
    log_fake = torch.log_softmax(whole[1], 1)[:, 4]
    torch.testing.assert_close(existence_loss(unlabelled, fake), -0.5 * (log_real + log_fake).mean())
    given_real = torch.log_softmax(whole[0], 1)[:, :4] - torch.sigmoid(realness(real)).log()[:, None]
    torch.testing.assert_close(class_loss(real, label), F.nll_loss(given_real, label))


def test_the_best_discriminator_of_two_points_is_the_smoothed_ratio() -> None:
    p, q, target = torch.tensor([0.8, 0.2]), torch.tensor([0.3, 0.7]), 0.9
    real, fake = (torch.cat([torch.full((int(10 * w[0]),), 0), torch.full((10 - int(10 * w[0]),), 1)]) for w in (p, q))
    logits = torch.zeros(2, requires_grad=True)
    rule = torch.optim.LBFGS([logits], max_iter=50)

    def cost() -> torch.Tensor:
        rule.zero_grad()
        loss = discriminator_loss("non-saturating", logits[real], logits[fake], target)
        loss.backward()
        return loss

    rule.step(cost)  # type: ignore[arg-type]
    torch.testing.assert_close(torch.sigmoid(logits.detach()), target * p / (p + q), atol=1e-4, rtol=0)


@pytest.mark.parametrize("game", GAMES)
def test_each_player_wants_the_logits_where_they_win(game: str) -> None:
    sure, wrong = torch.full((5,), 0.9), torch.full((5,), -0.9)
    assert discriminator_loss(game, sure, wrong) < discriminator_loss(game, wrong, sure)
    assert generator_loss(game, sure) < generator_loss(game, wrong)


def test_minimax_is_flat_where_the_non_saturating_game_is_steep() -> None:
    logits = torch.full((3,), -8.0, requires_grad=True)
    slopes = [torch.autograd.grad(generator_loss(game, logits), logits)[0].abs().sum() for game in GAMES[:2]]
    assert slopes[0] > 0.99
    assert slopes[1] < 0.01


def test_an_unknown_game_is_named() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'hinge'"):
        generator_loss("hinges", torch.zeros(2))
