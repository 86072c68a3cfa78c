"""Who explores: a planner in a learned model, exact planning in a table, or chance."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import gymnasium
import numpy as np
import torch
from gymnasium import spaces

from agents.planning.controller import Controller
from agents.planning.objective import Objective
from agents.planning.planners import Plan
from agents.planning.precision import usable
from agents.planning.settings import RANDOM, TABULAR, ExploreSettings
from vime.errors import InvalidSettings, build_settings
from vime.measures import gaussian_gain, log_determinant, moments
from vime.members import Members
from vime.tabular import DirichletModel
from vime.transitions import Observation, Transitions, map_observation, to_tensor
from vime.world import make_world


class Nats(NamedTuple):
    """What a step was expected to tell about the model, and what it did tell."""

    predicted: float
    realised: float


class Explorer(Protocol):
    """Chooses actions, and learns from what they led to."""

    def act(self, obs: Observation) -> Any:
        """Returns an action for one observation, which leads with an axis of one."""
        ...

    def observe(self, step: Transitions) -> Nats:
        """Takes one step into account; returns its nats, NaN while there is nothing that could say."""
        ...

    def ready(self) -> None:
        """All steps are made: whoever takes the model over shall find one that has learned from them."""
        ...

    def forget(self) -> None:
        """A new episode begins."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that the future depends on."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        ...


UNKNOWN = Nats(float("nan"), float("nan"))


class RandomExplorer:
    """Draws actions uniformly: the control."""

    def __init__(self, action_space: gymnasium.Space, seed: int) -> None:
        self.space = action_space
        self.space.seed(seed)

    def act(self, obs: Observation) -> Any:
        """Returns a uniform draw."""
        return self.space.sample()

    def observe(self, step: Transitions) -> Nats:
        """Learns nothing."""
        return UNKNOWN

    def ready(self) -> None:
        """Has no model."""

    def forget(self) -> None:
        """Has nothing to forget."""

    def state_dict(self) -> dict[str, Any]:
        """The generator of the space."""
        from agents.environment_state import save_space

        return {"space": save_space(self.space)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        from agents.environment_state import load_space

        load_space(self.space, state["space"])


class PlannedExplorer:
    """Plans for information in a model that it fits as it goes."""

    def __init__(
        self,
        observation_space: gymnasium.Space,
        action_space: gymnasium.Space,
        settings: ExploreSettings,
        seed: int,
        objective: Objective | None = None,
    ) -> None:
        s = self.settings = settings
        self.model = make_world(
            "ensemble" if s.model == "auto" else s.model,
            observation_space,
            action_space,
            **{"seed": seed, **s.model_settings},
        )
        self.precision = usable(s.precision, self.model.settings.device)
        self.random = RandomExplorer(action_space, seed)
        objective = objective or Objective(measure=s.measure, optimism=s.optimism)
        members = self.model.members(self.model.generator, s.samples)
        self.controller = Controller(members, action_space, objective, s.planner, seed)
        self.step, self.fitted = 0, False
        self._imagine_with(members)

    def _imagine_with(self, members: Members) -> None:
        self.members = members
        self.controller.members = members.to(self.precision)

    def act(self, obs: Observation) -> Any:
        """Returns a random action while there is too little to learn from, and then the first one of a plan."""
        s = self.settings
        if self.step < s.warm_up:
            return self.random.act(obs)
        if not self.fitted or self.step % s.fit_every == 0:
            self.fit()
        return self.controller.act(self.model.encode(obs))[0]

    def fit(self) -> None:
        """Fits the model to all that was seen, longer the first time."""
        self.model.fit(self.settings.updates * (1 if self.fitted else 4))
        self._imagine_with(self.model.members(self.model.generator, self.settings.samples))
        self.fitted = True

    def observe(self, step: Transitions) -> Nats:
        """Asks the model about the step before it is told, and keeps it for the next fit."""
        self.step += 1
        rows = self.model.rows(step)
        nats = self._judge(step) if self.fitted else UNKNOWN
        self.model.add(rows)
        return nats

    def _judge(self, step: Transitions) -> Nats:
        parts = (step.obs, step.action, step.next_obs)
        obs, action, following = (map_observation(lambda x: x.flatten(0, 1), part) for part in parts)
        prediction = self.members.predict(self.model.encode(obs), self.model.encode_action(action))  # type: ignore[arg-type]
        epistemic, aleatoric = moments(*prediction)
        error = self.model.encode(following) - prediction.mean.mean(0)
        realised = gaussian_gain(epistemic, aleatoric, error)
        return Nats(float(log_determinant(*prediction)), float(realised))

    def ready(self) -> None:
        """Fits the model if all steps were random."""
        if not self.fitted:
            self.fit()

    def forget(self) -> None:
        """Begins the next search anew."""
        self.controller.forget()

    def state_dict(self) -> dict[str, Any]:
        """Model, search and generators."""
        last = self.controller.last
        plan = None if last is None else {"actions": last.actions, "score": last.score, "elites": last.elites}
        return {
            "model": self.model.state_dict(),
            "random": self.random.state_dict(),
            "generator": self.controller.generator.get_state(),
            "ahead": self.controller.ahead,
            "plan": None if last is None else {**plan, "parameters": list(last.parameters)},  # type: ignore[dict-item]
            "members": self.members.state_dict(),
            "step": self.step,
            "fitted": self.fitted,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        self.model.load_state_dict(state["model"])
        self.random.load_state_dict(state["random"])
        self.step, self.fitted = int(state["step"]), bool(state["fitted"])
        self._imagine_with(Members.from_state(state["members"]))
        self.controller.generator.set_state(state["generator"].cpu())
        self.controller.ahead = int(state["ahead"])
        plan = state["plan"]
        self.controller.last = None if plan is None else Plan(**{**plan, "parameters": tuple(plan["parameters"])})


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
        predicted = self.model.expected_gain()[state, action]
        realised = self.model.told()[state, action, following]
        self.model.observe(state, action, following)
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


def make_explorer(
    observation_space: gymnasium.Space,
    action_space: gymnasium.Space,
    settings: ExploreSettings,
    seed: int,
    objective: Objective | None = None,
) -> RandomExplorer | PlannedExplorer | TabularExplorer:
    """Returns what explores environments of these spaces.

    Args:
        objective: what plans are for, in place of information by the measure of the settings.

    Raises:
        UnsupportedSpace: neither model nor planner can serve a space.
        InvalidSettings: the model wants other spaces, or refuses a setting.
    """
    if objective is None and settings.model == RANDOM:
        return RandomExplorer(action_space, seed)
    table = isinstance(observation_space, spaces.Discrete) and isinstance(action_space, spaces.Discrete)
    if objective is None and (settings.model == TABULAR or (settings.model == "auto" and table)):
        return TabularExplorer(observation_space, action_space, settings, seed)
    return PlannedExplorer(observation_space, action_space, settings, seed, objective)


def as_one(obs: Any) -> Observation:
    """Returns the observation of one environment as a batch of one."""
    return map_observation(lambda part: part.unsqueeze(0), to_tensor(obs))


def as_step(obs: Any, action: Any, following: Any, terminated: bool, truncated: bool) -> Transitions:
    """Returns one step of one environment as a batch."""

    def lead(value: Any) -> Any:
        return (
            {key: lead(part) for key, part in value.items()}
            if isinstance(value, dict)
            else np.asarray(value)[None, None]
        )

    return Transitions.from_numpy(lead(obs), lead(action), lead(following), [[terminated]], [[truncated]])
