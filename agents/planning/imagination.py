"""Thousands of futures at once, in a model: no environment, no loop over rows, nothing that waits for the device."""

import warnings
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from agents.planning.objective import TRAJECTORY, Objective, of_rows
from vime.errors import InvalidData
from vime.measures import CAPPED, FEW_MEMBERS, MEASURES, member_gram, moments, trajectory_gain
from vime.members import Members

CHUNK = 4096
"""Rows, over all members, that unroll together on a processor: more leave its cache, fewer pay for the calls."""


@dataclass(frozen=True, eq=False)
class Imagined:
    """What `n` imagined futures of `h` steps give."""

    score: Float[Tensor, " n"]
    """Discounted sum of what the objective wants; minus infinity where the future diverged."""
    gain: Float[Tensor, " n"]
    """Nats in all; zero where the objective has no measure."""
    reward: Float[Tensor, " n"]
    """Sum of rewards, discounted; zero where the objective has none."""
    state: Float[Tensor, "n d"]
    """Where it ends; with propagation by members, the mean of their ends."""


@torch.no_grad()
def imagine(
    members: Members,
    start: Float[Tensor, "n d"],
    actions: Float[Tensor, "n h a"],
    objective: Objective,
    noise: Float[Tensor, "h n d"] | None = None,
) -> Imagined:
    """Returns what becomes of `n` sequences of encoded actions, each from its own start.

    Rows that diverge, or whose reward is no number, score minus infinity: never zero, which would beat every loss.

    Args:
        actions: encoded as the model wants them; with optimism, behind them one number in -1 to 1 for each feature.
        noise: standard normal draws, where the objective asks for noise; drawn beforehand, so that a captured graph
            is fed fresh ones.

    Raises:
        InvalidData: a reward function returns another shape, or `noise` is missing.
    """
    if objective.noise and noise is None:
        raise InvalidData("An objective with noise needs draws: hand in `noise` of shape (steps, futures, features).")
    if objective.measure in CAPPED and members.count < FEW_MEMBERS:
        warnings.warn(
            f"The measure {objective.measure!r} cannot exceed log(members), and {members.count} members reach that at "
            "once: a planner then finds no slope. Take 'log-det', or at least 10 members.",
            stacklevel=2,
        )
    n, rows = len(start), max(CHUNK // _width(members, objective), 1)
    if start.device.type != "cpu" or n <= rows:
        return _unroll(members, start, actions, objective, noise)
    parts = [
        _unroll(members, start[i : i + rows], actions[i : i + rows], objective, _some(noise, i, rows))
        for i in range(0, n, rows)
    ]
    return Imagined(*(torch.cat([getattr(part, name) for part in parts]) for name in Imagined.__dataclass_fields__))


def _width(members: Members, objective: Objective) -> int:
    """How many rows of a network one future takes."""
    each = members.count if objective.propagation == "members" else 1
    return each * (members.count if objective.measure or objective.propagation == "mean" else 1)


def _some(noise: Tensor | None, start: int, rows: int) -> Tensor | None:
    return None if noise is None else noise[:, start : start + rows]


def _unroll(members: Members, start: Tensor, actions: Tensor, objective: Objective, noise: Tensor | None) -> Imagined:
    """Unrolls futures that fit together. Shapes depend on the arguments' alone, and no number leaves the device."""
    n, own = len(start), objective.propagation == "members"
    futures = members.count if own else 1
    state = start.repeat(futures, 1)  # member by member
    width = actions.shape[-1] - objective.extra_actions(members.features)
    alive = torch.ones(len(state), device=start.device)
    ends = objective.termination is not None
    reward, gain = torch.zeros_like(alive), torch.zeros_like(alive)
    gram = None
    weight = 1.0
    steps = actions.transpose(0, 1)[..., :width].contiguous()  # once, and not a copy in every step
    if own:
        steps = steps.repeat(1, futures, 1)
    shape = (futures, n, -1)
    for t, action in enumerate(steps):
        if own and objective.measure is None:
            mean, variance = members.predict(state.view(shape), action.view(shape))
            following = mean.flatten(0, 1)
        else:
            mean, variance = members.predict(state, action)
            following = _of_its_own(mean, n) if own else mean.mean(0)
        if objective.measure == TRAJECTORY:
            step = _while(alive, member_gram(mean, variance), ends)
            gram = step if gram is None else gram + step
        elif objective.measure is not None:
            gain = gain.add(_while(alive, MEASURES[objective.measure](mean, variance), ends), alpha=weight)
        if objective.optimism > 0:
            bend = moments(mean, variance)[0].sqrt() * actions[:, t, width:]
            following = following + objective.optimism * bend
        if objective.noise and noise is not None:
            spread = variance
            if objective.measure is not None or not own:
                spread = _of_its_own(variance.expand_as(mean), n).view(shape) if own else variance.mean(0)
            following = torch.addcmul(following.view(shape), spread.sqrt(), noise[t]).flatten(0, 1)
        if objective.reward is not None:
            paid = of_rows("reward", objective.reward(state, action, following), len(state))
            reward = reward.add(_while(alive, paid, ends), alpha=weight)
        if objective.termination is not None:
            following = torch.where(alive.view(-1, 1) > 0, following, state)  # at rest once it has ended
            ended = of_rows("termination", objective.termination(state, action, following), len(state))
            going = alive * (~ended.bool()).to(alive.dtype)
            if objective.end_cost:
                reward = torch.add(reward, alive - going, alpha=-weight * objective.end_cost)
            alive = going
        state, weight = following, weight * objective.discount
    if gram is not None:
        gain = trajectory_gain(gram)
    score = objective.gain_weight * gain + reward
    sound = torch.isfinite(score) & torch.isfinite(state).all(1)
    score = score.masked_fill(~sound, -torch.inf)
    return Imagined(*(part.view(futures, n, *part.shape[1:]).mean(0) for part in (score, gain, reward, state)))


def _while(alive: Float[Tensor, " r"], values: Float[Tensor, "r *k"], ends: bool) -> Float[Tensor, "r *k"]:
    """Returns the values of the rows that have not ended, finite or not, and zero for the others."""
    return torch.where(alive.view(-1, *[1] * (values.ndim - 1)) > 0, values, 0.0) if ends else values


def _of_its_own(values: Float[Tensor, "m r d"], n: int) -> Float[Tensor, "r d"]:
    """Returns of what every member says of all `m * n` rows what each says of its own `n`."""
    m = len(values)
    return values.view(m, m, n, -1).diagonal(dim1=0, dim2=1).permute(2, 0, 1).reshape(m * n, -1)
