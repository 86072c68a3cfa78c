"""Counts of similar observations, by a locality-sensitive hash."""

import math
from dataclasses import dataclass
from typing import ClassVar

import gymnasium
import torch
from jaxtyping import Int
from torch import Tensor

from vime.bonuses.counts import Counts
from vime.errors import InvalidSettings
from vime.learned import Encoded
from vime.spaces import Encoder
from vime.transitions import Observation


class SimHash(Counts):
    r"""One over the root of how often observations with the same signs of random projections were seen.

    .. math:: r_t = 1 / \sqrt{N(\mathrm{sgn}(A\, g(s_{t+1}) + c))}, \qquad A_{ij} \sim N(0, 1)

    `g` standardises numbers by the first `settle` observations, and is a random convolution for images; when it has
    settled, counting starts anew. More `bits` tell more places apart. The offsets c have `offset` times the deviation
    of a projection: planes that all went through the mean would tell directions apart and not distances, and in a few
    dimensions that is blind to most of what there is.

    References: Tang et al. 2017, "#Exploration: a study of count-based exploration for deep reinforcement learning",
        arXiv:1611.04717, section 2.2.

    Differs from the paper: the offsets, which `offset=0` takes away; successors are counted, in the step that leads to
        them; no autoencoder is learned for images.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings:  # pyright: ignore[reportIncompatibleVariableOverride] - no grid, so no cells
        """Settings of the hash."""

        bits: int = 32
        """Length of the hash; 1 to 62."""
        offset: float = 1.0
        """Deviation of the offsets, in deviations of a projection of standardised observations."""
        settle: int = 2000
        """Observations by which numbers are standardised."""
        episodic: bool = False
        """Count anew in every episode."""
        seed: int = 0
        """Seed of the projections."""
        device: str = "cpu"
        """Where observations are hashed."""
        encoder: Encoder | None = None
        """Turns observations into the features that are hashed; by default what fits the space."""

        def __post_init__(self) -> None:
            if not 1 <= self.bits <= 62:  # a key is a 64-bit integer with a sign
                raise InvalidSettings(f"`bits` must lie in 1 to 62; got {self.bits}.")
            if self.settle < 1:
                raise InvalidSettings(f"`settle` must be at least 1; got {self.settle}.")
            if not 0 <= self.offset < math.inf:
                raise InvalidSettings(f"`offset` must be finite and not negative; got {self.offset}.")

    parts: ClassVar[tuple[str, ...]] = ("table", "visits", "encoded", "projections", "offsets", "seen")

    def _build(self, observation_space: gymnasium.Space) -> None:
        s = self.settings
        self.encoded = Encoded(observation_space, s.seed, s.encoder).to(s.device)
        d = self.encoded.features
        generator = torch.Generator().manual_seed(s.seed)
        self.projections = torch.randn(d, s.bits, generator=generator).to(s.device)
        self.offsets = s.offset * d**0.5 * torch.randn(s.bits, generator=generator).to(s.device)
        self.powers = 2 ** torch.arange(s.bits, device=s.device)
        self.exact = False

    def _keys(self, obs: Observation) -> Int[Tensor, " n"]:
        return ((self.encoded(obs) @ self.projections + self.offsets > 0).long() * self.powers).sum(1).cpu()

    def _update(self, obs: Observation) -> None:
        self.encoded.update(obs)
