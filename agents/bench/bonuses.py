"""What every bonus costs a Stable-Baselines3 model: steps per CPU second and peak memory, beside the plain model."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from agents.bench.overhead import build_model, peak_of_a_process

N_STEPS, MINIBATCH = 128, 256  # PPO's: with 16 copies 2048 steps a rollout, as many as a bonus learns from at once


def bonuses(
    rounds: int = 5,
    *,
    names: Sequence[str] | None = None,
    task: str = "CartPole-v1",
    copies: int = 16,
    threads: int = 1,
    progress: Callable[[str], Any] = lambda text: None,
) -> dict[str, dict[str, float]]:
    """Returns how PPO with each bonus compares with a plain one, in some four CPU minutes for all of them.

    Every rollout with a bonus is preceded by one of the plain model in the same process, so both meet the same machine;
    the medians of their CPU seconds are compared, training of the bonus included. The peak memory of each is that of a
    process of its own.

    Args:
        rounds: rollouts of each model that count, after one that warms up.
        names: bonuses to measure; unless given, all but `none`.
        progress: is told what is being measured.

    Returns:
        For each bonus `steps_ratio` (steps per CPU second, with the bonus over without), `memory_ratio` (peak memory,
        likewise), `overhead` (CPU milliseconds that the bonus adds to 1,000 steps) and `steps_per_second`.

    Raises:
        InvalidSettings: there is no round to measure.
        UnknownName: no bonus is named so.
    """
    import vime
    from vime.bonus import part_settings

    if rounds < 1:
        raise vime.InvalidSettings(f"`rounds` must be at least 1; got {rounds}.")
    names = [name for name in vime.BONUSES if name != "none"] if names is None else list(names)
    for name in names:
        part_settings(name, {})  # an unknown name is said before anything is measured
    settings = {"n_steps": N_STEPS, "batch_size": MINIBATCH}
    plain = build_model(task, copies, threads, None, settings)
    models = {name: build_model(task, copies, threads, name, settings) for name in names}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for turn in range(rounds + 1):
        for name in names:
            progress(f"round {turn} of {rounds}: {name}")
            spent = (rollout_seconds(plain), rollout_seconds(models[name]))
            if turn:  # the first one warms up
                seconds[name].append(spent)
    progress("memory: none")
    least = peak_of_a_process(task, copies, threads, None, settings)
    table = {}
    for name in names:
        progress(f"memory: {name}")
        without, with_it = (statistics.median(column) for column in zip(*seconds[name], strict=True))
        steps = N_STEPS * copies
        table[name] = {
            "steps_ratio": without / with_it,
            "memory_ratio": peak_of_a_process(task, copies, threads, name, settings) / least,
            "overhead": 1e6 * (with_it - without) / steps,
            "steps_per_second": steps / with_it,
        }
    return table


def rollout_seconds(model: Any) -> float:
    """Returns the CPU seconds of this process that one more rollout of an on-policy model took, learning included."""
    start = time.process_time()
    model.learn(model.n_steps * model.n_envs, reset_num_timesteps=False)
    return time.process_time() - start
