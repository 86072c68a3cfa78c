"""What is learned without a reward: an expert's swing-up imitated (GAIL), and skills that are told apart (DIAYN).

    python scripts/table_unrewarded.py              # a quarter of an hour on one core

Imitation: PPO on Pendulum-v1, whose own reward nobody sees; an expert that swings up by energy shows 1,000 steps.
Skills: eight of them on MountainCarContinuous-v0. Killed and started again it goes on where it was.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
import tyro
from gymnasium.wrappers import TransformReward
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from agents import attach
from agents.demonstrations import demonstrations
from agents.imitation import Imitation
from agents.skills import SkillReward, WithSkill
from agents.table import Table

PENDULUM, CAR = "Pendulum-v1", "MountainCarContinuous-v0"


@dataclass(frozen=True)
class Arguments:
    """Settings of the measurement."""

    seeds: int = 3
    steps: int = 150_000
    """Environment steps of a run."""
    shown: int = 1_000
    """Steps that the expert shows."""
    skills: int = 8
    episodes: int = 10
    """Played to judge a policy; of every skill two."""
    out: Path = Path("results/unrewarded.json")


def expert(obs: np.ndarray) -> np.ndarray:
    """Returns the torque that brings the pendulum's energy to that of standing, and holds it there."""
    cosine, sine, speed = obs
    if cosine > 0.9:
        return np.array([np.clip(-15 * sine - 3 * speed, -2, 2)], np.float32)
    missing = 5 - (speed**2 / 6 + 5 * cosine)
    return np.array([2 * np.sign(missing * speed) if speed else 2.0], np.float32)


def played(act: Any, episodes: int) -> float:
    """Returns the mean return of a policy of observations on Pendulum."""
    env, total = gymnasium.make(PENDULUM), 0.0
    for episode in range(episodes):
        obs, _ = env.reset(seed=10_000 + episode)
        over = False
        while not over:
            obs, reward, terminated, truncated, _ = env.step(act(obs))
            total, over = total + float(reward), terminated or truncated
    return total / episodes


def imitate(seed: int, chosen: Arguments) -> dict[str, float]:
    """Returns what an imitator earns that saw no reward."""
    unpaid = make_vec_env(lambda: TransformReward(gymnasium.make(PENDULUM), lambda reward: 0.0), n_envs=8, seed=seed)
    model = PPO(
        "MlpPolicy", unpaid, n_steps=256, batch_size=256, gamma=0.95, learning_rate=1e-3, seed=seed, device="cpu"
    )
    shown = demonstrations(gymnasium.make(PENDULUM), expert, chosen.shown, seed=seed)
    judge: Any = Imitation(unpaid.observation_space, unpaid.action_space, shown, Imitation.Settings(seed=seed))
    attach(model, judge)
    model.learn(chosen.steps)
    return {"return": played(lambda obs: model.predict(obs, deterministic=True)[0], chosen.episodes)}


def learn_skills(seed: int, chosen: Arguments) -> dict[str, float]:
    """Returns how often a step of a fresh episode shows its skill, before and after learning, and cells visited."""
    made = make_vec_env(lambda: WithSkill(gymnasium.make(CAR), chosen.skills, paid=False), n_envs=8, seed=seed)
    env = VecNormalize(made, norm_reward=False)
    model = PPO("MlpPolicy", env, n_steps=512, batch_size=512, ent_coef=0.01, seed=seed, device="cpu")
    reward = SkillReward(env.observation_space, chosen.skills, SkillReward.Settings(seed=seed))
    before = _told(model, reward, chosen)
    teacher: Any = reward
    attach(model, teacher)
    model.learn(chosen.steps)
    after = _told(model, reward, chosen)
    return {"told": after[0], "told_before": before[0], "cells": after[1], "cells_before": before[1]}


def _told(model: PPO, reward: SkillReward, chosen: Arguments) -> tuple[float, int]:
    """Returns the share of steps whose skill the reader names, and the cells of a grid of 20 x 20 that were seen."""
    env = model.get_env()
    assert isinstance(env, VecNormalize)
    env.training = False
    right = steps = 0
    cells: set[tuple[int, int]] = set()
    env.seed(20_000)
    obs = env.reset()
    for _ in range(2 * chosen.skills * 999 // env.num_envs):
        raw = env.get_original_obs()
        assert isinstance(raw, np.ndarray)
        with torch.no_grad():
            state = reward.standardise(torch.as_tensor(raw[:, :2]))
            named = reward.reader(state).argmax(1).numpy()
        right += int((named == raw[:, 2:].argmax(1)).sum())
        steps += len(obs)
        cells |= {(int((x + 1.2) / 1.8 * 20), int((v + 0.07) / 0.14 * 20)) for x, v in raw[:, :2]}
        action, _ = model.predict(obs)  # type: ignore[arg-type]
        obs, *_ = env.step(action)
    env.training = True
    return right / steps, len(cells)


def main() -> None:
    """Measures what is missing, and writes the table."""
    chosen = tyro.cli(Arguments, description=__doc__)
    torch.set_num_threads(1)
    table = Table(chosen.out, "What do agents learn that are shown no reward?")
    space = gymnasium.make(PENDULUM).action_space
    space.seed(0)
    table.summary("expert", played(expert, chosen.episodes))
    table.summary("random", played(lambda obs: space.sample(), chosen.episodes))
    for seed in range(chosen.seeds):
        for what, measure in (("imitation", imitate), ("skills", learn_skills)):
            key = {"what": what, "seed": seed, "steps": chosen.steps}
            table.row(key, lambda measure=measure, seed=seed: measure(seed, chosen))


if __name__ == "__main__":
    main()
