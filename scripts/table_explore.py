"""Exploration by planning: steps to the flag, the chain, coverage of a maze, and rewards that came later.

    python scripts/table_explore.py car          # 20 seeds, the kinds of models and measures, and chance
    python scripts/table_explore.py chain        # the stochastic chain, 20 seeds
    python scripts/table_explore.py maze         # states covered of a point maze, beside bonuses and chance
    python scripts/table_explore.py ant          # regions that a four-legged body sees of a maze, beside chance
    python scripts/table_explore.py transfer     # rewards that came after the exploration

What is measured already stands in results/explore/ and is not run again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gymnasium
import numpy as np
import torch
import tyro
from tyro.conf import Positional

import agents
from agents.planning import Objective, rewards
from agents.planning.coverage import States
from agents.planning.precision import has_bfloat16
from agents.planning.recording import Recording
from agents.planning.settings import PlannerSettings
from agents.planning.transfer import transfer
from agents.table import Table
from envs.mazes import ANT_CELL, MAZES, WALL

CAR, CHAIN, MAZE = "MountainCarContinuous-v0", "vime/StochasticChain-v0", "vime/PointMazeMedium-v0"
ANT = "vime/AntMazeUMaze-v0"
BUDGET = 300
"""Steps within which the flag is to be found."""
CURIOUS = 60_000
"""Steps that a bonus gets for it."""
BONUSES = ("rnd", "counts", "noveld", "disagreement", "vime", "expected-gain")
"""Those that did best on the weak cart-pole, and the information gains."""
EPISODE = 59
"""Steps of the chain."""
WAYS: Mapping[str, Mapping[str, Any]] = {
    "ensemble": {},
    "bayesian": {"model": "bayesian"},
    "last-layer": {"model": "last-layer"},
    "ensemble, variance": {"measure": "variance"},
    "ensemble, jensen-renyi of 10 members": {"measure": "jensen-renyi", "model_settings": {"count": 10}},
    "ensemble, trajectory": {"measure": "trajectory"},
    "ensemble, mppi": {"planner": PlannerSettings(kind="mppi")},
    "ensemble, cem": {"planner": PlannerSettings(kind="cem")},
    "ensemble, bfloat16": {"precision": "bfloat16"},
}
"""How the car is explored."""


@dataclass(frozen=True)
class Arguments:
    """What is measured."""

    what: Positional[Literal["car", "chain", "maze", "ant", "transfer"]]
    seeds: int = 20
    """Of the first way; the others take at most ten."""
    ways: tuple[str, ...] = tuple(WAYS)
    """Which ways of the car."""
    steps: int = 3_000
    """In a maze, or before a reward; 20,000 for the ant."""
    goals: tuple[str, ...] = ("cart-pole", "acrobot")
    """Rewards that come later."""
    out: Path = Path("results/explore")


def flag(seed: int, how: Mapping[str, Any]) -> dict[str, Any]:
    """Returns when the flag was found, and how well nats were foreseen on the way."""
    found = agents.explore(CAR, BUDGET, seed=seed, stop=lambda steps: steps.terminated[-1], **how)
    kept = ("first_termination_step", "predicted_nats", "realised_nats", "states_covered", "calibration")
    return {name: found.figures[name] for name in kept}


def chance(episodes: int) -> dict[str, Any]:
    """Returns how many of so many whole episodes a random policy ends at the flag."""
    env = gymnasium.make(CAR)
    env.action_space.seed(0)
    ended = 0
    for episode in range(episodes):
        env.reset(seed=episode)
        over = terminated = False
        while not over:
            *_, terminated, truncated, _ = env.step(env.action_space.sample())
            over = terminated or truncated
        ended += terminated
    return {"episodes": episodes, "reached": ended}


def by_curiosity(seed: int, bonus: str) -> dict[str, Any]:
    """Returns when PPO, paid by a bonus alone, first comes to the flag; steps count all eight copies."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import VecNormalize

    found: list[int] = []

    def at_the_flag(local: Mapping[str, Any], _: Mapping[str, Any]) -> bool:
        ends = [
            done and not info.get("TimeLimit.truncated")
            for done, info in zip(local["dones"], local["infos"], strict=True)
        ]
        if any(ends):
            found.append(model.num_timesteps)
        return not found

    def unpaid(env: gymnasium.Env) -> gymnasium.Env:
        return gymnasium.wrappers.TransformReward(env, lambda reward: 0.0)

    venv = VecNormalize(make_vec_env(CAR, 8, seed=seed, wrapper_class=unpaid), norm_reward=False)
    model = PPO("MlpPolicy", venv, n_steps=256, batch_size=512, seed=seed, device="cpu")
    agents.attach(model, bonus).learn(CURIOUS, callback=at_the_flag)
    return {"first_termination_step": found[0] if found else None}


def car(arguments: Arguments) -> None:
    """Measures the steps to the flag, without any reward."""
    table = Table(arguments.out / "car.json", f"In how many steps is the flag of {CAR} found, with no reward given?")
    table.row({"way": "random policy"}, lambda: chance(40))
    summary: dict[str, Any] = {}
    for i, way in enumerate(arguments.ways):
        if WAYS[way].get("precision") == "bfloat16" and not has_bfloat16("cpu"):
            summary[way] = "this processor does not compute in it"
            continue
        rows = [
            table.row({"way": way, "seed": seed}, lambda way=way, seed=seed: flag(seed, WAYS[way]))
            for seed in range(arguments.seeds if i == 0 else min(arguments.seeds, 10))
        ]
        steps = [row["first_termination_step"] for row in rows]
        reached = [step for step in steps if step is not None]
        summary[way] = {
            "seeds": len(rows),
            "reached": len(reached),
            "median": float(np.median(reached)) if reached else None,
            "most": max(reached, default=None),
            "cpu_seconds": float(np.median([row["cpu_seconds"] for row in rows])),
            "slope": float(np.median([row["calibration"]["slope"] for row in rows])),
        }
    for bonus in BONUSES:
        rows = [
            table.row(
                {"way": f"PPO with {bonus}", "seed": seed}, lambda bonus=bonus, seed=seed: by_curiosity(seed, bonus)
            )
            for seed in range(3)
        ]
        steps = [CURIOUS if row["first_termination_step"] is None else row["first_termination_step"] for row in rows]
        summary[f"PPO with {bonus}"] = {"seeds": 3, "median": float(np.median(steps)), "least": min(steps)}
    table.summary("summary", {**table.content.get("summary", {}), **summary})


def tried(seed: int, model: str) -> dict[str, Any]:
    """Returns after how many episodes every action was tried in every state, and the share after each."""
    env = gymnasium.make(CHAIN)
    states, choices = int(env.observation_space.n), int(env.action_space.n)  # type: ignore[attr-defined]
    seen: set[tuple[int, int]] = set()
    shares: list[float] = []

    def enough(steps: Recording) -> bool:
        seen.add((int(steps.obs[-1]), int(steps.action[-1])))
        if steps.truncated[-1]:
            shares.append(len(seen) / (states * choices))
        return len(seen) == states * choices

    found = agents.explore(
        env, 60 * EPISODE, seed=seed, model=model, planner=PlannerSettings(horizon=EPISODE), stop=enough
    )
    complete = len(seen) == states * choices
    return {"episodes": -(-len(found.recording) // EPISODE) if complete else None, "shares": shares[:60]}


def chain(arguments: Arguments) -> None:
    """Measures the episodes until all transitions of the chain were tried."""
    question = "After how many episodes was every action of the stochastic chain tried in every state?"
    table = Table(arguments.out / "chain.json", question)
    summary = {}
    for model in ("tabular", "random"):
        rows = [
            table.row({"model": model, "seed": seed}, lambda model=model, seed=seed: tried(seed, model))
            for seed in range(arguments.seeds)
        ]
        complete = [row["episodes"] for row in rows if row["episodes"] is not None]
        summary[model] = {
            "seeds": len(rows),
            "complete": len(complete),
            "median": float(np.median(complete)) if complete else None,
            "most": max(complete, default=None),
            "share_after_60": float(np.mean([row["shares"][-1] for row in rows if len(row["shares"]) == 60] or [1.0])),
            "cpu_seconds": float(np.median([row["cpu_seconds"] for row in rows])),
        }
    table.summary("summary", summary)


def covered(observations: list[Any]) -> dict[str, Any]:
    """Returns how many cells were seen after each tenth, and the mean over all steps."""
    states = States(MAZE, gymnasium.make(MAZE).observation_space)
    counts = [states.add(obs) for obs in observations]
    tenths = [counts[-1 + len(counts) * (i + 1) // 10] for i in range(10)]
    return {"states": counts[-1], "area": float(np.mean(counts)), "tenths": tenths}


def by_planning(seed: int, steps: int, model: str) -> dict[str, Any]:
    """Returns the coverage of planning, or of chance."""
    planner = PlannerSettings(horizon=30, execute=3)
    found = agents.explore(MAZE, steps, seed=seed, model=model, planner=planner, fit_every=30, updates=100)
    return covered([*found.recording.obs, found.recording.next_obs[-1]])


class Seen(gymnasium.ObservationWrapper):
    """Notes every observation of an environment."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self.all: list[Any] = []

    def observation(self, observation: Any) -> Any:
        """Returns the observation, noted."""
        self.all.append(np.array(observation))
        return observation


def by_bonus(seed: int, steps: int, bonus: str, algorithm: str) -> dict[str, Any]:
    """Returns the coverage of an agent that learns from a bonus alone: the goal pays nothing here."""
    from stable_baselines3 import PPO, SAC

    env = Seen(gymnasium.wrappers.TransformReward(gymnasium.make(MAZE), lambda reward: 0.0))
    if algorithm == "ppo":
        model: Any = PPO("MlpPolicy", env, n_steps=128, batch_size=64, seed=seed, device="cpu")
    else:
        model = SAC("MlpPolicy", env, learning_starts=100, seed=seed, device="cpu")
    agents.attach(model, bonus, scale=1.0, learn_every=128).learn(steps)
    return covered(env.all[: steps + 1])


def maze(arguments: Arguments) -> None:
    """Measures how fast a maze is covered when nothing is paid."""
    question = f"How many cells of {MAZE} are seen in {arguments.steps:,} steps without a reward?"
    table = Table(arguments.out / "maze.json", question)
    ways: dict[str, Callable[[int], dict[str, Any]]] = {
        "planning": lambda seed: by_planning(seed, arguments.steps, "ensemble"),
        "random": lambda seed: by_planning(seed, arguments.steps, "random"),
    }
    for algorithm in ("ppo", "sac"):
        for bonus in ("rnd", "disagreement"):
            ways[f"{algorithm} with {bonus}"] = lambda seed, b=bonus, a=algorithm: by_bonus(seed, arguments.steps, b, a)
    summary = {}
    for way, measure in ways.items():
        rows = [
            table.row(
                {"way": way, "seed": seed, "steps": arguments.steps}, lambda measure=measure, seed=seed: measure(seed)
            )
            for seed in range(arguments.seeds)
        ]
        summary[way] = {name: float(np.mean([row[name] for row in rows])) for name in ("area", "states", "cpu_seconds")}
    table.summary("summary", summary)


def walked(seed: int, steps: int, model: str) -> dict[str, Any]:
    """Returns at which step a walker first stood in each cell of its maze; it stops when it has seen all."""
    maze = MAZES["UMaze"]
    free = sum(cell != WALL for row in maze.cells for cell in row)
    first: dict[str, int] = {}
    counts: list[int] = []
    states = States(ANT, gymnasium.make(ANT).observation_space)

    def enough(recording: Recording) -> bool:
        for obs in (recording.obs[-1], recording.next_obs[-1]):
            row, column = maze.cell_at(*np.asarray(obs[:2]) / ANT_CELL)
            first.setdefault(f"{row},{column}", len(recording) - 1)
            counts.append(states.add(obs))
        return len(first) == free

    settings = {} if model == "random" else {"hidden": [200, 200], "noise_floor": 0.3}
    agents.explore(
        ANT, steps, seed=seed, model=model, model_settings=settings, planner=PlannerSettings(horizon=15, execute=3),
        warm_up=250, fit_every=50, updates=100, stop=enough,
    )  # fmt: skip
    complete = max(first.values()) if len(first) == free else None
    return {"regions": len(first), "of": free, "first": first, "complete": complete, "states": counts[-1]}


def ant(arguments: Arguments) -> None:
    """Measures how many cells of its maze a four-legged body sees when nothing is paid."""
    question = f"How many of the seven cells of {ANT} are seen in {arguments.steps:,} steps without a reward?"
    table = Table(arguments.out / "ant.json", question)
    summary = {}
    for way, model in (("planning", "ensemble"), ("random", "random")):
        rows = [
            table.row(
                {"way": way, "seed": seed, "steps": arguments.steps},
                lambda model=model, seed=seed: walked(seed, arguments.steps, model),
            )
            for seed in range(arguments.seeds)
        ]
        names = ("regions", "complete", "states", "cpu_seconds")
        summary[way] = {name: [row[name] for row in rows] for name in names}
    table.summary("summary", summary)


_AHEAD = PlannerSettings(horizon=30, candidates=100, colour=1.0, execute=2)
GOALS: Mapping[str, tuple[str, rewards.Reward, int, PlannerSettings]] = {
    "cart-pole": ("vime/SparseCartPoleSwingup-v0", rewards.upright, 500, _AHEAD),
    "acrobot": ("Acrobot-v1", rewards.height, 500, _AHEAD),
}
"""Task, reward, steps of an episode, and planner of every goal."""
END_COSTS: Mapping[str, float] = {"cart-pole": 30.0, "acrobot": 0.0}
"""The cart falls off its rail; the acrobot ends at its goal."""


def zero_shot(goal: str, seed: int, steps: int, source: str) -> dict[str, Any]:
    """Returns what a planner makes of a model learnt from steps of one source."""
    task, reward, limit, planner = GOALS[goal]
    how: dict[str, Any] = {
        "planner": PlannerSettings(horizon=30, execute=3),
        "fit_every": 50,
        "updates": 200,
        "model_settings": {"hidden": [128, 128]},
    }
    if source == "reward":
        how["objective"] = Objective(reward=reward, gain_weight=0.05)
        how["planner"] = planner
    elif source == "random":
        how["warm_up"] = steps
    found = agents.explore(task, steps, seed=seed, **how)
    model = found.model
    model.fit(3000)
    told = transfer(
        model,
        gymnasium.make(task),
        reward,
        termination=found.termination(),
        end_cost=END_COSTS[goal],
        planner=planner,
        episodes=2,
        steps=limit,
        seed=1000 * (seed + 1),
    )
    return {name: told[name] for name in ("score", "scores", "returns", "lengths")}


def later(arguments: Arguments) -> None:
    """Measures rewards that came after the exploration, beside a model that knew them and one of chance."""
    question = f"What does a planner get from a model of {arguments.steps:,} steps that never saw the reward?"
    table = Table(arguments.out / "transfer.json", question)
    summary = {}
    for goal in arguments.goals:
        for source in ("information", "random", "reward"):
            rows = [
                table.row(
                    {"goal": goal, "source": source, "seed": seed, "steps": arguments.steps},
                    lambda goal=goal, source=source, seed=seed: zero_shot(goal, seed, arguments.steps, source),
                )
                for seed in range(arguments.seeds)
            ]
            summary[f"{goal}, {source}"] = {
                "score": float(np.mean([row["score"] for row in rows])),
                "length": float(np.mean([length for row in rows for length in row["lengths"]])),
            }
    table.summary("summary", summary)


if __name__ == "__main__":
    torch.set_num_threads(1)
    chosen = tyro.cli(Arguments, description=__doc__)
    {"car": car, "chain": chain, "maze": maze, "ant": ant, "transfer": later}[chosen.what](chosen)
