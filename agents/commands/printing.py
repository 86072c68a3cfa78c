"""What the commands print in the same way."""

import json
from typing import Any


def print_json(value: Any) -> None:
    """Prints `value` as JSON."""
    print(json.dumps(value, indent=2))
