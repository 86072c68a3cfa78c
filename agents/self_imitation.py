"""Self-imitation: an on-policy agent repeats its own best episodes, so that what it found once is not lost again.

model = attach(PPO("MlpPolicy", "vime/MiniGrid-ObstructedMaze-2Dlh-v0"), "noveld", scale=0.3)
model.learn(2_000_000, callback=SelfImitation())
"""

from bisect import insort_left
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from jaxtyping import Float
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnvWrapper, VecNormalize, VecTransposeImage
from torch import Tensor, nn

from agents.episodes import Episode, UnderWay, joined, parted
from agents.vecenv import Parts, by_key
from vime.errors import CheckpointError, InvalidSettings

GENTLE = 0.5  # norm at which gradients are cut where the learner does not say
SEED_STREAM = 5923  # sets the choice of steps apart from others of the same seed


class SelfImitation(BaseCallback):
    r"""Keeps the agent's best episodes, and after every rollout makes those of their actions more likely that paid.

    .. math:: L = -\frac{1}{n} \sum_i \frac{\max(R_i - V(s_i), 0)}{\max_k |R_k|} \log \pi(a_i \mid s_i), \qquad
        R_i = \sum_k \gamma^k r_{i+k}

    over steps drawn from those kept, R by the task's reward alone, V the model's present value and the greatest return
    that of any step kept. What the agent has come to expect is so no longer imitated. An episode is kept if its return
    is above the mean of all so far; where room is short the best stay. Before any two episodes have differed there is
    nothing to imitate, and the model learns bit for bit what it would have learnt without.

    It is for tasks where a bonus finds a reward that is rare: PPO forgets a success met once in a hundred episodes
    faster than the next one comes. Where successes are frequent it slows learning down a little, and what was luck is
    imitated like skill: leave it out where the reward is random.

    Works with PPO, A2C and TRPO, curious or not. Its steps are taken by the policy's optimiser at its learning rate.
    Without `streams=2` the value contains the bonus, and what earns less than the bonus is not imitated.

    Args:
        capacity: steps of the best episodes that are kept, with one observation each; of a longer episode the last.
        every: environment steps, of all copies together, for one minibatch.
        batch_size: steps in a minibatch.

    References: Oh et al. 2018, "Self-imitation learning", arXiv:1806.05635, equation 2; Zha et al. 2021, "Rank the
        episodes: a simple approach for exploration in procedurally-generated environments", arXiv:2101.08152.

    Differs from the first paper: whole episodes are kept by their rank, as in the second, and drawn evenly; the weight
        has no unit, so that none of the settings depends on that of the reward; values are not trained on what is kept.

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
        self._under_way: list[UnderWay] = []  # by copy

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
            self._under_way = [UnderWay(self.capacity) for _ in range(model.n_envs)]
        for copy in np.flatnonzero(np.asarray(model._last_episode_starts)):  # a reset may have cut the last one short
            self._under_way[copy] = UnderWay(self.capacity)

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
                self._under_way[copy] = UnderWay(self.capacity)
        self._due += len(dones)
        return True

    def _observed(self, *, stepped: bool = False) -> Parts:
        """What the next actions answer, not normalised; arrays that nobody writes to later."""
        if self._normaliser is not None:
            return by_key(self._normaliser.get_original_obs())
        obs: Any = self.locals["new_obs"] if stepped else self.model._last_obs
        return {key: np.array(part) for key, part in by_key(obs).items()}

    def _end(self, episode: Episode) -> None:
        """Takes an episode into account, and keeps it if it is among the best."""
        self._seen += 1
        self._mean += (episode.total - self._mean) / self._seen
        if episode.total <= self._mean:
            return
        insort_left(self.kept, episode, key=lambda one: -one.total)  # before its equals: the latest of them stay
        self._size += len(episode)
        while self._size > self.capacity:
            self._size -= len(self.kept.pop())

    def _imitate(self, batches: int) -> None:
        policy: Any = self.model.policy
        returns = [self._in_unit(episode.returns(self.model.gamma)) for episode in self.kept]  # type: ignore[attr-defined]
        unit = max(float(np.abs(part).max()) for part in returns) or 1.0
        ends = np.cumsum([len(episode) for episode in self.kept])
        loss, weights = torch.zeros(()), torch.zeros(())
        norm = self.model.max_grad_norm or GENTLE  # type: ignore[attr-defined] # TRPO, which clips none, says zero
        policy.set_training_mode(True)
        for _ in range(batches):
            chosen = torch.randint(int(ends[-1]), (self.batch_size,), generator=self.generator).numpy()
            places = np.searchsorted(ends, chosen, side="right")
            rows = list(zip(places, chosen - ends[places], strict=True))  # counted from the end of their episode
            wanted = torch.as_tensor(np.array([returns[place][row] for place, row in rows]), dtype=torch.float32)
            values, log_prob = self._judged(rows)
            weights = (wanted.to(values.device) - values).clamp_min(0) / unit
            loss = -(weights * log_prob).mean()
            policy.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(policy.parameters(), norm)
            policy.optimizer.step()
        policy.set_training_mode(False)
        self.logger.record("self_imitation/loss", float(loss.detach()))
        self.logger.record("self_imitation/weight", float(weights.mean()))
        self.logger.record("self_imitation/episodes", len(self.kept))
        self.logger.record("self_imitation/least_return", self.kept[-1].total)

    def _judged(self, rows: Sequence[tuple[int, int]]) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
        """Returns the value of what was seen, which takes no gradient, and the log-likelihood of what was done.

        Args:
            rows: place among the kept episodes, and step.
        """
        policy: Any = self.model.policy
        obs = {key: np.stack([self.kept[place].obs[key][row] for place, row in rows]) for key in self.kept[0].obs}
        actions = torch.as_tensor(np.stack([self.kept[place].actions[row] for place, row in rows]))
        actions = actions.to(policy.device)
        if isinstance(self.model.action_space, spaces.Discrete):
            actions = actions.long().flatten()
        values, log_prob, _ = policy.evaluate_actions(policy.obs_to_tensor(self._as_the_policy_sees(obs))[0], actions)
        return values.detach().flatten(), log_prob

    def _in_unit(self, returns: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Returns as the model's values count them."""
        normaliser = self._normaliser
        if normaliser is None or not normaliser.norm_reward:
            return returns
        return returns / np.sqrt(normaliser.ret_rms.var + normaliser.epsilon)

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
            "kept": joined(self.kept),
            "under_way": joined([one.episode() for one in self._under_way]),
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
            self.kept = parted(state["kept"])
            self._size = sum(map(len, self.kept))
            self._under_way = [UnderWay(self.capacity, one if go_on else None) for one in parted(state["under_way"])]
            self._seen, self._mean, self._due = int(state["seen"]), float(state["mean"]), int(state["due"])
            if state["generator"] is not None:
                self.generator = torch.Generator()
                self.generator.set_state(state["generator"])
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"This saved state is no state of self-imitation: {error!r}.") from error


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
