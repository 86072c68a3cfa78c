"""A long chain whose actions are mixed up and whose first state is pure noise."""

from functools import partial
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces

from envs.classic import ClassicEnv, State, switch
from envs.vector import ClassicVectorEnv

LEFT_REWARD = 0.001
RIGHT_REWARD = 1.0
START = 1
SPARE_STEPS = 9
"""An episode lasts this many steps more than the chain has states."""


class StochasticChain(ClassicEnv[np.int64]):
    """Walk a chain from its left end to its right, though in half of the states left and right are swapped.

    | observation | range        | unit  |   | action | effect                                             |
    |-------------|--------------|-------|   |--------|----------------------------------------------------|
    | position    | 0..length-1  | -     |   | 0      | one left, or one right where the actions are swapped |
    |             |              |       |   | 1      | one right, or one left where the actions are swapped |

    Which states are swapped is drawn once, from `layout_seed`, and is the same in every episode; a step beyond either
    end stays. State 0 is a trap for whoever seeks surprise: whatever the action, it leads to 0 or to 1 with equal
    probability (`trap=False` makes it a state as any other).

    Reward: 0.001 on arriving in (or staying at) the left end, 1 at the right end, else 0.
    Start: state 1. Never ends; cut after length + 9 steps (59).

    Versions: v0, the first.
    References: Shyam et al. 2019 (arXiv 1810.12162), section on discrete environments, after Osband et al. 2016.
    Differs from the paper: written from its description, as no code of it was published; the paper's layout of swapped
    states is not known.

    Raises:
        ValueError: `length` is below 3, or a seed is negative.
    """

    TASK: ClassVar[str] = "vime/StochasticChain-v0"
    LENGTH: ClassVar[int] = 50
    HORIZON: ClassVar[int] = LENGTH + SPARE_STEPS
    FIELDS = ("position",)

    def __init__(
        self,
        *,
        length: int = LENGTH,
        layout_seed: int = 0,
        trap: bool = True,
        horizon: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        if length < 3:
            raise ValueError(f"`length` must be at least 3, for a start between two ends; got {length}.")
        if layout_seed < 0:
            raise ValueError(f"`layout_seed` must not be negative; got {layout_seed}.")
        self.observation_space, self.action_space = spaces.Discrete(length), spaces.Discrete(2)
        super().__init__(horizon=length + SPARE_STEPS if horizon is None else horizon, render_mode=render_mode)
        self.length, self.trap = length, trap
        right = np.array([-1, 1])
        swapped = np.random.default_rng(layout_seed).permutation(length) < length // 2
        self.moves = np.where(swapped[:, None], -right, right)
        """Step that an action takes in a state, before the ends stop it: `moves[position, action]`."""

    def start(self, rng: np.random.Generator, shape: tuple[int, ...] = ()) -> State:
        """Returns the state of new episodes: one right of the left end."""
        return (np.full(shape, START, np.int64)[()],)

    def control(self, actions: Any) -> Any:
        """Returns the actions themselves.

        Raises:
            gymnasium.error.InvalidAction: one is not 0 or 1.
        """
        return switch(actions)

    def advance(self, state: State, control: Any, rng: np.random.Generator) -> State:
        """Returns the state one step later."""
        (position,) = state
        following = np.minimum(np.maximum(position + self.moves[position, control], 0), self.length - 1)
        if self.trap:
            trapped = np.asarray(position == 0)
            if trapped.any():  # only those who sit in the trap draw
                following = np.array(following)
                following[trapped] = rng.integers(2, size=int(trapped.sum()))
                following = following[()]
        return (following,)

    def outcome(self, state: State) -> tuple[Any, Any]:
        """Returns (the reward of the end, if it is one; never over)."""
        (position,) = state
        reward = LEFT_REWARD * (position == 0) + RIGHT_REWARD * (position == self.length - 1)
        return reward, np.zeros(np.shape(position), bool)

    def observe(self, state: State) -> Any:
        """Returns the position."""
        return np.array(state[0], np.int64)[()]


StochasticChainVector = partial(ClassicVectorEnv, StochasticChain)
