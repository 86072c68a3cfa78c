"""On what a run ran: the same configuration gives the same numbers only on the same of these."""

import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from agents.config import RunConfig
from agents.tasks import backend

LIBRARIES = (
    "vime", "torch", "numpy", "gymnasium", "mujoco", "minigrid", "envpool", "stable-baselines3", "sb3-contrib",
)  # fmt: skip


def versions(config: RunConfig) -> dict[str, Any]:
    """Returns what a run of an agent runs on: the machine, and what steps the task."""
    return {**machine(config.threads, config.device), "backend": backend(config.task)}


def machine(threads: int, device: str) -> dict[str, Any]:
    """Returns python, libraries, torch's build, threads, device and processor, as JSON can hold them."""
    import torch  # here: who only wants to know which libraries matter need not load it

    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "torch_build": {
            "version": torch.__version__,
            "cuda": torch.version.cuda,
            "instructions": torch.backends.cpu.get_cpu_capability(),
        },
        "threads": threads,
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu",
    }


def changed(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Returns in words what differs between two records."""
    words = []
    for name in now:
        old, new = before.get(name), now[name]
        if isinstance(new, dict) and isinstance(old, dict):
            words += [f"{key} {old.get(key)} -> {new[key]}" for key in new if old.get(key) != new[key]]
        elif old != new:
            words.append(f"{name} {old} -> {new}")
    return words


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()
