"""What one run is: task, algorithm, bonus, budget and seed, as plain data. Importing it does not import torch."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

WEIGHTS = ("fixed", "fading", "tuned")
MAX_SEED = 2**32 - 1  # numpy's legacy generator, which the algorithms draw from, takes no larger one


def as_json(settings: Any) -> dict[str, Any]:
    """Returns all fields of a settings dataclass, those within fields too, as values that JSON can hold.

    Raises:
        InvalidSettings: one is no such value.
    """
    try:
        return json.loads(json.dumps(asdict(settings), allow_nan=False))
    except (TypeError, ValueError) as error:
        from vime.errors import InvalidSettings

        raise InvalidSettings(f"A setting of the run cannot be written as JSON: {error}.") from error


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One run, and so one folder; two runs of equal configuration on the same machine give the same numbers."""

    task: str
    """Name of a Gymnasium task, for example `vime/SparseMountainCar-v0`; `package.module:Name-v0` imports it first."""
    algorithm: str = "ppo"
    """What learns; `vime list` shows all."""
    bonus: str = "vime"
    """What is added to the reward; `none` leaves the learner untouched, `module:Class` is one of your own."""
    scale: float = 1.0
    """Weight of the bonus in the reward."""
    weight: Literal["fixed", "fading", "tuned"] = "fixed"
    """How the weight follows from `scale`: not, fading to zero by 80 % of the steps, or tuned by what was earned."""
    streams: Literal[1, 2] = 1
    """2 gives reward and bonus a value head and a discount each; on-policy algorithms only."""
    self_imitation: bool = False
    """Whether the agent repeats its best episodes, so as not to lose what it found; PPO, A2C and TRPO only."""
    steps: int = 100_000
    """Environment steps, those of all copies counted, warm-up included; on-policy rounded up to whole rollouts."""
    seed: int = 0
    """The one seed from which everything random is drawn."""
    environments: int | None = None
    """Copies of the task; unless given 8 for on-policy algorithms and 1 for the others."""
    bonus_settings: dict[str, Any] = field(default_factory=dict)
    """Fields of the bonus's own settings; `learn_every` and `scaling` say how it is used, as in `agents.attach`."""
    algorithm_settings: dict[str, Any] = field(default_factory=dict)
    """Constructor arguments of the algorithm; they replace those of the recipe."""
    task_settings: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments for the constructor of the task."""
    normalise_observations: bool | None = None
    """Running mean and deviation on observations; unless given yes for on-policy algorithms and no for the others."""
    device: str = "cpu"
    """Where the networks live: cpu, cuda or cuda:N."""
    threads: int = 1
    """Torch threads. Two cost up to 80 times on a busy machine, and results depend on the number."""

    def to_json(self) -> dict[str, Any]:
        """Returns all fields as values that JSON can hold.

        Raises:
            InvalidSettings: a setting is no such value.
        """
        return as_json(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "RunConfig":
        """Returns the configuration that `to_json` wrote.

        Raises:
            InvalidSettings: it is no such object, a field is unknown, or the task is missing.
        """
        from vime.errors import InvalidSettings, build_settings

        if not isinstance(values, Mapping):
            raise InvalidSettings(f"A run configuration is a JSON object; got {type(values).__name__}.")
        if "task" not in values:
            raise InvalidSettings("A run configuration needs a `task`, and this one has none.")
        return build_settings("A run configuration", cls, values)

    def differing(self, other: "RunConfig") -> list[str]:
        """Returns the names of the fields in which the two differ, as JSON would hold them."""
        mine, theirs = self.to_json(), other.to_json()
        return [f.name for f in fields(self) if mine[f.name] != theirs[f.name]]

    @property
    def on_policy(self) -> bool:
        """Whether the algorithm learns from whole rollouts."""
        return self._recipe().on_policy

    @property
    def copies(self) -> int:
        """Copies of the task that are stepped: `environments`, or the recipe's number."""
        return self._recipe().environments if self.environments is None else self.environments

    @property
    def normalises(self) -> bool:
        """Whether observations are normalised: `normalise_observations`, or what suits the algorithm."""
        return self.on_policy if self.normalise_observations is None else self.normalise_observations

    def _recipe(self) -> Any:
        from agents.names import ALGORITHMS
        from vime.errors import choose

        return choose("algorithm", self.algorithm, ALGORITHMS)

    def check(self) -> "RunConfig":
        """Returns itself, if every name is known and every number can be used; cheap, and builds nothing.

        Raises:
            UnknownName: no task, algorithm or bonus is named so; the nearest is suggested.
            InvalidSettings: a number is out of range, or a setting is unknown.
        """
        from agents.names import ALGORITHMS, BONUSES
        from vime.errors import InvalidSettings, choose
        from vime.naming import is_own, own_bonus, part_names

        for name in ("task", "algorithm", "bonus", "device"):
            if not isinstance(getattr(self, name), str):
                raise InvalidSettings(f"`{name}` must be text; got {getattr(self, name)!r}.")
        for name in ("bonus_settings", "algorithm_settings", "task_settings"):
            if not isinstance(getattr(self, name), dict):
                raise InvalidSettings(f"`{name}` must be a mapping of names to values; got {getattr(self, name)!r}.")
        choose("algorithm", self.algorithm, ALGORITHMS)
        for part in part_names(self.bonus, BONUSES):
            if is_own(part):
                own_bonus(part)
        for name, least in (("steps", 1), ("environments", 1), ("threads", 1), ("seed", 0)):
            value = getattr(self, name)
            if name == "environments" and value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise InvalidSettings(f"`{name}` must be a whole number of at least {least}; got {value!r}.")
        if self.seed > MAX_SEED:
            raise InvalidSettings(f"`seed` must be at most {MAX_SEED}; got {self.seed}.")
        if isinstance(self.scale, bool) or not isinstance(self.scale, (int, float)) or not math.isfinite(self.scale):
            raise InvalidSettings(f"`scale` must be a finite number; got {self.scale!r}.")
        if self.scale < 0:
            raise InvalidSettings(f"`scale` must not be negative, or the bonus repels; got {self.scale}.")
        if self.weight not in WEIGHTS:
            raise InvalidSettings(f"`weight` must be one of {', '.join(WEIGHTS)}; got {self.weight!r}.")
        if isinstance(self.streams, bool) or self.streams not in (1, 2):
            raise InvalidSettings(f"`streams` must be 1 or 2; got {self.streams!r}.")
        if self.streams == 2 and self.bonus != "none" and not self.on_policy:
            able = ", ".join(name for name, recipe in ALGORITHMS.items() if recipe.on_policy)
            raise InvalidSettings(
                f"Two streams need whole rollouts, and {self.algorithm} learns from a replay buffer. Use `streams` 1, "
                f"or one of these: {able}."
            )
        if not isinstance(self.self_imitation, bool):
            raise InvalidSettings(f"`self_imitation` must be true or false; got {self.self_imitation!r}.")
        if self.self_imitation and not self._recipe().imitates:
            able = ", ".join(name for name, recipe in ALGORITHMS.items() if recipe.imitates)
            raise InvalidSettings(
                f"`self_imitation` needs an on-policy learner without a memory, and {self.algorithm} is none. Switch "
                f"it off, or use one of these: {able}."
            )
        normalise = self.normalise_observations
        if not (normalise is None or isinstance(normalise, bool)):
            raise InvalidSettings(f"`normalise_observations` must be true or false; got {normalise!r}.")
        if not re.fullmatch(r"cpu|cuda(:\d+)?", self.device):
            raise InvalidSettings(f"`device` must be cpu, cuda or cuda:N; got {self.device!r}.")
        self.to_json()

        from agents.tasks import check_task

        check_task(self.task)
        if self.device != "cpu" or self.bonus_settings or self.algorithm_settings:
            from agents.factory import check_settings  # imports torch

            check_settings(self)
        return self
