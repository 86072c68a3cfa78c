"""Features learned by guessing the action between two observations: they keep what the agent controls."""

from dataclasses import dataclass

import gymnasium
import torch
from jaxtyping import Float
from torch import Tensor

from vime.actions import Actions, ForwardModel, InverseModel
from vime.errors import InvalidSettings
from vime.features import FeatureNet
from vime.learned import LearnedSettings, Moves, Trainer, moves
from vime.saved import Saved
from vime.transitions import Observation, Transitions


@dataclass(frozen=True, kw_only=True)
class InverseSettings(LearnedSettings):
    """Settings of the features, and of the models that shape them."""

    width: int = 32
    """Length of a feature vector."""
    forward_share: float = 0.2
    """Share of the forward model's loss, beta; the inverse model has the rest."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width < 2:
            raise InvalidSettings(f"`width` must be at least 2; got {self.width}.")
        if not 0 <= self.forward_share < 1:
            raise InvalidSettings(f"`forward_share` must lie in [0, 1); got {self.forward_share}.")


class InverseFeatures(Saved):
    r"""Features phi, trained with an inverse model and, where asked for, a forward model.

    .. math:: (1 - \beta)\,L(\hat a(\phi_t, \phi_{t+1}), a_t) + \beta\,\tfrac12 \|\hat\phi(\phi_t, a_t) - \phi_{t+1}\|^2

    The features are not normalised one by one: that would keep their direction alone, and far from the mean of all
    observations the direction hardly changes.

    References: Pathak et al. 2017, "Curiosity-driven exploration by self-supervised prediction", equations 2 to 7.
    """

    parts = ("trainer",)

    def __init__(
        self,
        observation_space: gymnasium.Space,
        action_space: gymnasium.Space,
        settings: InverseSettings,
        forward: bool,
    ) -> None:
        self.settings = s = settings
        generator = torch.Generator().manual_seed(s.seed)
        self.net = FeatureNet(observation_space, s.width, generator, hidden=s.hidden, encoder=s.encoder)
        self.actions = Actions(action_space)
        self.inverse = InverseModel(s.width, self.actions, s.hidden, generator)
        self.forward_model = ForwardModel(s.width, self.actions, s.hidden, generator) if forward else None
        nets = {"features": self.net, "actions": self.actions, "inverse": self.inverse}
        self.trainer = Trainer(nets if self.forward_model is None else nets | {"prediction": self.forward_model}, s)

    def arrivals(self, batch: Transitions) -> Float[Tensor, "t b w"]:
        """Returns the features of every successor; zeros where the step is not valid."""
        features = self.net.encode(moves(batch, self.settings.device).next_obs)
        valid = batch.valid.to(features.device).unsqueeze(-1)
        return torch.where(valid, features.view(*batch.shape, -1), 0.0)

    @torch.no_grad()
    def errors(self, batch: Transitions) -> Float[Tensor, "t b"]:
        """Returns half the squared error of the forward model, summed over the features."""
        if self.forward_model is None:
            raise RuntimeError("these features have no forward model")
        data = moves(batch, self.settings.device)
        guess = self.forward_model(self.net.encode(data.obs), self.actions.encode(data.action))
        return (0.5 * (guess - self.net.encode(data.next_obs)).square().sum(1)).view(batch.shape)

    @torch.no_grad()
    def impact(self, batch: Transitions) -> Float[Tensor, "t b"]:
        """Returns how far every step moved the features, as Euclidean distance."""
        data = moves(batch, self.settings.device)
        return (self.net.encode(data.next_obs) - self.net.encode(data.obs)).square().sum(1).sqrt().view(batch.shape)

    def learn(self, batch: Transitions, times: int = 1) -> dict[str, float]:
        """Fits everything to the batch, `times` over; returns `inverse_loss` and `forward_loss`, by their shares."""
        data = moves(batch.flat(), self.settings.device)
        self.net.update(data.obs)
        ready = Moves(self.net.prepare(data.obs), self.actions.encode(data.action), self.net.prepare(data.next_obs))
        metrics: dict[str, float] = {}
        for _ in range(times):
            metrics = self.trainer.fit(len(ready.action), lambda index: self._losses(ready.take(index)))
        return metrics

    def _losses(self, ready: Moves) -> dict[str, Tensor]:
        before, after = self.net.run_both(ready.obs, ready.next_obs)
        inverse = self.actions.error(self.inverse(before, after), ready.action).mean()
        if self.forward_model is None:
            return {"inverse_loss": inverse}
        error = 0.5 * (self.forward_model(before, ready.action) - after).square().sum(1).mean()
        share = self.settings.forward_share
        return {"inverse_loss": (1 - share) * inverse, "forward_loss": share * error}


class InverseEncoder(Saved):
    """The features of an inverse model, in the place of a `RandomEncoder`."""

    parts = ("features",)

    def __init__(
        self, observation_space: gymnasium.Space, action_space: gymnasium.Space, settings: InverseSettings
    ) -> None:
        self.features = InverseFeatures(observation_space, action_space, settings, forward=False)

    def __call__(self, obs: Observation) -> Float[Tensor, "n w"]:
        """Returns the features of `n` observations."""
        return self.features.net.encode(obs)

    def update(self, obs: Observation) -> None:
        """Does nothing: the statistics advance as the features learn."""

    def learn(self, batch: Transitions) -> dict[str, float]:
        """Fits the features to the batch; returns `inverse_loss`."""
        return self.features.learn(batch)
