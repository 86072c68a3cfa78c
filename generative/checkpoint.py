"""Models and trainings as files: tensors in the safetensors format, everything else as JSON in the same file's header.

One file holds both, so they cannot come from different moments; it is replaced in one motion, so there is never half a
file; and it holds data alone, so loading one from a stranger runs nothing.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from generative.errors import CheckpointError, GenerativeError, UnknownName
from generative.model import BEGUN, Model
from generative.models import model_class
from generative.parallel import find_device
from generative.settings import from_plain, to_plain

HEADER = "generative"  # name of the entry of the header that holds our JSON
FORMAT = 1
SUFFIX = ".safetensors"
MODEL_FILE, TRAINING_FILE = f"model{SUFFIX}", f"training{SUFFIX}"

M = TypeVar("M", bound=Model)


def write(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Replaces `path` by a file of `tensors` and plain `facts`."""
    from safetensors.torch import save

    held = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    content = save(held, {HEADER: json.dumps({"format": FORMAT, **facts})})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Returns the facts and the tensors of a file.

    Raises:
        CheckpointError: there is no such file, or it is truncated or of another kind.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise CheckpointError(f"There is no file {path}. Train a model first, or choose another folder.")
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})[HEADER])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path} is truncated, or no file of a model of ours: {error}.") from error
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise CheckpointError(f"{path} is of another version of this package; train the model anew.")
    return facts, tensors


def describe(model: Model) -> dict[str, Any]:
    """Returns what a model can be built from again, as plain values."""
    return {"name": model.name, "shape": list(model.shape), "settings": to_plain(model.settings)}


def save(model: Model, path: str | os.PathLike[str]) -> None:
    """Writes settings and weights of a model to `path`, if that ends in .safetensors, else to a file in that folder."""
    write(_file(path), model.state_dict(), {"model": describe(model)})


def load(path: str | os.PathLike[str], *, name: str | None = None, device: str = "cpu") -> Model:
    """Returns the model in a file, or in a folder that `fit` or `save` wrote, ready for use.

    Args:
        path: the file or folder.
        name: which model is expected; None takes any.
        device: where to put it.

    Raises:
        CheckpointError: the file is truncated, foreign, or of another model than `name`.
        InvalidSettings: there is no such device.
    """
    place = find_device(device)
    path = _file(path)
    facts, tensors = read(path)
    try:
        described = facts["model"]
        found = described["name"]
        if name is not None and found != name:
            raise CheckpointError(
                f"{path} holds a model {found!r}, not {name!r}. Load it by that name, or leave it out."
            )
        cls = model_class(found)
        model = cls(tuple(described["shape"]), from_plain(cls.Settings, described["settings"]))
        model.load_state_dict(tensors)
    except CheckpointError:
        raise
    except (UnknownName, GenerativeError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path} does not fit any model of this version: {str(error).splitlines()[0]}") from error
    return model.to(place).eval()


def load_weights(model: Model, path: str | os.PathLike[str]) -> None:
    """Takes over the weights of a saved model of the same shapes, perhaps of another name, as a VAE's for an IWAE.

    Raises:
        CheckpointError: the file is truncated or foreign, or its model has other parts or sizes.
    """
    path = _file(path)
    facts, tensors = read(path)
    ours, theirs = (
        {name: tuple(value.shape) for name, value in state.items() if name.rpartition(".")[2] != BEGUN}
        for state in (model.state_dict(), tensors)
    )
    name = next((name for name in ours | theirs if ours.get(name) != theirs.get(name)), None)
    if name is not None:
        found = dict(facts.get("model", {})).get("name", "training")
        raise CheckpointError(
            f"The weights in {path}, of a {found}, do not fit this {model.name}: {name} has the shape "
            f"{theirs.get(name, 'of nothing')} there and {ours.get(name, 'of nothing')} here."
        )
    model.load_state_dict(tensors)


def _file(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    return path if path.suffix == SUFFIX or path.is_file() else path / MODEL_FILE
