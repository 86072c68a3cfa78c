"""Distributions over sequences of actions, from which a planner draws and which it fits to what was good."""

from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vime.actions import WIDE
from vime.errors import UnsupportedSpace

SMALLEST = 1e-3  # share of the range below which no deviation falls, and probability that every choice keeps


class Sequences(Protocol):
    """A distribution over sequences of `h` encoded actions for each of `b` starts, as plain tensors."""

    @property
    def width(self) -> int:
        """Numbers in one encoded action."""
        ...

    def start(self, b: int, h: int) -> tuple[Tensor, ...]:
        """Returns the parameters that favour nothing."""
        ...

    def widened(self, parameters: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Returns the parameters where they are, but wide again: a new search begins around an old plan."""
        ...

    def draw(
        self, parameters: tuple[Tensor, ...], n: int, colour: float, generator: torch.Generator
    ) -> Float[Tensor, "b n h a"]:
        """Returns `n` sequences for every start; the higher `colour`, the longer an action is kept up."""
        ...

    def fit(
        self,
        parameters: tuple[Tensor, ...],
        sequences: Float[Tensor, "b n h a"],
        weights: Float[Tensor, "b n"],
        keep: float,
    ) -> tuple[Tensor, ...]:
        """Returns the parameters moved to weighted sequences, a share `keep` of the old left; weights add up to one."""
        ...

    def centre(self, parameters: tuple[Tensor, ...]) -> Float[Tensor, "b h a"]:
        """Returns the most likely sequence of each start."""
        ...

    def decode(self, action: Float[Tensor, " a"]) -> Any:
        """Returns an encoded action as the environment wants it."""
        ...


def coloured_noise(
    shape: tuple[int, ...], h: int, colour: float, generator: torch.Generator
) -> Float[Tensor, "*shape h"]:
    """Returns Gaussian noise of unit variance over `h` steps whose power falls with frequency to the `colour`.

    0 is white noise, 1 pink, 2 red.

    References: Timmer & König 1995, "On generating power law noise"; Pinneri et al. 2020, "Sample-efficient
        cross-entropy method for real-time planning", arXiv:2008.06389, section 3.1.
    """
    device = generator.device
    if colour == 0 or h == 1:
        return torch.randn(*shape, h, generator=generator, device=device)
    frequency = torch.fft.rfftfreq(h, device=device)
    frequency[0] = frequency[1]  # the lowest power is that of one period over the horizon
    amplitude = frequency ** (-colour / 2)
    real = torch.randn(2, *shape, len(frequency), generator=generator, device=device)
    edges = torch.ones(len(frequency), device=device) * 2
    edges[0] = 1  # the constant part, and with an even number of steps the fastest, have no phase
    real[1, ..., 0] = 0
    if h % 2 == 0:
        edges[-1] = 1
        real[1, ..., -1] = 0
    # variance of a step: a frequency with a phase has two parts, and stands for both signs
    parts = torch.where(edges == 2, 4.0, 1.0)
    power = (amplitude.square() * parts).sum() / h**2
    spectrum = torch.complex(real[0], real[1]) * (amplitude / power.sqrt())
    return torch.fft.irfft(spectrum, n=h, dim=-1)


class BoxSequences:
    """Independent Gaussians over bounded numbers, drawn with coloured noise and cut at the bounds.

    Args:
        space: a bounded Box.
        extra: further numbers in -1 to 1 behind every action, as optimism wants them.
        spread: starting deviation, in half ranges.

    Raises:
        UnsupportedSpace: a bound is missing.
    """

    def __init__(self, space: spaces.Box, extra: int, device: torch.device | str, spread: float) -> None:
        if not (np.maximum(np.abs(space.low), np.abs(space.high)) < WIDE).all():
            raise UnsupportedSpace(
                f"A planner draws actions between bounds, and {space} lacks some. Give it bounds: wrap the task in "
                "gymnasium.wrappers.TransformAction with a bounded Box."
            )
        self.space = space
        self.low, self.high = (
            torch.as_tensor(np.append(np.ravel(bound), np.full(extra, sign)), dtype=torch.float32, device=device)
            for bound, sign in ((space.low, -1.0), (space.high, 1.0))
        )
        self.spread = spread

    @property
    def width(self) -> int:
        """Numbers in one encoded action, those for the planner's own use among them."""
        return len(self.low)

    def start(self, b: int, h: int) -> tuple[Tensor, ...]:
        """Returns mean and deviation, `(b, h, a)` each: the middle of the range, and `spread` halves of it."""
        shape = (b, h, self.width)
        return ((self.high + self.low) / 2).expand(shape), ((self.high - self.low) / 2 * self.spread).expand(shape)

    def widened(self, parameters: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Returns the mean with the deviation of the start."""
        mean, _ = parameters
        return mean, self.start(*mean.shape[:2])[1]

    def draw(
        self, parameters: tuple[Tensor, ...], n: int, colour: float, generator: torch.Generator
    ) -> Float[Tensor, "b n h a"]:
        """Returns sequences around the mean."""
        mean, std = parameters
        b, h, a = mean.shape
        noise = coloured_noise((b, n, a), h, colour, generator).transpose(2, 3)
        return torch.addcmul(mean.unsqueeze(1), std.unsqueeze(1), noise).clamp(self.low, self.high)

    def fit(
        self,
        parameters: tuple[Tensor, ...],
        sequences: Float[Tensor, "b n h a"],
        weights: Float[Tensor, "b n"],
        keep: float,
    ) -> tuple[Tensor, ...]:
        """Moves mean and deviation to those of the weighted sequences."""
        mean, std = parameters
        shares = weights[:, :, None, None]
        new_mean = (shares * sequences).sum(1)
        new_std = (shares * (sequences - new_mean.unsqueeze(1)).square()).sum(1).sqrt()
        least = SMALLEST * (self.high - self.low)
        return new_mean + keep * (mean - new_mean), (new_std + keep * (std - new_std)).clamp_min(least)

    def centre(self, parameters: tuple[Tensor, ...]) -> Float[Tensor, "b h a"]:
        """Returns the mean."""
        return parameters[0]

    def decode(self, action: Float[Tensor, " a"]) -> np.ndarray:
        """Returns the action in the shape and kind of its space."""
        size = int(np.prod(self.space.shape))
        numbers = action[:size].cpu().numpy().astype(self.space.dtype).reshape(self.space.shape)
        return np.clip(numbers, self.space.low, self.space.high)


@dataclass(frozen=True)
class ChoiceSequences:
    """Independent probabilities of every choice, drawn by Gumbel's trick from coloured noise.

    An encoded action holds an indicator for every value of every discrete entry.
    """

    space: spaces.Discrete | spaces.MultiDiscrete
    device: torch.device | str

    @property
    def counts(self) -> list[int]:
        """Values of each entry."""
        return [int(self.space.n)] if isinstance(self.space, spaces.Discrete) else np.ravel(self.space.nvec).tolist()

    @property
    def width(self) -> int:
        """Numbers in one encoded action."""
        return sum(self.counts)

    def start(self, b: int, h: int) -> tuple[Tensor, ...]:
        """Returns the probabilities `(b, h, a)`: equal for all values of an entry."""
        even = torch.cat([torch.full((count,), 1 / count) for count in self.counts])
        return (even.to(self.device).expand(b, h, -1),)

    def widened(self, parameters: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Returns the probabilities, half way back to equal ones."""
        (probability,) = parameters
        (even,) = self.start(*probability.shape[:2])
        return ((probability + even) / 2,)

    def draw(
        self, parameters: tuple[Tensor, ...], n: int, colour: float, generator: torch.Generator
    ) -> Float[Tensor, "b n h a"]:
        """Returns sequences of indicators."""
        (probability,) = parameters
        b, h, a = probability.shape
        uniform = torch.special.ndtr(coloured_noise((b, n, a), h, colour, generator)).clamp(1e-6, 1 - 1e-6)
        gumbel = -torch.log(-torch.log(uniform)).transpose(2, 3)
        return self._hot(probability.log().unsqueeze(1) + gumbel)

    def fit(
        self,
        parameters: tuple[Tensor, ...],
        sequences: Float[Tensor, "b n h a"],
        weights: Float[Tensor, "b n"],
        keep: float,
    ) -> tuple[Tensor, ...]:
        """Moves the probabilities to the weighted frequencies; no choice is ruled out."""
        (probability,) = parameters
        frequency = (weights[:, :, None, None] * sequences).sum(1)
        moved = (frequency + keep * (probability - frequency)).clamp_min(SMALLEST)
        return (torch.cat([part / part.sum(-1, keepdim=True) for part in moved.split(self.counts, -1)], -1),)

    def centre(self, parameters: tuple[Tensor, ...]) -> Float[Tensor, "b h a"]:
        """Returns the likeliest value of every entry and step, as indicators."""
        return self._hot(parameters[0])

    def _hot(self, scores: Float[Tensor, "*n a"]) -> Float[Tensor, "*n a"]:
        parts = scores.split(self.counts, -1)
        return torch.cat([F.one_hot(part.argmax(-1), part.shape[-1]).to(scores.dtype) for part in parts], -1)

    def decode(self, action: Float[Tensor, " a"]) -> Any:
        """Returns the chosen value, or one for every entry."""
        chosen = np.array([int(part.argmax()) for part in action.split(self.counts)])
        if isinstance(self.space, spaces.Discrete):
            return self.space.start + chosen[0]
        return (chosen.reshape(self.space.shape) + self.space.start).astype(self.space.dtype)


def make_sequences(
    space: gymnasium.Space, extra: int = 0, device: torch.device | str = "cpu", spread: float = 1.0
) -> BoxSequences | ChoiceSequences:
    """Returns the sequences that serve an action space.

    Args:
        extra: further numbers that a planner chooses beside every action (`Objective.extra_actions`).
        spread: starting deviation of numbers, in half ranges.

    Raises:
        UnsupportedSpace: no planner serves the space.
    """
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        return BoxSequences(space, extra, device, spread)
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        if extra:
            raise UnsupportedSpace("Optimism adds numbers to every action, and needs a Box of actions.")
        return ChoiceSequences(space, device)
    raise UnsupportedSpace(
        f"No planner serves the action space {space}: it must be a Box with bounds, Discrete or MultiDiscrete. Convert "
        "it with gymnasium.wrappers.TransformAction."
    )
