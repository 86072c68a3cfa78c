"""Training by several processes at once, as `torchrun` starts them: each on its share of every minibatch.

    torchrun --nproc-per-node 4 train.py

where `train.py` calls `generative.fit` as it would alone, with `device="cuda"`. Together the processes see the rows
that one would see alone; slopes are means over all of them, so the weights stay equal. What a model takes from its
minibatch beside means of losses (normalisation, minibatch discrimination, matched features) it takes from a process's
share. The first process alone writes, logs and evaluates.
"""

import atexit
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from generative.errors import InvalidSettings


@dataclass(frozen=True)
class Group:
    """The processes that train together, seen from one of them."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and logs."""
        return self.rank == 0

    def share(self, batch_size: int) -> int:
        """Returns how many examples of a minibatch are this process's.

        Raises:
            InvalidSettings: the minibatch cannot be shared out evenly.
        """
        share, rest = divmod(batch_size, self.size)
        if rest:
            raise InvalidSettings(
                f"A minibatch of {batch_size} cannot be shared out evenly among {self.size} processes."
            )
        return share

    def average(self, slopes: Sequence[Tensor | None]) -> None:
        """Replaces slopes by their means over all processes, in one exchange."""
        found = [slope for slope in slopes if slope is not None]
        if self.size == 1 or not found:
            return
        flat = torch.cat([slope.reshape(-1) for slope in found])
        self.add([flat])
        flat /= self.size
        for slope, mean in zip(found, flat.split([slope.numel() for slope in found]), strict=True):
            slope.copy_(mean.view_as(slope))

    def add(self, values: Iterable[Tensor]) -> None:
        """Replaces values by their sums over all processes."""
        if self.size > 1:
            for value in values:
                dist.all_reduce(value)

    @torch.no_grad()
    def spread(self, tensors: Iterable[Tensor]) -> None:
        """Replaces tensors by those of the first process."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor.data, 0)

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """Returns a tensor of every process, in their order; they are of one shape."""
        if self.size == 1:
            return [tensor]
        place = torch.device("cuda") if dist.get_backend() == "nccl" else torch.device("cpu")
        found = [torch.empty_like(tensor, device=place) for _ in range(self.size)]
        dist.all_gather(found, tensor.to(place))
        return [one.cpu() for one in found]


def find_device(name: str) -> torch.device:
    """Returns the device of that name.

    Raises:
        InvalidSettings: it is no name of one, or there is no such device here.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InvalidSettings(f"`device` is cpu, cuda, or cuda:1 and so on; got {name!r}.") from error
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise InvalidSettings(f"`device` is {name!r}, but torch finds no CUDA device here. Use cpu.")
        if (device.index or 0) >= (count := torch.cuda.device_count()):
            raise InvalidSettings(f"`device` is {name!r}, but CUDA devices are numbered from 0 to {count - 1} here.")
    return device


def join(device: str) -> tuple[Group, str]:
    """Returns the group of this process and the device that is its own; alone, it is a group of one.

    Args:
        device: `cpu` or `cuda`; of several GPUs each process takes one.

    Raises:
        InvalidSettings: there is no such device, or a GPU was named by number though there are several processes.
    """
    find_device(device)
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 and not dist.is_initialized():
        return Group(), device
    if device not in ("cpu", "cuda"):
        raise InvalidSettings(
            f"With several processes `device` is cpu or cuda, and each takes its own; got {device!r}."
        )
    if device == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("gloo" if device == "cpu" else "nccl")
        atexit.register(_leave)  # threads of the group that are still there at the end of a process can abort it
    return Group(dist.get_rank(), dist.get_world_size()), device


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
