"""Many rewards from one model: a planner, or a policy trained in imagination alone, scored where it counts."""

import time
from collections.abc import Callable
from typing import Any, Literal, get_args

import gymnasium
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from agents.planning import rewards
from agents.planning.controller import Controller
from agents.planning.explorers import as_one
from agents.planning.imagined import ImaginedEnvironment
from agents.planning.objective import Objective, Reward, Termination
from agents.planning.planners import PlannerSettings
from agents.tasks import make_environment
from vime.dynamics import DynamicsModel
from vime.errors import InvalidSettings, choose

How = Literal["planner", "sac"]
Act = Callable[[Float[Tensor, "1 d"]], Any]
Progress = Callable[[dict[str, Any]], None]

MEMBERS = 5
"""Drawn of a model that draws them."""


def transfer(
    model: DynamicsModel,
    env: gymnasium.Env | str,
    reward: Reward,
    *,
    how: How = "planner",
    termination: Termination | None = None,
    end_cost: float = 0.0,
    planner: PlannerSettings | None = None,
    imagined_steps: int = 50_000,
    episodes: int = 5,
    steps: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Returns how much of `reward` an agent gets in `env` that knows it through `model` alone: zero-shot.

    Args:
        model: learnt without this reward, for example by `agents.explore`.
        env: where it is scored, or the name of that task; its own reward is counted too, and shown to nobody.
        reward: what is wanted.
        how: `planner` plans at every step; `sac` trains SB3's SAC on imagined steps first (actions must be a Box); it
            knows no `end_cost`.
        termination: where imagined episodes end; nowhere unless given.
        end_cost: what an end costs a plan, in reward.
        planner: settings of the planner.
        imagined_steps: on which `sac` is trained.
        episodes: how many are played.
        steps: after which an episode is cut; the environment's own limit unless given.
        seed: of everything random.
        progress: is told after every episode `step` of `steps` (both in episodes) and its `score`; before, while SAC is
            trained, imagined steps without a score.

    Returns:
        `scores` (sums of the wanted reward, one an episode) and their `score`, the mean; `returns` of the environment's
        own reward; `lengths`; `cpu_seconds`, and of them `training_seconds`.

    Raises:
        InvalidSettings: the reward is of the wrong shape, or a setting out of range; nothing was spent then.
        UnsupportedSpace: no planner serves the action space.
    """
    if episodes < 1 or (steps is not None and steps < 1):
        raise InvalidSettings(f"`episodes` and `steps` must be at least 1; got {episodes} and {steps}.")
    choose("way to act", how, dict.fromkeys(get_args(How)))
    if imagined_steps < 1:
        raise InvalidSettings(f"`imagined_steps` must be at least 1; got {imagined_steps}.")
    if not isinstance(model, DynamicsModel):
        raise InvalidSettings(f"`model` is a world model, as `agents.explore` returns it; got {type(model).__name__}.")
    if isinstance(env, str):
        env = make_environment(env, {})
    rewards.check(reward, model.features, model.actions, model.settings.device)
    started = time.process_time()
    if how == "planner":
        wanted = Objective(
            measure=None, reward=reward, termination=termination, end_cost=end_cost, propagation="members"
        )
        act, forget = _planner(model, env, wanted, planner, seed)
    else:
        act, forget = _policy(model, env, reward, termination, imagined_steps, seed, progress)
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
    model: DynamicsModel, env: gymnasium.Env, objective: Objective, planner: PlannerSettings | None, seed: int
) -> tuple[Act, Callable[[], None]]:
    members = model.members(torch.Generator(model.settings.device).manual_seed(seed), MEMBERS)
    controller = Controller(members, env.action_space, objective, planner, seed)
    return lambda state: controller.act(state)[0], controller.forget


def _policy(
    model: DynamicsModel,
    env: gymnasium.Env,
    reward: Reward,
    termination: Termination | None,
    imagined_steps: int,
    seed: int,
    progress: Progress | None,
) -> tuple[Act, Callable[[], None]]:
    from stable_baselines3 import SAC

    if not isinstance(env.action_space, gymnasium.spaces.Box):
        raise InvalidSettings(f"SAC needs a Box of actions, and {env.action_space} is none: use how='planner'.")
    imagined = ImaginedEnvironment(model, env.action_space, reward, termination, seed=seed)
    policy = SAC(
        "MlpPolicy",
        imagined,
        seed=seed,
        device=model.settings.device,
        train_freq=1,
        gradient_steps=4,
        learning_starts=500,
    )

    def tell(local: dict[str, Any], _: dict[str, Any]) -> bool:
        if progress is not None:
            progress({"step": local["self"].num_timesteps, "steps": imagined_steps})
        return True

    policy.learn(imagined_steps, callback=tell)

    def act(state: Float[Tensor, "1 d"]) -> Any:
        return policy.predict(state.cpu().numpy(), deterministic=True)[0][0]

    return act, lambda: None


def _play(
    model: DynamicsModel, env: gymnasium.Env, reward: Reward, act: Act, seed: int, steps: int | None
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
