"""The weight of the bonus off-policy: it grows while the policy seeks less of the bonus than its slow copy does."""

import copy
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from jaxtyping import Float
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.utils import polyak_update
from torch import Tensor, nn

from agents.weight import Fixed, between
from vime.errors import InvalidSettings

GAIN_STREAM = 7129  # sets the generator of the network apart from others of the same seed
HIDDEN = 64
PARTS = ("slow", "gain", "fitting", "tuning")  # what is saved of the rule, beside the logarithm of alpha
REACH = 1000.0  # the weight stays within this factor of the scale


class MaxInfo(Fixed):
    r"""The scale times alpha, which minimises log(alpha) (u(policy) - u(slow policy)): MaxInfoRL's rule.

    u is the bonus that a policy's actions are expected to earn at the states of a sampled minibatch, and the slow
    policy a moving average of the policy. So alpha grows as soon as the agent turns from the bonus faster than its
    average does, and falls while it turns to it. A small network tells what an action is expected to earn: it is
    fitted to the present bonuses of sampled transitions, in one step a minibatch.

    Args:
        rate: step of log(alpha) a minibatch (Adam).
        tau: pace of the slow policy a minibatch.
        fit_rate: step of the small network a minibatch (Adam).

    References: Sukhija et al. 2024, "MaxInfoRL: Boosting exploration in reinforcement learning through information
    gain maximization", arXiv:2412.12098.

    Differs from the paper: there the bonus is a function of state and action, and is asked directly; here it may be
    any, and is regressed. The action is the mode of the policy, so that nothing is drawn and SAC's noise stays what it
    was.
    """

    def __init__(self, rate: float = 3e-4, tau: float = 0.005, fit_rate: float = 1e-3) -> None:
        self.rate = between("rate", rate, 1.0)
        self.tau = between("tau", tau, 1.0)
        self.fit_rate = between("fit_rate", fit_rate, 1.0)
        self._log = torch.zeros((), requires_grad=True)

    def bind(self, model: OffPolicyAlgorithm) -> None:
        """Starts for `model`: alpha is one, and the slow policy the present one.

        Raises:
            InvalidSettings: the model has no actor and no network of action values.
        """
        policy: Any = model.policy
        self._actor: Any = getattr(policy, "actor", getattr(policy, "q_net", None))
        if self._actor is None:
            raise InvalidSettings(
                f"A {type(model).__name__} has neither an actor nor a network of action values that could be compared "
                "with its slow copy. Use another weight: fixed or fading."
            )
        with torch.random.fork_rng(range(torch.cuda.device_count())):  # a fresh one draws its first weights
            slow: Any = policy.make_actor() if hasattr(policy, "actor") else policy.make_q_net()
        self._slow = slow.to(model.device).requires_grad_(False)
        self._slow.load_state_dict(self._actor.state_dict())
        self._slow.set_training_mode(False)
        space = model.action_space
        self._choices = int(space.n) if isinstance(space, spaces.Discrete) else 0
        width = self._actor.features_extractor.features_dim + (self._choices or int(np.prod(space.shape or ())))
        generator = torch.Generator().manual_seed((GAIN_STREAM << 32) + (model.seed or 0))
        self._gain = nn.Sequential(_linear(width, HIDDEN, generator), nn.ReLU(), _linear(HIDDEN, 1, generator))
        self._gain.to(model.device)
        self._fitting = torch.optim.Adam(self._gain.parameters(), lr=self.fit_rate)
        self._log = torch.zeros((), requires_grad=True)
        self._tuning = torch.optim.Adam([self._log], lr=self.rate)

    @property
    def alpha(self) -> float:
        """What the scale is multiplied by."""
        return math.exp(self._log.item())

    def weight(self, scale: float, progress: float) -> float:
        """Returns the scale times alpha."""
        return scale * self.alpha

    def sampled(self, obs: Any, actions: Tensor, worth: Float[Tensor, " n"]) -> None:
        """Fits the small network to a minibatch, and moves alpha and the slow policy.

        Args:
            obs: as the policy sees them.
            actions: as the replay buffer holds them.
            worth: the present bonus of each, not weighted.
        """
        with torch.no_grad():
            features = self._slow.extract_features(obs, self._slow.features_extractor)
            chosen, slow = (self._code(_mode(net, obs)) for net in (self._actor, self._slow))
        loss = (self._expected(features, self._code(actions)) - worth).square().mean()
        self._fitting.zero_grad()
        loss.backward()
        self._fitting.step()
        with torch.no_grad():
            surplus = (self._expected(features, chosen) - self._expected(features, slow)).mean()
        self._tuning.zero_grad()
        (self._log * surplus.cpu()).backward()
        self._tuning.step()
        with torch.no_grad():
            self._log.clamp_(-math.log(REACH), math.log(REACH))
        polyak_update(self._actor.parameters(), self._slow.parameters(), self.tau)
        for present, slow_one in zip(self._actor.buffers(), self._slow.buffers(), strict=True):
            slow_one.copy_(present)  # running statistics, which an average of averages would only delay

    def _code(self, actions: Tensor) -> Float[Tensor, "n d"]:
        if self._choices:
            return nn.functional.one_hot(actions.long().reshape(-1), self._choices).float()
        return actions.reshape(len(actions), -1).float()

    def _expected(self, features: Tensor, actions: Tensor) -> Float[Tensor, " n"]:
        return self._gain(torch.cat([features, actions], dim=1))[:, 0]

    def state_dict(self) -> dict[str, Any]:
        """Alpha, the slow policy, the small network, and what moves them."""
        parts = {name: getattr(self, f"_{name}").state_dict() for name in PARTS}
        return copy.deepcopy({"log": self._log.detach(), **parts})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        with torch.no_grad():
            self._log.copy_(state["log"])
        for name in PARTS:
            getattr(self, f"_{name}").load_state_dict(copy.deepcopy(state[name]))  # torch would share its tensors


def _mode(net: Any, obs: Any) -> Tensor:
    """Returns the likeliest actions, without moving what a network in training moves (statistics, dropout)."""
    training = net.training
    net.set_training_mode(False)
    actions = net._predict(obs, deterministic=True)
    net.set_training_mode(training)
    return actions


def _linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """Returns a layer whose weights come from `generator`, and not from the global one."""
    layer = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")
    nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
    nn.init.zeros_(layer.bias)
    return layer
