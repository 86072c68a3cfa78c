"""What a learner earns when it no longer explores: the task's own reward, and nothing else."""

import logging
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm

import envs
from agents.checkpoint import fitting, load_learner, read_checkpoint
from agents.config import RunConfig
from agents.factory import make_model, make_task
from agents.folder import read_config
from agents.tasks import make_environment
from vime.errors import CheckpointError, InvalidSettings

EPISODES = 10
STREAM = 7919  # sets the seeds of evaluation apart from those of training
TOGETHER = 10  # episodes whose actions are asked for in one call
LONGEST = 100_000  # steps after which any episode is cut
SHORTEST = 1000  # steps that an episode of a task without a time limit may always last
LIMITS = ("horizon", "max_steps")  # where tasks that cut their episodes themselves say after how many steps
log = logging.getLogger(__name__)


def load(out: Path | str) -> BaseAlgorithm:
    """Returns the learner of the run in `out` at its last checkpoint, as a Stable-Baselines3 model without a bonus.

    It is rebuilt from `config.json` and the tensors of `checkpoint.pt`, so nothing in the folder is executed. Its
    environment (`get_env`) is fresh, and the running statistics of a `VecNormalize` in it are those of the run, frozen.

    Where the run normalised observations (on-policy, unless it was told otherwise), the model knows no others, and
    plays badly in an environment without them: save the `VecNormalize` (`model.get_vec_normalize_env()`) by its
    `save`, and put it around the other environment by `VecNormalize.load(file, venv)`.

    Args:
        out: the run folder; the run may be finished or not.

    Raises:
        CheckpointError: there is no run or no checkpoint, or it does not fit.
    """
    config = read_config(Path(out))
    path = Path(out) / "checkpoint.pt"
    if not path.is_file():
        raise CheckpointError(f"{out} holds no checkpoint yet: let the run go on, or start it again.")
    state = read_checkpoint(path)
    with _left_alone(config.threads):
        env = make_task(config)
        model = make_model(replace(config, bonus="none", bonus_settings={}), env)
        with fitting():
            load_learner(model, state["learner"])
            model.num_timesteps = int(state["progress"]["counters"]["num_timesteps"])
    normaliser = model.get_vec_normalize_env()
    if normaliser is not None:
        normaliser.training = False
    return model


def evaluate(out: Path | str, episodes: int = EPISODES, *, seed: int | None = None) -> dict[str, Any]:
    """Returns `mean`, `std`, `episodes`, `returns` and `step` of the run in `out`, at its last checkpoint.

    The policy is deterministic, running statistics are frozen, the reward is the task's alone, and every episode has a
    seed of its own that training never used. Where the task has no time limit, episodes are cut as in `play`.

    Args:
        out: the run folder; the run may be finished or not.
        episodes: how many.
        seed: of the episodes; that of the run unless given.

    Raises:
        CheckpointError: there is no run or no checkpoint, or it does not fit.
        InvalidSettings: `episodes` is not positive, or `seed` is negative.
    """
    if episodes < 1:
        raise InvalidSettings(f"`episodes` must be a whole number of at least 1; got {episodes!r}.")
    if seed is not None and seed < 0:
        raise InvalidSettings(f"`seed` must be a whole number of at least 0; got {seed!r}.")
    config, model = read_config(Path(out)), load(out)
    with _left_alone(config.threads):
        try:
            returns = play(model, config, episodes, config.seed if seed is None else seed)
        finally:
            model.env.close()  # type: ignore[union-attr]
    return {
        "task": config.task,
        "step": model.num_timesteps,
        "mean": float(np.mean(returns)),
        "std": float(np.std(returns)),
        "episodes": episodes,
        "returns": returns,
    }


def play(model: BaseAlgorithm, config: RunConfig, episodes: int, seed: int) -> list[float]:
    """Returns the task's own return of each of `episodes` fresh episodes under the deterministic policy.

    An episode of a task without a time limit is cut after the steps that each copy made in training, or `SHORTEST` if
    that is more: no episode of training can have been longer. What was cut is told in the log.
    """
    seeds = [int(number) for number in np.random.SeedSequence([seed, STREAM]).generate_state(episodes)]
    copies = [make_environment(config.task, config.task_settings) for _ in seeds[:TOGETHER]]
    returns: list[float] = []
    cut = 0
    try:
        limited = _has_limit(copies[0], config.task)
        longest = LONGEST if limited else min(LONGEST, max(SHORTEST, -(-config.steps // config.copies)))
        for start in range(0, episodes, TOGETHER):
            totals, running = _play_together(model, copies, seeds[start : start + TOGETHER], longest)
            returns, cut = returns + totals, cut + running
    finally:
        for env in copies:
            env.close()
    if cut:
        advice = "" if limited else " The task has no time limit: register it with `max_episode_steps=`."
        which = "No episode" if cut == episodes else f"Only {episodes - cut} of {episodes} episodes"
        log.warning("%s without exploration ended within %d steps; longer ones were cut.%s", which, longest, advice)
    return returns


def _has_limit(env: gymnasium.Env, task: str) -> bool:
    """Whether the episodes of a task are cut by Gymnasium, or by the task itself, as those of ours are."""
    ours = task.rpartition(":")[2] in (*envs.TASKS, *envs.GRIDS)
    registered = env.spec is not None and env.spec.max_episode_steps is not None
    return ours or registered or any(env.has_wrapper_attr(name) for name in LIMITS)


def _play_together(
    model: BaseAlgorithm, copies: Sequence[gymnasium.Env], seeds: Sequence[int], longest: int
) -> tuple[list[float], int]:
    """Returns the return of one episode a seed, and how many were cut after `longest` steps."""
    normaliser = model.get_vec_normalize_env()
    obs = [env.reset(seed=seed)[0] for env, seed in zip(copies, seeds, strict=False)]
    totals, running = [0.0] * len(seeds), set(range(len(seeds)))
    memory, starts = None, np.ones(len(seeds), dtype=bool)
    for _ in range(longest):
        batch: Any = _stack(obs)
        if normaliser is not None:
            batch = normaliser.normalize_obs(batch)
        actions, memory = model.predict(batch, state=memory, episode_start=starts, deterministic=True)
        starts[:] = False
        for i in sorted(running):
            obs[i], reward, terminated, truncated, _ = copies[i].step(actions[i])
            totals[i] += float(reward)
            if terminated or truncated:
                running.remove(i)
        if not running:
            break
    return totals, len(running)


def _stack(obs: Sequence[Any]) -> Any:
    return {key: np.stack([o[key] for o in obs]) for key in obs[0]} if isinstance(obs[0], dict) else np.stack(obs)


@contextmanager
def _left_alone(threads: int) -> Iterator[None]:
    """Puts the global generators and the thread count back: building a learner sets them."""
    before = random.getstate(), np.random.get_state(), torch.get_num_threads()  # noqa: NPY002
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            torch.set_num_threads(threads)
            yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        torch.set_num_threads(before[2])
