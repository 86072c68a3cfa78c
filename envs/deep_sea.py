"""A dive of N steps to one treasure, which every aimless diver misses."""

import re
from functools import partial
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces

from envs.classic import ClassicEnv, State, switch
from envs.vector import ClassicVectorEnv

SIZES = (10, 20, 30, 40, 50)
"""Sizes that are registered as tasks; the class takes any."""
TREASURE = 1.0
MOVE_COST = 0.01
"""Of a dive that moves right on every step; each single one costs this over the size."""
LAYOUT_SEED = 42
"""That of bsuite's experiment, which draws the meaning of the actions in every cell."""


def size_of(task_id: str) -> int | None:
    """Returns the size of the deep sea of this id; None for another task."""
    found = re.fullmatch(r"vime/DeepSea(\d+)-v0", task_id)
    return int(found[1]) if found else None


class DeepSea(ClassicEnv[np.int64]):
    """Sink through a square of cells, one row a step, and arrive at its far corner by moving right on every step.

    | observation | what                                            | range        | unit |
    |-------------|-------------------------------------------------|--------------|------|
    | cell        | row times size plus column; size**2 at the end  | 0..size**2   | -    |

    | action | effect                                                              |
    |--------|---------------------------------------------------------------------|
    | 0, 1   | right and left, or left and right: which of the two differs by cell |

    What the actions mean in a cell is drawn once, from `layout_seed`, and is the same in every episode. The column
    never leaves 0..size-1, and a dive has exactly `size` steps. Learners and bonuses see the cell as one indicator
    each, which is the square of zeros with a single one that bsuite shows.

    Reward: -0.01 / size for every move to the right, +1 for moving right in the last cell of the last row: 0.99 for the
    only dive that finds the treasure, 0 for always moving left. Of random dives one in 2**size finds it.
    Start: the upper left cell. Ends after `size` steps; cut after `horizon` steps (size + 1, so never, unless given).

    Versions: v0, the first.
    References: Osband et al. 2019 (Deep exploration via randomized value functions, JMLR 20); Osband et al. 2020
    (arXiv 1908.03568), experiment `deep_sea` of bsuite.
    Differs from the paper: nothing but the form of the observation, an index in place of an array.

    Raises:
        ValueError: `size` is below 2, or `layout_seed` is negative.
    """

    TASK: ClassVar[str] = "vime/DeepSea10-v0"
    SIZE: ClassVar[int] = 10
    HORIZON: ClassVar[int] = SIZE + 1
    FIELDS = ("cell", "reward")

    def __init__(
        self,
        *,
        size: int = SIZE,
        layout_seed: int = LAYOUT_SEED,
        horizon: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        if isinstance(size, bool) or not isinstance(size, int) or size < 2:
            raise ValueError(f"`size` must be a whole number of at least 2; got {size!r}.")
        if layout_seed < 0:
            raise ValueError(f"`layout_seed` must not be negative; got {layout_seed}.")
        self.observation_space, self.action_space = spaces.Discrete(size * size + 1), spaces.Discrete(2)
        super().__init__(horizon=size + 1 if horizon is None else horizon, render_mode=render_mode)
        self.TASK = f"vime/DeepSea{size}-v0"  # type: ignore[misc]  # each size is a task
        self.size = size
        self.right = np.random.RandomState(layout_seed).binomial(1, 0.5, (size, size))  # the generator of bsuite
        """The action that moves right in a cell: `right[row, column]`."""
        self._next, self._reward = self._tables()

    def _tables(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns where an action leads from a cell, and what it pays: `(size**2 + 1, 2)` each."""
        size, end = self.size, self.size**2
        row, column = np.divmod(np.arange(end), size)
        moves_right = np.arange(2) == self.right.reshape(-1, 1)
        arrival = np.clip(column[:, None] + np.where(moves_right, 1, -1), 0, size - 1)
        following = np.where(row[:, None] == size - 1, end, (row[:, None] + 1) * size + arrival)
        found = moves_right & (column[:, None] == size - 1)
        reward = TREASURE * found - MOVE_COST / size * moves_right
        stay = np.array([[end, end]])  # nothing happens after the end
        return np.concatenate([following, stay]), np.concatenate([reward, np.zeros((1, 2))])

    def start(self, rng: np.random.Generator, shape: tuple[int, ...] = ()) -> State:
        """Returns the state of new episodes: the upper left cell."""
        return np.zeros(shape, np.int64)[()], np.zeros(shape)[()]

    def control(self, actions: Any) -> Any:
        """Returns the actions themselves.

        Raises:
            gymnasium.error.InvalidAction: one is not 0 or 1.
        """
        return switch(actions)

    def advance(self, state: State, control: Any, rng: np.random.Generator) -> State:
        """Returns the state one step later."""
        return self._next[state[0], control], self._reward[state[0], control]

    def outcome(self, state: State) -> tuple[Any, Any]:
        """Returns (the reward of the move that led here, whether it was the last)."""
        cell, reward = state
        return reward, np.equal(cell, self.size**2)

    def observe(self, state: State) -> Any:
        """Returns the cell."""
        return np.array(state[0], np.int64)[()]


DeepSeaVector = partial(ClassicVectorEnv, DeepSea)
