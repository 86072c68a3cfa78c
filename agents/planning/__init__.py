"""Planning in imagination: look for information, or for reward, before a step is taken.

- `settings`: how to plan and to explore;
- `objective`: what a plan is for; `imagination`: many futures in a model at once;
- `sequences` and `planners`: where sequences of actions come from, and how good ones are found;
- `controller`: a model and a planner that act;
- `explorers`, `explore`, `exploration`, `recording`, `coverage`: an environment explored without its reward;
- `rewards`, `transfer`, `imagined`: what was learnt, put to use for rewards that came later;
- `dyna`, `dreaming`, `branching`, `dyna_buffer`: off-policy models of SB3 that learn from imagined steps too;
- `graphs`: imagination on CUDA, captured and replayed.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agents.planning.controller import Controller
    from agents.planning.exploration import Exploration, load
    from agents.planning.imagination import Imagined, imagine
    from agents.planning.imagined import ImaginedEnvironment
    from agents.planning.objective import Objective
    from agents.planning.planners import Plan, plan
    from agents.planning.settings import ExploreConfig, ExploreSettings, PlannerSettings

_PLACES = {
    "Controller": "controller",
    "Exploration": "exploration",
    "load": "exploration",
    "Imagined": "imagination",
    "imagine": "imagination",
    "ImaginedEnvironment": "imagined",
    "Objective": "objective",
    "Plan": "planners",
    "plan": "planners",
    **dict.fromkeys(("ExploreConfig", "ExploreSettings", "PlannerSettings"), "settings"),
}
"""Where lies what needs torch; loaded when it is first asked for, so that help costs nobody two seconds."""

__all__ = [
    "Controller",
    "Exploration",
    "ExploreConfig",
    "ExploreSettings",
    "Imagined",
    "ImaginedEnvironment",
    "Objective",
    "Plan",
    "PlannerSettings",
    "imagine",
    "load",
    "plan",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'agents.planning' has no attribute {name!r}")
    return getattr(importlib.import_module(f"agents.planning.{_PLACES[name]}"), name)
