"""From a handful of labels to a classifier: sort without them, name what was found by them, then let them count.

With 20 labels the classifier of `semi_supervised` locks in to wrong names; here they come when there are clusters.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from generative.clustering import Clustering, ClusteringSettings
from generative.data import Dataset, Split
from generative.errors import InvalidData, InvalidSettings
from generative.fit import Log, fit
from generative.randomness import child
from generative.training import FitSettings


@dataclass(frozen=True, kw_only=True)
class FewLabels:
    """What `learn_few_labels` found."""

    model: Clustering
    """The classifier."""
    unsettled: tuple[float, ...]
    """Of each beginning, in nats: how much the worst change sways it, and its doubt. The least was gone on with."""
    chosen: int
    """Which one that was."""


def learn_few_labels(
    data: Dataset,
    fitting: FitSettings,
    settings: ClusteringSettings | None = None,
    *,
    restarts: int = 1,
    before: float = 0.9,
    log: Log | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> FewLabels:
    """Returns a classifier trained on data of which a few show their label.

    Args:
        data: see `Dataset.with_labels`.
        fitting: of one training; its `seed` decides all.
        settings: of the classifier.
        restarts: beginnings without labels, of which the most settled one goes on; labels play no part in the choice.
        before: share of the steps that each beginning takes.
        log: as of `fit`.
        folder: where to keep checkpoints; as with `fit`, what was killed goes on. Beginnings know of no labels, so
            other numbers of labels of the same data may share it.

    Raises:
        InvalidData: no training datum shows its label, or all do.
        InvalidSettings: `restarts` or `before` is out of range.
    """
    if data.labelled is None or data.train.label is None:
        raise InvalidData(f"{data.name} hides no labels: use `with_labels`.")
    if restarts < 1 or not 0 < before < 1:
        raise InvalidSettings(f"`restarts` must be 1 at least and `before` in (0, 1); got {restarts}, {before}.")
    first = max(1, int(before * fitting.steps))
    blind = replace(data, train=Split(x=data.train.x), labelled=None)
    found: list[tuple[Clustering, Mapping[str, float]]] = []
    for restart in range(restarts):
        model = Clustering(data.shape, settings, seed=child(fitting.seed, f"beginning {restart}"))
        last = fit(model, blind, replace(fitting, steps=first), log=log, folder=_inside(folder, f"beginning-{restart}"))
        found.append((model, last))
    unsettled = tuple(last["swayed"] + last["doubt"] for _, last in found)
    chosen = min(range(restarts), key=lambda i: unsettled[i])
    model = found[chosen][0]
    rows = data.labelled
    model.name_clusters(data.values(data.train.x[rows], torch.Generator()), data.train.label[rows])
    rest = replace(fitting, steps=max(1, fitting.steps - first))
    fit(model, data, rest, log=log, folder=_inside(folder, f"named-{len(rows)}"))
    return FewLabels(model=model, unsettled=unsettled, chosen=chosen)


def _inside(folder: str | os.PathLike[str] | None, name: str) -> Path | None:
    return None if folder is None else Path(folder) / name
