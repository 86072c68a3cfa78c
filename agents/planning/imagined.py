"""A world model as a vector environment of Stable-Baselines3: policies that never touch the real one."""

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from agents.planning.objective import Reward, Termination, of_rows
from agents.pool import OneObject
from vime.errors import InvalidData, InvalidSettings
from vime.world import WorldModel


class ImaginedEnvironment(OneObject):
    """Copies of a world that a model imagines, all in one batched prediction a step.

    Observations are the model's states. An episode starts in a state of the model's pool, belongs to one member, drawn
    at its start (TS∞), and is cut after `horizon` steps: what a model says of the far future is worth little.

    Args:
        model: fitted.
        action_space: of one real environment.
        reward: of state, encoded action and next state.
        termination: of the same; none ends an episode unless given.
        copies: how many.
        horizon: steps of an episode.

    Raises:
        InvalidSettings: a number is out of range.
        InvalidData: the model's pool is empty, or its training has diverged.
    """

    def __init__(
        self,
        model: WorldModel,
        action_space: gymnasium.Space,
        reward: Reward,
        termination: Termination | None = None,
        *,
        copies: int = 16,
        horizon: int = 50,
        seed: int = 0,
    ) -> None:
        if copies < 1 or horizon < 1:
            raise InvalidSettings(f"`copies` and `horizon` must be at least 1; got {copies} and {horizon}.")
        if len(model.pool) == 0:
            raise InvalidData("The model's pool is empty: imagined episodes have nowhere to start. Explore first.")
        self.whole, self.render_mode = self, None  # SB3 asks every copy for it
        self.model, self.rewarded, self.ends, self.horizon = model, reward, termination, horizon
        self.generator = torch.Generator(model.settings.device).manual_seed(seed)
        self.members = model.members(self.generator).check_finite()
        space = spaces.Box(-np.inf, np.inf, (model.features,), np.float32)
        super().__init__(copies, space, action_space)
        self.state = self._starts(copies)
        self.member = self._draw_members(copies)
        self.age = torch.zeros(copies, dtype=torch.long, device=self.state.device)
        self._actions = np.zeros((copies, *(action_space.shape or ())))

    def _starts(self, n: int) -> torch.Tensor:
        return self.model.pool.sample(n, self.generator)["inputs"][:, : self.model.features]

    def _draw_members(self, n: int) -> torch.Tensor:
        return torch.randint(self.members.count, (n,), generator=self.generator, device=self.generator.device)

    def reset(self) -> VecEnvObs:
        """Starts every copy anew; returns the states."""
        self.state, self.member = self._starts(self.num_envs), self._draw_members(self.num_envs)
        self.age.zero_()
        self.reset_infos = [{} for _ in range(self.num_envs)]
        return self.state.cpu().numpy()

    def step_async(self, actions: np.ndarray) -> None:
        """Takes the actions."""
        self._actions = actions

    @torch.no_grad()
    def step_wait(self) -> VecEnvStepReturn:
        """Returns what the members imagine."""
        action = self.model.encode_action(torch.as_tensor(self._actions))
        mean, variance = self.members.predict(self.state, action)
        rows = torch.arange(self.num_envs, device=mean.device)
        noise = torch.randn(self.state.shape, generator=self.generator, device=mean.device)
        following = mean[self.member, rows] + variance.expand_as(mean)[self.member, rows].sqrt() * noise
        reward = of_rows("reward", self.rewarded(self.state, action, following), self.num_envs).float()
        sound = torch.isfinite(following).all(1) & torch.isfinite(reward)  # a future that diverged is cut where it was
        following, reward = torch.where(sound.unsqueeze(1), following, self.state), reward.where(sound, 0.0)
        terminated = torch.zeros_like(sound)
        if self.ends is not None:
            terminated = of_rows("termination", self.ends(self.state, action, following), self.num_envs).bool() & sound
        self.age += 1
        truncated = ((self.age >= self.horizon) | ~sound) & ~terminated
        done = terminated | truncated
        self.state = following
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for copy in done.nonzero().flatten().tolist():
            infos[copy] = {
                "terminal_observation": following[copy].cpu().numpy(),
                "TimeLimit.truncated": bool(truncated[copy]),
            }
        if done.any():
            self.state = torch.where(done.unsqueeze(1), self._starts(self.num_envs), following)
            self.member = torch.where(done, self._draw_members(self.num_envs), self.member)
            self.age = torch.where(done, 0, self.age)
        return self.state.cpu().numpy(), reward.cpu().numpy(), done.cpu().numpy(), infos

    def close(self) -> None:
        """Has nothing to close."""
