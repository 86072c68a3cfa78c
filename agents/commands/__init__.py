"""The commands of the command line, each a function whose signature makes its options and whose docstring its help.

Importing this package does not import torch: every command imports what it needs when it runs.
"""

from agents.commands import generate
from agents.commands.looks import bench, show_names
from agents.commands.planning import explore_from, transfer
from agents.commands.runs import evaluate, train_from
from agents.commands.studies import compare_from, demo, report

__all__ = [
    "bench",
    "compare_from",
    "demo",
    "evaluate",
    "explore_from",
    "generate",
    "report",
    "show_names",
    "train_from",
    "transfer",
]
