"""A table that is measured row by row and outlives a kill: `scripts/table_*.py` are made of it."""

import json
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agents.folder import write_json
from agents.versions import machine


class Table:
    """A JSON file of rows with the command, the versions and the machine that they were measured by.

    Args:
        path: of the file; what it holds already is kept and not measured again.
        question: what the table answers, in a sentence.
        threads: of torch.
    """

    def __init__(self, path: Path, question: str, threads: int = 1) -> None:
        self.path, self.threads = path, threads
        self.content: dict[str, Any] = {"question": question, "commands": [], "machines": [], "rows": []}
        if path.is_file():
            self.content |= json.loads(path.read_text())
        self.content["question"] = question

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What is measured so far."""
        return self.content["rows"]

    def row(self, key: Mapping[str, Any], measure: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """Returns the row of `key`, measured now unless it stands in the file; CPU seconds of this process are added.

        What was not run to its end in one process counts the seconds of the last one.
        """
        plain = json.loads(json.dumps(dict(key)))
        for row in self.rows:
            if all(row.get(name) == value for name, value in plain.items()):
                return row
        sys.stderr.write(f"{self.path.stem}: {plain}\n")
        start = time.process_time()
        found = dict(measure())
        row = {**plain, **found, "cpu_seconds": round(time.process_time() - start, 1)}
        self.rows.append(row)
        self._write()
        _say(row)
        return row

    def summary(self, name: str, value: Any) -> None:
        """Puts a finding over all rows into the file."""
        self.content[name] = value
        self._write()
        _say({name: value})

    def _write(self) -> None:
        command, here = f"python {shlex.join(sys.argv)}", machine(self.threads, "cpu")
        for name, value in (("commands", command), ("machines", here)):
            if value not in self.content[name]:
                self.content[name].append(value)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.path, self.content)


def _say(found: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()
