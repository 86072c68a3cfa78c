"""Exact planning in a table of what followed."""

from dataclasses import dataclass, fields
from typing import Any

import gymnasium
import torch
from gymnasium import spaces

from agents.planning.recording import Nats
from agents.planning.settings import ExploreSettings, PlannerSettings
from vime.errors import InvalidSettings, build_settings
from vime.tabular import DirichletModel
from vime.transitions import Observation, Transitions


@dataclass(frozen=True, kw_only=True)
class TabularSettings:
    """Settings of the exact belief about a table."""

    prior: float | None = None
    """Counts of every successor before anything was seen; see `vime.tabular.DirichletModel`."""
    device: str = "cpu"
    """Where it lies."""


class TabularExplorer:
    """Plans exactly, by dynamic programming, for the information in an exact belief about a table."""

    def __init__(
        self, observation_space: gymnasium.Space, action_space: gymnasium.Space, settings: ExploreSettings, seed: int
    ) -> None:
        if not (isinstance(observation_space, spaces.Discrete) and isinstance(action_space, spaces.Discrete)):
            raise InvalidSettings(
                "The model 'tabular' counts discrete states and actions; the spaces are "
                f"{observation_space} and {action_space}. Take 'ensemble'."
            )
        usual = ExploreSettings(
            model=settings.model,
            model_settings=settings.model_settings,
            planner=PlannerSettings(horizon=settings.planner.horizon),
        )
        if other := sorted(f.name for f in fields(settings) if getattr(settings, f.name) != getattr(usual, f.name)):
            raise InvalidSettings(
                "A table is planned in exactly, for the information itself; of the planner's settings only `horizon` "
                f"counts there: leave {', '.join(f'`{name}`' for name in other)} out, or take model='ensemble'."
            )
        self.low, self.first = int(observation_space.start), int(action_space.start)
        table = build_settings("The tabular model", TabularSettings, settings.model_settings)
        self.model = DirichletModel(int(observation_space.n), int(action_space.n), **vars(table))
        self.horizon = settings.planner.horizon
        self.generator = torch.Generator().manual_seed(seed)

    def act(self, obs: Observation) -> Any:
        """Returns the action of the greatest value, one by lot where several are equal."""
        values = self.model.values(self.model.expected_gain(), self.horizon)[int(obs) - self.low]  # type: ignore[arg-type]
        best = (values >= values.max() - 1e-9).double()
        return self.first + int(torch.multinomial(best, 1, generator=self.generator))

    def observe(self, step: Transitions) -> Nats:
        """Counts the step."""
        state, action, following = (
            part.flatten().long() - low  # type: ignore[union-attr]
            for part, low in ((step.obs, self.low), (step.action, self.first), (step.next_obs, self.low))
        )
        realised = self.model.told(state, action, following)
        predicted = self.model.expected_gain()[state, action]
        self.model.observe(state, action, following, step.terminated.flatten())
        return Nats(float(predicted), float(realised))

    def ready(self) -> None:
        """Has counted every step already."""

    def forget(self) -> None:
        """Has nothing to forget: it plans from where it is."""

    def state_dict(self) -> dict[str, Any]:
        """Counts and generator."""
        return {"model": self.model.state_dict(), "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        self.model.load_state_dict(state["model"])
        self.generator.set_state(state["generator"])
