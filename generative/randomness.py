"""Draws from a generator that is handed in; nothing here or elsewhere changes the global state.

A draw is made on the generator's own device and then moved. A model on a GPU that is handed a generator of the CPU thus
gives the samples that it would give on the CPU, which is slower and lets the two be compared.
"""

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


def normal(shape: Sequence[int], generator: torch.Generator, like: Tensor) -> Tensor:
    """Returns standard normal numbers of `shape`, of the device and type of `like`."""
    return torch.randn(tuple(shape), generator=generator, device=generator.device, dtype=like.dtype).to(like.device)


def uniform(shape: Sequence[int], generator: torch.Generator, like: Tensor) -> Tensor:
    """Returns numbers between 0 and 1 of `shape`, of the device and type of `like`."""
    return torch.rand(tuple(shape), generator=generator, device=generator.device, dtype=like.dtype).to(like.device)


def integers(high: int, shape: Sequence[int], generator: torch.Generator, device: torch.device) -> Tensor:
    """Returns whole numbers from 0 to `high` - 1 of `shape`."""
    return torch.randint(high, tuple(shape), generator=generator, device=generator.device).to(device)


def child(seed: int, name: str) -> int:
    """Returns the seed of the stream called `name` under `seed`; streams of other names are unrelated."""
    mixed = (zlib.crc32(f"{seed}/{name}".encode()) << 32) | zlib.crc32(f"{name}/{seed}".encode())
    return mixed & (2**63 - 1)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Lets layers made inside draw their first weights from `seed` alone; the global generator is put back after."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # of the CPU alone: `torch.manual_seed` would touch the GPUs' too
        yield
