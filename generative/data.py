"""Data sets in memory: two splits, what their values mean, and minibatches in an order that can be resumed."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from generative.errors import InvalidData, InvalidSettings
from generative.model import WIDER, Batch, Model, Support, check_values, checked_labels
from generative.randomness import child, uniform

Binarisation = Literal["dynamic", "static", "threshold"]


@dataclass(frozen=True, kw_only=True)
class Split:
    """Examples of one kind: all for training, or all for testing.

    Raises:
        InvalidData: labels are not whole numbers of at least 0 in one row.
    """

    x: Shaped[Tensor, "n *shape"]
    """Values as they are stored: bytes that count levels, or floating-point numbers."""
    label: Shaped[Tensor, "*labels"] | None = None
    """Class of each, from 0 on; any whole numbers are taken, of numpy too, and kept as int64."""

    def __post_init__(self) -> None:
        if self.label is not None:
            object.__setattr__(self, "label", checked_labels(self.label))

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set in memory.

    Bytes are stored as they are and divided by `levels - 1` when a minibatch is made, so a model sees numbers from 0 to
    1.

    Raises:
        InvalidData: values are not finite or contradict `support` or `levels`, or labels and examples differ in number.
    """

    name: str
    train: Split
    test: Split
    support: Support = "unit"
    """What a model sees, binarisation included."""
    levels: int | None = None
    """How many values an entry can take; None where it is continuous."""
    binarisation: Binarisation | None = None
    """How grey levels became 0 or 1. Likelihoods of different ones cannot be compared."""
    labelled: Int[Tensor, " m"] | None = None
    """Which training examples show their label; None: all do, where there are labels."""

    def __post_init__(self) -> None:
        for title, split in (("training", self.train), ("test", self.test)):
            if split.label is not None and len(split.label) != len(split.x):
                raise InvalidData(f"{self.name}: {len(split.x)} {title} examples, but {len(split.label)} labels.")
            if len(split.x) and tuple(split.x.shape[1:]) != self.shape:
                raise InvalidData(
                    f"{self.name}: {title} examples of shape {tuple(split.x.shape[1:])}, not {self.shape}."
                )
            if len(split.x):
                self._check(split.x)
        if not len(self.train):
            raise InvalidData(f"{self.name} has no training examples.")

    def _check(self, x: Tensor) -> None:
        if x.dtype == torch.uint8:
            if self.levels is None or int(x.max()) >= self.levels:
                raise InvalidData(f"{self.name}: bytes up to {int(x.max())}, but `levels` is {self.levels}.")
        elif x.is_floating_point():
            check_values(x, "unit" if self.binarisation == "dynamic" else self.support, self.name)
        else:
            raise InvalidData(f"{self.name}: values must be bytes or floating-point numbers; got {x.dtype}.")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return tuple(self.train.x.shape[1:])

    @property
    def classes(self) -> int:
        """How many classes there are; 0 without labels."""
        return 0 if self.train.label is None else int(self.train.label.max()) + 1

    def values(self, x: Shaped[Tensor, "n *shape"], generator: torch.Generator) -> Float[Tensor, "n *shape"]:
        """Returns stored examples as a model sees them; dynamic binarisation draws from `generator`."""
        x = x.float().div_((self.levels or 256) - 1) if x.dtype == torch.uint8 else x.float()
        if self.binarisation == "dynamic":
            x = (uniform(x.shape, generator, x) < x).float()
        return x

    def examples(self, split: Literal["train", "test"], generator: torch.Generator) -> Float[Tensor, "n *shape"]:
        """Returns all examples of a split as a model sees them."""
        return self.values((self.train if split == "train" else self.test).x, generator)

    def binarised(self, how: Binarisation = "dynamic", seed: int = 0) -> "Dataset":
        """Returns the data with values 0 and 1.

        Args:
            how: `dynamic` draws each pixel anew, with its grey level as probability, whenever it is looked at; `static`
                draws once, from `seed`; `threshold` asks whether it is above a half.
            seed: of `static`.

        Raises:
            InvalidData: the values lie beyond 0 and 1, or were binarised in another way.
        """
        if self.support == "binary":
            if self.binarisation not in (None, how):
                raise InvalidData(f"{self.name} is binarised already, {self.binarisation}: it cannot be {how} too.")
            return self
        if self.support != "unit":
            raise InvalidData(f"{self.name} has values beyond 0 and 1 and cannot be binarised.")
        if how == "dynamic":
            return replace(self, support="binary", binarisation=how)
        generator = torch.Generator().manual_seed(child(seed, "binarisation"))

        def fixed(split: Split) -> Split:
            grey = self.values(split.x, generator)
            cut = uniform(grey.shape, generator, grey) if how == "static" else torch.full_like(grey, 0.5)
            return replace(split, x=(cut < grey).to(torch.uint8))

        return replace(
            self, train=fixed(self.train), test=fixed(self.test), support="binary", levels=2, binarisation=how
        )

    def suited(self, model: Model | Support) -> "Dataset":
        """Returns the data as a model of that support takes them: binarised dynamically for one of 0 and 1 alone."""
        support = model.support if isinstance(model, Model) else model
        return self.binarised() if support == "binary" and self.support != "binary" else self

    def with_labels(self, each: int, seed: int) -> "Dataset":
        """Returns the data with the labels of all but `each` training examples of every class hidden.

        Raises:
            InvalidData: there are no labels, or too few examples of a class.
        """
        label = self.train.label
        if label is None:
            raise InvalidData(f"{self.name} has no labels.")
        order = torch.randperm(len(label), generator=torch.Generator().manual_seed(child(seed, "labelled")))
        chosen = [order[label[order] == kind][:each] for kind in range(self.classes)]
        short = [kind for kind, rows in enumerate(chosen) if len(rows) < each]
        if short or each < 1:
            raise InvalidData(f"{self.name} cannot give {each} labelled examples of each class; short are {short}.")
        return replace(self, labelled=torch.cat(chosen))

    def first(self, train: int, test: int) -> "Dataset":
        """Returns the first `train` and `test` examples of the splits; labels that are hidden remain so."""

        def cut(split: Split, n: int) -> Split:
            return Split(x=split.x[:n], label=None if split.label is None else split.label[:n])

        labelled = None if self.labelled is None else self.labelled[self.labelled < train]
        if labelled is not None and not len(labelled):
            raise InvalidData(f"None of the first {train} training examples of {self.name} shows its label.")
        return replace(self, train=cut(self.train, train), test=cut(self.test, test), labelled=labelled)

    def check_for(self, model: Model) -> None:
        """Checks that `model` takes these data.

        Raises:
            InvalidData: shape, range or number of levels differ, or a model that reads labels has fewer classes.
        """
        if model.shape != self.shape:
            raise InvalidData(
                f"This {model.name} was built for examples of shape {model.shape}; {self.name} has {self.shape}."
            )
        if self.support not in WIDER[model.support]:
            cure = " Use `data.binarised()`." if model.support == "binary" and self.support == "unit" else ""
            raise InvalidData(
                f"This {model.name} takes {model.support} values; {self.name} has {self.support} ones.{cure}"
            )
        if model.levels is not None and self.levels is not None and model.levels != self.levels:
            raise InvalidData(f"This {model.name} counts on {model.levels} levels; {self.name} has {self.levels}.")
        shown = self._shown
        if model.wants_labels and shown is not None and int(shown.max()) >= model.settings.classes:
            raise InvalidData(
                f"{self.name} has a class {int(shown.max())}, numbered from 0; this {model.name} was built for "
                f"{model.settings.classes}. Build it with `classes={int(shown.max()) + 1}`."
            )

    def describe(self) -> dict[str, str | int | list[int] | None]:
        """Returns what tells these data from others, as plain values."""
        return {
            "name": self.name, "shape": list(self.shape), "train": len(self.train), "support": self.support,
            "binarisation": self.binarisation, "labelled": None if self.labelled is None else len(self.labelled),
            "digest": self._digest,
        }  # fmt: skip

    @property
    def _shown(self) -> Tensor | None:
        """Labels that can be learned from."""
        label = self.train.label
        return label if label is None or self.labelled is None else label[self.labelled]

    @cached_property
    def _digest(self) -> str:
        """Of all that is learned from."""
        found = hashlib.blake2b(f"{self.levels} {self.train.x.dtype}".encode(), digest_size=8)
        for part in (self.train.x, self._shown, self.labelled):
            if part is not None:
                found.update(part.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return found.hexdigest()


def dataset(
    x: Shaped[Tensor, "n *shape"] | Shaped[np.ndarray, "n *shape"],
    *,
    name: str = "observations",
    support: Support = "unit",
) -> Dataset:
    """Returns examples of your own as a data set without a test split; bytes count as 256 grey levels."""
    x = torch.as_tensor(x)
    levels = 256 if x.dtype == torch.uint8 else None
    return Dataset(name=name, train=Split(x=x), test=Split(x=x[:0]), support=support, levels=levels)


class Minibatches:
    """Minibatches of a data set without end: pass after pass, each in a new order, with no short one.

    The order depends on `seed` alone, so `position`, the number of minibatches taken, is all there is to save.

    Args:
        data: the data set.
        size: examples in a minibatch.
        seed: of the order.
        device: where they are wanted; the examples are moved there once.
        rank: of several processes, each of which takes every `of`-th minibatch, from number `rank` on.
        of: how many there are.
    """

    def __init__(
        self, data: Dataset, size: int, seed: int, device: torch.device | str = "cpu", *, rank: int = 0, of: int = 1
    ) -> None:
        if size < 1:
            raise InvalidSettings(f"A minibatch holds at least one example; got {size}.")
        self.data, self.size, self.position, self.rank, self.of = data, size, 0, rank, of
        self.x = data.train.x.to(device)
        self.label = None if data.train.label is None else data.train.label.to(device)
        self.labelled = None if data.labelled is None else data.labelled.to(device)
        self._order = _Order(len(self.x), child(seed, "order"), device)
        self._labelled_order = (
            None if self.labelled is None else _Order(len(self.labelled), child(seed, "labelled order"), device)
        )

    def next(self, generator: torch.Generator, step: Tensor) -> Batch:
        """Returns the next minibatch, and moves on."""
        number = self.position * self.of + self.rank
        batch = self._rows(self._order.rows(number, self.size), generator, step, show=self.labelled is None)
        if self.labelled is not None and self._labelled_order is not None:
            rows = self.labelled[self._labelled_order.rows(number, self.size)]
            batch = replace(batch, labelled=self._rows(rows, generator, step, show=True))
        self.position += 1
        return batch

    def _rows(self, rows: Tensor, generator: torch.Generator, step: Tensor, *, show: bool) -> Batch:
        x = self.data.values(self.x.index_select(0, rows), generator)
        label = self.label.index_select(0, rows) if show and self.label is not None else None
        return Batch(x=x, label=label, step=step)


class _Order:
    """Rows 0 to `n` - 1 in a new order for every pass; the order of a pass is computed when it is reached."""

    def __init__(self, n: int, seed: int, device: torch.device | str) -> None:
        self.n, self.seed, self.device = n, seed, device
        self.epoch, self.order = -1, torch.empty(0)

    def _pass(self, epoch: int) -> Tensor:
        if epoch != self.epoch:
            generator = torch.Generator().manual_seed(child(self.seed, str(epoch)))
            self.epoch, self.order = epoch, torch.randperm(self.n, generator=generator).to(self.device)
        return self.order

    def rows(self, position: int, size: int) -> Int[Tensor, " size"]:
        """Returns the rows of minibatch number `position` among those of `size`."""
        first, parts = position * size, list[Tensor]()
        while size:
            epoch, start = divmod(first, self.n)
            part = self._pass(epoch)[start : start + size]
            parts.append(part)
            first, size = first + len(part), size - len(part)
        return parts[0] if len(parts) == 1 else torch.cat(parts)
