"""Self-imitation: an on-policy agent repeats its own best episodes, so that what it found once is not lost again.

model = attach(PPO("MlpPolicy", "vime/MiniGrid-ObstructedMaze-2Dlh-v0"), "noveld", scale=0.3)
model.learn(2_000_000, callback=SelfImitation())
"""

from bisect import insort_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnvWrapper, VecNormalize, VecTransposeImage
from torch import nn

from vime.errors import CheckpointError, InvalidSettings

Parts = dict[str, np.ndarray]
"""Observations by key; the key is empty where the space is no `Dict`."""
SEED_STREAM = 5923  # sets the choice of steps apart from others of the same seed


@dataclass(frozen=True)
class Episode:
    """What one copy saw and did from a reset on."""

    obs: Parts
    """Before each step, not normalised."""
    actions: np.ndarray
    """As the policy drew them; a box's are not clipped yet."""
    rewards: np.ndarray
    """Of the task."""
    total: float
    """Sum of the rewards."""

    def __len__(self) -> int:
        return len(self.rewards)


class _UnderWay:
    """The steps of one copy since its last reset."""

    def __init__(self, episode: Episode | None = None) -> None:
        self.obs: dict[str, list[np.ndarray]] = {}
        self.actions: list[np.ndarray] = []
        self.rewards: list[float] = []
        if episode is not None:
            self.obs = {key: list(part) for key, part in episode.obs.items()}
            self.actions, self.rewards = list(episode.actions), episode.rewards.tolist()

    def add(self, copy: int, obs: Parts, actions: np.ndarray, rewards: np.ndarray) -> None:
        """Takes what the copy saw, did and earned."""
        for key, part in obs.items():
            self.obs.setdefault(key, []).append(part[copy])
        self.actions.append(actions[copy])
        self.rewards.append(float(rewards[copy]))

    def episode(self) -> Episode:
        """Returns the steps so far."""
        obs = {key: np.stack(part) for key, part in self.obs.items()}
        return Episode(obs, np.array(self.actions), np.array(self.rewards, np.float64), sum(self.rewards))


class SelfImitation(BaseCallback):
    r"""Keeps the agent's best episodes, and after every rollout makes what was done in them more likely.

    .. math:: L = -\frac{1}{n} \sum_i \log \pi(a_i \mid s_i), \qquad (s_i, a_i) \text{ drawn from the steps kept}

    An episode is kept if its return, by the task's reward alone, is above the mean of all episodes so far; where room
    is short the best stay. Before any two episodes have differed there is nothing to imitate, and the model learns bit
    for bit what it would have learnt without. So it is for tasks where reward is rare and a bonus finds it: PPO
    forgets a success met once in a hundred episodes faster than the next one comes.

    What was luck is imitated like skill: leave it out where the reward is random, or the same action is not good twice.

    Works with PPO, A2C and TRPO, curious or not. Its steps are taken by the policy's optimiser at its learning rate.

    Args:
        capacity: steps of the best episodes that are kept, with one observation each.
        every: environment steps, of all copies together, for one minibatch.
        batch_size: steps in a minibatch.

    References: Oh et al. 2018, "Self-imitation learning", arXiv:1806.05635; Zha et al. 2021, "Rank the episodes: a
        simple approach for exploration in procedurally-generated environments", arXiv:2101.08152, algorithm 1.

    Differs from the papers: like the second it imitates whole episodes and trains no value; unlike it the rank is the
        return alone, because exploring is the bonus's part, and episodes that are no better than the mean are not kept.

    Raises:
        InvalidSettings: a number is out of range; when learning begins, the model is off-policy or recurrent, or a
            wrapper changes observations after they are normalised.
    """

    def __init__(self, capacity: int = 20_000, every: int = 200, batch_size: int = 256) -> None:
        super().__init__()
        for name, value in (("capacity", capacity), ("every", every), ("batch_size", batch_size)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InvalidSettings(f"`{name}` must be a whole number of at least 1; got {value!r}.")
        self.capacity, self.every, self.batch_size = capacity, every, batch_size
        self.kept: list[Episode] = []
        """The best episodes, the best first."""
        self.generator: torch.Generator | None = None
        self._seen, self._mean = 0, 0.0  # episodes, and what they earned
        self._size = 0  # steps kept
        self._due = 0  # steps that no minibatch was taken for yet
        self._under_way: list[_UnderWay] = []  # by copy

    def _on_training_start(self) -> None:
        model = self.model
        if not isinstance(model, OnPolicyAlgorithm) or getattr(model, "_last_lstm_states", None) is not None:
            raise InvalidSettings(
                f"Self-imitation needs an on-policy learner without a memory, such as PPO, A2C or TRPO; got a "
                f"{type(model).__name__}."
            )
        self._normaliser = model.get_vec_normalize_env()
        self._above = _layers_above(model.env, self._normaliser)
        if self.generator is None:
            self.generator = torch.Generator().manual_seed((SEED_STREAM << 32) + (model.seed or 0))
        if len(self._under_way) != model.n_envs:
            self._under_way = [_UnderWay() for _ in range(model.n_envs)]

    def _on_rollout_start(self) -> None:
        self._present = self._observed()
        batches, self._due = divmod(self._due, self.every)
        if self.kept and batches:
            self._imitate(batches)

    def _on_step(self) -> bool:
        before, self._present = self._present, self._observed(stepped=True)
        actions, dones = self.locals["actions"], self.locals["dones"]
        rewards = self.locals["rewards"] if self._normaliser is None else self._normaliser.get_original_reward()
        for copy, under_way in enumerate(self._under_way):
            under_way.add(copy, before, actions, rewards)
            if dones[copy]:
                self._end(under_way.episode())
                self._under_way[copy] = _UnderWay()
        self._due += len(dones)
        return True

    def _observed(self, *, stepped: bool = False) -> Parts:
        """What the next actions answer, not normalised; arrays that nobody writes to later."""
        if self._normaliser is not None:
            return _parts(self._normaliser.get_original_obs())
        obs: Any = self.locals["new_obs"] if stepped else self.model._last_obs
        return {key: np.array(part) for key, part in _parts(obs).items()}

    def _end(self, episode: Episode) -> None:
        """Takes an episode into account, and keeps it if it is among the best."""
        self._seen += 1
        self._mean += (episode.total - self._mean) / self._seen
        if episode.total <= self._mean:
            return
        insort_left(self.kept, episode, key=lambda one: -one.total)  # before its equals: the latest of them stay
        self._size += len(episode)
        while len(self.kept) > 1 and self._size > self.capacity:
            self._size -= len(self.kept.pop())

    def _imitate(self, batches: int) -> None:
        policy: Any = self.model.policy
        ends = np.cumsum([len(episode) for episode in self.kept])
        loss = torch.zeros(())
        policy.set_training_mode(True)
        for _ in range(batches):
            chosen = torch.randint(int(ends[-1]), (self.batch_size,), generator=self.generator).numpy()
            places = np.searchsorted(ends, chosen, side="right")
            rows = [(self.kept[place], step - ends[place]) for place, step in zip(places, chosen, strict=True)]  # < 0
            obs = {key: np.stack([episode.obs[key][row] for episode, row in rows]) for key in self.kept[0].obs}
            actions = torch.as_tensor(np.stack([episode.actions[row] for episode, row in rows]), device=policy.device)
            if isinstance(self.model.action_space, spaces.Discrete):
                actions = actions.long().flatten()
            seen, _ = policy.obs_to_tensor(self._as_the_policy_sees(obs))
            loss = -policy.get_distribution(seen).log_prob(actions).mean()
            policy.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(policy.parameters(), self.model.max_grad_norm)  # type: ignore[attr-defined]
            policy.optimizer.step()
        policy.set_training_mode(False)
        self.logger.record("self_imitation/loss", float(loss.detach()))
        self.logger.record("self_imitation/episodes", len(self.kept))
        self.logger.record("self_imitation/least_return", self.kept[-1].total)

    def _as_the_policy_sees(self, parts: Parts) -> Any:
        obs: Any = parts.get("", parts)
        if self._normaliser is not None:
            obs = self._normaliser.normalize_obs(obs)
        for layer in self._above:
            obs = layer.transpose_observations(obs)
        return obs

    def state_dict(self) -> dict[str, Any]:
        """Everything that the future depends on, as arrays, tensors and plain Python values."""
        return {
            "kept": _joined(self.kept),
            "under_way": _joined([one.episode() for one in self._under_way]),
            "seen": self._seen,
            "mean": self._mean,
            "due": self._due,
            "generator": None if self.generator is None else self.generator.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any], *, go_on: bool = True) -> None:
        """Continues from a saved state, bit for bit.

        Args:
            state: what `state_dict` returned.
            go_on: whether the episodes go on that were under way; else all copies were reset since.

        Raises:
            CheckpointError: it is no such state.
        """
        try:
            self.kept = _parted(state["kept"])
            self._size = sum(map(len, self.kept))
            self._under_way = [_UnderWay(one if go_on else None) for one in _parted(state["under_way"])]
            self._seen, self._mean, self._due = int(state["seen"]), float(state["mean"]), int(state["due"])
            if state["generator"] is not None:
                self.generator = torch.Generator()
                self.generator.set_state(state["generator"])
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"This saved state is no state of self-imitation: {error!r}.") from error


def _joined(episodes: Sequence[Episode]) -> dict[str, Any]:
    """Returns the episodes as few arrays: thousands of small ones would make a checkpoint slow."""
    full = [one for one in episodes if len(one)]
    return {
        "lengths": [len(one) for one in episodes],
        "obs": {key: np.concatenate([one.obs[key] for one in full]) for key in full[0].obs} if full else {},
        "actions": np.concatenate([one.actions for one in full]) if full else np.zeros(0),
        "rewards": np.concatenate([one.rewards for one in full]) if full else np.zeros(0),
    }


def _parted(state: Mapping[str, Any]) -> list[Episode]:
    """Returns the episodes that `_joined` joined."""
    episodes, start = [], 0
    for length in state["lengths"]:
        rows = slice(start, start := start + length)
        obs = {key: part[rows] for key, part in state["obs"].items()}
        rewards = state["rewards"][rows]
        episodes.append(Episode(obs, state["actions"][rows], rewards, sum(rewards.tolist())))
    return episodes


def _parts(obs: Any) -> Parts:
    return dict(obs) if isinstance(obs, dict) else {"": obs}


def _layers_above(env: Any, normaliser: VecNormalize | None) -> list[VecTransposeImage]:
    """Returns what turns pictures on their way from the normaliser to the policy, the first first.

    Raises:
        InvalidSettings: something else changes the observations there.
    """
    layers: list[VecTransposeImage] = []
    while normaliser is not None and env is not normaliser:
        if isinstance(env, VecTransposeImage):
            layers.insert(0, env)
        elif isinstance(env, VecEnvWrapper) and env.observation_space != env.venv.observation_space:
            raise InvalidSettings(
                f"A {type(env).__name__} changes observations after VecNormalize, and self-imitation could not follow. "
                "Put VecNormalize around it."
            )
        env = env.venv
    return layers
