"""What the scores of a task are measured by, so that tasks can be taken together: 0 and 1, and the mark of success."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.compare.records import RunRecord
from agents.compare.scores import final_returns
from agents.references import REFERENCES


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The returns per episode of one task that count as 0 and as 1."""

    low: float
    """That of an agent which acts at random, or the lowest of the study."""
    high: float
    """The best known, or the highest of the study."""
    solved: float | None = None
    """The return from which on the task counts as solved; None where there is no such mark."""
    source: str = ""
    """Where the two come from, in words."""

    def normalised(self, scores: np.ndarray) -> np.ndarray:
        """Returns the scores on this scale; all 0 where its ends are one."""
        width = self.high - self.low
        return (np.asarray(scores, dtype=float) - self.low) / width if width else np.zeros(len(scores))

    @property
    def mark(self) -> float | None:
        """The mark of success on this scale."""
        return None if self.solved is None else float(self.normalised(np.array([self.solved]))[0])

    def to_json(self) -> dict[str, Any]:
        """Returns its fields."""
        return {"low": self.low, "high": self.high, "solved": self.solved, "source": self.source}


STUDY_RANGE = "lowest and highest run of this study, for want of a reference"
CHANGED_TASK = "lowest and highest run of this study; the references are of the task without `task_settings`"


def scales(records: Iterable[RunRecord]) -> dict[str, Scale]:
    """Returns the scale of every task: of its references where there are any, else the range of the study itself.

    With `task_settings` it is another task than that of the references.
    """
    runs: dict[str, list[RunRecord]] = {}
    for record in records:
        runs.setdefault(record.config.task, []).append(record)
    return {task: _scale(task, of_task) for task, of_task in runs.items()}


def _scale(task: str, runs: Sequence[RunRecord]) -> Scale:
    reference, scores = REFERENCES.get(task), final_returns(runs)
    changed = reference is not None and any(record.config.task_settings for record in runs)
    if reference is not None and not changed:
        source = f"0: random actions; 1: {reference.source}"
        return Scale(low=reference.random, high=reference.best, solved=reference.solved, source=source)
    low, high = (float(scores.min()), float(scores.max())) if len(scores) else (0.0, 0.0)
    return Scale(low=low, high=high, source=CHANGED_TASK if changed else STUDY_RANGE)
