"""Learning and comparing curious agents: one line makes a Stable-Baselines3 model curious, one command a study.

- `attach`, `curiosity`: pay a model a bonus; the bonus of a model, with what it has learned.
- `SelfImitation`: a callback that repeats the best episodes.
- `RunConfig`, `agents.train`, `load`: runs with a folder each, resumed exactly; the model of such a folder.
- `agents.compare`: studies with statistics, ranking and a page.
- `explore`, `transfer`, `dyna`, `dyna_of`, `agents.planning`: with a model of the world.
- `agents.skills`, `agents.imitation`, `agents.demonstrations`: rewards that are learned.
- `agents.zoo`: a callback for rl-zoo3.
"""

import importlib
from typing import TYPE_CHECKING, Any

from agents.attach import attach, curiosity

if TYPE_CHECKING:
    from agents.config import RunConfig
    from agents.evaluate import load
    from agents.planning.dyna import dyna, dyna_of
    from agents.planning.explore import explore
    from agents.planning.transfer import transfer
    from agents.self_imitation import SelfImitation

__all__ = ["RunConfig", "SelfImitation", "attach", "curiosity", "dyna", "dyna_of", "explore", "load", "transfer"]

_LAZY = {
    "RunConfig": "agents.config",
    "SelfImitation": "agents.self_imitation",
    "dyna": "agents.planning.dyna",
    "dyna_of": "agents.planning.dyna",
    "explore": "agents.planning.explore",
    "load": "agents.evaluate",
    "transfer": "agents.planning.transfer",
}
_MODULES = (
    "bench", "buffers", "compare", "config", "demonstrations", "evaluate", "factory", "gain", "imitation", "planning",
    "skills", "streams", "train", "vecenv", "weight", "zoo",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    """Returns what lives in a module that is imported on first use, so that `import agents` stays cheap."""
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"agents.{name}")
    raise AttributeError(f"module 'agents' has no attribute {name!r}")
