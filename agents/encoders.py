"""Encoders by name: what `encoder=` of a bonus may say, and the bonus that runs on such features."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

import generative
from agents.densities import Likelihoods, density_settings
from agents.features import Coded, Controlled, Features, Pictures, as_ours, check_trained, is_folder, named_settings
from agents.names import ENCODERS
from agents.on_features import OnFeatures
from generative.models import model_class
from generative.settings import from_plain
from vime import Bonus
from vime import make_bonus as make_plain_bonus
from vime.bonus import part_settings
from vime.errors import InvalidSettings, UnknownName, build_settings, nearest
from vime.inverse import InverseSettings

CODE = {"latent": 16, "hidden": [128], "likelihood": "gaussian"}
"""Settings of autoencoders that differ from the models' own: a run fits them many times, on few and small pictures."""
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "vae": CODE,
    "iaf-vae": {**CODE, "flow_hidden": [64], "context": 32},
    "inverse": {"width": 16},
}


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """What turns observations into features, and when it learns."""

    model: str = "vae"
    """random, inverse, a generative model that has a code, or the folder of a trained one."""
    frames: int = 1
    """Pictures in an observation, each encoded by itself; 1 takes the observation whole. Of generative models alone."""
    steps: int = 300
    """Gradient steps whenever the encoder learns."""
    minibatch: int = 128
    """Pictures, or transitions, in each."""
    until: int = 16_384
    """Transitions up to which the encoder learns, at each doubling of their number; then it stays as it is."""
    before: int = 0
    """Steps of random play that it learns from before the run; in `vime train` and `vime compare` alone."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Of the model itself: `latent`, `hidden`, ...; of inverse features `width`, `hidden`, `learning_rate`. A trained
    model keeps its own."""

    def __post_init__(self) -> None:
        for name, least in (("frames", 1), ("steps", 1), ("minibatch", 1), ("until", 0), ("before", 0)):
            if getattr(self, name) < least:
                raise InvalidSettings(f"`{name}` of an encoder must be at least {least}; got {getattr(self, name)}.")
        if self.model in ("random", "inverse") and self.frames > 1:
            raise InvalidSettings(f"The encoder {self.model!r} takes observations whole: leave `frames` out.")
        if self.model == "random" and (self.settings or self.before):
            raise InvalidSettings("The encoder 'random' is what a bonus has by itself: it has no settings and no play.")
        if is_folder(self.model):
            check_trained("encoder", self.model, self.settings)
            return
        if self.model != "random" and not (self.until or self.before):
            raise InvalidSettings(
                "An encoder with `until` 0 and without play `before` would never learn: give one of both."
            )
        _check_model(self)


def _check_model(settings: EncoderSettings) -> None:
    if settings.model == "random":
        return
    if settings.model == "inverse":
        _inverse(settings)
        return
    known = {*ENCODERS, *coders()}
    if settings.model not in known:
        raise UnknownName(
            f"No encoder is named {settings.model!r}. {nearest(settings.model, known)} A folder of a trained model is "
            "written with a slash."
        )
    with as_ours():
        from_plain(model_class(settings.model).Settings, _own(settings))


def coders() -> tuple[str, ...]:
    """Returns the names of the generative models that have a code, and learn it without labels."""
    return tuple(
        name
        for name, cls in generative.MODELS.items()
        if hasattr(cls, "encode") and hasattr(cls, "features") and not cls.wants_labels
    )


def encoder_settings(value: Any) -> EncoderSettings:
    """Returns the settings that `encoder=` stands for: a name, or a mapping of fields.

    Raises:
        InvalidSettings: it is neither, or a field is unknown or out of range.
        UnknownName: there is no such encoder.
    """
    return named_settings("encoder", EncoderSettings, value)


def is_named(settings: Mapping[str, Any], what: str = "encoder") -> bool:
    """Returns whether these settings of a bonus have an encoder, or a density, that is named and no object."""
    return isinstance(settings.get(what), (str, Mapping))


def check_bonus(name: str, settings: Mapping[str, Any]) -> None:
    """Does nothing if the bonus `name`, encoder by name included, can be built with `settings`; builds nothing.

    Raises:
        UnknownName: there is no such bonus or encoder.
        InvalidSettings: a setting is unknown or out of range.
    """
    plain = dict(settings)
    if is_named(plain) and name != "none":
        encoder_settings(plain.pop("encoder"))
    if is_named(plain, "density") and name == "density-counts":
        density_settings(plain.pop("density"))
    part_settings(name, plain)


def make_bonus(name: str, observation_space: gymnasium.Space, action_space: gymnasium.Space, **settings: Any) -> Bonus:
    """Returns the bonus `name`, as `vime.make_bonus`, where an encoder, or a density, may be a name.

    `encoder` may be a name too, or a mapping of `EncoderSettings`. Any bonus or mixture serves, also one that has no
    `encoder` of its own: it runs on features that are learned in the run (`OnFeatures`). With the encoder random it is
    the bonus as it is. The `density` of `density-counts` may be a name or a mapping of `DensitySettings`.

    Raises:
        UnknownName: there is no such bonus or encoder.
        InvalidSettings: a setting is unknown or out of range.
        UnsupportedSpace: the encoder or the bonus cannot serve a space.
        CheckpointError: the folder holds no trained model.
    """
    check_bonus(name, settings)
    shared = {key: settings[key] for key in ("seed", "device") if key in settings}
    if is_named(settings, "density"):
        density = density_settings(settings.pop("density"))
        if is_named(settings):
            raise InvalidSettings("A density by name reads pictures, and an encoder leaves none: name one of the two.")
        settings["density"] = Likelihoods(observation_space, density, **shared)
    if not is_named(settings):
        return make_plain_bonus(name, observation_space, action_space, **settings)
    encoder = encoder_settings(settings.pop("encoder"))
    if encoder.model == "random":
        return make_plain_bonus(name, observation_space, action_space, **settings)
    features = make_features(encoder, observation_space, action_space, **shared)
    space = spaces.Box(-np.inf, np.inf, (features.features,), np.float32)
    build = partial(make_plain_bonus, name, space, action_space, **settings)
    return OnFeatures(features, build, encoder.until, encoder.before)


def make_features(
    settings: EncoderSettings,
    observation_space: gymnasium.Space,
    action_space: gymnasium.Space,
    *,
    seed: int = 0,
    device: str = "cpu",
) -> Features:
    """Returns new features of observations, or those of a trained model; the encoder random has none.

    Raises:
        UnsupportedSpace: a generative model is to read observations that are no images.
        InvalidSettings: the model has no code, or was trained on images of another shape.
        CheckpointError: the folder holds no trained model.
    """
    if settings.model == "inverse":
        return Controlled(observation_space, action_space, _inverse(settings, seed, device), steps=settings.steps)
    pictures = Pictures(observation_space, settings.frames)
    with as_ours():
        if is_folder(settings.model):
            model = generative.load(settings.model)
        else:
            model = generative.make_model(settings.model, pictures.shape, seed=seed, **_own(settings))
    if model.wants_labels and (settings.until or settings.before):
        raise InvalidSettings(
            f"A {model.name} learns from labels, and observations have none: leave it as it is, with `until=0`."
        )
    return Coded(
        observation_space, model, frames=settings.frames, steps=settings.steps, minibatch=settings.minibatch, seed=seed,
        device=device,
    )  # fmt: skip


def _own(settings: EncoderSettings) -> dict[str, Any]:
    return {**DEFAULTS.get(settings.model, {}), **settings.settings}


def _inverse(settings: EncoderSettings, seed: int = 0, device: str = "cpu") -> InverseSettings:
    known = {entry.name for entry in fields(InverseSettings)} - {"seed", "device", "encoder", "minibatch", "passes"}
    for name in settings.settings:
        if name not in known:
            raise InvalidSettings(f"Inverse features have no setting {name!r}. {nearest(name, known)}")
    own = {**_own(settings), "minibatch": settings.minibatch, "seed": seed, "device": device}
    return build_settings("Inverse features", InverseSettings, own)
