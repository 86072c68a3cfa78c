"""The file of a run's metrics, whose rows repeat bit for bit.

| column | unit | what it is |
|---|---|---|
| `step` | steps | of all copies of the environment together |
| `episodes` | | that have ended so far |
| `episode_return` | reward | mean over the episodes that ended since the last row, without the bonus |
| `episode_length` | steps | mean over the same episodes |
| `weight` | | what the bonus on its common scale is multiplied by |
| `bonus_mean` | reward a step | mean of the weighted bonus over the last batch |
| `bonus_share` | 0 to 1 | the weighted bonus over all that is learnt from, in absolute values |
| `model_error` | variances of the target | squared error of the mean prediction before the bonus's last update |
| `predicted_gain` | nats a transition | what the model expected to learn from the transitions of that update |
| `realised_gain` | nats a transition | what they told it |
| `coverage` | 0 to 1 | share of the cells of the task's picture that were visited |

A cell is empty where there is no such figure.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from agents.folder import write_atomically

COLUMNS = (
    "step", "episodes", "episode_return", "episode_length", "weight", "bonus_mean", "bonus_share",
    "model_error", "predicted_gain", "realised_gain", "coverage",
)  # fmt: skip


class MetricsFile:
    """`metrics.csv`: one row per rollout, floats by `repr`, no clock times, so that rows repeat bit for bit."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.columns: Sequence[str] = COLUMNS
        self.text = ",".join(COLUMNS) + "\n"
        self._file: IO[str] | None = None

    def start(self, text: str | None = None) -> None:
        """Opens the file with the rows in `text` (of a checkpoint) or none; later rows of a killed run are cut.

        The columns are those of the text, as an older version may have had others.
        """
        self.text = text or self.text
        self.columns = self.text.partition("\n")[0].split(",")
        self.close()
        write_atomically(self.path, lambda file: file.write(self.text.encode()))
        self._file = open(self.path, "a", newline="")  # noqa: SIM115

    def add(self, row: Mapping[str, Any]) -> None:
        """Appends one row; a missing or None value makes an empty cell."""
        line = ",".join(_cell(row.get(name)) for name in self.columns) + "\n"
        self.text += line
        if self._file is not None:
            self._file.write(line)
            self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else repr(float(value))
