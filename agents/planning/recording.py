"""What happened while an environment was explored: step by step in memory, and as a Minari data set on disk."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec

from agents.encoding import decode, encode
from vime.errors import CheckpointError

UNREADABLE = (OSError, ValueError, KeyError, AssertionError)  # what Minari raises over a data set that is none
ALGORITHM = "vime explore"
SURPRISE, LEAST_NATS = 10.0, 5.0
"""A step is a surprise that told so many times what was predicted, and so many nats more."""


class Nats(NamedTuple):
    """What a step was expected to tell about the model, and what it did tell."""

    predicted: float
    realised: float


UNKNOWN = Nats(float("nan"), float("nan"))


@dataclass
class Recording:
    """The steps of one environment in order; observations are as the environment gave them."""

    obs: list[Any] = field(default_factory=list)
    """The observation before every step."""
    action: list[Any] = field(default_factory=list)
    next_obs: list[Any] = field(default_factory=list)
    """The true one after it, also where an episode ended."""
    reward: list[float] = field(default_factory=list)
    terminated: list[bool] = field(default_factory=list)
    truncated: list[bool] = field(default_factory=list)
    predicted: list[float] = field(default_factory=list)
    """Nats that the step was expected to tell about the model; NaN before there was one."""
    realised: list[float] = field(default_factory=list)
    """Nats that it did tell."""

    def __len__(self) -> int:
        return len(self.reward)

    def add(
        self,
        obs: Any,
        action: Any,
        next_obs: Any,
        reward: float,
        terminated: bool,
        truncated: bool,
        nats: tuple[float, float],
    ) -> None:
        """Takes a step in."""
        values = (obs, action, next_obs, float(reward), bool(terminated), bool(truncated), *map(float, nats))
        for column, value in zip(vars(self).values(), values, strict=True):
            column.append(value)

    def episodes(self) -> Iterator[slice]:
        """Yields the steps of every episode; the last one may be cut short."""
        start = 0
        for i in range(len(self)):
            if self.terminated[i] or self.truncated[i] or i == len(self) - 1:
                yield slice(start, i + 1)
                start = i + 1

    @property
    def first_termination(self) -> int | None:
        """Number of the first step, counted from 1, that ended an episode by its own rules; None where none did."""
        return self.terminated.index(True) + 1 if any(self.terminated) else None

    def column(self, name: str) -> Any:
        """Returns a column of all steps as an array, or a mapping of arrays, with the axes (step, 1) in front."""
        values = _stacked(getattr(self, name))
        if isinstance(values, dict):
            return {key: part[:, None] for key, part in values.items()}
        return values[:, None]

    def calibration(self) -> dict[str, float]:
        """Returns how the nats that were realised compare with those predicted; empty before a model was asked.

        `slope` is the sum of those realised over that of those predicted, surprises aside; `surprises` counts the steps
        that told over ten times what was expected and five nats: a wall, a contact, what no smooth model foresees.
        """
        predicted, realised = np.array(self.predicted), np.array(self.realised)
        known = np.isfinite(predicted) & np.isfinite(realised)
        surprise = known & (realised > SURPRISE * predicted + LEAST_NATS)
        plain = known & ~surprise
        if not predicted[plain].sum() > 0:
            return {}
        slope = realised[plain].sum() / predicted[plain].sum()
        return {"slope": float(slope), "surprises": int(surprise.sum()), "steps": int(known.sum())}

    def state_dict(self) -> dict[str, Any]:
        """Everything recorded, as tensors and plain Python values."""
        return {name: encode(column) for name, column in vars(self).items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state."""
        for name in vars(self):
            setattr(self, name, decode(state[name]))

    def save(self, folder: Path, env: gymnasium.Env, name: str) -> None:
        """Writes the data set: `minari.MinariDataset(folder)` reads it.

        Args:
            folder: `data` in the folder of the exploration; what is there is replaced.
            env: whose spaces and specification are noted.
            name: of the data set.
        """
        import shutil

        from minari.data_collector import EpisodeBuffer
        from minari.dataset.minari_storage import MinariStorage

        folder = folder.resolve()  # Minari writes under a relative folder twice over
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        storage = MinariStorage.new(
            folder, env.observation_space, env.action_space, env_spec=_written(env.spec), jpeg_encoding=False
        )
        episodes = [
            EpisodeBuffer(
                id=i,
                observations=_stacked([*self.obs[steps], self.next_obs[steps.stop - 1]]),
                actions=_stacked(self.action[steps]),
                rewards=self.reward[steps],
                terminations=self.terminated[steps],
                truncations=[*self.truncated[steps][:-1], not self.terminated[steps.stop - 1]],
                infos={
                    "predicted_nats": np.array(self.predicted[steps]),
                    "realised_nats": np.array(self.realised[steps]),
                },
            )
            for i, steps in enumerate(self.episodes())
        ]
        storage.update_episodes(episodes)
        storage.update_metadata({"dataset_id": name, "algorithm_name": ALGORITHM, "minari_version": _version()})


def _version() -> str:
    from importlib.metadata import version

    return version("minari")


def _stacked(values: list[Any]) -> Any:
    """Returns a list of arrays, or of mappings of them, as one."""
    if isinstance(values[0], dict):
        return {key: _stacked([value[key] for value in values]) for key in values[0]}
    return np.stack([np.asarray(value) for value in values])


def read(folder: Path) -> Recording:
    """Returns the steps of a data set that `Recording.save` wrote.

    Raises:
        CheckpointError: there is none, or it cannot be read.
    """
    dataset = _opened(folder)
    try:
        recording = Recording()
        for episode in dataset.iterate_episodes():
            nats = (episode.infos or {}).get("predicted_nats"), (episode.infos or {}).get("realised_nats")
            for i in range(len(episode.rewards)):
                recording.add(
                    _at(episode.observations, i),
                    episode.actions[i],
                    _at(episode.observations, i + 1),
                    episode.rewards[i],
                    episode.terminations[i],
                    episode.truncations[i],
                    tuple(float("nan") if part is None else part[i] for part in nats),  # type: ignore[arg-type]
                )
    except UNREADABLE as error:
        raise CheckpointError(f"{folder} holds no data set that can be read: {error}.") from error
    return recording


def spaces_of(folder: Path) -> tuple[gymnasium.Space, gymnasium.Space]:
    """Returns the spaces of observations and actions of a data set.

    Raises:
        CheckpointError: it cannot be read.
    """
    dataset = _opened(folder)
    return dataset.observation_space, dataset.action_space


def _opened(folder: Path) -> Any:
    from minari import MinariDataset

    try:
        return MinariDataset(folder.resolve())
    except UNREADABLE as error:
        raise CheckpointError(f"{folder} holds no data set that can be read: {error}.") from error


def _at(values: Any, i: int) -> Any:
    return {key: part[i] for key, part in values.items()} if isinstance(values, dict) else values[i]


def _written(spec: EnvSpec | None) -> EnvSpec | None:
    """Returns the specification as it can be written: a class is named by its module; None where that is not enough."""
    if spec is None:
        return None
    spec = copy.copy(spec)
    if callable(spec.entry_point):
        made = spec.entry_point
        spec.entry_point = f"{made.__module__}:{getattr(made, '__qualname__', type(made).__qualname__)}"
    try:
        spec.to_json()
    except (ValueError, TypeError):
        return None
    return spec
