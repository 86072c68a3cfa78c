"""Densities by name: generative models of pictures that pseudo-counts are read from."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any

import gymnasium
import torch
from jaxtyping import Float
from torch import Tensor

import generative
from agents.features import Pictures, as_ours, check_trained, is_folder, named_settings
from generative.data import Dataset, Minibatches, Split, dataset
from generative.model import Density
from generative.models import model_class
from generative.randomness import child
from generative.settings import from_plain
from generative.training import FitSettings, Training
from vime.errors import InvalidData, InvalidSettings, UnknownName, nearest
from vime.spaces import CHUNK
from vime.transitions import Observation

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "made": {"hidden": [64], "likelihood": "discretised", "levels": 8, "components": 2},
    "pixelcnn": {
        "filters": 16, "blocks": 3, "dropout": 0.0, "likelihood": "discretised", "levels": 8, "components": 4,
    },
}  # fmt: skip
"""Settings that differ from the models' own: a run trains them all the time, and pictures are read in 8 grey levels, as
Ostrovski et al. 2017 read them."""

BYTES = 256
"""Values of a byte."""


@dataclass(frozen=True, kw_only=True)
class DensitySettings:
    """Which model tells how likely pictures are, and how it learns."""

    model: str = "made"
    """A generative model that has an exact likelihood, or the folder of a trained one."""
    frames: int = 1
    """Pictures in an observation, of which the newest counts; 1 takes the observation whole."""
    minibatch: int = 128
    """Pictures in a step."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Of the model itself; a trained one keeps its own. Pictures are read in the model's number of `levels`; with
    `likelihood` bernoulli as bright or dark."""

    def __post_init__(self) -> None:
        for name in ("frames", "minibatch"):
            if getattr(self, name) < 1:
                raise InvalidSettings(f"`{name}` of a density must be at least 1; got {getattr(self, name)}.")
        if is_folder(self.model):
            check_trained("density", self.model, self.settings)
            return
        if self.model not in densities():
            raise UnknownName(
                f"No density is named {self.model!r}. {nearest(self.model, densities())} A folder of a trained model "
                "is written with a slash."
            )
        with as_ours():
            from_plain(model_class(self.model).Settings, self.own)

    @property
    def own(self) -> dict[str, Any]:
        """Settings of the model, those that are given above those that stand here."""
        return {**DEFAULTS.get(self.model, {}), **self.settings}


def densities() -> tuple[str, ...]:
    """Returns the names of the generative models that have an exact likelihood."""
    return tuple(name for name, cls in generative.MODELS.items() if hasattr(cls, "log_prob"))


def density_settings(value: Any) -> DensitySettings:
    """Returns the settings that `density=` stands for: a name, or a mapping of fields.

    Raises:
        InvalidSettings: it is neither, or a field is unknown or out of range.
        UnknownName: there is no such density.
    """
    return named_settings("density", DensitySettings, value)


class Likelihoods:
    """How likely pictures are by a generative model; the gain of each is what learning from its batch brings it.

    A model of many weights is not stepped for each picture and back. It goes over a whole batch once, in minibatches,
    and each picture gains what its log-likelihood rises by from before to after; then the model is put back. So to ask
    costs as much as to learn: it is for whole rollouts, and not for the minibatches of a replay buffer.

    Args:
        space: of the observations: images.
        settings: which model, and how it learns.
        seed: of weights, order and noise.
        device: where the model lives.

    Raises:
        UnsupportedSpace: it is no space of images, or one without bounds.
        InvalidSettings: the trained model has no exact likelihood, or is of other images.
        CheckpointError: the folder holds no trained model.

    References: Ostrovski et al. 2017, "Count-based exploration with neural density models": pictures of 3 bits.
    """

    def __init__(
        self, space: gymnasium.Space, settings: DensitySettings, *, seed: int = 0, device: str = "cpu"
    ) -> None:
        self.pictures, self.settings, self.seed = Pictures(space, settings.frames, "density"), settings, seed
        with as_ours():
            if is_folder(settings.model):
                model = generative.load(settings.model)
            else:
                model = generative.make_model(settings.model, self.pictures.shape, seed=seed, **settings.own)
        if not isinstance(model, Density):
            raise InvalidSettings(f"A {model.name} has no exact likelihood. Choose one of: {', '.join(densities())}.")
        self.pictures.check_for(model)
        with as_ours():
            fitted = FitSettings(batch_size=settings.minibatch, seed=seed, device=device, average=None)
            self.training = Training(model, fitted)
        self.model, self.density = model.eval(), model
        self.fits = 0

    def _newest(self, obs: Observation) -> Tensor:
        return self.pictures.read(obs).unflatten(0, (-1, self.pictures.frames))[:, -1].contiguous()

    def _data(self, pictures: Tensor) -> Dataset:
        """Returns pictures as the model takes them: in its number of levels, or as brighter than half or not."""
        support = "unit" if self.model.support != "real" or pictures.dtype == torch.uint8 else "real"
        data = dataset(pictures, support=support)
        if self.model.support == "binary":
            return data.binarised("threshold")
        levels = self.model.levels
        if levels is None:
            return data
        high = BYTES if pictures.dtype == torch.uint8 else 1
        kept = (pictures.float() * (levels / high)).floor().clamp(0, levels - 1)
        kept = kept.to(torch.uint8) if levels <= BYTES else kept / (levels - 1)
        return replace(data, train=Split(x=kept), test=Split(x=kept[:0]), levels=levels)

    @torch.no_grad()
    def _log_prob(self, pictures: Tensor) -> Float[Tensor, " n"]:
        seen = self._data(pictures).examples("train", torch.Generator())
        return torch.cat([self.density.log_prob(part) for part in seen.split(CHUNK)]).cpu()

    def _pass(self, pictures: Tensor) -> dict[str, float]:
        """Goes over the pictures once."""
        data = self._data(pictures)
        data.check_for(self.model)
        order = Minibatches(data, self.settings.minibatch, child(self.seed, f"fit {self.fits}"), self.model.device)
        self.model.train()
        with torch.enable_grad():
            if self.fits == 0:
                self.training.start(order)
            for _ in range(ceil(len(pictures) / self.settings.minibatch)):
                self.training.round(order)
        self.model.eval()
        terms, finite = self.training.report()
        if not finite:
            raise InvalidData(f"The density {self.model.name} has diverged; lower its rate.")
        return {"density_loss": terms["loss"]}

    def gains(self, obs: Observation) -> Float[Tensor, " n"]:
        """Returns by how many nats the log-likelihood of each picture rises when the model learns from all of them."""
        pictures, state = self._newest(obs), self.state_dict()
        with as_ours():
            before = self._log_prob(pictures)
            self._pass(pictures)
            after = self._log_prob(pictures)
            self.load_state_dict(state)
        return after - before

    def observe(self, obs: Observation) -> None:
        """Does nothing: there are no statistics beside the model."""

    def learn(self, obs: Observation) -> dict[str, float]:
        """Goes over `n` pictures once; returns `density_loss`, nats per picture."""
        with as_ours():
            found = self._pass(self._newest(obs))
        self.fits += 1
        return found

    def state_dict(self) -> dict[str, Any]:
        """Model, optimiser, generator, and how often it learned."""
        training = {name: value.detach().clone() for name, value in self.training.state_dict().items()}
        return {"training": training, "fits": self.fits}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a saved state, bit for bit."""
        with as_ours():
            self.training.load_state_dict(state["training"])
        self.fits = int(state["fits"])
