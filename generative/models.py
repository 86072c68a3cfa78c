"""The table of models: one line each."""

from collections.abc import Sequence
from typing import Any

from generative.classifier import Classifier
from generative.clustering import Clustering
from generative.dcgan import DCGAN
from generative.errors import choose
from generative.gan import GAN
from generative.iaf import IAFVAE
from generative.infogan import InfoGAN
from generative.lapgan import LAPGAN
from generative.made import MADE
from generative.model import Model
from generative.pixelcnn import PixelCNN
from generative.resnet_vae import ResNetVAE
from generative.semi_supervised import SemiSupervisedGAN
from generative.settings import from_plain
from generative.vae import IWAE, VAE
from generative.wake_sleep import Helmholtz

MODELS: dict[str, type[Model]] = {
    "gan": GAN,
    "dcgan": DCGAN,
    "infogan": InfoGAN,
    "lapgan": LAPGAN,
    "semi-supervised-gan": SemiSupervisedGAN,
    "vae": VAE,
    "iwae": IWAE,
    "iaf-vae": IAFVAE,
    "resnet-vae": ResNetVAE,
    "helmholtz": Helmholtz,
    "made": MADE,
    "pixelcnn": PixelCNN,
}
"""Name -> class of every generative model."""

TOOLS: dict[str, type[Model]] = {"classifier": Classifier, "clustering": Clustering}
"""Models that generate nothing: one judges those that do, one sorts data; saved, loaded and trained in the same way."""


def model_class(name: str) -> type[Model]:
    """Returns the class of a name.

    Raises:
        UnknownName: there is none; the nearest is suggested.
    """
    return choose("model", name, {**MODELS, **TOOLS})


def make_model(name: str, shape: Sequence[int], *, seed: int = 0, **settings: Any) -> Model:
    """Returns a new model for data of `shape`.

    Args:
        name: an entry of `MODELS`.
        shape: of one datum: `(channels, height, width)` or `(size,)`.
        seed: of the first weights.
        settings: of the model's own `Settings`; plain values do, lists for tuples and dictionaries for what is nested.

    Raises:
        UnknownName: there is no such model.
        InvalidSettings: a setting is unknown or out of range, or the model cannot serve the shape.
    """
    cls = model_class(name)
    return cls(tuple(shape), from_plain(cls.Settings, settings), seed=seed)  # type: ignore[call-arg]  (every entry takes one)
