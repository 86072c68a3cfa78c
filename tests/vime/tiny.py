"""Settings that make any bonus cheap."""

from dataclasses import fields
from typing import Any

import vime

TINY: dict[str, Any] = {
    "hidden": (8,), "width": 4, "passes": 1, "updates": 2, "minibatch": 16, "members": 2, "samples": 1, "k": 2,
    "capacity": 256, "smallest_pool": 1, "settle": 16, "queue": 8, "bits": 8, "learning_rate": 0.01,
}  # fmt: skip
"""A small value for every setting that decides what a bonus costs; each bonus takes those it knows."""

MORE: dict[str, dict[str, Any]] = {
    "density-counts": {"rate": 0.01},  # or all of the first few places count as never seen before
    "ex2": {"passes": 16, "width": 8, "hidden": (16,), "learning_rate": 0.03},  # first it must tell places apart
    "ride": {"width": 8, "hidden": (16,)},  # with 8 rectifiers all may end up silent, and their features constant
}


def tiny(name: str) -> dict[str, Any]:
    """Settings that make the bonus `name`, or every part of a mixture, cheap."""
    if "+" in name:
        return {part: tiny(part) for part in name.split("+")}
    known = {field.name for field in fields(vime.BONUSES[name].Settings)}  # type: ignore[attr-defined]
    return {key: value for key, value in TINY.items() if key in known} | MORE.get(name, {})
