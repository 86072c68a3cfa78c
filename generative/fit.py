"""Train any model: on a CPU or a GPU, resumed exactly, and stopped with the last good weights where it diverges."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from generative import checkpoint
from generative.data import Dataset, Minibatches
from generative.errors import CheckpointError, Diverged
from generative.model import Model
from generative.settings import to_plain
from generative.training import FitSettings, Training

FREE = (
    "steps",
    "report_every",
    "save_every",
    "initial_examples",
)  # settings that may change between a run and its continuation

LEAPS = {"loss": 1e7, "weights": 1e4}
"""A loss, or the size of all weights, that is larger than all before, and than 1, by this factor tells that a training
has diverged. Players that win and lose against each other, and batches that surprise, stay far below."""

Log = Callable[[int, Mapping[str, float]], None]
Evaluate = Callable[[Model], Mapping[str, float]]


def fit(
    model: Model,
    data: Dataset,
    settings: FitSettings | None = None,
    *,
    log: Log | None = None,
    evaluate: Evaluate | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> dict[str, float]:
    """Trains `model` in place, and returns the terms last reported; it ends in evaluation mode with averaged weights.

    With a `folder`, a run that was killed at any point goes on from its last checkpoint, bit for bit as if nothing had
    happened on the same machine; one that is finished returns at once, and one with more `steps` than before goes on.
    The folder holds `training.safetensors`, to go on from, and `model.safetensors`, for `load`.

    Args:
        model: a new model, or one that has learned, which goes on from its weights; where the folder has a checkpoint,
            they are replaced.
        data: examples; `data.suited(model)` binarises them for a model that wants it.
        settings: how to train.
        log: called with the number of rounds done and the mean terms since the last call, every `report_every` rounds
            and where a checkpoint is written.
        evaluate: called every `save_every` rounds and at the end with the model as it would end there; its figures are
            logged with that round's terms. It must draw from a generator of its own.
        folder: where to keep checkpoints.

    Raises:
        InvalidData: the data do not fit the model.
        CheckpointError: the folder belongs to another model, other data or other settings, or is damaged.
        Diverged: a loss or a weight is no longer finite, or leapt by orders of magnitude (`LEAPS`). Model and folder
            hold the last good weights.
        KeyboardInterrupt: as it came, after a checkpoint was written.
    """
    data.check_for(model)
    return _Run(model, data, settings or FitSettings(), log, evaluate, folder).run()


class _Run:
    """One call of `fit`."""

    def __init__(
        self,
        model: Model,
        data: Dataset,
        settings: FitSettings,
        log: Log | None,
        evaluate: Evaluate | None,
        folder: str | os.PathLike[str] | None,
    ) -> None:
        self.model, self.data, self.settings = model, data, settings
        self.log, self.evaluate = log, evaluate
        self.folder = None if folder is None else Path(folder)
        self.training = Training(model, settings)
        group = self.group = self.training.group
        share = group.share(settings.batch_size)
        self.minibatches = Minibatches(data, share, settings.seed, model.device, rank=group.rank, of=group.size)
        self.metrics: dict[str, float] = {}
        self.largest: dict[str, float] = {}  # size that each player's loss, and all weights, have had
        self.good: tuple[dict[str, Tensor], int] = ({}, 0)  # state and position at the last report, when all was finite

    def run(self) -> dict[str, float]:
        """Trains to the end, and returns the last figures."""
        if not self._resume():
            first = min(self.settings.initial_examples, len(self.data.train))
            seen = Minibatches(self.data, first, self.settings.seed, self.model.device) if first else None
            self.training.start(seen)
            self._remember(self._sizes(self.training.glimpse()[0]))
        self._keep()
        try:
            while self.training.step < self.settings.steps:
                self.training.round(self.minibatches)
                if self.training.step == 1:
                    self._remember(_losses(self.training.glimpse()[0]))
                self._after_round()
        except KeyboardInterrupt:  # it may have come in the middle of a step: go back to a whole one
            self._go_back()
            self._save()
            raise
        finally:
            self.training.use_average()
            self.model.eval()
        return self.metrics

    def _after_round(self) -> None:
        step, s = self.training.step, self.settings
        ends = step == s.steps
        saves = ends or step % s.save_every == 0
        if not (saves or step % s.report_every == 0):
            return
        terms, finite = self.training.report()
        if not finite:
            self._stop(terms, "or a weight is no longer finite")
        sizes = self._sizes(terms)
        for name, size in sizes.items():
            if size > LEAPS[name.rpartition("/")[2]] * max(1.0, self.largest.get(name, size)):
                self._stop(terms, f"the {name} leapt to {size:.4g} from {self.largest[name]:.4g} at most")
        self._remember(sizes)
        if saves and self.evaluate is not None and self.group.first:
            terms = terms | self._evaluated(self.evaluate)
        self.metrics |= terms
        self._keep()
        if saves:
            self._save()
        if self.log is not None and self.group.first:
            self.log(step, terms)

    def _evaluated(self, evaluate: Evaluate) -> dict[str, float]:
        self.training.use_average()
        self.model.eval()
        try:
            return dict(evaluate(self.model))
        finally:
            self.training.use_average()
            self.model.train()

    def _sizes(self, terms: Mapping[str, float]) -> dict[str, float]:
        return {**_losses(terms), "weights": self.training.size}

    def _remember(self, sizes: Mapping[str, float]) -> None:
        for name, size in sizes.items():
            self.largest[name] = max(size, self.largest.get(name, 0.0))

    def _stop(self, terms: Mapping[str, float], why: str) -> None:
        found = ", ".join(f"{name} {value:.4g}" for name, value in terms.items())
        reached = self.training.step
        self._go_back()
        self._save()
        holder = "The model holds" if self.folder is None else f"The model and {self.folder} hold"
        raise Diverged(
            f"{self.model.name} diverged by step {reached} ({found}; {why}). {holder} the "
            f"last good weights, of step {self.training.step}. Lower the learning rate, or clip the gradients."
        )

    def _keep(self) -> None:
        state = {name: value.detach().clone() for name, value in self.training.state_dict().items()}
        self.good = state, self.minibatches.position

    def _go_back(self) -> None:
        state, self.minibatches.position = self.good
        self.training.load_state_dict(state)

    def _facts(self) -> dict[str, Any]:
        return {
            "model": checkpoint.describe(self.model),
            "data": self.data.describe(),
            "fit": to_plain(self.settings),
            "position": self.minibatches.position,
            "metrics": self.metrics,
            "largest": self.largest,
        }

    def _save(self) -> None:
        if self.folder is None or not self.group.first:
            return
        checkpoint.write(self.folder / checkpoint.TRAINING_FILE, self.good[0], self._facts())
        self.training.use_average()
        try:
            checkpoint.save(self.model, self.folder / checkpoint.MODEL_FILE)
        finally:
            self.training.use_average()

    def _resume(self) -> bool:
        """Takes over the folder's checkpoint, where there is one, and returns whether there was."""
        path = None if self.folder is None else self.folder / checkpoint.TRAINING_FILE
        if path is None or not path.exists():
            return False
        facts, tensors = checkpoint.read(path)
        ours = self._facts()
        other = [
            f"{name} is {theirs!r} there and {own!r} here"
            for key in ("model", "data", "fit")
            for name, theirs, own in _differences(facts.get(key), ours[key], key)
        ]
        if other:
            raise CheckpointError(
                f"{path} belongs to another training: {'; '.join(other)}. Choose another folder, or the settings it "
                "was begun with. A new training in another folder takes its weights over by "
                f"`checkpoint.load_weights`, on the command line by `--begin {path.parent}`."
            )
        self.training.load_state_dict(tensors)
        self.minibatches.position = int(facts["position"])
        self.metrics = dict(facts["metrics"])
        self.largest = dict(facts.get("largest", {}))
        return True


def _losses(terms: Mapping[str, float]) -> dict[str, float]:
    """Returns the size of every player's loss."""
    return {name: abs(value) for name, value in terms.items() if name.rpartition("/")[2] == "loss"}


def _differences(theirs: Any, ours: Any, name: str) -> Iterator[tuple[str, Any, Any]]:
    """Yields the dotted name of every entry of ours that differs, theirs, and ours; what may change is left out."""
    if isinstance(ours, Mapping):
        there = theirs if isinstance(theirs, Mapping) else {}
        for key in ours:
            if name != "fit" or key not in FREE:
                yield from _differences(there.get(key), ours[key], f"{name}.{key}")
    elif theirs != ours:
        yield name, theirs, ours
