"""What one run of a generative model is, as plain data. Importing it does not import torch."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from agents.config import as_json
from agents.generate.names import DATA, RECIPES, Plan

ANYWHERE = ("data_dir",)
"""Fields that say where things lie: a run goes on from another place too."""
SEMI_SUPERVISED, LABELS = "semi-supervised-gan", 100
LEAST = {"steps": 1, "batch_size": 2, "seed": 0, "threads": 1, "labels": 0, "members": 1}
MAX_SEED = 2**32 - 1


@dataclass(frozen=True, kw_only=True)
class ModelRun:
    """One run of a model, and so one folder; equal runs on the same machine give the same numbers."""

    model: str
    """Name of the model; `vime generate list` shows all."""
    data: str = "digits"
    """Name of the data: digits, mnist, mnist-14 or cifar10."""
    data_dir: str = ""
    """Folder of the data's original files; nothing is ever downloaded."""
    steps: int | None = None
    """Rounds of training; those of the recipe unless given."""
    batch_size: int | None = None
    """Examples in a minibatch; those of the recipe unless given."""
    seed: int = 0
    """The one seed from which everything random is drawn."""
    labels: int | None = None
    """How many training labels semi-supervised-gan is shown, as many of every class; 100 unless given, 0 for all."""
    members: int | None = None
    """Classifiers that semi-supervised-gan trains as one, and that vote; 1 unless given."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Fields of the model's own settings, as latent=16 or generator.rate=1e-4."""
    begin: str = ""
    """Folder or file of a trained model whose weights it begins with, as a VAE's for an IWAE of the same sizes."""
    device: str = "cpu"
    """Where to train: cpu, cuda or cuda:N."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the products; bfloat16 pays on a GPU, and on a CPU that computes in it."""
    compile: bool = False
    """Whether torch.compile fuses the losses; pays after a minute or so."""
    threads: int = 1
    """Torch threads. Results depend on the number."""

    def to_json(self) -> dict[str, Any]:
        """Returns all fields as values that JSON can hold.

        Raises:
            InvalidSettings: a setting is no such value.
        """
        return as_json(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "ModelRun":
        """Returns the run that `to_json` wrote.

        Raises:
            InvalidSettings: it is no such object, a field is unknown, or the model is missing.
        """
        from vime.errors import InvalidSettings, build_settings

        if isinstance(values, Mapping) and "task" in values:
            raise InvalidSettings("It is the run of an agent, and not of a generative model.")
        if not isinstance(values, Mapping) or "model" not in values:
            raise InvalidSettings("The run of a generative model names its `model`, and this one does not.")
        return build_settings("The run of a generative model", cls, values)

    def differing(self, other: "ModelRun") -> list[str]:
        """Returns the names of the fields in which the two differ, but for where things lie."""
        mine, theirs = self.to_json(), other.to_json()
        return [f.name for f in fields(self) if f.name not in ANYWHERE and mine[f.name] != theirs[f.name]]

    @property
    def shown(self) -> int | None:
        """How many training labels are shown; None for all that there are."""
        if self.model != SEMI_SUPERVISED:
            return None
        return LABELS if self.labels is None else self.labels or None

    @property
    def plan(self) -> Plan:
        """The recipe's plan, with what the run says in its stead."""
        from vime.errors import choose

        plan = choose("model", self.model, RECIPES).plan(self.data)
        return Plan(
            steps=plan.steps if self.steps is None else self.steps,
            batch_size=plan.batch_size if self.batch_size is None else self.batch_size,
            settings=merged(plan.settings, self.settings | ({} if self.members is None else {"members": self.members})),
            samples=plan.samples,
            examples=plan.examples,
        )

    def check(self) -> "ModelRun":
        """Returns itself, if every name is known and every number can be used; builds nothing.

        Raises:
            UnknownName: no model or data set is named so; the nearest is suggested.
            InvalidSettings: a number is out of range, or an option is of another model.
        """
        from vime.errors import InvalidSettings, check_kinds, choose

        check_kinds("The run of a generative model", self)
        choose("model", self.model, RECIPES)
        choose("data set", self.data, DATA)
        for name, least in LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise InvalidSettings(f"`{name}` must be a whole number of at least {least}; got {value}.")
        if self.seed > MAX_SEED:
            raise InvalidSettings(f"`seed` must be at most {MAX_SEED}; got {self.seed}.")
        for name in ("labels", "members"):
            if getattr(self, name) is not None and self.model != SEMI_SUPERVISED:
                raise InvalidSettings(f"`{name}` is for {SEMI_SUPERVISED}; {self.model} has no use for it.")
        if not re.fullmatch(r"cpu|cuda(:\d+)?", self.device):
            raise InvalidSettings(f"`device` must be cpu, cuda or cuda:N; got {self.device!r}.")
        if self.data != "digits" and not self.data_dir:
            raise InvalidSettings(
                f"The data {self.data!r} are read from their original files: say where with --data-dir."
            )
        self.to_json()
        return self


def merged(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Returns settings with others put over them; `optimiser.rate` is the rate in `optimiser`."""
    found = dict(base)
    for key, value in more.items():
        name, dot, rest = key.partition(".")
        inner = found.get(name)
        within: Mapping[str, Any] = inner if isinstance(inner, Mapping) else {}
        if dot:
            found[name] = merged(within, {rest: value})
        else:
            found[name] = merged(within, value) if isinstance(value, Mapping) else value
    return found
