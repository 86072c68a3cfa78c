"""A generative model as features of observations, learned before or while an agent meets them."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from generative.data import Minibatches, dataset
from generative.errors import CheckpointError, Diverged, InvalidSettings
from generative.model import Coder, Model
from generative.randomness import child
from generative.training import FitSettings, Training


@runtime_checkable
class Encoder(Protocol):
    """Features of observations."""

    @property
    def features(self) -> int:
        """Numbers per observation."""
        ...

    def encode(self, obs: Shaped[Tensor, "n *shape"]) -> Float[Tensor, "n d"]:
        """Returns the features of each observation, without gradients."""
        ...

    def fit(self, observations: Shaped[Tensor, "n *shape"], budget: int) -> dict[str, float]:
        """Learns from observations in `budget` steps, and returns the mean terms of the loss."""
        ...


class LearnedEncoder:
    """A model with a code, as an `Encoder` that goes on learning; bytes are read as grey levels.

    The features are those of the model as it is, without averaged weights. `state_dict` holds everything, optimisers
    and generator included: saved, loaded and continued it gives bit for bit what it would have given.

    Args:
        model: what encodes, and learns; new, or one that has learned, which goes on from its weights.
        settings: minibatch, seed, device, precision; `steps` counts for falling learning rates alone.

    Raises:
        InvalidSettings: the model has no code.
    """

    def __init__(self, model: Model, settings: FitSettings | None = None) -> None:
        if not isinstance(model, Coder):
            raise InvalidSettings(f"{model.name} has no code, so it cannot encode observations.")
        self.coder, self.model = model, model
        self.settings = settings or FitSettings(average=None)
        self.training = Training(model, self.settings)
        self.fits = 0
        self.model.eval()

    @property
    def features(self) -> int:
        """Numbers per observation."""
        return self.coder.features

    def encode(self, obs: Shaped[Tensor, "n *shape"]) -> Float[Tensor, "n d"]:
        """Returns the features of each observation."""
        return self.coder.encode(obs.to(self.model.device).float().div_(255) if obs.dtype == torch.uint8 else obs)

    def fit(self, observations: Shaped[Tensor, "n *shape"], budget: int) -> dict[str, float]:
        """Learns from observations in `budget` rounds, and returns the mean terms; a new model first starts from them.

        Raises:
            InvalidData: the observations do not fit the model.
            Diverged: a loss or weight is no longer finite; the encoder is as it was before the call.
        """
        if budget < 1:
            raise InvalidSettings(f"`budget` is a number of rounds, 1 at least; got {budget}.")
        support = "real" if self.model.support == "real" and observations.dtype != torch.uint8 else "unit"
        data = dataset(observations, support=support).suited(self.model)
        data.check_for(self.model)
        before = self.state_dict()
        minibatches = Minibatches(
            data, self.settings.batch_size, child(self.settings.seed, f"fit {self.fits}"), self.model.device
        )
        self.model.train()
        try:
            if self.fits == 0:
                self.training.start(minibatches if self.settings.initial_examples else None)
            for _ in range(budget):
                self.training.round(minibatches)
            terms, finite = self.training.report()
        finally:
            self.model.eval()
        self.fits += 1
        if not finite:
            self.load_state_dict(before)
            raise Diverged(
                f"{self.model.name} diverged while it learned features; they are as they were. Lower its rate."
            )
        return terms

    def state_dict(self) -> dict[str, Tensor]:
        """Returns everything, as tensors."""
        state = {name: value.detach().clone() for name, value in self.training.state_dict().items()}
        return {**state, "fits": torch.tensor(self.fits)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Takes over what `state_dict` gave.

        Raises:
            CheckpointError: it belongs to another encoder.
        """
        if "fits" not in state:
            raise CheckpointError("This is no saved state of a learned encoder.")
        self.training.load_state_dict(state)
        self.fits = int(state["fits"])
