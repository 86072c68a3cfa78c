"""Planners: the cross-entropy method, its improved version, and path integrals; for many starts at once.

They know nothing of models: they hand sequences of actions `(b, n, h, a)` to a function and get scores `(b, n)` back.

| kind | what it does with the scores | source |
|---|---|---|
| `cem` | fits the distribution to the best sequences, some iterations long | Rubinstein 1999; Chua et al. 2018 |
| `icem` | the same with coloured noise, ever fewer sequences, and the best kept for next time | Pinneri et al. 2020 |
| `mppi` | weighs every sequence by the exponential of its score | Williams et al. 2017 |
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from agents.planning.sequences import Sequences
from agents.planning.settings import PlannerSettings

Evaluate = Callable[[Float[Tensor, "b n h a"]], Float[Tensor, "b n"]]
"""Takes sequences to their scores; minus infinity or NaN where one diverged."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What a planner found for each of `b` starts, and what the next plan can begin with."""

    actions: Float[Tensor, "b h a"]
    """The best sequence that was evaluated; of `mppi`, the mean of all, each by its weight."""
    score: Float[Tensor, " b"]
    """That of the best sequence that was evaluated; minus infinity where every one diverged."""
    parameters: tuple[Tensor, ...]
    """Of the distribution, after the last fit."""
    elites: Float[Tensor, "b k h a"]
    """The best sequences, best first."""

    def shifted(self) -> "Plan":
        """Returns the plan a step later: the first action is gone, and the last one stands twice."""

        def move(x: Tensor, axis: int) -> Tensor:
            return torch.cat([x.narrow(axis, 1, x.shape[axis] - 1), x.narrow(axis, x.shape[axis] - 1, 1)], axis)

        return Plan(
            move(self.actions, 1), self.score, tuple(move(part, 1) for part in self.parameters), move(self.elites, 2)
        )


@torch.no_grad()
def plan(
    evaluate: Evaluate,
    sequences: Sequences,
    settings: PlannerSettings,
    starts: int,
    generator: torch.Generator,
    last: Plan | None = None,
) -> Plan:
    """Returns the best sequences of actions for `starts` starts.

    Args:
        evaluate: scores sequences; those of one start stand in one row.
        sequences: what can be drawn.
        starts: how many starts are planned for at once.
        last: the plan of the step before, shifted; where given, the search begins around it.
    """
    s, horizon = settings, settings.horizon
    parameters = sequences.start(starts, horizon)
    kept: Tensor | None = None
    if last is not None:
        parameters = sequences.widened(last.parameters)
        if s.kind == "icem":
            kept = last.elites[:, : int(s.reuse * s.elites)]
    best = Plan(
        sequences.centre(parameters),
        torch.full((starts,), -torch.inf, device=generator.device),
        parameters,
        sequences.centre(parameters).unsqueeze(1),
    )
    colour = 0.0 if s.kind == "cem" else s.colour
    for i in range(s.iterations):
        n = (
            max(round(s.candidates / s.shrink**i), min(2 * s.elites, s.candidates))
            if s.kind == "icem"
            else s.candidates
        )
        drawn = sequences.draw(parameters, n, colour, generator)
        extra = [] if kept is None else [kept]
        if i == s.iterations - 1:
            extra.append(sequences.centre(parameters).unsqueeze(1))
        drawn = torch.cat([drawn, *extra], 1)
        score = evaluate(drawn).nan_to_num(nan=-torch.inf, posinf=-torch.inf, neginf=-torch.inf)
        order = score.topk(min(s.elites, score.shape[1]), 1)
        elites = _take(drawn, order.indices)
        best = _better(best, elites, order.values)
        if s.kind == "mppi":
            parameters = _fit(sequences, parameters, drawn, _exponential(score, s.temperature), s.keep)
        else:
            parameters = _fit(sequences, parameters, elites, torch.isfinite(order.values).float(), s.keep)
        if s.kind == "icem":
            kept = elites[:, : int(s.reuse * s.elites)]
        best = Plan(best.actions, best.score, parameters, elites)
    return replace(best, actions=sequences.centre(parameters)) if s.kind == "mppi" else best


def _take(values: Float[Tensor, "b n h a"], index: Tensor) -> Float[Tensor, "b k h a"]:
    return values.gather(1, index[:, :, None, None].expand(-1, -1, *values.shape[2:]))


def _better(best: Plan, elites: Tensor, scores: Tensor) -> Plan:
    """Returns the plan with its sequence replaced where the first of the elites beats it."""
    won = scores[:, 0] > best.score
    actions = torch.where(won[:, None, None], elites[:, 0], best.actions)
    return Plan(actions, torch.where(won, scores[:, 0], best.score), best.parameters, elites)


def _exponential(score: Float[Tensor, "b n"], temperature: float) -> Float[Tensor, "b n"]:
    """Returns exp(score / temperature), in deviations of the finite scores of a row; zero for the others."""
    sound = torch.isfinite(score)
    count = sound.sum(1, keepdim=True).clamp_min(1)
    mean = torch.where(sound, score, 0.0).sum(1, keepdim=True) / count
    deviation = (torch.where(sound, score - mean, 0.0).square().sum(1, keepdim=True) / count).sqrt()
    top = torch.where(sound, score, -torch.inf).amax(1, keepdim=True)
    return torch.where(sound, torch.exp((score - top) / (temperature * deviation).clamp_min(1e-12)), 0.0)


def _fit(
    sequences: Sequences, parameters: tuple[Tensor, ...], drawn: Tensor, weights: Tensor, keep: float
) -> tuple[Tensor, ...]:
    """Returns the parameters fitted to weighted sequences; a start for which nothing was sound keeps its own."""
    total = weights.sum(1, keepdim=True)
    moved = sequences.fit(parameters, drawn, weights / total.clamp_min(1e-30), keep)
    sound = (total > 0).unsqueeze(-1)
    return tuple(torch.where(sound, new, old) for new, old in zip(moved, parameters, strict=True))
