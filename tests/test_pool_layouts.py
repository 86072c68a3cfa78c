"""The script that counts layouts which can be solved: its search, and how it reads pictures."""

import gymnasium
import pytest

import envs  # noqa: F401 - registers the tasks
from scripts.pool_layouts import Thing, pictures, read, solvable

SIGNS = {
    "#": Thing("wall", "grey"), ".": Thing("empty", ""), "@": Thing("agent", ""), "G": Thing("goal", "green"),
    "k": Thing("key", "red"), "b": Thing("box", "blue"), "o": Thing("ball", "blue"), "g": Thing("ball", "green"),
    "d": Thing("door", "red"), "D": Thing("door", "red", True), "~": Thing("lava", ""),
}  # fmt: skip


@pytest.mark.parametrize(
    ("row", "target", "found"),
    [
        ("@.G", "goal", True),
        ("@#G", "goal", False),
        ("@~G", "goal", False),
        ("@dG", "goal", True),
        ("@DG", "goal", False),
        ("k@DG", "goal", True),
        ("@DkG", "goal", False),
        ("b@DG", "goal", True),
        ("@go", "blue ball", True),
        ("@g", "blue ball", False),
        ("@g", "ball", True),
    ],
)
def test_the_search_opens_doors_whose_key_was_reached(row: str, target: str, found: bool) -> None:
    assert solvable([[SIGNS[sign] for sign in row]], target) == found


def test_a_picture_is_read_as_the_grid_that_it_shows() -> None:
    pytest.importorskip("minigrid")
    things, known = pictures()
    env = gymnasium.make("vime/MiniGrid-ObstructedMaze-2Dlh-v0", render_mode="rgb_array")
    env.reset(seed=1)
    cells, game = read(env.render(), things, known), env.unwrapped.game  # type: ignore[arg-type, attr-defined]
    column, row = game.agent_pos
    assert cells[row][column].kind == "agent"
    for i in range(game.grid.height):
        for j in range(game.grid.width):
            there, thing = game.grid.get(j, i), cells[i][j]
            if there is not None:
                assert (thing.kind, thing.locked) == (there.type, getattr(there, "is_locked", False))
            elif (i, j) != (row, column):
                assert thing.kind == "empty"
