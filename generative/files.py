"""Readers for the original files of MNIST and its kin (idx) and of CIFAR-10; nothing is ever downloaded.

CIFAR-10's Python files are pickles; they are read by an unpickler that builds arrays and knows nothing else.
"""

import gzip
import io
import pickle
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from generative.data import Dataset, Split
from generative.errors import MissingData

MNIST_FILES = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
"""Files of MNIST -> MD5 of each when it is unpacked; each may also lie there as `.gz`."""

CIFAR_PYTHON = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
"""Files of cifar-10-python.tar.gz -> MD5."""

CIFAR_BINARY = tuple(f"{name}.bin" for name in CIFAR_PYTHON)
"""Files of cifar-10-binary.tar.gz, whose MD5 is c32a1d4ab5d03f1284b67883e8d87530."""

CIFAR_FOLDERS = ("cifar-10-batches-bin", "cifar-10-batches-py")
CIFAR_ROW = 3 * 32 * 32
IDX_BYTES = 8  # code of unsigned bytes in the third byte of an idx file


def mnist(folder: str | Path, *, name: str = "mnist") -> Dataset:
    """Returns MNIST, or a set in its format: 28x28 grey images with ten classes.

    Args:
        folder: holds the four files of `MNIST_FILES`, packed by gzip or not.
        name: of the data set.

    Raises:
        MissingData: a file is absent, truncated or something else.
    """
    folder = Path(folder)
    images, labels, test_images, test_labels = (_idx_file(folder, file) for file in MNIST_FILES)
    for x, y in ((images, labels), (test_images, test_labels)):
        if x.ndim != 3 or y.ndim != 1 or len(x) != len(y):
            raise MissingData(f"{folder} holds images of shape {x.shape} and labels of shape {y.shape}. {_expected()}")
    return Dataset(
        name=name,
        train=Split(x=torch.from_numpy(images).unsqueeze(1), label=torch.from_numpy(labels).long()),
        test=Split(x=torch.from_numpy(test_images).unsqueeze(1), label=torch.from_numpy(test_labels).long()),
        levels=256,
    )


def _idx_file(folder: Path, name: str) -> np.ndarray:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return read_idx(path)
    raise MissingData(f"{folder} has no file {name} or {name}.gz. {_expected()}")


def read_idx(path: Path) -> np.ndarray:
    """Returns the array of bytes in an idx file, packed or not.

    Raises:
        MissingData: it is truncated, or something else.
    """
    content = path.read_bytes()
    try:
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        if content[:3] != bytes((0, 0, IDX_BYTES)):
            raise ValueError(f"its first bytes are {content[:4].hex(' ')}")
        shape = np.frombuffer(content, ">i4", count=content[3], offset=4)
        start = 4 + 4 * content[3]
        if len(content) - start != shape.prod(dtype=np.int64):
            raise ValueError(f"it should hold {tuple(shape.tolist())} bytes, and holds {len(content) - start}")
        return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()
    except (ValueError, IndexError, EOFError, OSError, zlib.error) as error:
        raise MissingData(f"{path} is no idx file of bytes, or is truncated: {error}. {_expected()}") from error


def _expected() -> str:
    files = ", ".join(f"{name} ({digest})" for name, digest in MNIST_FILES.items())
    return f"Expected, packed by gzip or not, with the MD5 of the unpacked file: {files}."


def cifar10(folder: str | Path) -> Dataset:
    """Returns CIFAR-10: 32x32 colour images with ten classes.

    Args:
        folder: holds the unpacked files of the binary or of the Python version, or their folder.

    Raises:
        MissingData: a file is absent, truncated or something else.
    """
    folder = Path(folder)
    places = [folder, *(folder / inner for inner in CIFAR_FOLDERS)]
    for names, read in ((CIFAR_BINARY, _binary_rows), (tuple(CIFAR_PYTHON), _python_rows)):
        for place in places:
            if all((place / name).is_file() for name in names):
                *train, test = (read(place / name) for name in names)
                x, y = zip(*train, strict=True)
                return Dataset(
                    name="cifar10",
                    train=Split(x=torch.cat(x), label=torch.cat(y)),
                    test=Split(x=test[0], label=test[1]),
                    levels=256,
                )
    raise MissingData(
        f"{folder} has neither the files of cifar-10-binary.tar.gz ({', '.join(CIFAR_BINARY)}; archive's MD5 "
        f"c32a1d4ab5d03f1284b67883e8d87530) nor those of cifar-10-python.tar.gz "
        f"({', '.join(f'{name} ({digest})' for name, digest in CIFAR_PYTHON.items())}). Unpack one of them there."
    )


def _binary_rows(path: Path) -> tuple[Tensor, Tensor]:
    content = np.frombuffer(path.read_bytes(), np.uint8)
    if not content.size or content.size % (1 + CIFAR_ROW):
        raise MissingData(f"{path} is truncated: {content.size} bytes are no whole rows of {1 + CIFAR_ROW}.")
    rows = content.reshape(-1, 1 + CIFAR_ROW)
    return _images(path, rows[:, 1:], rows[:, 0])


def _python_rows(path: Path) -> tuple[Tensor, Tensor]:
    try:
        content: Mapping[bytes, Any] = _ArraysOnly(io.BytesIO(path.read_bytes()), encoding="bytes").load()
        pixels, labels = np.asarray(content[b"data"], np.uint8), np.asarray(content[b"labels"])
    except Exception as error:  # whatever a damaged or hostile pickle brings about
        raise MissingData(
            f"{path} is no batch of CIFAR-10, or is truncated: {error}. Its MD5 should be {CIFAR_PYTHON[path.name]}."
        ) from error
    return _images(path, pixels, labels)


def _images(path: Path, pixels: np.ndarray, labels: np.ndarray) -> tuple[Tensor, Tensor]:
    if pixels.ndim != 2 or pixels.shape[1] != CIFAR_ROW or labels.shape != (len(pixels),) or labels.max() > 9:
        raise MissingData(f"{path} is no batch of CIFAR-10: pixels {pixels.shape}, labels {labels.shape}.")
    x = torch.from_numpy(pixels.copy()).view(-1, 3, 32, 32)
    return x, torch.from_numpy(labels.astype(np.int64))


class _ArraysOnly(pickle.Unpickler):
    """Reads numbers, text, lists, dictionaries and arrays of numbers, and refuses everything else."""

    KNOWN: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
        ("numpy._core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        """Returns one of the few things that arrays are made of."""
        if (module, name) == ("_codecs", "encode"):  # how newer Pythons write bytes for older ones
            return lambda text, encoding="latin1": text.encode("latin1")
        if (module, name) not in self.KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return self.KNOWN[module, name]
