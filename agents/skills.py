"""Skills without a task: behaviours that are told apart by the states that they reach.

`docs/bonuses.md` has an example.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from vime.errors import InvalidSettings, UnsupportedSpace
from vime.features import Standardiser, mlp
from vime.learned import LearnedSettings, Trainer
from vime.normalise import Scaling
from vime.saved import Saved
from vime.transitions import Observation, Transitions


class WithSkill(gymnasium.Wrapper[np.ndarray, Any, np.ndarray, Any]):
    """An environment of vectors whose observations end in the skill of the episode, as indicators.

    Args:
        env: with a `Box` of one axis as observations.
        skills: how many there are; every episode draws one.
        paid: whether the reward of the task stays; otherwise it is zero.

    Raises:
        UnsupportedSpace: the observations are of another kind.
        InvalidSettings: there are fewer than two skills.
    """

    def __init__(self, env: gymnasium.Env, skills: int, paid: bool = True) -> None:
        super().__init__(env)
        space = env.observation_space
        if not isinstance(space, spaces.Box) or len(space.shape) != 1:
            raise UnsupportedSpace(f"A skill is appended to observations that are vectors; got {space}.")
        if skills < 2:
            raise InvalidSettings(f"There must be at least 2 `skills`; got {skills}.")
        self.skills, self.paid, self.skill = skills, paid, 0
        low, high = (np.concatenate([bound, np.full(skills, end)]) for bound, end in ((space.low, 0), (space.high, 1)))
        self.observation_space = spaces.Box(low.astype(space.dtype), high.astype(space.dtype), dtype=space.dtype.type)

    def _with_skill(self, obs: np.ndarray) -> np.ndarray:
        indicators = np.zeros(self.skills, obs.dtype)
        indicators[self.skill] = 1
        return np.concatenate([obs, indicators])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Starts an episode of a skill drawn anew, or of `options["skill"]`."""
        obs, info = self.env.reset(seed=seed, options=options)
        wanted = (options or {}).get("skill")
        if wanted is not None and not 0 <= int(wanted) < self.skills:
            raise InvalidSettings(f"Skills are numbered from 0 to {self.skills - 1}; got {wanted}.")
        self.skill = int(self.np_random.integers(self.skills) if wanted is None else wanted)
        return self._with_skill(obs), info

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Advances by one step."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        return self._with_skill(obs), float(reward) if self.paid else 0.0, terminated, truncated, info

    def get_state(self) -> dict[str, Any]:
        """Returns the skill; the environment beneath speaks for itself."""
        return {"skill": self.skill}

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes the skill of what `get_state` returned."""
        self.skill = int(state["skill"])


class SkillReward(Saved):
    r"""What a state tells about the skill that reached it, as a bonus for `agents.attach`.

    .. math:: r_t = \log q(z \mid s_{t+1}) - \log p(z)

    in nats, with uniform p. The reader q is that of InfoGAN: a head that guesses a categorical code and learns by the
    surprise at it; its mean reward bounds the information between skills and states from below. There the generator is
    driven to be read, here the policy is.

    Args:
        observation_space: of a single environment, the skill included.
        skills: how many there are.
        settings: of the reader and its training.

    References: Eysenbach et al. 2019, "Diversity is all you need", arXiv:1802.06070, equation 3; Chen et al. 2016,
        "InfoGAN", section 5.

    Differs from the paper: any learner of Stable-Baselines3 in the place of SAC.

    Raises:
        UnsupportedSpace: the observations are no vectors that are longer than the skills.
        InvalidSettings: there are fewer than 2 skills.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings(LearnedSettings):
        """Settings of the reader."""

        passes: int = 4
        hidden: tuple[int, ...] = (64, 64)

    scaling: ClassVar[Scaling] = Scaling(rule="none", squash=False, unit=1.0)
    parts = ("trainer",)

    def __init__(self, observation_space: gymnasium.Space, skills: int, settings: Settings | None = None) -> None:
        self.settings = s = settings or self.Settings()
        if not isinstance(observation_space, spaces.Box) or len(observation_space.shape) != 1:
            raise UnsupportedSpace(f"The skill is read from vectors; got {observation_space}.")
        if skills < 2:
            raise InvalidSettings(f"There must be at least 2 `skills`; got {skills}.")
        self.size = observation_space.shape[0] - skills
        if self.size < 1:
            raise UnsupportedSpace(
                f"Observations of {observation_space.shape[0]} numbers hold no state beside {skills} skills."
            )
        self.skills = skills
        self.standardise = Standardiser(self.size)
        self.reader = mlp((self.size, *s.hidden, skills), torch.Generator().manual_seed(s.seed))
        self.trainer = Trainer({"standardise": self.standardise, "reader": self.reader}, s)

    def _split(self, obs: Observation) -> tuple[Float[Tensor, "n d"], Int[Tensor, " n"]]:
        rows = obs.flatten(0, -2).to(self.settings.device)  # type: ignore[union-attr]  # vectors: see `__init__`
        return rows[:, : self.size].float(), rows[:, self.size :].argmax(1)

    @torch.no_grad()
    def reward(self, batch: Transitions) -> Float[Tensor, "t b"]:
        """Returns how much better than chance the skill is read from the successor of every transition, in nats."""
        state, skill = self._split(batch.next_obs)
        surprise = F.cross_entropy(self.reader(self.standardise(state)), skill, reduction="none")
        return torch.where(batch.valid, (math.log(self.skills) - surprise).cpu().view(batch.shape), 0.0)

    def observe(self, batch: Transitions) -> None:
        """Advances the statistics by which states are standardised."""
        if batch.valid.any():
            self.standardise.update(self._split(batch.flat().next_obs)[0])

    def learn(self, batch: Transitions) -> dict[str, float]:
        """Fits the reader; returns `surprise`, nats, and `information`, the bound of it, nats."""
        state, skill = self._split(batch.flat().next_obs)
        rows = self.standardise(state)

        def losses(index: Tensor) -> dict[str, Tensor]:
            return {"surprise": F.cross_entropy(self.reader(rows[index]), skill[index])}

        found = self.trainer.fit(len(rows), losses)
        return found | {"information": math.log(self.skills) - found["surprise"]}
