"""Comparing exploration: studies of tasks, bonuses and seeds, run on this machine, and what they found."""

from agents.compare.conduct import Demonstration, compare, demo
from agents.compare.report import report
from agents.compare.study import Study
from agents.compare.wording import headline, table

__all__ = ["Demonstration", "Study", "compare", "demo", "headline", "report", "table"]
