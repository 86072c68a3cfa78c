"""MiniGrid's tasks: rooms, doors and keys seen through a window of 7x7 cells, paid only at the goal.

One copy is stepped by the package `minigrid`; `envs.pooled_grids` steps many at once by EnvPool, 15 times faster.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import error, spaces
from gymnasium.envs.registration import load_env_creator

from envs.classic import check_horizon, check_keys, restore_generator

GAMES = (
    "Empty-8x8", "FourRooms", "DoorKey-5x5", "DoorKey-8x8", "DoorKey-16x16", "KeyCorridorS3R1", "KeyCorridorS3R3",
    "MultiRoom-N2-S4", "MultiRoom-N4-S5", "MultiRoom-N6", "ObstructedMaze-2Dlh", "LockedRoom",
)  # fmt: skip
GRIDS: Mapping[str, str] = MappingProxyType({f"vime/MiniGrid-{game}-v0": game for game in GAMES})
"""MiniGrid's name of every task, by its id here."""

VIEW = 7
AGENT = (VIEW // 2, VIEW - 1)  # where the agent stands in its own view
KINDS = (11, 6, 4)  # values of the three numbers of a cell: things, colours, states or directions


def observation_space() -> spaces.Box:
    """Returns the space of one view; its upper bounds tell how many values each number of a cell has."""
    high = np.broadcast_to(np.array(KINDS, np.uint8) - 1, (VIEW, VIEW, len(KINDS)))
    return spaces.Box(np.zeros_like(high), high.copy(), dtype=np.uint8)


def view(image: np.ndarray, direction: Any) -> np.ndarray:
    """Returns views `(..., 7, 7, 3)` that hold the direction, too: where the agent stands, in place of a state."""
    seen = image.copy()
    seen[..., *AGENT, 2] = direction  # what the agent carries is shown there, and has no state
    return seen


def poolable(game: str) -> bool:
    """Returns whether EnvPool draws the rooms of `game` as MiniGrid does.

    Of its MultiRoom (1.2.5), most have a door that leads into a wall, so that no way leads to the goal.
    """
    return not game.startswith("MultiRoom")


def pooled(task: str) -> bool:
    """Returns whether many copies of `task` can be stepped at once: EnvPool is installed, and can draw its rooms."""
    return task in GRIDS and poolable(GRIDS[task]) and find_spec("envpool") is not None


class Grid(gym.Env[np.ndarray, np.int64]):
    """MiniGrid's rooms, doors and keys, seen through a window of 7x7 cells and paid only at the goal.

    | observation              | range  | meaning                                                              |
    |--------------------------|--------|----------------------------------------------------------------------|
    | cell `[i, j, 0]`         | 0..10  | thing: unseen, empty, wall, floor, door, key, ball, box, goal, lava  |
    | cell `[i, j, 1]`         | 0..5   | colour: red, green, blue, purple, yellow, grey                       |
    | cell `[i, j, 2]`         | 0..2   | state of a door: open, closed, locked                                |
    | the agent's `[3, 6, 2]`  | 0..3   | direction: right, down, left, up                                     |

    The agent stands at `[3, 6]`, looks towards falling `j`, and sees there what it carries. The words of the mission
    are left out.

    | action  | 0         | 1          | 2       | 3       | 4    | 5                          | 6    |
    |---------|-----------|------------|---------|---------|------|----------------------------|------|
    | effect  | turn left | turn right | forward | pick up | drop | toggle (a door, a box)     | done |

    Reward: 1 - 0.9 * steps / horizon on success, else 0. Ends there; cut after MiniGrid's own number of steps, which
    grows with the size of the task (640 for DoorKey-8x8, 120 for MultiRoom-N4-S5).

    Args:
        game: MiniGrid's name without prefix and version, for example "DoorKey-8x8".
        render_mode: None or "rgb_array".
        horizon: steps after which an episode is cut; MiniGrid's own unless given.

    Raises:
        ImportError: `minigrid` is not installed.
        ValueError: `horizon` is no positive whole number.

    References: Chevalier-Boisvert et al. 2023, "Minigrid & Miniworld: modular & customizable reinforcement learning
        environments for goal-oriented tasks", arXiv:2306.13831.

    Differs from MiniGrid: the direction stands in the image, and the space has the true bounds of every number.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - declared so by Gymnasium

    def __init__(self, game: str, *, render_mode: str | None = None, horizon: int | None = None) -> None:
        try:
            import minigrid  # noqa: F401 - registers its tasks
        except ImportError as reason:
            raise ImportError(
                "MiniGrid's tasks need the package `minigrid`, which is not installed: pip install '.[suite]'"
            ) from reason
        spec = gym.spec(f"MiniGrid-{game}-v0")
        limit = {} if horizon is None else {"max_steps": check_horizon(horizon)}
        # not by `gym.make`, which warns that a later version of the task has other rooms
        self.game: Any = load_env_creator(spec.entry_point)(**spec.kwargs, **limit, render_mode=render_mode)  # type: ignore[arg-type]
        self.render_mode = render_mode
        self.observation_space = observation_space()
        self._choices = int(self.game.action_space.n)
        self.action_space = spaces.Discrete(self._choices)
        self._start: Any = None  # the generator's state before the episode
        self._actions: list[int] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Starts an episode in rooms of its own; returns the first view."""
        super().reset(seed=seed)
        self._start, self._actions = self.np_random.bit_generator.state, []
        return self._begin()

    def _begin(self) -> tuple[np.ndarray, dict]:
        self.game.np_random = self.np_random
        seen, _ = self.game.reset()
        return view(seen["image"], seen["direction"]), self._info()

    def _info(self) -> dict[str, Any]:
        return {"agent_pos": np.array(self.game.agent_pos, np.int32)}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Advances by one step; `info["agent_pos"]` is the agent's column and row.

        Raises:
            gymnasium.error.ResetNeeded: `reset` was not called first.
            gymnasium.error.InvalidAction: there is no such action.
        """
        if self._start is None:
            raise error.ResetNeeded("Call `reset` first.")
        if not self.action_space.contains(action):
            raise error.InvalidAction(f"An action is a whole number of 0 to {self._choices - 1}; got {action!r}.")
        self._actions.append(int(action))
        seen, reward, terminated, truncated, _ = self.game.step(int(action))
        return view(seen["image"], seen["direction"]), float(reward), bool(terminated), bool(truncated), self._info()

    def render(self) -> Any:
        """Returns a picture, uint8 `(h, w, 3)`; None without `render_mode="rgb_array"`."""
        return self.game.render()

    def close(self) -> None:
        """Frees what rendering holds."""
        self.game.close()

    def get_state(self) -> dict[str, Any]:
        """Returns where the generator stood when the episode began, and the actions since, as plain Python.

        Raises:
            gymnasium.error.ResetNeeded: `reset` was not called first.
        """
        if self._start is None:
            raise error.ResetNeeded("Call `reset` first.")
        return {"random": self._start, "actions": list(self._actions)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continues exactly where `get_state` was called, by playing the episode again.

        Raises:
            ValueError: `state` is not what `get_state` of this task returns.
        """
        check_keys(state, ("random", "actions"))
        actions = [int(action) for action in state["actions"]]
        if not all(action in self.action_space for action in actions):
            raise ValueError(f"A saved episode holds actions of 0 to {self._choices - 1}; others came.")
        restore_generator(self.np_random, state["random"])
        self._start, self._actions = state["random"], actions
        self._begin()
        for action in actions:
            self.game.step(action)
