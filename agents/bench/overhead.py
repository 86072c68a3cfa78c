"""What curiosity costs a Stable-Baselines3 model: steps per CPU second and peak memory, beside the plain model."""

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

MEGABYTE = 2**20
NO_SETTINGS: Mapping[str, Any] = MappingProxyType({})
MEMORY_ROLLOUTS = 2  # the second one begins while what the bonus keeps of the first is still there


def overhead(
    rollouts: int = 5, *, bonus: str = "vime", task: str = "HalfCheetah-v5", copies: int = 8, threads: int = 1
) -> dict[str, Any]:
    """Returns how a curious PPO compares with a plain one, SB3's defaults all over, in some two CPU minutes.

    Both learn in this process, rollout by rollout in turn, and the medians of their CPU seconds are compared; the peak
    memory of each is that of a process of its own. The time of the curious one contains the training of its model.

    Returns:
        `steps_ratio`: steps per CPU second, curious over plain. `memory_ratio`: peak memory, curious over plain.
        Beside them `plain_steps_per_second`, `curious_steps_per_second`, `plain_peak_mb`, `curious_peak_mb`, and what
        was measured: `task`, `bonus`, `copies`, `rollouts`, `threads`.

    Raises:
        InvalidSettings: there is no rollout to measure.
    """
    from vime import InvalidSettings

    if rollouts < 1:
        raise InvalidSettings(f"`rollouts` must be at least 1; got {rollouts}.")
    names = {"plain": None, "curious": bonus}
    peaks = {kind: peak_of_a_process(task, copies, threads, name) for kind, name in names.items()}
    models = {kind: build_model(task, copies, threads, name) for kind, name in names.items()}
    seconds: dict[str, list[float]] = {kind: [] for kind in names}
    for rollout in range(rollouts + 1):
        for kind in names if rollout % 2 else reversed(names):
            start = time.process_time()
            models[kind].learn(models[kind].n_steps * copies, reset_num_timesteps=False)
            if rollout:  # the first one warms up
                seconds[kind].append(time.process_time() - start)
    rates = {kind: models[kind].n_steps * copies / statistics.median(spent) for kind, spent in seconds.items()}
    return {
        "steps_ratio": rates["curious"] / rates["plain"],
        "memory_ratio": peaks["curious"] / peaks["plain"],
        **{f"{kind}_steps_per_second": rate for kind, rate in rates.items()},
        **{f"{kind}_peak_mb": peak for kind, peak in peaks.items()},
        "task": task,
        "bonus": bonus,
        "copies": copies,
        "rollouts": rollouts,
        "threads": threads,
    }


def build_model(
    task: str, copies: int, threads: int, bonus: str | None, settings: Mapping[str, Any] = NO_SETTINGS
) -> Any:
    """Returns a new PPO on `copies` of a task, with a bonus or without; torch then runs on `threads` threads.

    Args:
        settings: of PPO, where they differ from SB3's defaults.
    """
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env

    from agents.attach import attach

    torch.set_num_threads(threads)
    model = PPO("MlpPolicy", make_vec_env(task, n_envs=copies, seed=0), seed=0, device="cpu", **settings)
    return model if bonus is None else attach(model, bonus)


def peak_of_a_process(
    task: str, copies: int, threads: int, bonus: str | None, settings: Mapping[str, Any] = NO_SETTINGS
) -> float:
    """Returns the peak memory in MB of a process of its own in which such a model learns for two rollouts."""
    code = "import json, sys, agents.bench.overhead as me; sys.stdout.write(str(me.peak(*json.loads(sys.argv[1]))))"
    command = [sys.executable, "-c", code, json.dumps([task, copies, threads, bonus, dict(settings)])]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def peak(task: str, copies: int, threads: int, bonus: str | None, settings: Mapping[str, Any] = NO_SETTINGS) -> float:
    """Returns the peak memory of this process in MB, once a model has learnt in it for two rollouts."""
    model = build_model(task, copies, threads, bonus, settings)
    model.learn(model.n_steps * copies * MEMORY_ROLLOUTS)
    status = Path("/proc/self/status")
    if status.exists():  # unlike getrusage, it does not count what the parent held when it forked
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return float(line.split()[1]) * 1024 / MEGABYTE
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MEGABYTE
