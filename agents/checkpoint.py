"""Everything that the future of a run depends on, in one file of tensors and plain Python.

A checkpoint is taken where a rollout begins: nothing is half done there. On the way from the start of `learn` to that
place SB3 draws exploration noise, so generators and noise are kept apart (`agents.random_state`) and set back there.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper, VecNormalize

from agents.encoding import decode, encode, encode_array
from agents.environment_state import NotSaveable, load_environment, save_environment
from agents.folder import write_atomically
from agents.planning.dreaming import dyna_of
from agents.pool import Pool
from agents.recorder import Recorder
from agents.vecenv import by_key
from vime.errors import CheckpointError, VimeError

FORMAT = "vime run 1"
COUNTERS = (
    "num_timesteps", "_n_updates", "_episode_num", "_current_progress_remaining", "_n_calls", "exploration_rate",
)  # fmt: skip
LAST = ("_last_obs", "_last_episode_starts", "_last_original_obs")
REPLAY = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
UNREADABLE = (KeyError, IndexError, TypeError, ValueError, RuntimeError, AttributeError, AssertionError)


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Writes `state` (tensors and plain Python) whole or not at all."""
    write_atomically(path, lambda file: torch.save({"format": FORMAT, **state}, file))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Returns what `write_checkpoint` wrote; nothing in the file is executed.

    Raises:
        CheckpointError: the file is truncated, damaged or foreign.
    """
    advice = "Delete it to start this run from the beginning."
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle and end-of-file errors of many kinds
        reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"The checkpoint {path} is truncated, damaged or foreign ({reason}). {advice}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"The checkpoint {path} was not written by this program ({FORMAT!r} expected). {advice}")
    return state


def save_learner(model: BaseAlgorithm) -> dict[str, Any]:
    """Returns weights, optimisers and normaliser: what it takes to act and to go on learning."""
    modules, tensors = model._get_torch_save_params()
    normaliser = model.get_vec_normalize_env()
    return {
        "modules": {name: encode(_attribute(model, name).state_dict()) for name in modules},
        "tensors": {name: encode(_attribute(model, name)) for name in tensors},
        "normaliser": None if normaliser is None else _save_normaliser(normaliser),
    }


def load_learner(model: BaseAlgorithm, state: Mapping[str, Any]) -> None:
    """Gives `model` the weights, optimisers and normaliser that `save_learner` returned.

    Raises:
        CheckpointError: they are of another shape.
    """
    with fitting():
        for name, saved in state["modules"].items():
            _attribute(model, name).load_state_dict(saved)
        for name, saved in state["tensors"].items():
            target = _attribute(model, name)
            if target.shape != saved.shape:
                raise ValueError(f"{name} has shape {tuple(saved.shape)} there and {tuple(target.shape)} here")
            target.data.copy_(saved)
        normaliser = model.get_vec_normalize_env()
        if (normaliser is None) != (state["normaliser"] is None):
            raise ValueError("one of the two normalises observations and the other does not")
        if normaliser is not None:
            _load_normaliser(normaliser, state["normaliser"])


def save_progress(model: BaseAlgorithm) -> dict[str, Any]:
    """Returns all else of the model that its future depends on: counters, buffers, noise, bonus, generators, task."""
    from agents.attach import curiosity

    curious, dreaming = curiosity(model), dyna_of(model)
    buffer = getattr(model, "replay_buffer", None)
    environments, reason = _save_environments(_innermost(model))
    return {
        "counters": {name: encode(getattr(model, name)) for name in COUNTERS if hasattr(model, name)},
        "last": {name: encode(getattr(model, name)) for name in LAST},
        "memory": _save_memory(model),
        "episodes": encode([list(model.ep_info_buffer or ()), [bool(x) for x in model.ep_success_buffer or ()]]),
        "replay": None if buffer is None else _save_replay(buffer),
        "curiosity": None if curious is None else encode(curious.state_dict()),
        "dyna": None if dreaming is None else encode(dreaming.state_dict()),
        "recorder": encode(find_recorder(model).state_dict()),
        "environments": environments,
        "not_saveable": reason,
    }


def load_run(model: BaseAlgorithm, state: Mapping[str, Any], seed: int) -> str | None:
    """Continues from what `save_learner` and `save_progress` returned; `load_volatile` follows when the rollout begins.

    Args:
        model: freshly built for the same configuration.
        state: the saved learner and progress.
        seed: of the run, from which environments that could not be saved draw their new episodes.

    Returns:
        None where everything continues; else why the environments were reset.

    Raises:
        CheckpointError: the state is of another shape.
    """
    from agents.attach import curiosity

    curious, dreaming = curiosity(model), dyna_of(model)
    env = model.get_env()
    with fitting():
        model._last_obs = env.reset()  # type: ignore[union-attr,assignment]
        load_learner(model, state["learner"])  # after the reset, which moves the running statistics
        progress = state["progress"]
        for name, value in progress["counters"].items():
            setattr(model, name, decode(value))
        infos, successes = decode(progress["episodes"])
        model.ep_info_buffer = deque(infos, maxlen=model._stats_window_size)
        model.ep_success_buffer = deque(successes, maxlen=model._stats_window_size)
        if progress["replay"] is not None:
            _load_replay(model.replay_buffer, progress["replay"])  # type: ignore[attr-defined]
        if (curious is None) != (progress["curiosity"] is None):
            raise ValueError("one of the two has a bonus and the other has none")
        if curious is not None:
            curious.load_state_dict(decode(progress["curiosity"]))
        if (dreaming is None) != (progress.get("dyna") is None):
            raise ValueError("one of the two has a world model and the other has none")
        if dreaming is not None:
            dreaming.load_state_dict(decode(progress["dyna"]))
        recorder = find_recorder(model)
        recorder.load_state_dict(decode(progress["recorder"]))
        for name, value in progress["last"].items():
            setattr(model, name, decode(value))
        _load_memory(model, progress["memory"])
        if progress["environments"] is None:
            recorder.forget_unfinished()
            _cut_replay(getattr(model, "replay_buffer", None))
            fresh = np.random.SeedSequence([seed, model.num_timesteps]).generate_state(1)[0]
            env.seed(int(fresh) // 2)  # type: ignore[union-attr] # half: there is room for one more per copy
            model._last_obs = env.reset()  # type: ignore[union-attr,assignment]
            model._last_episode_starts = np.ones(model.n_envs, dtype=bool)
            normaliser = model.get_vec_normalize_env()
            model._last_original_obs = None if normaliser is None else normaliser.get_original_obs()
        else:
            _load_environments(_innermost(model), progress["environments"])
    return progress["not_saveable"]


@contextmanager
def fitting() -> Iterator[None]:
    """Turns the many ways in which a foreign state can fail to fit into one `CheckpointError`."""
    try:
        yield
    except VimeError:
        raise
    except UNREADABLE as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise CheckpointError(
            f"The checkpoint does not fit this run: {reason}. Delete it to start this run from the beginning."
        ) from error


def _cut_replay(buffer: Any) -> None:
    """Marks the last stored step of every copy as the last of its episode, cut short where it had not ended."""
    if buffer is None or not buffer.size():
        return
    last = (buffer.pos - 1) % buffer.buffer_size
    if buffer.handle_timeout_termination:
        buffer.timeouts[last] = np.maximum(buffer.timeouts[last], buffer.dones[last] == 0)
    buffer.dones[last] = 1.0


def find_recorder(model: BaseAlgorithm) -> Recorder:
    """Returns the `Recorder` under `model`'s environment."""
    env: Any = model.get_env()
    while not isinstance(env, Recorder):
        env = env.venv
    return env


def _innermost(model: BaseAlgorithm) -> Any:
    env: Any = model.get_env()
    while isinstance(env, VecEnvWrapper):
        env = env.venv
    return env


def _save_environments(venv: VecEnv) -> tuple[Any, str | None]:
    if isinstance(venv, Pool):
        try:
            return encode(venv.get_state()), None
        except ValueError as error:
            return None, str(error)
    if not isinstance(venv, DummyVecEnv):
        return None, f"{type(venv).__name__} keeps its environments out of reach"
    try:
        return [save_environment(env) for env in venv.envs], None
    except NotSaveable as error:
        return None, str(error)


def _load_environments(venv: Any, state: Any) -> None:
    if isinstance(venv, Pool) != isinstance(state, dict):
        one, other = ("envpool", "gymnasium") if isinstance(state, dict) else ("gymnasium", "envpool")
        raise ValueError(f"its task was stepped by {one}, and is stepped by {other} here")
    if isinstance(venv, Pool):
        venv.set_state(decode(state))
        return
    for one, saved in zip(venv.envs, state, strict=True):
        load_environment(one, saved)


def _attribute(model: BaseAlgorithm, name: str) -> Any:
    return reduce(getattr, name.split("."), model)


def _save_moments(moments: RunningMeanStd) -> dict[str, Any]:
    return {"mean": encode(moments.mean), "var": encode(moments.var), "count": float(moments.count)}


def _load_moments(moments: RunningMeanStd, state: Mapping[str, Any]) -> None:
    mean = decode(state["mean"])
    if np.shape(mean) != np.shape(moments.mean):
        raise ValueError(f"observations have shape {np.shape(mean)} there and {np.shape(moments.mean)} here")
    moments.mean, moments.var, moments.count = mean, decode(state["var"]), state["count"]


def _save_normaliser(normaliser: VecNormalize) -> dict[str, Any]:
    obs = normaliser.obs_rms
    return {
        "obs": {k: _save_moments(m) for k, m in obs.items()} if isinstance(obs, dict) else _save_moments(obs),
        "ret": _save_moments(normaliser.ret_rms),
        "now": {name: encode(getattr(normaliser, name)) for name in ("returns", "old_obs", "old_reward")},
    }


def _load_normaliser(normaliser: VecNormalize, state: Mapping[str, Any]) -> None:
    if isinstance(normaliser.obs_rms, dict):
        for key, moments in normaliser.obs_rms.items():
            _load_moments(moments, state["obs"][key])
    else:
        _load_moments(normaliser.obs_rms, state["obs"])
    _load_moments(normaliser.ret_rms, state["ret"])
    for name, value in state["now"].items():
        setattr(normaliser, name, decode(value))


def _save_replay(buffer: Any) -> dict[str, Any]:
    """The filled part alone, not copied; one row more, for a next observation that lies in a shared array."""
    size = buffer.buffer_size if buffer.full else min(buffer.pos + 1, buffer.buffer_size)
    names = [name for name in REPLAY if getattr(buffer, name, None) is not None]
    arrays = {
        name: {k: encode_array(part[:size], copy=False) for k, part in by_key(getattr(buffer, name)).items()}
        for name in names
    }
    return {"pos": buffer.pos, "full": buffer.full, "arrays": arrays}


def _load_replay(buffer: Any, state: Mapping[str, Any]) -> None:
    for name, parts in state["arrays"].items():
        for key, saved in parts.items():
            array = decode(saved)
            by_key(getattr(buffer, name))[key][: len(array)] = array
    buffer.pos, buffer.full = int(state["pos"]), bool(state["full"])


def _save_memory(model: BaseAlgorithm) -> list[list[torch.Tensor]] | None:
    states = getattr(model, "_last_lstm_states", None)
    return None if states is None else [[encode(part) for part in pair] for pair in states]


def _load_memory(model: Any, state: list[list[torch.Tensor]] | None) -> None:
    if state is not None:
        model._last_lstm_states = type(model._last_lstm_states)(
            *(tuple(part.to(model.device) for part in pair) for pair in state)
        )
