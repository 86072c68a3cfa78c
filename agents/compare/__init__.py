"""Comparing exploration: studies of tasks, bonuses and seeds, run on one machine or many, and what they found."""

from agents.compare.conduct import Demonstration, compare, compare_one, demo
from agents.compare.report import report
from agents.compare.store import open_study
from agents.compare.study import Study
from agents.compare.suite import suite_study
from agents.compare.verdict import headline
from agents.compare.wording import table

__all__ = [
    "Demonstration", "Study", "compare", "compare_one", "demo", "headline", "open_study", "report", "suite_study",
    "table",
]  # fmt: skip
