"""What a model learns to see in observations, for bonuses to run on: codes of generative models, inverse features."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod
from typing import Any, Protocol, TypeVar

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from jaxtyping import Float
from torch import Tensor

import generative
from generative import FitSettings, LearnedEncoder, Model
from generative.model import Decoder
from vime.errors import CheckpointError, InvalidData, InvalidSettings, UnknownName, UnsupportedSpace, build_settings
from vime.inverse import InverseFeatures, InverseSettings
from vime.spaces import CHUNK, is_image
from vime.transitions import Observation, Transitions, map_observation

S = TypeVar("S")

UNBOUNDED = 1e6
"""Bounds of a space from which on they say nothing about its values."""


class Features(Protocol):
    """Features of observations that are learned from transitions."""

    @property
    def features(self) -> int:
        """Numbers per observation."""
        ...

    def encode(self, obs: Observation) -> Float[Tensor, "n d"]:
        """Returns the features of `n` observations, without gradients."""
        ...

    def learn(self, batch: Transitions) -> dict[str, float]:
        """Goes on learning from all that was kept, `t * b` transitions; returns metrics."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that the future depends on, as tensors and plain Python values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        ...


@contextmanager
def as_ours() -> Iterator[None]:
    """Raises the errors of generative models as those of the same name in `vime.errors`."""
    kinds = {
        generative.InvalidSettings: InvalidSettings,
        generative.UnknownName: UnknownName,
        generative.CheckpointError: CheckpointError,
        generative.InvalidData: InvalidData,
        generative.Diverged: InvalidData,
    }
    try:
        yield
    except tuple(kinds) as error:
        raise kinds[type(error)](str(error)) from error


class Pictures:
    """Observations of an image space as what generative models read: `(n, channels, height, width)`, 0 to 1.

    The bounds of the space become 0 and 1, whatever they are.

    Args:
        space: of the observations.
        frames: pictures in an observation, of as many channels each, that are read one by one.
        what: which option of a bonus asks for them.

    Raises:
        UnsupportedSpace: it is no space of images, or its channels do not make so many pictures.
    """

    def __init__(self, space: gymnasium.Space, frames: int = 1, what: str = "encoder") -> None:
        if not isinstance(space, spaces.Box) or not is_image(space):
            raise UnsupportedSpace(
                f"A learned {what} reads images of bytes, or of floats with up to 16 channels; got {space}. Leave "
                f"`{what}` out: a bonus takes numbers as they are."
            )
        shape = space.shape
        self.last = len(shape) > 2 and shape[-1] <= shape[-3]
        height, width = (shape[axis] for axis in ((-3, -2) if self.last else (-2, -1)))
        channels = prod(shape) // (height * width)
        if channels % frames:
            raise UnsupportedSpace(f"An image of {channels} channels does not make {frames} frames of equal channels.")
        self.frames, self.flat = frames, shape
        self.shape = (channels // frames, height, width)
        """Of one picture."""
        self.low, high = float(space.low.min()), float(space.high.max())
        self.bounded = max(-self.low, high) < UNBOUNDED
        """Whether they are known to lie between 0 and 1; without bounds they are left as they are."""
        if not self.bounded:
            self.low, high = 0.0, 1.0
        self.span = high - self.low or 1.0
        self.bytes = space.dtype == np.uint8 and (self.low, high) == (0, 255)

    def check_for(self, model: Model) -> None:
        """Checks that `model` reads these pictures.

        Raises:
            InvalidSettings: it was built for images of another shape.
            UnsupportedSpace: it reads values between 0 and 1, and the space has no bounds.
        """
        if model.shape != self.shape:
            frames, rest = divmod(self.shape[0] * self.frames, model.shape[0])
            alike = model.shape[1:] == self.shape[1:] and not rest
            cure = f"Give `frames={frames}`" if alike else "Train it on frames of this task"
            raise InvalidSettings(
                f"This {model.name} was built for images of shape {model.shape}; the task shows {self.shape}, as "
                f"channels, height and width. {cure}."
            )
        if model.support != "real" and not self.bounded:
            raise UnsupportedSpace(
                f"This {model.name} reads values between 0 and 1, and the observations have no bounds to be scaled by. "
                "Give their Box a finite `low` and `high`, or choose a model of any numbers (`likelihood=gaussian`)."
            )

    def read(self, obs: Observation) -> Tensor:
        """Returns the pictures of `n` observations, bytes of 256 levels as they are: `(n * frames, *shape)`.

        Raises:
            InvalidData: the observations have another shape.
        """
        if isinstance(obs, dict) or tuple(obs.shape[1:]) != self.flat:
            came = "a mapping" if isinstance(obs, dict) else tuple(obs.shape)
            raise InvalidData(f"The encoder was made for observations of shape (n, {self.flat}); got {came}.")
        images = obs.movedim(-1, -3) if self.last else obs
        images = images.reshape(-1, *self.shape)
        return images if self.bytes else (images.float() - self.low) / self.span


class Coded:
    """The code that a generative model has of an observation, or of each of its frames.

    Args:
        space: of the observations: images.
        model: with a code, for images of the shape that `Pictures` reads.
        frames: pictures in an observation, each encoded by itself.
        steps: rounds of training whenever it learns.
        minibatch: pictures in each.
        seed: of the order of the data and of all noise.
        device: where the model lives.

    Raises:
        UnsupportedSpace, InvalidSettings: the space is none of images, the model has no code or is of another shape.
    """

    def __init__(
        self,
        space: gymnasium.Space,
        model: Model,
        *,
        frames: int = 1,
        steps: int = 300,
        minibatch: int = 128,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        self.pictures = Pictures(space, frames)
        self.pictures.check_for(model)
        self.steps = steps
        with as_ours():
            settings = FitSettings(batch_size=minibatch, seed=seed, device=device, average=None)
            self.encoder = LearnedEncoder(model, settings)

    @property
    def features(self) -> int:
        """Numbers per observation."""
        return self.pictures.frames * self.encoder.features

    @torch.no_grad()
    def encode(self, obs: Observation) -> Float[Tensor, "n d"]:
        """Returns the codes of `n` observations, those of their frames side by side."""
        pictures = self.pictures.read(obs)
        with as_ours():
            codes = torch.cat([self.encoder.encode(part) for part in pictures.split(CHUNK)])
        return codes.reshape(len(pictures) // self.pictures.frames, -1)

    @torch.no_grad()
    def decode(self, features: Float[Tensor, "n d"]) -> Float[Tensor, "n c h w"]:
        """Returns the pictures of `n` codes, 0 to 1, those of the frames one after another in the channels.

        Raises:
            UnsupportedSpace: the model has no way back.
        """
        model = self.encoder.model
        if not isinstance(model, Decoder):
            raise UnsupportedSpace(f"A {model.name} has no way back from codes to pictures.")
        with as_ours():
            pictures = model.decode(features.reshape(-1, self.encoder.features))
        return pictures.reshape(len(features), -1, *self.pictures.shape[1:])

    def learn(self, batch: Transitions) -> dict[str, float]:
        """Learns from the successors; returns `encoder_loss`."""
        valid = batch.valid.flatten()
        return self.fit(map_observation(lambda part: part.flatten(0, 1)[valid], batch.next_obs), self.steps)

    def fit(self, observations: Observation, budget: int) -> dict[str, float]:
        """Learns from observations, of frames the newest, in `budget` rounds; returns `encoder_loss` of all players."""
        newest = self.pictures.read(observations).unflatten(0, (-1, self.pictures.frames))[:, -1]
        with as_ours(), torch.enable_grad():
            terms = self.encoder.fit(newest, budget)
        return {"encoder_loss": sum(value for name, value in terms.items() if name.split("/")[-1] == "loss")}

    def state_dict(self) -> dict[str, Any]:
        """Model, optimiser, generator."""
        return {"encoder": self.encoder.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        with as_ours():
            self.encoder.load_state_dict(state["encoder"])


class Controlled:
    """Features that tell which action led from one observation to the next, of any space.

    Args:
        observation_space: of a single environment.
        action_space: of a single environment.
        settings: width, hidden layers, step size, minibatch, seed and device.
        steps: minibatches whenever it learns.

    References: Pathak et al. 2017, "Curiosity-driven exploration by self-supervised prediction", equations 2 and 3.
    """

    def __init__(
        self,
        observation_space: gymnasium.Space,
        action_space: gymnasium.Space,
        settings: InverseSettings,
        *,
        steps: int = 300,
    ) -> None:
        self.model = InverseFeatures(observation_space, action_space, settings, forward=False)
        self.steps = steps

    @property
    def features(self) -> int:
        """Numbers per observation."""
        return self.model.settings.width

    def encode(self, obs: Observation) -> Float[Tensor, "n d"]:
        """Returns the features of `n` observations."""
        return self.model.net.encode(map_observation(lambda part: part.to(self.model.settings.device), obs))

    def learn(self, batch: Transitions) -> dict[str, float]:
        """Learns from all transitions so far, in whole passes; returns `encoder_loss`, nats or half squared errors."""
        in_a_pass = -(-int(batch.valid.sum()) // self.model.settings.minibatch)
        self.model.net.forget()  # the statistics hold what the last call brought, which counts once
        metrics = self.model.learn(batch, max(1, round(self.steps / in_a_pass)))
        return {"encoder_loss": metrics["inverse_loss"]}

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimiser and generator."""
        return self.model.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        self.model.load_state_dict(state)


def is_folder(model: str) -> bool:
    """Returns whether the name of an encoder or a density is a path."""
    return "/" in model or os.sep in model


def check_trained(what: str, model: str, settings: Mapping[str, Any]) -> None:
    """Raises InvalidSettings where a trained model, named by its folder, is given settings of a new one."""
    if settings:
        raise InvalidSettings(
            f"The {what} in {model} keeps the settings that it was trained with: leave `settings` out; got "
            f"{', '.join(map(repr, settings))}."
        )


def named_settings(what: str, cls: type[S], value: Any) -> S:
    """Returns the settings `cls` that a name, or a mapping with a `model`, stands for as the option `what`.

    Raises:
        InvalidSettings: it is neither, or a field is unknown or out of range.
    """
    given = {"model": value} if isinstance(value, str) else value
    if not isinstance(given, Mapping):
        raise InvalidSettings(f"`{what}` must be a name, or a mapping with a `model`; got {value!r}.")
    return build_settings(f"The {what}", cls, given)
