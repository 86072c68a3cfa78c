"""Two streams: beside the value of the task's reward a second one, for the bonus alone, with a discount of its own."""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.utils import explained_variance
from torch import Tensor, nn
from torch.optim import Optimizer

from vime.errors import InvalidSettings

HEAD_STREAM = 7121  # sets the generator of the head apart from others of the same seed


@dataclass(frozen=True, kw_only=True)
class TwoStreams:
    """Settings of the intrinsic stream; discount and lambda of the extrinsic one are the model's own."""

    gamma: float = 0.99
    """Discount of the bonus."""
    gae_lambda: float | None = None
    """Trade-off of the intrinsic advantages between bias and variance; unless given the model's."""
    episodic: bool = False
    """Whether the intrinsic return is cut where an episode ends; else it runs on into the next one."""

    def __post_init__(self) -> None:
        for name, value in (("gamma", self.gamma), ("gae_lambda", self.gae_lambda)):
            if value is None and name == "gae_lambda":
                continue
            if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value <= 1:
                raise InvalidSettings(f"`{name}` of the intrinsic stream must lie between 0 and 1; got {value!r}.")
        if self.gamma == 1 and not self.episodic:
            raise InvalidSettings(
                "`gamma` of a stream that runs on for ever must be below 1, or its value is infinite."
            )
        if not isinstance(self.episodic, bool):
            raise InvalidSettings(f"`episodic` must be true or false; got {self.episodic!r}.")


def advantages(
    rewards: Float[np.ndarray, "t b"],
    values: Float[np.ndarray, "t b"],
    last_values: Float[np.ndarray, " b"],
    going: Float[np.ndarray, "t b"],
    *,
    gamma: float,
    gae_lambda: float,
) -> Float[np.ndarray, "t b"]:
    r"""Generalised advantages: :math:`\sum_k (\gamma \lambda)^k (r_{t+k} + \gamma v_{t+k+1} - v_{t+k})`, in rewards.

    Args:
        rewards: of every step and copy.
        values: of the observations that the steps began with.
        last_values: of the observations after the last step.
        going: 0 where nothing after the step shall count, else 1.
        gamma: discount.
        gae_lambda: 0 looks one step ahead, 1 to the end of the rollout.

    References: Schulman et al. 2016, "High-dimensional continuous control using generalized advantage estimation",
    arXiv:1506.02438, equation 16.
    """
    following = np.concatenate([values[1:], last_values[None]])
    result = rewards + gamma * going * following - values
    for step in range(len(result) - 2, -1, -1):
        result[step] += gamma * gae_lambda * going[step] * result[step + 1]
    return result


class _Expected(NamedTuple):
    """What the head shall say to the minibatch that is handed out next."""

    returns: Float[Tensor, " n"]
    old_values: Float[Tensor, " n"]
    mask: Tensor | None


class _Carrying(torch.autograd.Function):
    """Values, unchanged, whose backward pass adds the gradient of a loss to that of whatever is made of them."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, loss: Tensor) -> Tensor:
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        return gradients[0], gradients[0].new_ones(())


class Streams:
    """The intrinsic value head of a model: a linear layer on what the model's own value head reads.

    The policy keeps its class, its parameters and its optimiser: a hook on the value head adds the head's answer to
    every value that it gives, and its loss to the backward pass of a minibatch that the rollout buffer has announced.
    So both heads train the layers beneath them, in one pass. The head's weights have an optimiser of the same kind,
    which steps when the model's does, at its learning rate; clipping the model's gradients leaves them out. At weight
    zero the head rests, and the model is the untouched one bit for bit.

    Differs from Burda et al. 2018, "Exploration by random network distillation", arXiv:1810.12894: the weight of the
    bonus stands in the advantages alone, and the head is the model's value loss for a reward that is not weighted.
    """

    def __init__(self, model: OnPolicyAlgorithm, settings: TwoStreams) -> None:
        layer = getattr(model.policy, "value_net", None)
        if not isinstance(layer, nn.Linear) or layer.out_features != 1:
            raise InvalidSettings(
                f"Two streams need a policy whose `value_net` is a linear layer with one output, as those of "
                f"Stable-Baselines3; that of {type(model.policy).__name__} is {layer!r}. Use streams=1."
            )
        self.settings = settings
        self._model = model
        generator = torch.Generator().manual_seed((HEAD_STREAM << 32) + (model.seed or 0))
        head = nn.Linear(layer.in_features, 1, device="meta", dtype=layer.weight.dtype).to_empty(device="cpu")
        nn.init.orthogonal_(head.weight, generator=generator)
        nn.init.zeros_(head.bias)
        self.head = head.to(layer.weight.device)
        optimiser, kind = model.policy.optimizer, model.policy.optimizer_class
        self.optimiser = kind(self.head.parameters(), lr=_rate(optimiser), **model.policy.optimizer_kwargs)  # type: ignore[call-arg]
        self._handles = (layer.register_forward_hook(self._beside), optimiser.register_step_post_hook(self._step))
        self._expected: _Expected | None = None
        # TRPO fits its values apart, at weight one, and has a `vf_coef` that it never reads
        self._weight = 1.0 if hasattr(model, "n_critic_updates") else model.vf_coef
        self.begin(0, 0)

    def remove(self) -> None:
        """Takes the hooks off the policy."""
        for handle in self._handles:
            handle.remove()

    def begin(self, steps: int, copies: int) -> None:
        """Starts an empty rollout."""
        self.values = np.zeros((steps, copies), np.float32)
        """What the head said to the observation that each step began with."""
        self.returns = np.zeros((steps, copies), np.float32)
        """What it shall say."""
        self._expected = None

    def keep(self, step: int, values: Tensor) -> None:
        """Keeps what the head said beside `values`, which the model hands to its buffer."""
        self.values[step] = self._said(values)

    def settle(
        self, rewards: Float[np.ndarray, "t b"], last_values: Tensor, ends: Float[np.ndarray, "t b"]
    ) -> Float[np.ndarray, "t b"]:
        """Returns the intrinsic advantages of the rollout, in unweighted bonus.

        Args:
            rewards: the bonus of every step.
            last_values: what the model gave for the observations after the last step.
            ends: 1 where the step ended an episode.
        """
        kept = self.settings
        gae_lambda = self._model.gae_lambda if kept.gae_lambda is None else kept.gae_lambda
        going = 1 - ends if kept.episodic else np.ones_like(ends)
        found = advantages(
            rewards, self.values, self._said(last_values), going, gamma=kept.gamma, gae_lambda=gae_lambda
        )
        self.returns = found + self.values
        return found

    def metrics(self, values: Float[np.ndarray, "t b"], returns: Float[np.ndarray, "t b"]) -> dict[str, float]:
        """Returns `intrinsic_return`, `explained_variance_intrinsic` and that of the model's own values, at most 1."""
        found = {
            "intrinsic_return": self.returns.mean(),
            "explained_variance_intrinsic": explained_variance(self.values.ravel(), self.returns.ravel()),
            "explained_variance_extrinsic": explained_variance(values.ravel(), returns.ravel()),
        }
        return {name: float(value) for name, value in found.items() if math.isfinite(value)}

    def expect(self, returns: Tensor, old_values: Tensor, mask: Tensor | None) -> None:
        """Announces the minibatch whose values the model asks for next: what the head shall say, and said."""
        self._expected = _Expected(returns, old_values, mask)

    def state_dict(self) -> dict[str, Any]:
        """The head and its optimiser."""
        return copy.deepcopy({"head": self.head.state_dict(), "optimiser": self.optimiser.state_dict()})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        self.head.load_state_dict(state["head"])
        self.optimiser.load_state_dict(copy.deepcopy(state["optimiser"]))  # torch would share its tensors

    def _said(self, values: Tensor) -> np.ndarray:
        said = getattr(values, "intrinsic", None)
        if said is None:
            raise InvalidSettings(
                "The policy gave values without those of the bonus: its `value_net` was replaced, or is not what its "
                "values come from. Attach with streams=1, or attach again after the change."
            )
        return said.cpu().numpy()

    def _beside(self, _: nn.Module, inputs: tuple[Tensor, ...], values: Tensor) -> Tensor | None:
        """The forward hook of the model's own value head."""
        if torch.is_grad_enabled():
            expected, self._expected = self._expected, None
            return None if expected is None else _Carrying.apply(values, self._loss(inputs[0], expected))  # type: ignore[return-value]
        values.intrinsic = self.head(inputs[0])[:, 0]  # type: ignore[attr-defined]
        return None

    def _loss(self, latent: Tensor, expected: _Expected) -> Tensor:
        said, model = self.head(latent)[:, 0], self._model
        clip = getattr(model, "clip_range_vf", None)
        if clip is not None:
            reach = clip(model._current_progress_remaining)
            said = expected.old_values + torch.clamp(said - expected.old_values, -reach, reach)
        errors = (expected.returns - said).square()
        return self._weight * (errors if expected.mask is None else errors[expected.mask]).mean()

    def _step(self, optimiser: Optimizer, *_: Any) -> None:
        """What follows every step of the model's optimiser."""
        for group in self.optimiser.param_groups:
            group["lr"] = _rate(optimiser)
        self.optimiser.step()
        self.optimiser.zero_grad()


def _rate(optimiser: Optimizer) -> float:
    return optimiser.param_groups[0]["lr"]
