"""How to plan and to explore, as plain values. Importing it does not import torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from agents.config import as_json
from vime.errors import InvalidSettings, build_settings, check_kinds, choose

Kind = Literal["icem", "cem", "mppi"]
Precision = Literal["float32", "bfloat16"]
MEASURES = ("log-det", "variance", "jensen-renyi", "trajectory")
MODELS = ("auto", "ensemble", "bayesian", "last-layer", "tabular", "random")
TABULAR, RANDOM = "tabular", "random"


@dataclass(frozen=True, kw_only=True)
class PlannerSettings:
    """Settings of a planner."""

    kind: Kind = "icem"
    """icem, cem or mppi."""
    horizon: int = 30
    """Steps that a plan looks ahead."""
    candidates: int = 64
    """Sequences in the first iteration."""
    iterations: int = 3
    """How often the distribution is fitted."""
    elites: int = 8
    """Sequences that cem and icem fit the distribution to."""
    keep: float = 0.1
    """Share of the old distribution that stays at every fit."""
    colour: float = 2.0
    """Exponent of the noise of icem and mppi: 0 tries a new action every step, 2 keeps one up. cem draws white."""
    spread: float = 1.0
    """Deviation that numbers start with at every plan, in half ranges of the action."""
    shrink: float = 1.25
    """Every iteration of icem has this many times fewer sequences than the one before, twice the elites at least."""
    reuse: float = 0.3
    """Share of the elites that icem takes into the next iteration, and into the next plan."""
    temperature: float = 0.1
    """mppi: difference of scores, in deviations of all scores, that makes a sequence e times less worth."""
    warm_start: bool = True
    """Start every plan from the last one, a step further on."""
    execute: int = 1
    """Actions of a plan that are taken before the next one is made."""

    def __post_init__(self) -> None:
        for name in ("horizon", "candidates", "iterations", "elites", "execute"):
            if getattr(self, name) < 1:
                raise InvalidSettings(f"`{name}` must be at least 1; got {getattr(self, name)}.")
        if self.kind not in get_args(Kind):
            raise InvalidSettings(f"`kind` must be icem, cem or mppi; got {self.kind!r}.")
        if self.elites > self.candidates:
            raise InvalidSettings(
                f"`elites` cannot be more than `candidates`; got {self.elites} of {self.candidates} sequences."
            )
        if self.execute > self.horizon:
            raise InvalidSettings(f"`execute` cannot exceed the `horizon` of {self.horizon} steps; got {self.execute}.")
        for name in ("keep", "reuse"):
            if not 0 <= getattr(self, name) < 1:
                raise InvalidSettings(f"`{name}` must lie in [0, 1); got {getattr(self, name)}.")
        for name in ("spread", "temperature"):
            if not getattr(self, name) > 0:
                raise InvalidSettings(f"`{name}` must be positive; got {getattr(self, name)}.")
        if self.colour < 0 or self.shrink < 1:
            raise InvalidSettings(
                f"`colour` must be at least 0 and `shrink` at least 1; got {self.colour} and {self.shrink}."
            )


AHEAD = PlannerSettings(horizon=100, candidates=128)
"""How a reward is planned for that came later: it may be far, and information does not show the way."""


@dataclass(frozen=True, kw_only=True)
class ExploreSettings:
    """How an environment is explored."""

    model: str = "auto"
    """ensemble, bayesian, last-layer, tabular (discrete states and actions), random (none), or auto."""
    model_settings: dict[str, Any] = field(default_factory=dict)
    """Of the model, for example hidden=[64,64]."""
    planner: PlannerSettings = field(default_factory=PlannerSettings)
    """How plans are found."""
    measure: str = "log-det"
    """Of the information that a plan promises: log-det, variance, jensen-renyi or trajectory."""
    optimism: float = 0.0
    """How far a plan may bend the model its own way, in epistemic deviations (OPAX, H-UCRL)."""
    samples: int = 5
    """Members, where the model draws them; two at least, for one alone never doubts."""
    warm_up: int = 30
    """Random steps before the first plan; one at least, for the model to learn from."""
    fit_every: int = 10
    """Steps from one fit of the model to the next."""
    updates: int = 50
    """Gradient steps at every fit; four times as many at the first."""
    precision: Precision = "float32"
    """Of imagination: float32, or bfloat16 where the processor computes in it."""

    def __post_init__(self) -> None:
        check_kinds("Exploration", self)
        choose("world model", self.model, dict.fromkeys(MODELS))
        choose("measure", self.measure, dict.fromkeys(MEASURES))
        for name, least in (("samples", 2), ("warm_up", 1), ("fit_every", 1), ("updates", 1)):
            if getattr(self, name) < least:
                raise InvalidSettings(f"`{name}` must be at least {least}; got {getattr(self, name)}.")
        if self.model == RANDOM and self.model_settings:
            raise InvalidSettings(f"`model_settings` are of a model, and 'random' has none; got {self.model_settings}.")
        if not self.optimism >= 0:
            raise InvalidSettings(f"`optimism` must be at least 0; got {self.optimism}.")


@dataclass(frozen=True, kw_only=True)
class ExploreConfig:
    """What is explored, for how long, and how."""

    task: str
    """Name of the task, as `vime list` shows it or Gymnasium knows it."""
    steps: int = 1_000
    """Steps of the environment, in all."""
    seed: int = 0
    """Of everything random."""
    task_settings: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments for the constructor of the task."""
    how: ExploreSettings = field(default_factory=ExploreSettings)
    """Model, planner and schedule."""

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise InvalidSettings(f"`{name}` must be at least {least}; got {getattr(self, name)}.")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "ExploreConfig":
        """Returns the configuration that `to_json` told of.

        Raises:
            InvalidSettings: it is none.
        """
        how = dict(values.get("how", {}))
        how["planner"] = build_settings("The planner", PlannerSettings, how.get("planner", {}))
        built = build_settings("Exploration", ExploreSettings, how)
        return build_settings("An exploration", cls, {**values, "how": built})

    def to_json(self) -> dict[str, Any]:
        """Returns it as values that JSON can hold."""
        return as_json(self)
