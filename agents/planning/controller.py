"""A model and a planner that act: a plan at every step, its first action taken."""

from typing import Any

import gymnasium
import torch
from jaxtyping import Float
from torch import Tensor

from agents.planning.graphs import Graphs
from agents.planning.imagination import imagine
from agents.planning.objective import Objective
from agents.planning.planners import Plan, PlannerSettings, plan
from agents.planning.sequences import make_sequences
from vime.members import Members


class Controller:
    """Plans at every step for `b` starts at once, and begins each search with what it found the step before.

    Args:
        members: the networks that it imagines with; replace the attribute after the model was fitted.
        action_space: of one environment.
        objective: what it plans for.
        settings: of the planner.
        seed: of all that is drawn.

    Raises:
        UnsupportedSpace: no planner serves the action space.
    """

    def __init__(
        self,
        members: Members,
        action_space: gymnasium.Space,
        objective: Objective | None = None,
        settings: PlannerSettings | None = None,
        seed: int = 0,
    ) -> None:
        self.members = members
        self.objective = objective or Objective()
        self.settings = settings or PlannerSettings()
        extra = self.objective.extra_actions(members.features)
        self.sequences = make_sequences(action_space, extra, members.device, self.settings.spread)
        self.generator = torch.Generator(members.device).manual_seed(seed)
        self.last: Plan | None = None
        """The latest plan, as far as it was not carried out."""
        self.ahead = 0
        """Its first actions that are still to be taken before the next plan."""
        self._captured: Graphs | None = None

    def forget(self) -> None:
        """Begins the next search anew: a new episode starts, or the objective changed."""
        self.last, self.ahead = None, 0

    def plan(self, state: Float[Tensor, "b d"]) -> Plan:
        """Returns the plans for `b` states, one action further on than the last ones; the search begins with those."""
        if self.last is not None and len(self.last.actions) != len(state):
            self.last = None

        def evaluate(sequences: Float[Tensor, "b n h a"]) -> Float[Tensor, "b n"]:
            b, n, h, _ = sequences.shape
            if self.members.device.type == "cuda":
                start = state.repeat_interleave(n, 0)
                return self._graphs().imagine(self.members, start, sequences.flatten(0, 1)).score.view(b, n)
            noise = None
            if self.objective.noise:
                shape = (h, b * n, self.members.features)
                noise = torch.randn(shape, generator=self.generator, device=self.members.device)
            start = state.repeat_interleave(n, 0)
            return imagine(self.members, start, sequences.flatten(0, 1), self.objective, noise).score.view(b, n)

        last = self.last if self.settings.warm_start else None
        found = plan(evaluate, self.sequences, self.settings, len(state), self.generator, last)
        self.last = found.shifted()
        return found

    def _graphs(self) -> Graphs:
        """Returns the captured unrolls of the present objective."""
        if self._captured is None or self._captured.objective is not self.objective:
            self._captured = Graphs(self.objective, self.generator)
        return self._captured

    def act(self, state: Float[Tensor, "1 d"]) -> tuple[Any, float]:
        """Returns the action for one state as the environment wants it, and the score that its plan found."""
        if self.ahead == 0 or self.last is None:
            self.last, self.ahead = self.plan(state), self.settings.execute
        found = self.last
        self.last, self.ahead = found.shifted(), self.ahead - 1
        return self.sequences.decode(found.actions[0, 0]), float(found.score[0])
