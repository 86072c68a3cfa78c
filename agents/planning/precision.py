"""Which numbers imagination computes with."""

from pathlib import Path

import torch

from agents.planning.settings import Precision
from vime.errors import InvalidSettings


def has_bfloat16(device: torch.device | str) -> bool:
    """Returns whether the device multiplies bfloat16 by itself: one that does not is slower with it, not faster."""
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_bf16_supported()
    if kind != "cpu":
        return False
    cpuinfo = Path("/proc/cpuinfo")
    words = cpuinfo.read_text().split() if cpuinfo.exists() else []
    return bool({"avx512_bf16", "amx_bf16"} & set(words)) or "bf16" in words  # the last: Arm's name of it


def usable(precision: Precision, device: torch.device | str) -> torch.dtype:
    """Returns the type of numbers that a precision stands for.

    Raises:
        InvalidSettings: the device does not compute in it.
    """
    if precision == "float32":
        return torch.float32
    if not has_bfloat16(device):
        raise InvalidSettings(
            "precision='bfloat16' wants a processor that multiplies it (AVX512-BF16, AMX or a recent GPU), and "
            f"{device!r} here does not. Leave it at 'float32'."
        )
    return torch.bfloat16
