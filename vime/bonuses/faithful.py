"""VIME as published and released in 2016, quirks included, for the record."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import gymnasium
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vime.errors import InvalidSettings
from vime.information import realised_gain
from vime.network import BayesianMLP
from vime.normalise import Scaling
from vime.replay import Pool
from vime.spaces import make_action_encoder, make_encoder
from vime.transitions import Transitions, map_observation

TINY = 1e-8  # added to deviations before dividing, as published


class FaithfulVime:
    """The information gain of the published recipe; every quirk of the released code is a setting that undoes it.

    With the published settings the network does not learn: noise of deviation 5 and a divergence over-weighted some
    thousand times let the posterior fall back to the prior, and the mean prediction is the mean of the pool. The bonus
    is then close to the squared distance of the next state from that mean. Use `Vime` to explore, this to compare.

    References: Houthooft et al. 2016, arXiv:1605.09674, with its released code.

    Differs from the release: a yardstick is at least a tenth of the bonus's mean (`Scaling`). The agent's side (a value
    baseline fitted to the task's reward alone, Monte-Carlo advantages) is the affair of the algorithm. Paths are cut at
    the end of a batch, as the release cuts them at the end of an iteration; in `vime.wrap`, which scores every step by
    itself, there is no step before the last one to copy.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """The published values."""

        hidden: tuple[int, ...] = (32,)
        """Width of each hidden layer."""
        noise_std: float = 5.0
        """Fixed deviation of the likelihood, in deviations of the target."""
        divergence_weight: float = 0.2
        """Weight of the divergence in the loss of every minibatch: 1/5, whatever the amount of data."""
        samples: int = 10
        """Posterior draws for the slope and for the loss."""
        shared_noise: bool = True
        """One draw per layer and sample for all rows of a minibatch."""
        step_size: float = 0.01
        """Length lambda of the Newton step."""
        half: bool = False
        """Keep the factor 1/2 of the second-order expansion, which the release drops."""
        largest_gain: float = 1000.0
        """Gains are cut here."""
        target: Literal["change", "next"] = "next"
        """Predict the `next` observation itself, or its `change`."""
        std: float = 0.5
        """Posterior deviation that every weight starts with."""
        mean_std: float = 1.0
        """Deviation of the starting means, biases included."""
        prior_std: float = 0.5
        """Deviation of every weight under the prior."""
        updates: int = 500
        """Gradient steps at every fit."""
        minibatch: int = 10
        """Transitions per gradient step."""
        learning_rate: float = 1e-4
        """Step size of Adam."""
        capacity: int = 100_000
        """Transitions kept for fitting."""
        smallest_pool: int = 500
        """No fit below this many transitions."""
        skip_first: bool = True
        """Pay nothing in the first batch."""
        copy_last: bool = True
        """In rollouts, the last step of a path gets the gain of the step before it: its successor was not stored."""
        cross_episodes: bool = True
        """Fit to pairs that lead from the last observation of an episode to the first of the next one."""
        zero_row: bool = True
        """The pool begins with one row of zeros, which counts in its statistics and is fitted to."""
        seed: int = 0
        """Seed of everything random in the bonus."""
        device: str = "cpu"
        """Where the model lives."""

        def __post_init__(self) -> None:
            for name in ("samples", "updates", "minibatch", "capacity", "smallest_pool"):
                if getattr(self, name) < 1:
                    raise InvalidSettings(f"`{name}` must be at least 1; got {getattr(self, name)}.")
            for name in ("noise_std", "std", "prior_std", "step_size", "learning_rate", "largest_gain"):
                if not getattr(self, name) > 0:
                    raise InvalidSettings(f"`{name}` must be positive; got {getattr(self, name)}.")
            for name in ("mean_std", "divergence_weight"):
                if not getattr(self, name) >= 0:
                    raise InvalidSettings(f"`{name}` must not be negative; got {getattr(self, name)}.")
            if any(width < 1 for width in self.hidden):
                raise InvalidSettings(f"Every entry of `hidden` must be at least 1; got {self.hidden}.")
            if self.target not in ("change", "next"):
                raise InvalidSettings(f"`target` must be 'change' or 'next'; got {self.target!r}.")

    scaling: ClassVar[Scaling] = Scaling(rule="median", squash=False)

    def __init__(
        self, observation_space: gymnasium.Space, action_space: gymnasium.Space, settings: Settings | None = None
    ) -> None:
        self.settings = s = settings or self.Settings()
        self.encoder = make_encoder(observation_space, s.seed)
        self.action_encoder = make_action_encoder(action_space)
        for encoder in (self.encoder, self.action_encoder):
            if isinstance(encoder, torch.nn.Module):
                encoder.to(s.device)
        features, actions = self.encoder.features, self.action_encoder.features
        self.network = BayesianMLP(
            features + actions,
            features,
            s.hidden,
            std=s.std,
            prior_std=s.prior_std,
            mean_std=s.mean_std,
            noise_std=s.noise_std,
            learn_noise=False,
            generator=torch.Generator().manual_seed(s.seed),
        ).to(s.device)
        self.optimiser = torch.optim.Adam(
            [p for p in self.network.parameters() if p.requires_grad], lr=s.learning_rate, fused=True
        )
        self.pool = Pool(s.capacity, {"obs": features, "action": actions, "next_obs": features}, s.device)
        if s.zero_row:
            self.pool.add({name: column[:1].zero_() for name, column in self.pool.columns.items()})
        self.generator = torch.Generator(s.device).manual_seed(s.seed + 1)
        self.observed = self.learned = 0
        self._measure()

    @torch.no_grad()
    def reward(self, batch: Transitions) -> Float[Tensor, "t b"]:
        """Returns the gain of every transition, in nats (without the factor 1/2, as published)."""
        s = self.settings
        if s.skip_first and self.learned == 0:
            return torch.zeros(batch.shape)
        x, y = self._standardise(self._columns(batch, batch.next_obs))
        gain = realised_gain(
            self.network,
            x,
            y,
            samples=s.samples,
            step_size=s.step_size,
            half=s.half,
            shared_noise=s.shared_noise,
            generator=torch.Generator(s.device).manual_seed((s.seed << 32) + self.observed),
        )
        gain = gain.clamp_(0, s.largest_gain).cpu().view(batch.shape)
        if s.copy_last:
            gain = _copy_last(gain, batch.done, batch.begins)
        return torch.where(batch.valid, gain, 0.0)

    def observe(self, batch: Transitions) -> None:
        """Moves on to fresh posterior draws."""
        self.observed += 1

    def learn(self, batch: Transitions) -> dict[str, float]:
        """Adds the batch to the pool and fits the network, as `Vime.learn`; returns the same metrics but `noise_std`
        , `predicted_gain` and `loss`."""
        s = self.settings
        columns = self._columns(batch, batch.next_obs)
        self.learned += 1
        valid = batch.valid.flatten().to(s.device)
        with torch.no_grad():
            x, y = self._standardise({name: part[valid] for name, part in columns.items()})
            error = (self.network.moments(x)[0] - y).square().mean()
        if s.cross_episodes:
            columns["next_obs"] = self._following(columns, batch)
        self.pool.add({name: part[valid] for name, part in columns.items()})
        self._measure()
        metrics = {"model_error": float(error), "realised_gain": float(self.reward(batch).mean())}
        if len(self.pool) < s.smallest_pool:
            return metrics
        for _ in range(s.updates):
            x, y = self._standardise(self.pool.sample(s.minibatch, self.generator))
            self.network.set_gradients(
                x, y, s.divergence_weight, self.generator, samples=s.samples, shared_noise=s.shared_noise
            )
            self.optimiser.step()
        return metrics | {"posterior_std": self.network.posterior_std()}

    def _columns(self, batch: Transitions, next_obs: Any) -> dict[str, Tensor]:
        device = self.settings.device
        obs, successors = (
            self.encoder.encode(map_observation(lambda part: part.flatten(0, 1).to(device), o))
            for o in (batch.obs, next_obs)
        )
        action = self.action_encoder.encode(batch.action.flatten(0, 1).to(device))
        return {"obs": obs, "action": action, "next_obs": successors}

    def _following(self, columns: dict[str, Tensor], batch: Transitions) -> Tensor:
        """The observation stored after each one, whatever happened in between; the last one keeps its successor."""
        t, b = batch.shape
        obs, successors = (columns[name].view(t, b, -1) for name in ("obs", "next_obs"))
        valid = batch.valid.to(obs.device)
        step = torch.arange(t, device=obs.device).view(t, 1).expand(t, b)
        stored = torch.where(valid, step, t).flip(0).cummin(0).values.flip(0)  # the next step from here on that is one
        after = torch.cat([stored[1:], torch.full_like(stored[:1], t)])
        following = obs.gather(0, after.clamp_max(t - 1).unsqueeze(2).expand_as(obs))
        return torch.where((after < t).unsqueeze(2), following, successors).flatten(0, 1)

    def _measure(self) -> None:
        """Takes mean and deviation of the pool, by which everything is standardised until more comes."""
        stored = {
            name: rows if len(rows) else rows.new_zeros(1, rows.shape[1]) for name, rows in self.pool.rows().items()
        }
        self.scales = {n: (stored[n].mean(0), stored[n].std(0, correction=0) + TINY) for n in ("obs", "action")}

    def _standardise(self, columns: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        obs, action, successor = columns["obs"], columns["action"], columns["next_obs"]
        (mean, deviation), (centre, spread) = self.scales["obs"], self.scales["action"]
        x = torch.cat([(obs - mean) / deviation, (action - centre) / spread], 1)
        y = (successor - (obs if self.settings.target == "change" else mean)) / deviation
        return x, y

    def state_dict(self) -> dict[str, Any]:
        """Network, optimiser, pool, encoder, generator and counts."""
        return {
            "network": {k: v.clone() for k, v in self.network.state_dict().items()},
            "optimiser": deepcopy(self.optimiser.state_dict()),
            "pool": self.pool.state_dict(),
            "encoder": {k: v.clone() for k, v in self.encoder.state_dict().items()},
            "generator": self.generator.get_state(),
            "observed": self.observed,
            "learned": self.learned,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(deepcopy(state["optimiser"]))  # torch would share its tensors
        self.pool.load_state_dict(state["pool"])
        self._measure()
        self.encoder.load_state_dict(state["encoder"])
        self.generator.set_state(state["generator"].cpu())
        self.observed, self.learned = int(state["observed"]), int(state["learned"])


def _copy_last(
    gain: Float[Tensor, "t b"], done: Bool[Tensor, "t b"], begins: Bool[Tensor, "t b"]
) -> Float[Tensor, "t b"]:
    """Gives the last step of every path of at least two steps the gain of the step before it."""
    last, first = done.clone(), begins.clone()
    last[-1] = first[0] = True
    before = torch.cat([gain[:1], gain[:-1]])
    return torch.where(last & ~first, before, gain)
