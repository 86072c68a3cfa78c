"""Numpy arrays and generators as tensors and plain Python, so that `torch.load(weights_only=True)` reads them."""

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

TAG = "~kind"


class NotPlain(Exception):
    """A value that cannot be written as data alone; the text names its type."""


def encode(value: Any) -> Any:
    """Returns `value` as tensors, containers and plain numbers.

    Raises:
        NotPlain: some part of it is neither data nor a numpy generator.
    """
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return _plain_number(value)
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, np.generic):
        return {TAG: "scalar", "array": encode_array(np.asarray(value))}
    if isinstance(value, np.ndarray):
        return encode_array(value)
    if isinstance(value, np.random.Generator):
        return {TAG: "generator", "state": encode(value.bit_generator.state)}
    if isinstance(value, (list, tuple)):
        if type(value) not in (list, tuple):
            raise NotPlain(type(value).__name__)
        return type(value)(encode(part) for part in value)
    if isinstance(value, deque):
        return {TAG: "deque", "parts": [encode(part) for part in value], "maxlen": value.maxlen}
    if isinstance(value, Mapping):
        for key in value:
            if not (key is None or isinstance(key, (bool, int, float, str))):
                raise NotPlain(f"a mapping with keys of type {type(key).__name__}")
        return {key: encode(part) for key, part in value.items()}
    raise NotPlain(type(value).__name__)


def decode(value: Any) -> Any:
    """Returns what `encode` was given; arrays and generators are new objects."""
    if isinstance(value, (list, tuple)):
        return type(value)(decode(part) for part in value)
    if not isinstance(value, dict):
        return value
    match value.get(TAG):
        case None:
            return {key: decode(part) for key, part in value.items()}
        case "array":
            return _decode_array(value)
        case "scalar":
            return _decode_array(value["array"])[()]
        case "deque":
            return deque((decode(part) for part in value["parts"]), maxlen=value["maxlen"])
        case "generator":
            state = decode(value["state"])
            bits = getattr(np.random, state["bit_generator"])()
            bits.state = state
            return np.random.Generator(bits)
        case kind:
            raise ValueError(f"unknown kind of value {kind!r}")


def _plain_number(value: Any) -> Any:
    """Numpy's float64 is a Python float by inheritance, and pickles as what it is: it is told apart here."""
    if isinstance(value, np.generic):
        return {TAG: "scalar", "array": encode_array(np.asarray(value))}
    if type(value) in (type(None), bool, int, float, str, bytes):
        return value
    raise NotPlain(type(value).__name__)


def encode_array(array: np.ndarray, *, copy: bool = True) -> dict[str, Any]:
    """Returns `encode(array)`; without `copy` it may share the array's memory, for what is written at once.

    Raises:
        NotPlain: it is an array of objects or of records.
    """
    if array.dtype.hasobject or array.dtype.names:
        raise NotPlain(f"an array of {'records' if array.dtype.names else 'objects'}")
    flat = np.ascontiguousarray(array).reshape(-1)
    data = flat.view(np.uint8) if flat.size and flat.itemsize else np.zeros(0, np.uint8)
    if copy or not data.flags.writeable:  # torch warns of arrays that it must not write
        data = data.copy()
    return {TAG: "array", "dtype": array.dtype.str, "shape": list(array.shape), "data": torch.from_numpy(data)}


def _decode_array(value: dict[str, Any]) -> np.ndarray:
    dtype = np.dtype(value["dtype"])
    if dtype.hasobject:
        raise ValueError("an array of objects")
    return np.frombuffer(value["data"].numpy().tobytes(), dtype=dtype).reshape(value["shape"]).copy()
