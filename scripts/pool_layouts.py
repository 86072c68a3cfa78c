"""How many of the rooms that EnvPool and MiniGrid draw can be solved at all, by a search over their pictures.

Every cell of a picture is the thing whose own picture is nearest. From where the agent stands the search goes over all
that is no wall and no lava; things that can be carried are no obstacle, and a locked door is one until a key of its
colour was reached, or a box, which may hide it. A layout can be solved if the search reaches the goal, or the ball
where there is none.

    python scripts/pool_layouts.py --layouts 60 --out results/pool_layouts.json
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import tyro

GAMES = ("MultiRoom-N4-S5", "DoorKey-8x8", "KeyCorridorS3R3", "LockedRoom", "ObstructedMaze-2Dlh")
TARGETS = {"KeyCorridorS3R3": "ball", "ObstructedMaze-2Dlh": "blue ball"}
"""What must be reached, where it is not the goal."""
TILE = 32  # pixels of a cell
COARSE = 4  # pixels averaged before cells are compared: the two draw edges a little differently


@dataclass(frozen=True)
class Arguments:
    """What to look at."""

    games: tuple[str, ...] = GAMES
    """MiniGrid's names."""
    layouts: int = 60
    """Layouts of each."""
    seed: int = 0
    """Of the layouts."""
    out: Path = Path("results/pool_layouts.json")
    """Where the table goes."""


class Thing(NamedTuple):
    """What a cell holds."""

    kind: str
    colour: str
    locked: bool = False


def pictures() -> tuple[list[Thing], np.ndarray]:
    """Returns everything that a cell can hold, and the picture of each as numbers; lit cells and the agent too."""
    from minigrid.core.constants import COLOR_NAMES
    from minigrid.core.grid import Grid
    from minigrid.core.world_object import Ball, Box, Door, Floor, Goal, Key, Lava, Wall

    objects: list[tuple[Thing, Any]] = [(Thing("empty", ""), None), (Thing("goal", "green"), Goal())]
    objects += [(Thing("wall", "grey"), Wall()), (Thing("lava", ""), Lava())]
    for colour in COLOR_NAMES:
        for kind, make in (("ball", Ball), ("box", Box), ("key", Key), ("floor", Floor)):
            objects.append((Thing(kind, colour), make(colour)))
        for is_open, locked in ((True, False), (False, False), (False, True)):
            objects.append((Thing("door", colour, locked), Door(colour, is_open, locked)))
    things, drawn = [], []
    for (thing, shape), lit in product(objects, (False, True)):
        things.append(thing)
        drawn.append(Grid.render_tile(shape, highlight=lit, tile_size=TILE))
    for direction, lit in product(range(4), (False, True)):
        things.append(Thing("agent", ""))
        drawn.append(Grid.render_tile(None, agent_dir=direction, highlight=lit, tile_size=TILE))
    return things, numbers(np.stack(drawn))


def numbers(tiles: np.ndarray) -> np.ndarray:
    """Returns pictures of cells `(n, TILE, TILE, 3)` as coarse vectors `(n, d)`."""
    fine = tiles.astype(float).reshape(len(tiles), TILE // COARSE, COARSE, TILE // COARSE, COARSE, 3)
    return fine.mean((2, 4)).reshape(len(tiles), -1)


def read(picture: np.ndarray, things: list[Thing], known: np.ndarray) -> list[list[Thing]]:
    """Returns what stands in every cell of a picture, row by row."""
    rows, columns = picture.shape[0] // TILE, picture.shape[1] // TILE
    tiles = picture.reshape(rows, TILE, columns, TILE, 3).swapaxes(1, 2).reshape(-1, TILE, TILE, 3)
    seen = numbers(tiles)
    distance = (seen**2).sum(1)[:, None] - 2 * seen @ known.T + (known**2).sum(1)
    nearest = distance.argmin(1).reshape(rows, columns)
    return [[things[i] for i in row] for row in nearest]


def solvable(cells: list[list[Thing]], target: str) -> bool:
    """Returns whether the agent can reach the target."""
    keys: set[str] = set()
    while True:
        reached = list(flood(cells, keys))
        found = {thing.colour for thing in reached if thing.kind == "key"}
        if any(thing.kind == "box" for thing in reached):  # what it hides cannot be seen
            found |= {thing.colour for row in cells for thing in row if thing.locked}
        if found <= keys:
            return any(target in (thing.kind, f"{thing.colour} {thing.kind}") for thing in reached)
        keys |= found


def flood(cells: list[list[Thing]], keys: set[str]) -> Iterator[Thing]:
    """Yields everything that can be reached with these keys."""
    places = product(range(len(cells)), range(len(cells[0])))
    waiting = [(i, j) for i, j in places if cells[i][j].kind == "agent"]
    known = set(waiting)
    while waiting:
        i, j = waiting.pop()
        thing = cells[i][j]
        yield thing
        if thing.locked and thing.colour not in keys:
            continue
        for place in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
            inside = 0 <= place[0] < len(cells) and 0 <= place[1] < len(cells[0])
            if inside and place not in known and cells[place[0]][place[1]].kind not in ("wall", "lava"):
                known.add(place)
                waiting.append(place)


def of_envpool(game: str, layouts: int, seed: int) -> Iterator[np.ndarray]:
    """Yields pictures of layouts that EnvPool draws."""
    import envpool

    pool = envpool.make_gymnasium(f"MiniGrid-{game}-v0", num_envs=layouts, seed=seed, render_mode="rgb_array")
    pool.reset()
    for i in range(layouts):
        yield np.asarray(pool.render(env_ids=[i]))[0]


def of_minigrid(game: str, layouts: int, seed: int) -> Iterator[np.ndarray]:
    """Yields pictures of layouts that MiniGrid draws."""
    env = gymnasium.make(f"vime/MiniGrid-{game}-v0", render_mode="rgb_array")
    for i in range(layouts):
        env.reset(seed=seed + i)
        yield np.asarray(env.render())


def main() -> None:
    """Prints and writes the table."""
    import importlib.metadata

    import envs  # noqa: F401 - registers the tasks

    arguments = tyro.cli(Arguments, description=__doc__)
    things, known = pictures()
    rows = []
    for game in arguments.games:
        row: dict[str, Any] = {"game": game, "layouts": arguments.layouts}
        for name, drawn in (("envpool", of_envpool), ("minigrid", of_minigrid)):
            layouts = drawn(game, arguments.layouts, arguments.seed)
            row[name] = sum(solvable(read(one, things, known), TARGETS.get(game, "goal")) for one in layouts)
        rows.append(row)
        print(f"{game:22} solvable of {arguments.layouts}: EnvPool {row['envpool']}, MiniGrid {row['minigrid']}")
    versions = {name: importlib.metadata.version(name) for name in ("envpool", "minigrid")}
    arguments.out.write_text(json.dumps({"versions": versions, "seed": arguments.seed, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
