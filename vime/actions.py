"""Actions as inputs and as targets of networks, and the heads that guess them or what they lead to."""

from collections.abc import Sequence
from math import prod

import numpy as np
import torch
from gymnasium import Space, spaces
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from vime.features import mlp
from vime.normalise import CLIP
from vime.spaces import OneHotEncoder, make_action_encoder

WIDE = 1e30
"""A bound beyond this, the largest float above all, is none: between such, all actions would look alike."""


class Actions(nn.Module):
    """Actions of one space as network inputs and as targets: indicators, or numbers brought to [-1, 1].

    `features` is the length of both. Boxes without bounds are taken as they are, cut at ±10.
    """

    centre: Tensor
    reach: Tensor

    def __init__(self, action_space: Space) -> None:
        super().__init__()
        self.encoder = make_action_encoder(action_space)
        self.features = self.encoder.features
        self.counts: list[int] = []
        self.binary = isinstance(action_space, spaces.MultiBinary)
        centre, reach = np.zeros(self.features), np.ones(self.features)
        if isinstance(self.encoder, OneHotEncoder):
            self.counts = self.encoder.counts.tolist()
        elif isinstance(action_space, spaces.Box) and np.issubdtype(action_space.dtype, np.number):
            low, high = (
                np.asarray(bound, np.float64).reshape(prod(action_space.shape))
                for bound in (action_space.low, action_space.high)
            )
            bounded = (np.maximum(np.abs(low), np.abs(high)) < WIDE) & (high > low)
            centre[bounded] = (high[bounded] + low[bounded]) / 2
            reach[bounded] = (high[bounded] - low[bounded]) / 2
        self.register_buffer("centre", torch.as_tensor(centre, dtype=torch.float32), persistent=False)
        self.register_buffer("reach", torch.as_tensor(reach, dtype=torch.float32), persistent=False)

    def encode(self, action: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n a"]:
        """Returns what stands for `n` actions in a network's input."""
        numbers = self.encoder.encode(action)
        return numbers if self.counts else ((numbers - self.centre) / self.reach).clamp(-CLIP, CLIP)

    def likely(self, guess: Float[Tensor, "n a"]) -> Float[Tensor, "n a"]:
        """Returns guesses as inputs of a network: probabilities of discrete parts, numbers as they are."""
        if self.binary:
            return guess.sigmoid()
        return torch.cat([part.softmax(1) for part in guess.split(self.counts, 1)], 1) if self.counts else guess

    def error(self, guess: Float[Tensor, "n a"], target: Float[Tensor, "n a"]) -> Float[Tensor, " n"]:
        """Returns how wrong each guess of an encoded action is: nats summed over discrete parts, else half the
        squared error summed.
        """
        if self.binary:
            return F.binary_cross_entropy_with_logits(guess, target, reduction="none").sum(1)
        if not self.counts:
            return 0.5 * (guess - target).square().sum(1)
        if len(self.counts) == 1:
            return -(F.log_softmax(guess, 1) * target).sum(1)
        parts = zip(guess.split(self.counts, 1), target.split(self.counts, 1), strict=True)
        nats = [-(F.log_softmax(logits, 1) * hot).sum(1) for logits, hot in parts]
        return torch.stack(nats).sum(0)

    def loss(self, guess: Float[Tensor, "n a"], action: Shaped[Tensor, "n ..."]) -> Float[Tensor, " n"]:
        """Returns how wrong each guess of an action is, as `error`."""
        return self.error(guess, self.encode(action))


class InverseModel(nn.Module):
    """Guesses the action from the features before and after it, for any action space."""

    def __init__(self, width: int, actions: Actions, hidden: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        self.net = mlp((2 * width, *hidden, actions.features), generator)

    def forward(self, before: Float[Tensor, "n w"], after: Float[Tensor, "n w"]) -> Float[Tensor, "n a"]:
        """Returns logits of discrete actions, or the numbers of continuous ones in units of their range."""
        return self.net(torch.cat([before, after], 1))


class ForwardModel(nn.Module):
    """Predicts the features after an action, as a change of those before it."""

    def __init__(self, width: int, actions: Actions, hidden: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        self.net = mlp((width + actions.features, *hidden, width), generator)

    def forward(self, before: Float[Tensor, "n w"], action: Float[Tensor, "n a"]) -> Float[Tensor, "n w"]:
        """Returns the predicted features of the successors of encoded actions."""
        return before + self.net(torch.cat([before, action], 1))
