"""Many rewards from one model: a planner, or a policy trained in imagination alone, scored where it counts."""

import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import gymnasium
import numpy as np
import torch
from jaxtyping import Float
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor

from agents.planning import rewards
from agents.planning.controller import Controller
from agents.planning.exploration import Exploration
from agents.planning.explorers import as_one
from agents.planning.imagined import ImaginedEnvironment
from agents.planning.objective import Objective, Reward, Termination
from agents.planning.settings import AHEAD, PlannerSettings
from agents.tasks import make_environment
from vime.errors import InvalidSettings, UnsupportedSpace, choose
from vime.world import WorldModel

How = Literal["planner", "sac", "ppo", "dqn"]
Act = Callable[[Float[Tensor, "1 d"]], Any]
Progress = Callable[[dict[str, Any]], None]

MEMBERS = 5
"""Drawn of a model that draws them."""


def transfer(
    model: WorldModel | Exploration,
    env: gymnasium.Env | str,
    reward: Reward,
    *,
    how: How = "planner",
    termination: Termination | None = None,
    end_cost: float = 0.0,
    planner: PlannerSettings | None = None,
    imagined_steps: int = 50_000,
    imagined_horizon: int = 50,
    episodes: int = 5,
    steps: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Returns how much of `reward` an agent gets in `env` that knows it through `model` alone: zero-shot.

    Args:
        model: learnt without this reward: what `agents.explore` returned, or any world model.
        env: where it is scored, or the name of that task; its own reward is counted too, and shown to nobody.
        reward: what is wanted.
        how: `planner` plans at every step; `sac` (a Box of actions), `dqn` (discrete ones) and `ppo` train a policy of
            SB3 on imagined steps first.
        termination: where imagined episodes end; unless given where those of the exploration did, or nowhere.
        end_cost: what an end costs a plan, in reward.
        planner: settings of the planner; `agents.planning.settings.AHEAD` unless given.
        imagined_steps: on which a policy is trained.
        imagined_horizon: steps of an episode that it is trained on.
        episodes: how many are played.
        steps: after which an episode is cut; the environment's own limit unless given.
        seed: of everything random.
        progress: is told after every episode `step` of `steps` (both in episodes) and its `score`; before, while a
            policy is trained, imagined steps without a score.

    Returns:
        `scores` (sums of the wanted reward, one an episode) and their `score`, the mean; `returns` of the environment's
        own reward; `lengths`; `cpu_seconds`, and of them `training_seconds`.

    Raises:
        InvalidSettings: reward or termination is of the wrong shape, a setting is out of range, or there is no network
            to plan in; nothing was spent then.
        InvalidData: the model has diverged.
        UnsupportedSpace: no planner, or not this policy, serves the action space.
    """
    if isinstance(model, Exploration):
        termination = termination or model.termination()
        model = model.network
    if episodes < 1 or (steps is not None and steps < 1):
        raise InvalidSettings(f"`episodes` and `steps` must be at least 1; got {episodes} and {steps}.")
    choose("way to act", how, dict.fromkeys(get_args(How)))
    if min(imagined_steps, imagined_horizon) < 1:
        raise InvalidSettings(
            f"`imagined_steps` and `imagined_horizon` must be at least 1; got {imagined_steps} and {imagined_horizon}."
        )
    if not isinstance(model, WorldModel):
        raise InvalidSettings(
            f"`model` is a world model, or what `agents.explore` returned; got a {type(model).__name__}."
        )
    if how != "planner" and (end_cost or planner is not None):
        raise InvalidSettings(f"`end_cost` and `planner` are of plans, and how={how!r} makes none: leave them out.")
    if end_cost and termination is None:
        raise InvalidSettings("`end_cost` is what an end costs, and no end is known: give a `termination`.")
    if isinstance(env, str):
        env = make_environment(env, {})
    rewards.check(reward, model)
    if termination is not None:
        rewards.check(termination, model, "termination")
    started = time.process_time()
    promised: list[float] = []  # by every plan
    if how == "planner":
        wanted = Objective(
            measure=None, reward=reward, termination=termination, end_cost=end_cost, propagation="members"
        )
        act, forget = _planner(model, env, wanted, planner or AHEAD, seed, promised)
    else:
        imagined = ImaginedEnvironment(
            model, env.action_space, reward, termination, horizon=imagined_horizon, seed=seed
        )
        act, forget = _policy(how, imagined, imagined_steps, seed, progress)
    trained = time.process_time() - started
    scores, returns, lengths = [], [], []
    for episode in range(episodes):
        forget()
        score, earned, length = _play(model, env, reward, act, seed + episode, steps)
        scores.append(score)
        returns.append(earned)
        lengths.append(length)
        if progress is not None:
            progress({"step": episode + 1, "steps": episodes, "score": score})
    if promised and max(promised) == min(promised):
        ahead = (planner or AHEAD).horizon
        warnings.warn(
            f"Every plan promised the same, {promised[0]:g}: none reached what is wanted within {ahead} steps. Take a "
            "longer `horizon` or more `candidates`, or a reward that shows the way.",
            stacklevel=2,
        )
    return {
        "score": float(np.mean(scores)),
        "scores": scores,
        "returns": returns,
        "lengths": lengths,
        "how": how,
        "cpu_seconds": round(time.process_time() - started, 2),
        "training_seconds": round(trained, 2),
    }


def _planner(
    model: WorldModel,
    env: gymnasium.Env,
    objective: Objective,
    planner: PlannerSettings,
    seed: int,
    promised: list[float],
) -> tuple[Act, Callable[[], None]]:
    members = model.members(torch.Generator(model.settings.device).manual_seed(seed), MEMBERS).check_finite()
    controller = Controller(members, env.action_space, objective, planner, seed)

    def act(state: Float[Tensor, "1 d"]) -> Any:
        action, score = controller.act(state)
        promised.append(score)
        return action

    return act, controller.forget


POLICIES: Mapping[str, tuple[type[BaseAlgorithm], type[gymnasium.Space] | None, dict[str, Any]]] = {
    "sac": (SAC, gymnasium.spaces.Box, {"train_freq": 1, "gradient_steps": 4, "learning_starts": 500}),
    "dqn": (DQN, gymnasium.spaces.Discrete, {"train_freq": 1, "gradient_steps": 4, "learning_starts": 500}),
    "ppo": (PPO, None, {"n_steps": 128, "batch_size": 256}),
}
"""What is trained on imagined steps: its class, the kind of actions that it needs, and its settings."""


def _policy(
    how: str, imagined: ImaginedEnvironment, steps: int, seed: int, progress: Progress | None
) -> tuple[Act, Callable[[], None]]:
    cls, wanted, settings = POLICIES[how]
    if wanted is not None and not isinstance(imagined.action_space, wanted):
        raise UnsupportedSpace(
            f"{how} needs {wanted.__name__} actions, and these are {imagined.action_space}: use how='planner' or 'ppo'."
        )
    policy = cls("MlpPolicy", imagined, seed=seed, device=imagined.model.settings.device, **settings)

    def tell(local: dict[str, Any], _: dict[str, Any]) -> bool:
        if progress is not None:
            progress({"step": local["self"].num_timesteps, "steps": steps})
        return True

    policy.learn(steps, callback=tell)

    def act(state: Float[Tensor, "1 d"]) -> Any:
        return policy.predict(state.cpu().numpy(), deterministic=True)[0][0]

    return act, lambda: None


def _play(
    model: WorldModel, env: gymnasium.Env, reward: Reward, act: Act, seed: int, steps: int | None
) -> tuple[float, float, int]:
    """Returns the wanted reward, the environment's own, and the length of one episode."""
    obs, _ = env.reset(seed=seed)
    score = earned = 0.0
    length, over = 0, False
    state = model.encode(as_one(obs))
    while not over and (steps is None or length < steps):
        action = act(state)
        obs, paid, terminated, truncated, _ = env.step(action)
        following = model.encode(as_one(obs))
        encoded = model.encode_action(torch.as_tensor(np.asarray(action))[None])
        score += float(reward(state, encoded, following))
        earned += float(paid)
        length += 1
        state, over = following, terminated or truncated
    return score, earned, length
