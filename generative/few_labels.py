"""From a handful of labels to a classifier: sort without them, several times over, and name what was found by them.

With 20 labels the classifier of `semi_supervised` locks in to wrong names; here they come when there are clusters. Each
sorting has its own mistakes, two classes in one cluster among them, which the others outvote.
"""

import os
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from generative.clustering import Clustering, ClusteringSettings
from generative.data import Dataset, Split
from generative.errors import InvalidData, InvalidSettings
from generative.fit import Log, fit
from generative.randomness import child
from generative.training import FitSettings


@dataclass(frozen=True, kw_only=True)
class FewLabels:
    """A classifier of several sortings, whose outputs have the names of classes."""

    members: tuple[Clustering, ...]
    """The sortings."""

    @torch.no_grad()
    def probabilities(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n k"]:
        """Returns the probability of each class, the mean over the members."""
        return torch.stack([member.probabilities(x) for member in self.members]).mean(0)

    @torch.no_grad()
    def classes(self, x: Float[Tensor, "n *shape"]) -> Int[Tensor, " n"]:
        """Returns the likeliest class of each datum."""
        return self.probabilities(x).argmax(1)


def sort(
    data: Dataset,
    fitting: FitSettings,
    settings: ClusteringSettings | None = None,
    *,
    members: int = 5,
    log: Log | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> tuple[Clustering, ...]:
    """Returns sortings of the training data, each trained from a start of its own; no label is looked at.

    Args:
        data: see `Dataset`.
        fitting: of each sorting; its `seed` decides all.
        settings: of each sorting.
        members: how many.
        log: as of `fit`.
        folder: where to keep checkpoints; as with `fit`, what was killed goes on.

    Raises:
        InvalidSettings: there are no `members`.
    """
    if members < 1:
        raise InvalidSettings(f"`members` must be 1 at least; got {members}.")
    blind = replace(data, train=Split(x=data.train.x), labelled=None)
    bank = (settings or ClusteringSettings()).bank
    fitting = replace(fitting, initial_examples=max(fitting.initial_examples, bank))
    found = []
    for i in range(members):
        seed = child(fitting.seed, f"sorting {i}")
        model = Clustering(data.shape, settings, seed=seed)
        place = None if folder is None else Path(folder) / f"sorting-{i}"
        fit(model, blind, replace(fitting, seed=seed), log=log, folder=place)
        found.append(model.eval())
    return tuple(found)


def name(sortings: Sequence[Clustering], data: Dataset) -> FewLabels:
    """Returns the sortings as a classifier, their outputs named by the few training data that show a label.

    Raises:
        InvalidData: no training datum shows its label, or all do, or there are more classes than outputs.
    """
    x, label = _shown(data, min((sorting.settings.classes for sorting in sortings), default=0))
    members = tuple(deepcopy(sorting).eval() for sorting in sortings)
    for member in members:
        member.name_clusters(x.to(member.device), label)
    return FewLabels(members=members)


def _shown(data: Dataset, outputs: int) -> tuple[Float[Tensor, "m *shape"], Int[Tensor, " m"]]:
    """Returns the training data that show their label, and the labels."""
    if data.labelled is None or data.train.label is None:
        raise InvalidData(f"{data.name} hides no labels: use `with_labels`.")
    label = data.train.label[data.labelled]
    if (classes := int(label.max()) + 1) > outputs:
        raise InvalidData(
            f"{data.name} has {classes} classes, and the sortings have {outputs} outputs. Sort with "
            f"`classes={classes}` in `ClusteringSettings`."
        )
    return data.values(data.train.x[data.labelled], torch.Generator()), label


def learn_few_labels(
    data: Dataset,
    fitting: FitSettings,
    settings: ClusteringSettings | None = None,
    *,
    members: int = 5,
    log: Log | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> FewLabels:
    """Returns a classifier trained on data of which a few show their label: `sort`, then `name`.

    The arguments are those of `sort`; `data` hides labels (`Dataset.with_labels`). Sortings know of none, so that other
    labels of the same data may share a `folder`.

    Raises:
        InvalidData: no training datum shows its label, or all do, or there are more classes than `settings.classes`.
        InvalidSettings: there are no `members`.
    """
    _shown(data, (settings or ClusteringSettings()).classes)  # or all the sorting would be for nothing
    return name(sort(data, fitting, settings, members=members, log=log, folder=folder), data)
