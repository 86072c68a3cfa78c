"""The sparse mountain car and a maze, seen as small grey pictures."""

from functools import partial
from typing import Any, ClassVar

import numpy as np
from gymnasium import error, spaces

from envs.classic import ClassicEnv, State
from envs.mazes import ROOMS, WALL, Maze
from envs.mountain_car import SparseMountainCar
from envs.pixels import car_frames, maze_frames, picture_space
from envs.vector import ClassicVectorEnv

MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))
"""Rows and columns that each action moves by: up, right, down, left"""


class PixelMountainCar(SparseMountainCar):
    """The sparse mountain car, seen as two pictures of the valley instead of position and velocity.

    | observation        | range  | unit       |   | action | range | unit | effect                         |
    |--------------------|--------|------------|---|--------|-------|------|--------------------------------|
    | (0) picture before | 0..255 | grey level |   | force  | -1..1 | N    | along the track (cut to range) |
    | (1) picture now    | 0..255 | grey level |   |        |       |      |                                |

    A picture has 42 x 42 bytes and shows 1.26 m to either side of the valley: 0.06 m a pixel, a car of 5 pixels, whose
    grey edges tell 16 places within a pixel apart. There is no flag to be seen.

    Reward: 1 on the step that reaches the flag (x >= 0.6), else 0; the return of an episode is its success.
    Start: in the valley (x = 0) with a velocity U(-1, 1), which the first observation, twice the same picture, hides.
    Ends at the flag or off the track (x <= -2, unpaid); cut after 500 steps.

    Versions: v0, the first.
    References: Houthooft et al. 2016 (arXiv 1605.09674), the first sparse task.
    Differs from the paper: what is seen; the motion is that of `SparseMountainCar`.
    """

    TASK: ClassVar[str] = "vime/PixelMountainCar-v0"
    FIELDS = ("x", "speed", "before")
    observation_space = picture_space()

    def start(self, rng: np.random.Generator, shape: tuple[int, ...] = ()) -> State:
        """Returns the state of new episodes: in the valley, moving."""
        x, speed = super().start(rng, shape)
        return x, speed, x + 0.0  # a copy: arrays of many are written to

    def advance(self, state: State, control: Any, rng: np.random.Generator) -> State:
        """Returns the state 0.05 s later, and where the car was before."""
        return *super().advance(state[:2], control, rng), state[0]

    def observe(self, state: State) -> np.ndarray:
        """Returns the picture before and the picture now."""
        x, _, before = state
        return car_frames(np.stack([before, x], -1))

    def possible(self, state: State) -> bool:
        """Returns whether the car is where the task can put it."""
        return all(SparseMountainCar.observation_space.contains(np.array((x, 0), np.float32)) for x in state[::2])


class PixelMountainCarWeak(PixelMountainCar):
    """As `PixelMountainCar`, with a motor that chance alone never reaches the flag with.

    | observation        | range  | unit       |   | action | range | unit  | effect                         |
    |--------------------|--------|------------|---|--------|-------|-------|--------------------------------|
    | (0) picture before | 0..255 | grey level |   | force  | -1..1 | 0.6 N | along the track (cut to range) |
    | (1) picture now    | 0..255 | grey level |   |        |       |       |                                |

    Pushing always the way it goes, the car is at the flag after 72 steps as a rule and 91 at most; of 4,000 episodes of
    random pushes none gets there.

    Reward: 1 on the step that reaches the flag (x >= 0.6), else 0; the return of an episode is its success.
    Start: in the valley (x = 0) with a velocity U(-1, 1), which the first observation, twice the same picture, hides.
    Ends at the flag or off the track (x <= -2, unpaid); cut after 500 steps.

    Versions: v0, the first.
    References: none; the first sparse task of Houthooft et al. 2016 (arXiv 1605.09674) with a weaker motor.
    Differs from the paper: what is seen, and the motor.
    """

    TASK: ClassVar[str] = "vime/PixelMountainCarWeak-v0"
    MOTOR: ClassVar[float] = 0.6


class PixelMaze(ClassicEnv[np.int64]):
    """Walk through four rooms to a prize that is near as the crow flies and far on foot, seen from above.

    | observation        | range  | unit       |   | action     | effect                                           |
    |--------------------|--------|------------|---|------------|--------------------------------------------------|
    | (0) picture before | 0..255 | grey level |   | 0, 1, 2, 3 | one cell up, right, down, left; not into a wall  |
    | (1) picture now    | 0..255 | grey level |   |            |                                                  |

    A picture has 42 x 42 bytes, 3 x 3 for each of 14 x 14 cells: black ground, walls of grey 90, the prize 170, the
    walker 255. The map is `envs.mazes.ROOMS`. There is no chance in it: what is seen tells where the walker is.

    Reward: 1 on the step that reaches the prize, else 0; the return of an episode is its success.
    Start: in the upper left corner; the first observation is twice the same picture.
    Ends at the prize; cut after 150 steps.

    Versions: v0, the first.
    References: Sutton et al. 1999 (Between MDPs and semi-MDPs, Artificial Intelligence 112), whose four rooms these are
    in spirit.
    Differs from the paper: the rooms are a chain, for one door is missing; nothing slips; the walker sees a picture.
    """

    TASK: ClassVar[str] = "vime/PixelMaze-v0"
    HORIZON: ClassVar[int] = ROOMS.horizon
    FIELDS = ("cell", "before")
    MAZE: ClassVar[Maze] = ROOMS
    observation_space, action_space = picture_space(), spaces.Discrete(len(MOVES))

    def __init__(self, *, horizon: int | None = None, render_mode: str | None = None) -> None:
        super().__init__(horizon=horizon, render_mode=render_mode)
        maze = self.MAZE
        self.first, self.goal = (row * maze.columns + column for row, column in (maze.start, maze.goal))
        self._next = np.arange(maze.rows * maze.columns)[:, None].repeat(len(MOVES), 1)
        wall = np.array([list(row) for row in maze.cells]) == WALL
        for row, column in np.argwhere(~wall):
            for action, (down, right) in enumerate(MOVES):
                if not wall[row + down, column + right]:
                    self._next[row * maze.columns + column, action] += down * maze.columns + right
        self._open = frozenset(np.flatnonzero(~wall).tolist())

    def start(self, rng: np.random.Generator, shape: tuple[int, ...] = ()) -> State:
        """Returns the state of new episodes: the first cell, twice."""
        return tuple(np.full(shape, self.first)[()] for _ in self.FIELDS)

    def control(self, actions: Any) -> Any:
        """Returns the actions themselves, each 0 to 3: one, or an array of them.

        Raises:
            gymnasium.error.InvalidAction: one is another number.
        """
        if isinstance(actions, int | np.integer) and 0 <= actions < len(MOVES):
            return actions
        chosen = np.asarray(actions)
        if chosen.dtype.kind not in "iu" or not ((chosen >= 0) & (chosen < len(MOVES))).all():
            raise error.InvalidAction(f"Every action must be 0, 1, 2 or 3; got {actions!r}.")
        return chosen

    def advance(self, state: State, control: Any, rng: np.random.Generator) -> State:
        """Returns the cell one step later, and the one before."""
        return self._next[state[0], control], state[0]

    def outcome(self, state: State) -> tuple[Any, Any]:
        """Returns (1 at the prize, else 0; whether the walker is there)."""
        arrived = np.equal(state[0], self.goal)
        return arrived, arrived

    def observe(self, state: State) -> np.ndarray:
        """Returns the picture before and the picture now."""
        cell, before = state
        return maze_frames(self.MAZE)[np.stack([before, cell], -1)]

    def possible(self, state: State) -> bool:
        """Returns whether the walker is in a cell that is no wall."""
        return self._open.issuperset(state)


PixelMountainCarVector = partial(ClassicVectorEnv, PixelMountainCar)
PixelMountainCarWeakVector = partial(ClassicVectorEnv, PixelMountainCarWeak)
PixelMazeVector = partial(ClassicVectorEnv, PixelMaze)
