"""What the commands print in the same way."""

import json
from typing import Any


def print_line(value: Any) -> None:
    """Prints `value` as one line of JSON, the last one of the output."""
    print(json.dumps(value, allow_nan=False))


def print_json(value: Any) -> None:
    """Prints `value` as JSON."""
    print(json.dumps(value, indent=2))
