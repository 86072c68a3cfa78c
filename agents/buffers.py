"""Curious rollout and replay buffers: those of SB3, with the bonus added in one batched call."""

import copy
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import Space, spaces
from jaxtyping import Float
from stable_baselines3.common.buffers import BaseBuffer, NStepReplayBuffer, ReplayBuffer, RolloutBuffer
from stable_baselines3.common.vec_env import VecNormalize

from agents.curious import Curiosity
from agents.gain import MaxInfo
from vime import Transitions


class Extended(BaseBuffer):
    """What is mixed into the class of a buffer in place, before its own. Pickled, it becomes the buffer that it was."""

    OURS: ClassVar[tuple[str, ...]] = ()
    """Attributes that the mixture adds."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        stock: Any = type(self).__bases__[1]
        plain = stock.__new__(stock)
        plain.__dict__.update({name: value for name, value in vars(self).items() if name not in self.OURS})
        return copy.copy, (plain,)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Extended":
        clone: Any = type(self).__new__(type(self))
        memo[id(self)] = clone
        clone.__dict__.update(copy.deepcopy(vars(self), memo))
        return clone


class Curious(Extended):
    """What `make_curious` mixes into the class of a buffer."""

    OURS = ("curiosity", "extrinsic_rewards", "_bonuses", "_worth", "_weight", "_targets")
    curiosity: Curiosity


MASKED = 1e-8  # up to here the mask of a recurrent minibatch means padding, as in sb3-contrib


class CuriousRollout(Curious, RolloutBuffer):
    """Adds the bonus of the whole rollout to its rewards, before advantages are computed from them."""

    extrinsic_rewards: np.ndarray | None = None
    """The rewards (step, copy) before the bonus was added; none until the rollout is complete."""
    _weight = 0.0  # of the bonus in the present rollout

    def reset(self) -> None:
        """Empties the buffer, and begins the record of a new rollout."""
        super().reset()
        self.extrinsic_rewards = None
        self.curiosity.tape.begin(self.buffer_size)
        if self.curiosity.streams is not None:
            self.curiosity.streams.begin(self.buffer_size, self.n_envs)

    def add(self, *args: Any, **kwargs: Any) -> None:
        """Stores one step of every copy."""
        self.curiosity.tape.keep()
        if self.curiosity.streams is not None:
            self.curiosity.streams.keep(self.pos, args[4] if len(args) > 4 else kwargs["value"])
        super().add(*args, **kwargs)

    def compute_returns_and_advantage(self, last_values: torch.Tensor, dones: np.ndarray) -> None:
        """Adds the bonus, computes returns and advantages, then lets the bonus learn; the first and last only once.

        Raises:
            InvalidData: the rollout is empty, or the bonus is not finite.
        """
        curiosity, streams = self.curiosity, self.curiosity.streams
        fresh = None
        if self.extrinsic_rewards is None:
            batch, given = curiosity.tape.take()
            worth = curiosity.worth(batch)
            curiosity.adapt(batch, given, worth)
            fresh = batch, given, worth
            self.extrinsic_rewards = self.rewards.copy()
            self._worth = np.zeros_like(self.rewards)
            self._worth[: len(worth)] = worth
            self._weight = curiosity.weight
            if streams is None and self._weight:  # adding a zero would turn minus zero into zero
                self.rewards += self._weight * self._worth
        super().compute_returns_and_advantage(last_values, dones)
        if streams is not None:
            ends = np.concatenate([self.episode_starts[1:], dones[None].astype(np.float32)])
            found = streams.settle(self._worth, last_values, ends)
            if self._weight:
                self.advantages += self._weight * found
                self._targets = [self.swap_and_flatten(part)[:, 0] for part in (streams.returns, streams.values)]
            curiosity.report(streams.metrics(self.values, self.returns))
        if fresh is not None:
            curiosity.digest(*fresh)

    def _get_samples(self, batch_inds: np.ndarray, *args: Any, **kwargs: Any) -> Any:
        samples = super()._get_samples(batch_inds, *args, **kwargs)
        streams = self.curiosity.streams
        if streams is not None and self._weight:  # at weight zero the head rests, and shared layers with it
            shape: Any = getattr(self, "pad_and_flatten", self.to_torch)  # a recurrent buffer pads its sequences
            returns, values = (shape(part[batch_inds]) for part in self._targets)
            mask = getattr(samples, "mask", None)
            streams.expect(returns, values, None if mask is None else mask > MASKED)
        return samples


class CuriousReplay(Curious, ReplayBuffer):
    """Keeps the environment's rewards, and adds the bonus of a sampled minibatch by the present model."""

    def add(self, *args: Any, **kwargs: Any) -> None:
        """Stores one step of every copy; now and then the bonus learns from the steps since the last time."""
        curiosity = self.curiosity
        curiosity.tape.keep()
        super().add(*args, **kwargs)
        if curiosity.tape.kept == curiosity.tape.room:
            batch, rewards = curiosity.tape.take()
            worth = curiosity.worth(batch)
            curiosity.adapt(batch, rewards, worth)
            curiosity.digest(batch, rewards, worth)

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> Any:
        """Returns a minibatch whose rewards contain the bonus, observations and rewards normalised by `env`."""
        if not self.curiosity.weight:
            return super().sample(batch_size, env)
        samples: Any = super().sample(batch_size)
        rewards = samples.rewards
        bonus = self._worth_of(samples.observations, samples.actions, samples.next_observations, samples.dones)
        if env is not None:
            rewards = self.to_torch(self._normalize_reward(rewards.cpu().numpy(), env))
            samples = samples._replace(
                observations=self._normalised(samples.observations, env),
                next_observations=self._normalised(samples.next_observations, env),
            )
        bonus = torch.as_tensor(bonus, device=rewards.device)
        weight = self._show(samples, rewards, bonus)
        return samples._replace(rewards=rewards + weight * bonus)

    def _show(self, samples: Any, rewards: torch.Tensor, worth: torch.Tensor) -> float:
        """Tells the rule of the weight, and the metrics, what a minibatch is worth; returns the weight."""
        curiosity, weight = self.curiosity, self.curiosity.weight
        curiosity.drawn(rewards.cpu().numpy(), worth.cpu().numpy())
        if isinstance(curiosity.rule, MaxInfo):
            curiosity.rule.sampled(samples.observations, samples.actions, worth[:, 0])
        return weight

    def _normalised(self, obs: Any, env: VecNormalize) -> Any:
        if isinstance(obs, dict):
            normal = self._normalize_obs({key: part.cpu().numpy() for key, part in obs.items()}, env)
            return {key: self.to_torch(part) for key, part in normal.items()}  # type: ignore[union-attr]
        return self.to_torch(self._normalize_obs(obs.cpu().numpy(), env))  # type: ignore[arg-type]

    def _worth_of(self, obs: Any, actions: Any, next_obs: Any, dones: Any) -> Float[np.ndarray, "n 1"]:
        """Returns the bonus of each of `n` stored transitions, not weighted."""
        tape = self.curiosity.tape
        ended = torch.as_tensor(dones).bool().reshape(-1, 1).cpu()
        batch = Transitions(
            obs=_as_space(tape.observation_space, obs),
            action=_as_given(tape.action_space, actions),
            next_obs=_as_space(tape.observation_space, next_obs),
            terminated=ended,
            truncated=torch.zeros_like(ended),
            # the memory-saving layout overwrites the last observation of an episode by the first of the next
            valid=~(ended & self.optimize_memory_usage),
            sampled=True,
        )
        return self.curiosity.worth(batch)


class CuriousNStepReplay(CuriousReplay):
    """The same for returns over several steps: each of them contains its own bonus."""

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> Any:
        """Returns a minibatch whose n-step returns contain the bonuses of their steps."""
        return super(CuriousReplay, self).sample(batch_size, env)

    def _get_samples(self, batch_inds: np.ndarray, env: VecNormalize | None = None) -> Any:
        if not self.curiosity.weight:
            return super()._get_samples(batch_inds, env)
        generator = np.random.get_state()  # noqa: NPY002 - SB3 draws the copies from it, and we need the same ones
        samples = super()._get_samples(batch_inds, env)
        np.random.set_state(generator)  # noqa: NPY002
        copies = np.random.randint(0, self.n_envs, size=batch_inds.shape)  # noqa: NPY002
        steps = (batch_inds[:, None] + np.arange(self.n_steps)) % self.buffer_size  # type: ignore[attr-defined]
        rows = (steps.ravel(), np.repeat(copies, steps.shape[1]))
        if not hasattr(self, "_bonuses"):
            self._bonuses = np.zeros_like(self.rewards)
        parts = (self.observations, self.actions, self.next_observations, self.dones)
        self._bonuses[rows] = self._worth_of(*(part[rows] for part in parts))[:, 0]
        rewards, self.rewards = self.rewards, self._bonuses
        try:
            np.random.set_state(generator)  # noqa: NPY002
            bonus = super()._get_samples(batch_inds).rewards  # the same sum over steps, taken over the bonuses
        finally:
            self.rewards = rewards
        first = torch.as_tensor(self._bonuses[rows].reshape(steps.shape)[:, :1], device=bonus.device)
        weight = self._show(samples, samples.rewards, first)
        return samples._replace(rewards=samples.rewards + weight * bonus)


def _as_space(space: Space, obs: Any) -> Any:
    """Returns stored observations of `n` transitions as tensors of the space's own shape, with axes `(n, 1)`."""
    if isinstance(space, spaces.Dict):
        return {key: _as_space(part, obs[key]) for key, part in space.spaces.items()}
    tensor = torch.as_tensor(obs).cpu().reshape(len(obs), 1, *(space.shape or ()))
    return tensor.float() if tensor.is_floating_point() else tensor


def _as_given(space: Space, actions: Any) -> torch.Tensor:
    """Returns stored actions as the environment got them: SB3 stores those of a box scaled to [-1, 1]."""
    given = _as_space(space, actions)
    return unscaled(space, given) if isinstance(space, spaces.Box) else given


def unscaled(space: spaces.Box, actions: torch.Tensor) -> torch.Tensor:
    """Returns actions of a box in its own unit: SB3 stores them scaled to [-1, 1]."""
    low, high = (
        torch.as_tensor(bound, dtype=torch.float32, device=actions.device) for bound in (space.low, space.high)
    )
    return low + 0.5 * (actions + 1.0) * (high - low)


def make_curious(buffer: BaseBuffer, curiosity: Curiosity) -> None:
    """Makes a rollout or replay buffer curious in place, whatever its class; what it holds stays."""
    if not isinstance(buffer, Curious):
        stock: Any = type(buffer)
        kind = CuriousRollout
        if isinstance(buffer, ReplayBuffer):
            kind = CuriousNStepReplay if isinstance(buffer, NStepReplayBuffer) else CuriousReplay
        buffer.__class__ = type(f"Curious{stock.__name__}", (kind, stock), {})
    buffer.curiosity = curiosity  # type: ignore[attr-defined]
