"""Curious rollout and replay buffers: those of SB3, with the bonus added in one batched call."""

import copy
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from gymnasium import Space, spaces
from jaxtyping import Float
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import BaseBuffer, NStepReplayBuffer, ReplayBuffer, RolloutBuffer
from stable_baselines3.common.vec_env import VecNormalize

from agents.vecenv import Tape
from vime import CheckpointError, ScaledBonus, Transitions
from vime.transitions import concatenate


class Curiosity:
    """What makes a model curious: the bonus, the record that it has yet to learn from, and its latest metrics."""

    def __init__(self, model: BaseAlgorithm, bonus: ScaledBonus, tape: Tape, learn_every: int) -> None:
        self.bonus = bonus
        """The bonus on its common scale; its `scale`, the weight in the reward, may be changed at any time."""
        self.tape = tape
        self.learn_every = learn_every
        """Environment steps, counted over all copies, between two updates of the bonus."""
        self.metrics: dict[str, float] = {}
        """The latest of each: `bonus_mean` (reward a step), `bonus_share` (0 to 1), and what `learn` returned."""
        self._model = model
        self._pending: list[Transitions] = []

    def weighted(self, batch: Transitions) -> Float[np.ndarray, "t b"]:
        """Returns what the bonus adds to the reward of every transition; changes nothing."""
        return (self.bonus.reward(batch).detach() * self.bonus.scale).cpu().numpy()

    def digest(self, batch: Transitions, rewards: Float[np.ndarray, "t b"], weighted: Float[np.ndarray, "t b"]) -> None:
        """Observes a fresh batch, learns once `learn_every` steps have come together, and logs.

        Args:
            rewards: what the environments gave for it.
            weighted: what the bonus added.
        """
        self.bonus.observe(batch)
        self._pending.append(batch)
        metrics = self._shares(rewards[batch.valid.numpy()], weighted[batch.valid.numpy()])
        if sum(part.terminated.numel() for part in self._pending) >= self.learn_every:
            metrics |= self.bonus.learn(concatenate(self._pending) if len(self._pending) > 1 else batch)
            self._pending.clear()
        self.metrics |= metrics
        logger = getattr(self._model, "_logger", None)  # stands from the first call of the model's `learn`
        if logger is not None:
            for name, value in metrics.items():
                logger.record(f"curiosity/{name}", value)

    def _shares(self, rewards: np.ndarray, weighted: np.ndarray) -> dict[str, float]:
        normaliser = self._model.get_vec_normalize_env()
        if normaliser is not None:  # the agent learns from rewards in this unit
            rewards = normaliser.normalize_reward(rewards)
        added, given = float(np.abs(weighted).sum()), float(np.abs(rewards).sum())
        return {
            "bonus_mean": float(weighted.mean()) if weighted.size else 0.0,
            "bonus_share": added / (added + given) if added + given else 0.0,
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything that the future depends on, as tensors and plain Python values; all but the weight `scale`."""
        return {
            "bonus": self.bonus.state_dict(),
            "tape": self.tape.state_dict(),
            "pending": [{f.name: getattr(batch, f.name) for f in fields(batch)} for batch in self._pending],
            "metrics": dict(self.metrics),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a saved state, bit for bit.

        Raises:
            CheckpointError: it belongs to another bonus, to other spaces or to another number of copies.
        """
        try:
            self.bonus.load_state_dict(state["bonus"])
            self.tape.load_state_dict(state["tape"])
            self._pending = [Transitions(**batch) for batch in state["pending"]]
            self.metrics = dict(state["metrics"])
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"This saved state is no state of a curious model: {error!r}.") from error


class Curious(BaseBuffer):
    """What `make_curious` mixes into the class of a buffer. Pickled, it becomes the buffer that it was."""

    curiosity: Curiosity

    def __reduce_ex__(self, protocol: Any) -> Any:
        stock: Any = type(self).__bases__[1]
        plain = stock.__new__(stock)
        plain.__dict__.update({name: value for name, value in vars(self).items() if name not in _OURS})
        return copy.copy, (plain,)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Curious":
        clone: Any = type(self).__new__(type(self))
        memo[id(self)] = clone
        clone.__dict__.update(copy.deepcopy(vars(self), memo))
        return clone


_OURS = ("curiosity", "extrinsic_rewards", "_bonuses")


class CuriousRollout(Curious, RolloutBuffer):
    """Adds the bonus of the whole rollout to its rewards, before advantages are computed from them."""

    extrinsic_rewards: np.ndarray | None = None
    """The rewards (step, copy) before the bonus was added; none until the rollout is complete."""

    def reset(self) -> None:
        """Empties the buffer, and begins the record of a new rollout."""
        super().reset()
        self.extrinsic_rewards = None
        self.curiosity.tape.begin(self.buffer_size)

    def add(self, *args: Any, **kwargs: Any) -> None:
        """Stores one step of every copy."""
        self.curiosity.tape.keep()
        super().add(*args, **kwargs)

    def compute_returns_and_advantage(self, *args: Any, **kwargs: Any) -> None:
        """Adds the bonus, computes returns and advantages, then lets the bonus learn; the first and last only once.

        Raises:
            InvalidData: the rollout is empty, or the bonus is not finite.
        """
        if self.extrinsic_rewards is not None:
            super().compute_returns_and_advantage(*args, **kwargs)
            return
        batch, given = self.curiosity.tape.take()
        weighted = self.curiosity.weighted(batch)
        self.extrinsic_rewards = self.rewards.copy()
        if self.curiosity.bonus.scale:  # adding a zero would turn minus zero into zero
            self.rewards[: len(weighted)] += weighted
        super().compute_returns_and_advantage(*args, **kwargs)
        self.curiosity.digest(batch, given, weighted)


class CuriousReplay(Curious, ReplayBuffer):
    """Keeps the environment's rewards, and adds the bonus of a sampled minibatch by the present model."""

    def add(self, *args: Any, **kwargs: Any) -> None:
        """Stores one step of every copy; now and then the bonus learns from the steps since the last time."""
        curiosity = self.curiosity
        curiosity.tape.keep()
        super().add(*args, **kwargs)
        if curiosity.tape.kept == curiosity.tape.room:
            batch, rewards = curiosity.tape.take()
            curiosity.digest(batch, rewards, curiosity.weighted(batch))

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> Any:
        """Returns a minibatch whose rewards contain the bonus, observations and rewards normalised by `env`."""
        if not self.curiosity.bonus.scale:
            return super().sample(batch_size, env)
        samples: Any = super().sample(batch_size)
        rewards = samples.rewards
        bonus = self._weigh(samples.observations, samples.actions, samples.next_observations, samples.dones)
        if env is not None:
            rewards = self.to_torch(self._normalize_reward(rewards.cpu().numpy(), env))
            samples = samples._replace(
                observations=self._normalised(samples.observations, env),
                next_observations=self._normalised(samples.next_observations, env),
            )
        return samples._replace(rewards=rewards + torch.as_tensor(bonus, device=rewards.device))

    def _normalised(self, obs: Any, env: VecNormalize) -> Any:
        if isinstance(obs, dict):
            normal = self._normalize_obs({key: part.cpu().numpy() for key, part in obs.items()}, env)
            return {key: self.to_torch(part) for key, part in normal.items()}  # type: ignore[union-attr]
        return self.to_torch(self._normalize_obs(obs.cpu().numpy(), env))  # type: ignore[arg-type]

    def _weigh(self, obs: Any, actions: Any, next_obs: Any, dones: Any) -> Float[np.ndarray, "n 1"]:
        """Returns what the bonus adds to each of `n` stored transitions."""
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
        )
        return self.curiosity.weighted(batch)


class CuriousNStepReplay(CuriousReplay):
    """The same for returns over several steps: each of them contains its own bonus."""

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> Any:
        """Returns a minibatch whose n-step returns contain the bonuses of their steps."""
        return super(CuriousReplay, self).sample(batch_size, env)

    def _get_samples(self, batch_inds: np.ndarray, env: VecNormalize | None = None) -> Any:
        if not self.curiosity.bonus.scale:
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
        self._bonuses[rows] = self._weigh(*(part[rows] for part in parts))[:, 0]
        rewards, self.rewards = self.rewards, self._bonuses
        try:
            np.random.set_state(generator)  # noqa: NPY002
            bonus = super()._get_samples(batch_inds).rewards  # the same sum over steps, taken over the bonuses
        finally:
            self.rewards = rewards
        return samples._replace(rewards=samples.rewards + bonus)


def _as_space(space: Space, obs: Any) -> Any:
    """Returns stored observations of `n` transitions as tensors of the space's own shape, with axes `(n, 1)`."""
    if isinstance(space, spaces.Dict):
        return {key: _as_space(part, obs[key]) for key, part in space.spaces.items()}
    tensor = torch.as_tensor(obs).cpu().reshape(len(obs), 1, *(space.shape or ()))
    return tensor.float() if tensor.is_floating_point() else tensor


def _as_given(space: Space, actions: Any) -> torch.Tensor:
    """Returns stored actions as the environment got them: SB3 stores those of a box scaled to [-1, 1]."""
    given = _as_space(space, actions)
    if isinstance(space, spaces.Box):
        low, high = (torch.from_numpy(bound).float() for bound in (space.low, space.high))
        given = low + 0.5 * (given + 1.0) * (high - low)
    return given


def make_curious(buffer: BaseBuffer, curiosity: Curiosity) -> None:
    """Makes a rollout or replay buffer curious in place, whatever its class; what it holds stays."""
    if not isinstance(buffer, Curious):
        stock: Any = type(buffer)
        kind = CuriousRollout
        if isinstance(buffer, ReplayBuffer):
            kind = CuriousNStepReplay if isinstance(buffer, NStepReplayBuffer) else CuriousReplay
        buffer.__class__ = type(f"Curious{stock.__name__}", (kind, stock), {})
    buffer.curiosity = curiosity  # type: ignore[attr-defined]
