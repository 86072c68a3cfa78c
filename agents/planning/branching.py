"""Imagined transitions for a learner: short rollouts of its policy in a model, from states that were visited."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from agents.planning.objective import Reward, Termination, of_rows
from vime.errors import InvalidSettings
from vime.members import Members

Act = Callable[[Float[Tensor, "n d"]], Float[Tensor, "n a"]]
"""Takes observations, not normalised, to actions as the replay buffer holds them."""


@torch.no_grad()
def branch(
    members: Members,
    start: Float[Tensor, "n d"],
    steps: int,
    *,
    act: Act,
    encode: Callable[[Tensor], Tensor],
    reward: Reward,
    termination: Termination,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Returns the transitions of `n` rollouts of at most `steps` steps, by the names of their columns, one a row.

    Every step of a rollout is told by one member, noise included, and by the next member a step later; so the members
    share the rows evenly, and none is copied. What would follow an end is left out, and so is what diverged.

    Args:
        start: as many states as are a multiple of the members.
        act: the policy.
        encode: takes the policy's actions to those of the model.

    References: Janner et al. 2019, "When to trust your model: model-based policy optimization", arXiv:1906.08253.
    """
    shape = (members.count, len(start) // members.count, -1)
    state, alive = start, torch.ones(len(start), dtype=torch.bool, device=start.device)
    columns: dict[str, list[Tensor]] = {name: [] for name in ("obs", "action", "reward", "next_obs", "done", "kept")}
    for _ in range(steps):
        action = act(state)
        encoded = encode(action)
        mean, variance = members.predict(state.view(shape), encoded.view(shape))
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        following = torch.addcmul(mean, variance.sqrt(), noise).flatten(0, 1)
        paid = of_rows("reward", reward(state, encoded, following), len(state)).float()
        ended = of_rows("termination", termination(state, encoded, following), len(state)).bool()
        sound = torch.isfinite(following).all(1) & torch.isfinite(paid)
        step = (state, action, paid.unsqueeze(1), following, ended.float().unsqueeze(1), alive & sound)
        for column, part in zip(columns.values(), step, strict=True):
            column.append(part)
        alive = alive & sound & ~ended
        state = torch.where(alive.unsqueeze(1), following, state)
        state, alive = state.roll(shape[1], 0), alive.roll(shape[1], 0)  # the next member's turn
    joined = {name: torch.cat(parts) for name, parts in columns.items()}
    kept = joined.pop("kept")
    return {name: column[kept] for name, column in joined.items()}


def policy_of(model: OffPolicyAlgorithm, generator: torch.Generator) -> Act:
    """Returns how `model` acts while it explores, as a function of tensors that draws from `generator` alone.

    SAC draws from its policy; TD3 and DDPG add white noise of the size of their action noise; DQN takes a random action
    as often as it does in the environment.

    Raises:
        InvalidSettings: the model has no policy of a known kind.
    """
    algorithm: Any = model
    actor = getattr(algorithm, "actor", None)
    if actor is None and not hasattr(algorithm, "q_net"):
        raise InvalidSettings(
            f"The policy of a {type(model).__name__} is of no kind that can be followed in imagination. Use SAC, TD3, "
            "DDPG or DQN."
        )

    def noise(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator, device=like.device)

    @torch.no_grad()
    def act(obs: Tensor) -> Tensor:
        obs = normalised(obs, model.get_vec_normalize_env())
        if actor is None:
            values = algorithm.q_net(obs)
            best = values.argmax(1, keepdim=True)
            any_one = torch.randint(values.shape[1], best.shape, generator=generator, device=obs.device)
            bold = torch.rand(best.shape, generator=generator, device=obs.device) < algorithm.exploration_rate
            return torch.where(bold, any_one, best)
        if hasattr(actor, "get_action_dist_params"):
            mean, log_std, _ = actor.get_action_dist_params(obs)
            return torch.tanh(torch.addcmul(mean, log_std.exp(), noise(mean)))
        chosen = actor(obs)
        return torch.addcmul(chosen, _spread(algorithm, chosen), noise(chosen)).clamp(-1, 1)

    return act


def _spread(model: Any, action: Tensor) -> Tensor:
    """Returns the deviation of a deterministic policy's action noise."""
    noise = getattr(model.action_noise, "noises", [model.action_noise])[0]
    sigma = getattr(noise, "_sigma", 0.0)
    return torch.as_tensor(sigma, dtype=action.dtype, device=action.device)


def normalised(obs: Float[Tensor, "n d"], env: VecNormalize | None) -> Float[Tensor, "n d"]:
    """Returns observations as the policy sees them: normalised as `env` now does."""
    if env is None or not env.norm_obs:
        return obs
    mean, variance = (torch.as_tensor(part, device=obs.device) for part in (env.obs_rms.mean, env.obs_rms.var))  # type: ignore[union-attr]
    scaled = (obs - mean.float()) / (variance + env.epsilon).sqrt().float()
    return scaled.clamp_(-env.clip_obs, env.clip_obs)


def normalised_reward(reward: Float[Tensor, "n 1"], env: VecNormalize | None) -> Float[Tensor, "n 1"]:
    """Returns rewards as the learner sees them."""
    if env is None or not env.norm_reward:
        return reward
    return (reward / float(env.ret_rms.var + env.epsilon) ** 0.5).clamp_(-env.clip_reward, env.clip_reward)
