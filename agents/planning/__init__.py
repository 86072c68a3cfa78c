"""Planning in imagination: look for information, or for reward, before a step is taken.

- `objective`: what a plan is for; `imagination`: many futures in a model at once;
- `sequences` and `planners`: where sequences of actions come from, and how good ones are found;
- `controller`: a model and a planner that act.
"""

from agents.planning.controller import Controller
from agents.planning.imagination import Imagined, imagine
from agents.planning.objective import Objective
from agents.planning.planners import Plan, PlannerSettings, plan

__all__ = ["Controller", "Imagined", "Objective", "Plan", "PlannerSettings", "imagine", "plan"]
