"""Who explores: a planner in a learned model, or chance; exact planning in a table stands in `tabular`."""

from dataclasses import replace
from typing import Any, Protocol

import gymnasium
import numpy as np
from gymnasium import spaces
from jaxtyping import Float
from torch import Tensor

from agents.planning import rewards
from agents.planning.controller import Controller
from agents.planning.objective import Objective
from agents.planning.planners import Plan
from agents.planning.precision import usable
from agents.planning.recording import UNKNOWN, Nats
from agents.planning.settings import RANDOM, TABULAR, ExploreSettings
from agents.planning.tabular import TabularExplorer
from vime.errors import InvalidSettings
from vime.heads import HeadSettings, TerminationHead
from vime.measures import gaussian_gain, log_determinant, moments
from vime.members import Members
from vime.transitions import Observation, Transitions, map_observation, to_tensor
from vime.world import make_world


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
        self.objective = objective or Objective(measure=s.measure, optimism=s.optimism)
        for what, function in (("reward", self.objective.reward), ("termination", self.objective.termination)):
            if function is not None:
                rewards.check(function, self.model, what)
        members = self.model.members(self.model.generator, s.samples)
        self.controller = Controller(members, action_space, self.objective, s.planner, seed)
        ends = HeadSettings(seed=seed, device=self.model.settings.device)
        self.ends = TerminationHead(self.model.features, self.model.actions, ends)
        """Learns where episodes end; asked once one has, unless the objective says so itself."""
        self.step, self.unseen, self.fitted, self.ended = 0, 0, False, False
        self._imagine_with(members)

    def _imagine_with(self, members: Members) -> None:
        self.members = members.check_finite()
        self.controller.members = members.to(self.precision)
        if self.ended and self.objective.termination is None:  # a new one each time: graphs hold the head's numbers
            self.controller.objective = replace(self.objective, termination=self.ends)

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
        updates = self.settings.updates * (1 if self.fitted else 4)
        self.model.fit(updates)
        if self.ended:
            self.ends.fit(updates)
        self._imagine_with(self.model.members(self.model.generator, self.settings.samples))
        self.fitted, self.unseen = True, 0

    def observe(self, step: Transitions) -> Nats:
        """Asks the model about the step before it is told, and keeps it for the next fit."""
        self.step += 1
        rows = self.model.rows(step)
        parts = (map_observation(lambda x: x.flatten(0, 1), part) for part in (step.obs, step.action, step.next_obs))
        obs, action, following = parts
        state, encoded = self.model.encode(obs), self.model.encode_action(action)  # type: ignore[arg-type]
        arrived, terminated = self.model.encode(following), step.terminated.flatten()
        nats = self._judge(state, encoded, arrived) if self.fitted else UNKNOWN
        self.model.add(rows)
        self.unseen += 1
        self.ends.add(state, encoded, arrived, terminated)
        self.ended = self.ended or bool(terminated.any())
        return nats

    def _judge(self, state: Float[Tensor, "n d"], action: Float[Tensor, "n a"], arrived: Float[Tensor, "n d"]) -> Nats:
        prediction = self.members.predict(state, action)
        epistemic, aleatoric = moments(*prediction)
        realised = gaussian_gain(epistemic, aleatoric, arrived - prediction.mean.mean(0))
        return Nats(float(log_determinant(*prediction)), float(realised))

    def ready(self) -> None:
        """Fits the model to the steps since the last fit."""
        if self.unseen:
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
            "ends": self.ends.state_dict(),
            "step": self.step,
            "unseen": self.unseen,
            "fitted": self.fitted,
            "ended": self.ended,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        self.model.load_state_dict(state["model"])
        self.random.load_state_dict(state["random"])
        self.ends.load_state_dict(state["ends"])
        self.step, self.unseen = int(state["step"]), int(state["unseen"])
        self.fitted, self.ended = bool(state["fitted"]), bool(state["ended"])
        self._imagine_with(Members.from_state(state["members"]))
        self.controller.generator.set_state(state["generator"].cpu())
        self.controller.ahead = int(state["ahead"])
        plan = state["plan"]
        self.controller.last = None if plan is None else Plan(**{**plan, "parameters": tuple(plan["parameters"])})


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
    if objective is not None and settings.model in (RANDOM, TABULAR):
        raise InvalidSettings(
            f"An `objective` is planned for in a network, and {settings.model!r} has none: take 'ensemble'."
        )
    if objective is not None and (settings.measure != ExploreSettings.measure or settings.optimism):
        raise InvalidSettings(
            "Where an `objective` is given, `measure` and `optimism` stand there: leave them out here."
        )
    if settings.model == RANDOM:
        return RandomExplorer(action_space, seed)
    table = isinstance(observation_space, spaces.Discrete) and isinstance(action_space, spaces.Discrete)
    if settings.model == TABULAR or (settings.model == "auto" and table and objective is None):
        return TabularExplorer(observation_space, action_space, settings, seed)
    return PlannedExplorer(observation_space, action_space, settings, seed, objective)


def as_one(obs: Any) -> Observation:
    """Returns the observation of one environment as a batch of one, which the environment cannot change any more."""
    return map_observation(lambda part: part.unsqueeze(0).clone(), to_tensor(obs))


def as_step(obs: Any, action: Any, following: Any, terminated: bool, truncated: bool) -> Transitions:
    """Returns one step of one environment as a batch."""

    def lead(value: Any) -> Any:
        return (
            {key: lead(part) for key, part in value.items()}
            if isinstance(value, dict)
            else np.asarray(value)[None, None]
        )

    return Transitions.from_numpy(lead(obs), lead(action), lead(following), [[terminated]], [[truncated]])
