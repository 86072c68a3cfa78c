"""One copy of a classic task, stepped with plain numbers; `envs.vector` steps many with the same functions."""

import copy
import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

import gymnasium as gym
import numpy as np
from gymnasium import error, spaces

State: TypeAlias = tuple[Any, ...]
"""What a copy remembers: a number each for one copy, an array each (one entry per copy) for many."""

ActType = TypeVar("ActType")


def restore_generator(generator: np.random.Generator, state: Any) -> None:
    """Puts `generator` into a state that `generator.bit_generator.state` gave.

    Raises:
        ValueError: it is the state of another kind of generator, or none at all.
    """
    try:
        generator.bit_generator.state = state
    except (TypeError, ValueError, KeyError) as reason:
        raise ValueError(f"The saved random state does not fit this environment's generator: {reason}.") from reason


def check_horizon(horizon: Any) -> int:
    """Returns `horizon`.

    Raises:
        ValueError: it is no positive whole number.
    """
    if isinstance(horizon, bool) or not isinstance(horizon, int) or horizon < 1:
        raise ValueError(f"`horizon` must be a positive whole number of steps; got {horizon!r}.")
    return horizon


def check_render_mode(render_mode: str | None) -> str | None:
    """Returns `render_mode`.

    Raises:
        gymnasium.error.UnsupportedMode: it is neither None nor "rgb_array".
    """
    if render_mode not in (None, "rgb_array"):
        raise error.UnsupportedMode(f'`render_mode` must be None or "rgb_array"; got {render_mode!r}.')
    return render_mode


def check_keys(state: Any, keys: tuple[str, ...]) -> None:
    """Does nothing if `state` is a mapping with exactly these keys.

    Raises:
        ValueError: it is not; the message says which are missing or unknown.
    """
    if not isinstance(state, Mapping) or set(state) != set(keys):
        came = sorted(map(str, state)) if isinstance(state, Mapping) else type(state).__name__
        raise ValueError(f"A saved state has the keys {sorted(keys)}; got {came}. Hand in what `get_state` returned.")


class ClassicEnv(gym.Env[Any, ActType], Generic[ActType]):
    """A task made of four pure functions that take one copy (numbers) or many (arrays) alike.

    A task says how an episode starts, what a step does to the state, what a state pays and whether it ends the
    episode, and what is seen of it; this class turns that into a `gymnasium.Env`, and `envs.vector.ClassicVectorEnv`
    into a vector environment. Both give the same numbers, bit for bit.

    An episode is cut after `horizon` steps by the environment itself, so that a saved state continues exactly,
    whatever wrappers stand around it.

    Raises:
        ValueError: `horizon` is not a positive whole number.
        gymnasium.error.UnsupportedMode: `render_mode` is neither None nor "rgb_array".
    """

    TASK: ClassVar[str]
    HORIZON: ClassVar[int] = 500
    FIELDS: ClassVar[tuple[str, ...]]
    """Names of the numbers in a state, in order."""
    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012 - declared so by Gymnasium

    def __init__(self, *, horizon: int | None = None, render_mode: str | None = None) -> None:
        self.render_mode = check_render_mode(render_mode)
        self.horizon = check_horizon(self.HORIZON if horizon is None else horizon)
        self.observation_space = copy.deepcopy(self.observation_space)  # a space draws from a generator of its own
        self.action_space = copy.deepcopy(self.action_space)
        self._state: State | None = None
        self._elapsed = 0

    # The task, in pure functions; `shape` is () for one copy and (n,) for many.

    @abstractmethod
    def start(self, rng: np.random.Generator, shape: tuple[int, ...] = ()) -> State:
        """Returns the state of new episodes."""

    @abstractmethod
    def control(self, actions: Any) -> Any:
        """Returns what the motors do, of one action (a number) or of a batch (an array), limited to what they can.

        Raises:
            gymnasium.error.InvalidAction: it is NaN, infinite or of another shape.
        """

    @abstractmethod
    def advance(self, state: State, control: Any, rng: np.random.Generator) -> State:
        """Returns the state one step later."""

    @abstractmethod
    def outcome(self, state: State) -> tuple[Any, Any]:
        """Returns (reward for arriving in `state`, whether the task ends there)."""

    @abstractmethod
    def observe(self, state: State) -> Any:
        """Returns the observation: `(d,)` of one copy, `(n, d)` of many."""

    def possible(self, state: State) -> bool:
        """Returns whether one copy can be in `state`: whether what is seen of it is an observation."""
        return self.observation_space.contains(self.observe(state))

    # The environment.

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts an episode; returns its first observation and an empty dictionary."""
        super().reset(seed=seed)
        self._state = tuple(map(_number, self.start(self.np_random)))
        self._elapsed = 0
        return self.observe(self._state), {}

    def step(self, action: ActType) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Advances by one step; returns observation, reward, terminated, truncated and an empty dictionary.

        Raises:
            gymnasium.error.ResetNeeded: `reset` was not called first.
            gymnasium.error.InvalidAction: the action is NaN, infinite or of another shape.
        """
        if self._state is None:
            raise error.ResetNeeded("Call `reset` before the first `step`.")
        self._state = self.advance(self._state, self.control(action), self.np_random)
        self._elapsed += 1
        reward, terminated = self.outcome(self._state)
        return self.observe(self._state), float(reward), bool(terminated), self._elapsed >= self.horizon, {}

    def render(self) -> np.ndarray | None:
        """Returns the picture of the present state, uint8 `(h, w, 3)`; None without `render_mode="rgb_array"`."""
        if self.render_mode is None:
            gym.logger.warn('Nothing to draw: make the environment with render_mode="rgb_array".')
            return None
        if self._state is None:
            raise error.ResetNeeded("Call `reset` before the first `render`.")
        from envs.drawing import frame

        return frame(self.TASK, self.observe(self._state))

    def get_state(self) -> dict[str, Any]:
        """Returns everything that decides the future, generator included, as JSON-able plain Python.

        Raises:
            gymnasium.error.ResetNeeded: `reset` was not called first.
        """
        if self._state is None:
            raise error.ResetNeeded("There is no state before the first `reset`.")
        state = dict(zip(self.FIELDS, (_number(part) for part in self._state), strict=True))
        return {"state": state, "elapsed": self._elapsed, "random": self.np_random.bit_generator.state}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continues exactly where `get_state` was called.

        Raises:
            ValueError: `state` is not what `get_state` of this task returns.
        """
        check_keys(state, ("state", "elapsed", "random"))
        check_keys(state["state"], self.FIELDS)
        parts = tuple(_number(state["state"][name]) for name in self.FIELDS)
        if not all(map(math.isfinite, parts)):
            raise ValueError(f"A saved state holds finite numbers; got {dict(state['state'])}.")
        if not self.possible(parts):
            raise ValueError(f"The saved state lies outside of this task: {dict(state['state'])}.")
        restore_generator(self.np_random, state["random"])
        self._state, self._elapsed = parts, int(state["elapsed"])


def _number(part: Any) -> int | float:
    """Returns a numpy or Python number as the plain Python one."""
    return part.item() if isinstance(part, np.generic) else part


def motor_space() -> spaces.Box:
    """Returns the action space of one motor: the share, -1 to 1, of its largest force."""
    return spaces.Box(-1, 1, (1,), np.float32)


def force(actions: Any, largest: float) -> Any:
    """Returns the force of one motor, in N, of an action `(1,)` as a float, of a batch `(n, 1)` as `(n,)`.

    An action is the share of the `largest` force, in N, and is cut to -1..1.

    Raises:
        gymnasium.error.InvalidAction: an action is NaN, infinite or of another shape.
    """
    shape = np.shape(actions)
    if len(shape) == 1 and shape[0] == 1:
        value = float(actions[0])
        if not math.isfinite(value):
            raise error.InvalidAction(f"An action must be a finite number; got {value}: has the policy diverged?")
        return largest * min(max(value, -1.0), 1.0)
    if len(shape) != 2 or shape[1] != 1:
        raise error.InvalidAction(f"Actions have the shape (1,), or (copies, 1) for many; got {shape}.")
    column = np.asarray(actions, dtype=np.float64)[:, 0]
    if not np.isfinite(column).all():
        copy = int(np.flatnonzero(~np.isfinite(column))[0])
        raise error.InvalidAction(
            f"An action must be a finite number; copy {copy} got {column[copy]}: has the policy diverged?"
        )
    return np.clip(column, -1, 1) * largest


def switch(actions: Any) -> Any:
    """Returns the actions themselves, each 0 or 1: one, or an array of them.

    Raises:
        gymnasium.error.InvalidAction: one is not 0 or 1.
    """
    if isinstance(actions, int | np.integer) and 0 <= actions <= 1:  # the usual single step, without an array
        return actions
    chosen = np.asarray(actions)
    if chosen.dtype.kind not in "iu" or not ((chosen >= 0) & (chosen <= 1)).all():
        raise error.InvalidAction(f"Every action must be 0 or 1; got {actions!r}.")
    return chosen
