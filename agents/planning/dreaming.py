"""What lets a model learn from imagined transitions, beside its buffer: world model, heads, and what they imagined."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from agents.buffers import unscaled
from agents.planning.branching import branch, normalised, normalised_reward, policy_of
from agents.planning.objective import Reward, Termination
from vime.errors import CheckpointError, InvalidSettings
from vime.heads import HeadSettings, RewardHead, TerminationHead
from vime.members import Members
from vime.replay import Pool
from vime.transitions import Transitions
from vime.world import WorldModel

STREAM = 60_013  # sets the generator of the rollouts apart from others of the same seed


@dataclass(frozen=True, kw_only=True)
class DynaSettings:
    """How much is imagined, and when."""

    real_ratio: float = 0.05
    """Share of every minibatch that really happened."""
    rollout: int | tuple[int, ...] = 1
    """Steps of an imagined rollout; four numbers (from, to, first, last) lengthen it between two environment steps."""
    rollouts: int = 5000
    """Imagined rollouts after every fit, each from a state that was visited."""
    refit_every: int = 250
    """Environment steps, those of all copies counted, from one fit of the model to the next."""
    updates: int = 200
    """Gradient steps of every fit, on model and heads alike; each fit goes on from the last one."""
    first_updates: int = 1000
    """Gradient steps of the first fit, which begins with nothing."""
    kept: int = 4
    """Fits whose imagined transitions are kept."""
    heads: tuple[int, ...] = (64, 64)
    """Width of each hidden layer of what predicts reward and end."""

    def __post_init__(self) -> None:
        if not 0 <= self.real_ratio <= 1:
            raise InvalidSettings(f"`real_ratio` must lie between 0 and 1; got {self.real_ratio}.")
        for name in ("rollouts", "refit_every", "updates", "first_updates", "kept"):
            if getattr(self, name) < 1:
                raise InvalidSettings(f"`{name}` must be at least 1; got {getattr(self, name)}.")
        plan = (self.rollout,) if isinstance(self.rollout, int) else self.rollout
        if len(plan) not in (1, 4) or min(plan[:2]) < 1 or (len(plan) == 4 and not 0 <= plan[2] < plan[3]):
            raise InvalidSettings(
                "`rollout` must be a number of steps, or (from, to, first, last): two lengths of at least 1, and the "
                f"environment steps between which the one becomes the other; got {self.rollout}."
            )

    def length(self, step: int) -> int:
        """Returns the steps of a rollout at environment step `step`."""
        if isinstance(self.rollout, int):
            return self.rollout
        if len(self.rollout) == 1:
            return self.rollout[0]
        start, end, first, last = self.rollout
        return round(start + (end - start) * min(max((step - first) / (last - first), 0.0), 1.0))

    @property
    def longest(self) -> int:
        """The steps of the longest rollout."""
        return self.rollout if isinstance(self.rollout, int) else max(self.rollout[:2])


class Dyna:
    """What lets a model dream: the world model, what it imagined, and its latest metrics."""

    def __init__(
        self,
        model: OffPolicyAlgorithm,
        world: WorldModel,
        settings: DynaSettings,
        reward: Reward | None = None,
        termination: Termination | None = None,
    ) -> None:
        self.world, self.settings = world, settings
        self.metrics: dict[str, float] = {}
        """The latest of each, as under `dyna/` in the logger."""
        self.fits = 0
        """How often the model was fitted."""
        self._model = model
        w = world.settings
        common = {"minibatch": w.minibatch, "capacity": w.capacity, "device": w.device, "hidden": settings.heads}
        size = world.features, world.actions
        for_reward = HeadSettings(seed=w.seed + 2, weight_decay=1.0, **common)
        self.reward_head = None if reward else RewardHead(*size, for_reward)
        self.termination_head = None if termination else TerminationHead(*size, HeadSettings(seed=w.seed + 3, **common))
        self.reward: Reward = reward or self.reward_head  # type: ignore[assignment]
        self.termination: Termination = termination or self.termination_head  # type: ignore[assignment]
        self.generator = torch.Generator(w.device).manual_seed((STREAM << 32) + w.seed)
        self._act = policy_of(model, self.generator)
        buffer: Any = model.replay_buffer
        self._waiting = buffer.size()  # steps of every copy that the world model has not seen
        widths = {"obs": world.features, "action": buffer.action_dim, "reward": 1, "next_obs": world.features}
        self.pool = Pool(settings.rollouts * settings.longest * settings.kept, {**widths, "done": 1}, w.device)
        self._recent: list[int] = []  # rows that each of the last `kept` fits added to the pool

    def share(self, batch_size: int) -> int:
        """Returns how many rows of a minibatch are imagined; none before there are any."""
        return batch_size - round(self.settings.real_ratio * batch_size) if sum(self._recent) else 0

    def draw(self, n: int, env: VecNormalize | None) -> ReplayBufferSamples:
        """Returns `n` imagined transitions, observations and rewards normalised by `env`."""
        back = torch.randint(sum(self._recent), (n,), generator=self.generator, device=self.generator.device)
        index = (self.pool.next - 1 - back) % self.pool.capacity
        rows = {name: column[index] for name, column in self.pool.columns.items()}
        obs, following = (normalised(rows[name], env) for name in ("obs", "next_obs"))
        return ReplayBufferSamples(obs, rows["action"], following, rows["done"], normalised_reward(rows["reward"], env))

    def added(self, buffer: ReplayBuffer) -> None:
        """Notes a real step of every copy; fits and imagines where it is time."""
        self._waiting = min(self._waiting + 1, buffer.buffer_size)
        least = self.settings.refit_every
        if not self.fits:  # a loaded model has begun to learn and remembers nothing yet
            least = min(least, max(self._model.learning_starts, self.world.settings.minibatch))
        due = self._waiting * buffer.n_envs >= least
        if due and self._model.num_timesteps >= self._model.learning_starts:
            self.refit(buffer)

    @torch.no_grad()
    def refit(self, buffer: ReplayBuffer) -> None:
        """Takes the waiting steps of the buffer into the model, fits it, and imagines anew."""
        batch, rewards = self._fresh(buffer)
        self._waiting = 0
        metrics = {}
        rows = self.world.rows(batch)
        if self.fits:
            metrics["model_error"] = self._error(rows.inputs, rows.targets)
        self.world.add(rows)
        budget = self.settings.updates if self.fits else self.settings.first_updates
        metrics |= {f"model_{name}": value for name, value in self.world.fit(budget).items()}
        following = self.world.encode(batch.next_obs[:, 0])  # type: ignore[index]
        state, action = rows.inputs.split([self.world.features, self.world.actions], 1)
        heads = {"reward": (self.reward_head, rewards), "termination": (self.termination_head, batch.terminated)}
        for name, (head, value) in heads.items():
            if head is not None:
                head.add(state, action, following, value.view(-1))
                metrics |= {f"{name}_{key}": part for key, part in head.fit(budget).items()}
        self.fits += 1
        self._report({**metrics, **self._imagine(), "fits": float(self.fits)})

    def _fresh(self, buffer: Any) -> tuple[Transitions, Tensor]:
        """Returns the waiting steps of the buffer, in order, and their rewards."""
        steps = (buffer.pos - self._waiting + np.arange(self._waiting)) % buffer.buffer_size

        def rows(array: np.ndarray) -> Tensor:
            part = array[steps].reshape(len(steps) * buffer.n_envs, 1, *array.shape[2:])
            tensor = torch.as_tensor(part, device=self.world.settings.device)
            return tensor.float() if tensor.is_floating_point() else tensor

        ended = rows(buffer.dones) * (1 - rows(buffer.timeouts))
        batch = Transitions(
            obs=rows(buffer.observations).flatten(2),
            action=self._given(rows(buffer.actions)),
            next_obs=rows(buffer.next_observations).flatten(2),
            terminated=ended.bool(),
            truncated=torch.zeros_like(ended, dtype=torch.bool),
        )
        return batch, rows(buffer.rewards)

    def _given(self, actions: Tensor) -> Tensor:
        """Returns actions of the buffer as the environment gets them."""
        space = self._model.action_space
        if not isinstance(space, spaces.Box):
            return actions
        return unscaled(space, actions.view(*actions.shape[:-1], *space.shape)).flatten(actions.ndim - 1)

    def _error(self, inputs: Tensor, targets: Tensor) -> float:
        """Returns the error of the mean prediction of rows not seen yet, in deviations of the target."""
        members, d = self._members(), self.world.features
        state = inputs[:, :d]
        mean = members.predict(state, inputs[:, d:]).mean.mean(0)
        truth = targets + state if members.change else targets
        return float(((mean - truth) / members.target_spread).square().mean().sqrt())

    def _members(self) -> Members:
        return self.world.members(self.generator).check_finite()

    def _imagine(self) -> dict[str, float]:
        """Adds rollouts of the present policy to the pool; returns metrics."""
        members, d = self._members(), self.world.features
        n = max(self.settings.rollouts // members.count, 1) * members.count
        start = self.world.pool.sample(n, self.generator)["inputs"][:, :d]
        steps = self.settings.length(self._model.num_timesteps)
        rows = branch(
            members,
            start,
            steps,
            act=self._act,
            encode=lambda action: self.world.encode_action(self._given(action)),
            reward=self.reward,
            termination=self.termination,
            generator=self.generator,
        )
        self.pool.add(rows)
        self._recent = [*self._recent, len(rows["obs"])][-self.settings.kept :]
        means = {"imagined_reward": rows["reward"], "imagined_ends": rows["done"]}
        found = {name: float(part.mean()) for name, part in means.items() if len(part)}
        return {**found, "rollout": float(steps), "imagined": float(sum(self._recent))}

    def _report(self, metrics: Mapping[str, float]) -> None:
        self.metrics |= metrics
        logger = getattr(self._model, "_logger", None)  # stands from the first call of the model's `learn`
        if logger is not None:
            for name, value in metrics.items():
                logger.record(f"dyna/{name}", value)

    def _parts(self) -> dict[str, Any]:
        parts = {"world": self.world, "pool": self.pool, "reward": self.reward_head, "ends": self.termination_head}
        return {name: part for name, part in parts.items() if part is not None}

    def state_dict(self) -> dict[str, Any]:
        """Everything that the future depends on, as tensors and plain Python values."""
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        counts = {"fits": self.fits, "waiting": self._waiting, "recent": list(self._recent)}
        return {**parts, **counts, "generator": self.generator.get_state(), "metrics": dict(self.metrics)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a saved state, bit for bit.

        Raises:
            CheckpointError: it belongs to another world model, or to other spaces.
        """
        try:
            for name, part in self._parts().items():
                part.load_state_dict(state[name])
            self.generator.set_state(state["generator"].cpu())
            self.fits, self._waiting = int(state["fits"]), int(state["waiting"])
            self._recent, self.metrics = list(state["recent"]), dict(state["metrics"])
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"This saved state is no state of this world model: {error!r}.") from error


def dyna_of(model: Any) -> Dyna | None:
    """Returns what `dyna` gave to the model: its world model, latest metrics and state; none for a plain model."""
    return getattr(getattr(model, "replay_buffer", None), "dyna", None)
