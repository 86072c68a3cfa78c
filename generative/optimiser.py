"""How the parameters of one player are changed: the rule, its rate, and how the rate falls over a run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from generative.errors import InvalidSettings


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """Settings of a rule of descent."""

    rule: Literal["adam", "adamax", "rmsprop", "sgd", "adagrad"] = "adam"
    """Which rule."""
    rate: float = 1e-3
    """Size of a step; positive."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Memory of the mean and of the square of the gradients; the first is the momentum of `sgd` and `rmsprop`."""
    epsilon: float = 1e-8
    """Floor of the denominator. 1e-4 stands for codes that add 1e-8 inside the root."""
    weight_decay: float = 0.0
    """Weight of half the squared parameters in the cost."""
    clip: float | None = None
    """Largest norm of all gradients together; None leaves them as they are."""
    decay: Literal["constant", "linear", "cosine", "exponential"] = "constant"
    """How the rate falls: never; to nothing at the end of the run, in a line or half a wave; by a factor a step."""
    decay_from: float = 0.0
    """Share of the run after which `linear` and `cosine` begin."""
    decay_factor: float = 0.999995
    """What `exponential` multiplies the rate by at every step."""
    warm_up: int = 0
    """Steps over which the rate grows from nothing."""

    def __post_init__(self) -> None:
        if not self.rate > 0:
            raise InvalidSettings(f"`rate` must be positive; got {self.rate}.")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise InvalidSettings(f"`betas` must be two numbers in [0, 1); got {self.betas}.")
        if not 0 <= self.decay_from < 1:
            raise InvalidSettings(f"`decay_from` is a share of the run in [0, 1); got {self.decay_from}.")
        if self.clip is not None and not self.clip > 0:
            raise InvalidSettings(f"`clip` must be positive, or None; got {self.clip}.")
        if min(self.epsilon, self.weight_decay, self.warm_up) < 0:
            raise InvalidSettings(
                "`epsilon`, `weight_decay` and `warm_up` must not be negative; got "
                f"{self.epsilon}, {self.weight_decay}, {self.warm_up}."
            )
        if not 0 < self.decay_factor <= 1:
            raise InvalidSettings(f"`decay_factor` must be in (0, 1]; got {self.decay_factor}.")
        for name, known in (("rule", RULES), ("decay", DECAYS)):
            if getattr(self, name) not in known:
                raise InvalidSettings(f"`{name}` must be one of {', '.join(known)}; got {getattr(self, name)!r}.")

    def rate_at(self, step: int, steps: int) -> float:
        """Returns the size of step number `step` (from 0) in a run of `steps`."""
        share = max(0.0, step / max(1, steps) - self.decay_from) / (1 - self.decay_from)
        factor = {
            "constant": 1.0,
            "linear": max(0.0, 1 - share),
            "cosine": 0.5 + 0.5 * math.cos(math.pi * min(1.0, share)),
            "exponential": self.decay_factor**step,
        }[self.decay]
        return self.rate * factor * min(1.0, (step + 1) / self.warm_up if self.warm_up else 1.0)

    @property
    def changes(self) -> bool:
        """Whether the rate differs from step to step."""
        return self.decay != "constant" or self.warm_up > 0

    def build(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        """Returns torch's optimiser of `parameters`, in its quickest form (fused where there is one)."""
        first, second = self.betas
        common: dict[str, Any] = {"lr": self.rate, "weight_decay": self.weight_decay}
        optim = torch.optim
        match self.rule:
            case "adam":
                return optim.Adam(parameters, betas=self.betas, eps=self.epsilon, fused=True, **common)
            case "adamax":
                return optim.Adamax(parameters, betas=self.betas, eps=self.epsilon, foreach=True, **common)
            case "rmsprop":
                return optim.RMSprop(parameters, alpha=second, momentum=first, eps=self.epsilon, foreach=True, **common)
            case "sgd":
                return optim.SGD(parameters, momentum=first, fused=True, **common)
            case "adagrad":
                return optim.Adagrad(parameters, eps=self.epsilon, fused=True, **common)


RULES = ("adam", "adamax", "rmsprop", "sgd", "adagrad")
DECAYS = ("constant", "linear", "cosine", "exponential")
