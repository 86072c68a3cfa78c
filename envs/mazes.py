"""The mazes that bodies are driven through: their walls, where they start and where they are paid."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

Cell = tuple[int, int]
"""Row and column, counted from the upper left corner."""
WALL, START, GOAL = "#", "s", "g"


@dataclass(frozen=True, kw_only=True)
class Maze:
    """Square cells, the origin in the middle, x to the right and y upwards; lengths are in sides of a cell."""

    cells: tuple[str, ...]
    """The rows from the top down: `#` wall, `s` start, `g` goal."""
    horizon: int
    """Steps of an episode."""

    @property
    def rows(self) -> int:
        """How many rows."""
        return len(self.cells)

    @property
    def columns(self) -> int:
        """How many columns."""
        return len(self.cells[0])

    @property
    def start(self) -> Cell:
        """The cell in which an episode starts."""
        return next(self.find(START))

    @property
    def goal(self) -> Cell:
        """The cell whose middle pays."""
        return next(self.find(GOAL))

    def find(self, mark: str) -> Iterator[Cell]:
        """Yields every cell that bears the mark."""
        for i, row in enumerate(self.cells):
            yield from ((i, j) for j, cell in enumerate(row) if cell == mark)

    def middle(self, cell: Cell) -> tuple[float, float]:
        """Returns x and y of the middle of a cell."""
        return cell[1] + 0.5 - self.columns / 2, self.rows / 2 - cell[0] - 0.5

    def cell_at(self, x: float, y: float) -> Cell:
        """Returns the cell in which a place lies."""
        return math.floor(self.rows / 2 - y), math.floor(x + self.columns / 2)


MAZES: Mapping[str, Maze] = MappingProxyType(
    {
        "UMaze": Maze(
            cells=(
                "#####",
                "#g  #",
                "### #",
                "#s  #",
                "#####",
            ),
            horizon=300,
        ),
        "Medium": Maze(
            cells=(
                "########",
                "#s ##  #",
                "#  #   #",
                "##   ###",
                "#  #   #",
                "# #  # #",
                "#   # g#",
                "########",
            ),
            horizon=600,
        ),
        "Large": Maze(
            cells=(
                "############",
                "#s   #     #",
                "# ## # # # #",
                "#      #   #",
                "# #### ### #",
                "#  # #     #",
                "## # # # ###",
                "#  #   #  g#",
                "############",
            ),
            horizon=800,
        ),
    }
)
"""The maps and time limits of Gymnasium-Robotics' PointMaze, by its names; start and goal are ours."""
ANT_CELL = 3.0
"""m, the side of a cell where an ant walks"""
ANT_HORIZONS: Mapping[str, int] = MappingProxyType({"UMaze": 1000})
"""The maps that an ant walks through, and the steps of its episodes."""

ROOMS = Maze(
    cells=(
        "##############",
        "#s     #     #",
        "#      #     #",
        "#            #",
        "#      #     #",
        "#      #     #",
        "#      #     #",
        "########## ###",
        "#      #     #",
        "#      #     #",
        "#            #",
        "#      #     #",
        "#g     #     #",
        "##############",
    ),
    horizon=150,
)
"""Four rooms in a chain, for a walker who is seen from above."""
