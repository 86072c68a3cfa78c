"""Transitions of a policy that is not learning: of chance, or of an expert."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np

from vime import Transitions
from vime.errors import InvalidSettings


def demonstrations(env: gymnasium.Env, policy: Callable[[Any], Any], steps: int, seed: int = 0) -> Transitions:
    """Returns `steps` transitions of one environment, `(steps, 1)`, with true successors.

    Args:
        env: is reset first, with `seed`, and after every episode.
        policy: takes an observation to an action.
        steps: how many.
        seed: of the episodes.

    Raises:
        InvalidSettings: `steps` is not positive.
    """
    if steps < 1:
        raise InvalidSettings(f"`steps` must be at least 1; got {steps}.")
    obs, _ = env.reset(seed=seed)
    rows = []
    for _ in range(steps):
        action = policy(obs)
        next_obs, _, terminated, truncated, _ = env.step(action)
        rows.append((obs, action, next_obs, terminated, truncated))
        obs = env.reset()[0] if terminated or truncated else next_obs
    return Transitions.from_numpy(*(_stacked(column) for column in zip(*rows, strict=True)))


def random_play(env: gymnasium.Env, steps: int, seed: int = 0) -> Transitions:
    """Returns `steps` transitions of uniform random actions, drawn from `seed`; otherwise as `demonstrations`."""
    env.action_space.seed(seed)
    return demonstrations(env, lambda _: env.action_space.sample(), steps, seed)


def _stacked(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], Mapping):
        return {key: _stacked([part[key] for part in parts]) for key in parts[0]}
    return np.stack(parts)[:, None]
