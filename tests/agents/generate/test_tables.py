"""The tables that scripts make: every run of them can be built, and the toy games end as they should."""

import math

import pytest

from agents.generate.config import ModelRun
from agents.generate.names import RECIPES
from generative import make_model
from scripts.table_models import TABLES
from scripts.table_toy_games import play

RUNS = [
    (table, size, name, changes)
    for table, (_, _, sizes) in TABLES.items()
    for size, variants in sizes.items()
    for name, changes in variants.items()
]


@pytest.mark.parametrize(("table", "size", "name", "changes"), RUNS, ids=lambda part: str(part)[:20])
def test_every_run_of_a_table_can_be_built(table: str, size: str, name: str, changes: dict) -> None:
    run = ModelRun(**{"data": "digits" if size == "quick" else "mnist", **changes, "data_dir": "x"}).check()
    side = {"digits": 8, "mnist": 28, "mnist-14": 14}[run.data]
    if size != "paper" or run.members is None:  # ensembles of ten are large
        make_model(run.model, (1, side, side), **run.plan.settings)
    assert set(TABLES[table][1]) & {*RECIPES[run.model].figures, "bound_nats", "active_units"}


def test_averaging_comes_nearer_and_descent_goes_farther() -> None:
    for game, solution in (("published", 1.0), ("bilinear", 0.0)):
        starts = [(solution - 0.1, solution + 0.2), (solution + 0.1, solution + 0.1)]
        begun = [math.dist(start, (solution, solution)) for start in starts]
        for weight, nearer in ((0.0, False), (0.5, True)):
            ended = play(game, starts, weight, 300, 0.05)["farthest"]
            assert [end < begin for end, begin in zip(ended, begun, strict=True)] == [nearer] * 2, (game, weight)
