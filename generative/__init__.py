"""Generative models of observations: features and world models for exploration.

One file per model or idea. What they share:

- `model`: the protocol of a model, its players and its batches;
- `models`: the table of names; `make_model("vae", (1, 28, 28), latent=16)`;
- `data`, `datasets`, `files`: data sets in memory, the built-in ones, readers of original files;
- `fit`: trains any model, resumes exactly, keeps the last good weights; `training` is one round of it;
- `checkpoint`: `save` and `load`;
- `encoder`: a model as features of observations;
- `metrics`: likelihoods, clusterings, modes; `judge`: scores of samples by a `classifier`;
- `few_labels`: a classifier of a handful of labels, by `clustering`;
- `layers`, `masked`, `likelihoods`, `divergences`, `gan_losses`, `techniques`: what models are made of.
"""

from generative.checkpoint import load, save
from generative.data import Dataset, Split, dataset
from generative.datasets import load_data
from generative.encoder import Encoder, LearnedEncoder
from generative.errors import (
    CheckpointError,
    Diverged,
    GenerativeError,
    InvalidData,
    InvalidSettings,
    MissingData,
    UnknownName,
)
from generative.fit import fit
from generative.model import Batch, Model, Player
from generative.models import MODELS, make_model
from generative.optimiser import Optimiser
from generative.training import FitSettings

__all__ = [
    "MODELS",
    "Batch",
    "CheckpointError",
    "Dataset",
    "Diverged",
    "Encoder",
    "FitSettings",
    "GenerativeError",
    "InvalidData",
    "InvalidSettings",
    "LearnedEncoder",
    "MissingData",
    "Model",
    "Optimiser",
    "Player",
    "Split",
    "UnknownName",
    "dataset",
    "fit",
    "load",
    "load_data",
    "make_model",
    "save",
]
