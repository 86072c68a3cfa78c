"""The axes of the matrix, its cells, and the small world, bonuses and learners that a cell is made of."""

import copy
import io
from collections.abc import Iterator
from functools import cache
from itertools import combinations, product
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from gymnasium import Space, spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import nn

import vime
from agents import attach
from agents.checkpoint import load_run, save_learner, save_progress
from agents.random_state import load_volatile, save_volatile
from agents.recorder import Recorder
from tests.vime.tiny import tiny

SIDE = 7  # of an image of the world, in places
PLACES = 42
EPISODE = 5  # steps
BRIGHT = 200  # of 255

OBSERVATIONS: dict[str, Space] = {
    "float64": spaces.Box(-np.inf, np.inf, (4,), np.float64),
    "image-7": spaces.Box(0, 255, (7, 7, 3), np.uint8),
    "image-84": spaces.Box(0, 255, (84, 84, 1), np.uint8),
    "dict": spaces.Dict(
        pose=spaces.Box(-PLACES, PLACES, (2,), np.float64),
        goal=spaces.Discrete(PLACES),
        view=spaces.Box(0, 255, (7, 7, 3), np.uint8),
    ),
    "discrete": spaces.Discrete(PLACES),
}
ACTIONS: dict[str, Space] = {
    "discrete": spaces.Discrete(3),
    "multi-discrete": spaces.MultiDiscrete([3, 2]),
    "box-1": spaces.Box(-2, 1, (1,), np.float32),
    "box-6": spaces.Box(-1, 1, (6,), np.float32),
}
COPIES = (1, 16)
ROADS = ("gymnasium", "vector", "on-policy", "off-policy")
MIXTURE = "rnd+e3b"
BONUSES = (*vime.BONUSES, MIXTURE)
OFF_POLICY = {"discrete": DQN, "box-1": SAC, "box-6": SAC}

HUGE = 1000.0
ROUNDS = 3  # updates of the bonus before a cell is judged
ROUND = {1: 8, 16: 4}  # steps of every copy from one update to the next


class Cell(NamedTuple):
    """One combination: what is served, by which road, with which bonus."""

    road: str
    copies: int
    action: str
    observation: str
    bonus: str

    def __str__(self) -> str:
        return "-".join(str(part) for part in self)

    @property
    def impossible(self) -> str | None:
        """Why there can be no such cell, whatever we write."""
        if self.road == "gymnasium" and self.copies > 1:
            return "a gymnasium.Env is a single environment; several are a VectorEnv"
        if self.road == "off-policy" and self.action not in OFF_POLICY:
            return "no off-policy algorithm of Stable-Baselines3 and sb3-contrib has MultiDiscrete actions"
        return None


CELLS = tuple(Cell(*axes) for axes in product(ROADS, COPIES, ACTIONS, OBSERVATIONS, BONUSES))
POSSIBLE = tuple(cell for cell in CELLS if cell.impossible is None)


def pairs(cell: Cell) -> Iterator[tuple[int, Any, int, Any]]:
    """Every two values that come together in a cell, with their axes."""
    for (i, one), (j, two) in combinations(enumerate(cell), 2):
        yield i, one, j, two


def pick() -> frozenset[Cell]:
    """Few cells in which every two values of different axes come together that can: for each bonus and observation the
    cell that adds most, and then one for every pair that is left."""
    chosen, covered = set(), set()
    by_place: dict[tuple[str, str], list[Cell]] = {}
    for cell in POSSIBLE:
        by_place.setdefault((cell.observation, cell.bonus), []).append(cell)
    for number, cells in enumerate(by_place.values()):
        cells = cells[number % len(cells) :] + cells[: number % len(cells)]  # so that draws fall differently
        best = max(cells, key=lambda cell: len(set(pairs(cell)) - covered))
        chosen.add(best)
        covered |= set(pairs(best))
    for cell in POSSIBLE:
        if not covered.issuperset(pairs(cell)):
            chosen.add(cell)
            covered |= set(pairs(cell))
    return frozenset(chosen)


class Ring(gymnasium.Env):
    """Places on a ring; the action says how far to go, every sixth place pays, episodes end and are cut by turns."""

    def __init__(self, observation: str, action: str) -> None:
        self.kind = observation
        self.observation_space = copy.deepcopy(OBSERVATIONS[observation])
        self.action_space = copy.deepcopy(ACTIONS[action])
        self.place, self.move, self.time, self.episode = 0, 0, 0, -1

    def _observe(self, kind: str) -> Any:
        if kind == "discrete":
            return np.int64(self.place)
        if kind == "float64":
            angle = 2 * np.pi * self.place / PLACES
            return np.array([np.cos(angle), np.sin(angle), self.place, self.move], np.float64)
        if kind == "dict":
            pose = np.array([self.place, self.move], np.float64)
            return {"pose": pose, "goal": np.int64(0), "view": self._observe("image-7")}
        image = np.zeros(OBSERVATIONS[kind].shape, np.uint8)  # type: ignore[arg-type]
        side, (row, column) = len(image) // SIDE, divmod(self.place, SIDE)
        image[side * row : side * (row + 1), side * column : side * (column + 1), 0] = BRIGHT
        return image

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.episode, self.time, self.move = self.episode + 1, 0, 0
        self.place = int(self.np_random.integers(PLACES))
        return self._observe(self.kind), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        self.time += 1
        self.move = int(np.rint(2 * np.sum(action)))
        self.place = (self.place + self.move) % PLACES
        over, cut = self.time == EPISODE, self.episode % 2 == 1
        return self._observe(self.kind), float(self.place % 6 == 0), over and not cut, over and cut, {}


class Joined(BaseFeaturesExtractor):
    """The numbers of every entry of a mapping, side by side."""

    def __init__(self, observation_space: spaces.Dict) -> None:
        super().__init__(observation_space, sum(spaces.flatdim(part) for part in observation_space.values()))

    def forward(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.cat([part.flatten(1) for part in observations.values()], 1)


def wrapped(cell: Cell, env: Any = None) -> Any:
    """The world of `cell`, or `env`, in the wrapper that suits it, at a huge scale."""
    if env is None:
        copies = [lambda: Ring(cell.observation, cell.action)] * cell.copies
        env = copies[0]() if cell.road == "gymnasium" else SyncVectorEnv(copies, autoreset_mode=AutoresetMode.SAME_STEP)
    every = ROUND[cell.copies] * cell.copies
    return vime.wrap(env, cell.bonus, scale=HUGE, learn_every=every, seed=3, **tiny(cell.bonus))


def learner(cell: Cell, scale: float | None) -> Any:
    """A model of Stable-Baselines3 in the world of `cell`, curious unless `scale` is None."""
    venv = DummyVecEnv([lambda: Ring(cell.observation, cell.action)] * cell.copies)
    env = Recorder(venv, "Ring", rounds(cell, ROUNDS))
    mapping = cell.observation == "dict"
    net: dict[str, Any] = {"net_arch": [4]} | ({"features_extractor_class": Joined} if mapping else {})
    if cell.road == "on-policy":
        cls: Any = PPO
        steps = ROUND[cell.copies]
        options: dict[str, Any] = {"n_steps": steps, "batch_size": steps * cell.copies, "n_epochs": 1}
    else:
        cls = OFF_POLICY[cell.action]
        options = {"learning_starts": 8, "buffer_size": 256 * cell.copies, "batch_size": 16}
        options["train_freq"] = 4 if cell.copies == 1 else 1
    model = cls("MultiInputPolicy" if mapping else "MlpPolicy", env, policy_kwargs=net, seed=3, **options)
    model.set_logger(Logger(folder=None, output_formats=[]))
    if scale is not None:
        attach(model, cell.bonus, scale=scale, learn_every=ROUND[cell.copies] * cell.copies, **tiny(cell.bonus))
    return model


def rounds(cell: Cell, number: int) -> int:
    """Steps of all copies together in `number` updates of the bonus."""
    return number * ROUND[cell.copies] * cell.copies


def saved(model: Any) -> dict[str, Any]:
    """All that a checkpoint of a run holds of its model, as it comes back from a file."""
    parts = {"learner": save_learner(model), "progress": save_progress(model), "volatile": save_volatile(model)}
    return through_a_file(parts)


def resumed(cell: Cell, state: dict[str, Any]) -> Any:
    """A freshly built model that continues from `state`."""
    model = learner(cell, HUGE)
    assert load_run(model, state, seed=3) is None, "the world could not be saved"
    load_volatile(model, state["volatile"])
    return model


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.policy.state_dict().items()}


@cache
def untouched(cell: Cell) -> dict[str, torch.Tensor]:
    """Weights that the plain model of a cell ends with; ask with the bonus left empty, for all bonuses share them."""
    return weights(learner(cell, None).learn(rounds(cell, ROUNDS)))


def through_a_file(state: Any) -> Any:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def same(one: Any, two: Any) -> bool:
    """Whether two saved states are equal, to the last bit."""
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(same(a, b) for a, b in zip(one, two, strict=True))
    return torch.equal(one, two) if isinstance(one, torch.Tensor) else one == two


def trained(thing: Any) -> list[nn.Parameter]:
    """Every parameter that is trained in a bonus, wherever it keeps them."""
    if isinstance(thing, nn.Module):
        return [parameter for parameter in thing.parameters() if parameter.requires_grad]
    if isinstance(thing, list | tuple):
        return [parameter for part in thing for parameter in trained(part)]
    if type(thing).__module__.startswith("vime"):
        return trained(list(getattr(thing, "__dict__", {}).values()))
    return []
