"""Explore an environment without its reward: plan for information, act, learn, again; then keep all of it."""

import json
import re
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from copy import deepcopy
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from agents.callbacks import CHECKPOINT_SHARE, LIVE_SECONDS, Interrupts
from agents.checkpoint import read_checkpoint, write_checkpoint
from agents.encoding import decode, encode
from agents.environment_state import NotSaveable, load_environment, save_environment
from agents.folder import TEMPORARY, contents, differences, hold, read_object, sweep, write_atomically, write_json
from agents.planning.coverage import States, animation, pictures, shown_task
from agents.planning.exploration import CHECKPOINT, CONFIG, DATA, RESULT, Exploration, restore
from agents.planning.explorers import Explorer, as_one, as_step, make_explorer
from agents.planning.objective import Objective
from agents.planning.recording import Recording
from agents.planning.settings import ExploreConfig, ExploreSettings
from agents.tasks import make_environment
from vime.errors import InvalidSettings, RunConflict, UnsupportedEnvironment, build_settings

CHECKPOINT_SECONDS = 30.0
SHOWN = 2_000
"""Steps that the animation shows at the most."""

Progress = Callable[[dict[str, Any]], None]


def explore(
    env: gymnasium.Env | str,
    steps: int = 1_000,
    *,
    seed: int = 0,
    out: Path | str | None = None,
    settings: ExploreSettings | None = None,
    progress: Progress | None = None,
    objective: Objective | None = None,
    stop: Callable[[Recording], bool] | None = None,
    task_settings: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Exploration:
    """Explores `env` for `steps` steps without looking at its reward; returns the steps and the model learnt of them.

    With `out`, Ctrl-C ends it after the step at hand, what was gathered is kept there, and the same call goes on.

    Args:
        env: an environment, or the name of a task.
        seed: of everything random, the resets of the environment among it.
        out: a folder for the data set (`data`, which Minari reads), the model, pictures and figures; none for none.
        settings: how; by default an ensemble and iCEM, or exact planning where states and actions are discrete.
        progress: is told about once a second `step`, `steps`, `states_covered`, `predicted_nats`, `realised_nats`.
        stop: looks at what was recorded after every step, and ends the exploration where it says so.
        objective: what plans are for, where it is more than information; it has no place in a folder. Where it does not
            say where episodes end, that is learned.
        task_settings: keyword arguments for the constructor of the task, where `env` is its name.
        changes: fields of the settings that differ, for example `model="bayesian"`.

    Raises:
        InvalidSettings: a setting is out of range, or without effect.
        UnsupportedEnvironment: `env` is no single environment.
        UnsupportedSpace: model or planner cannot serve a space of the environment.
        RunConflict: `out` holds another exploration.
        InvalidData: the environment gave a number that is not finite, or the model diverged; what came before is kept.
    """
    how = {f.name: getattr(settings or ExploreSettings(), f.name) for f in fields(ExploreSettings)}
    built = build_settings("Exploration", ExploreSettings, how | changes)
    if isinstance(env, str):
        task, given = env, dict(task_settings or {})
        env = make_environment(task, given)
    elif not isinstance(env, gymnasium.Env):
        raise UnsupportedEnvironment(
            f"One environment is explored at a time, a gymnasium.Env or the name of a task; got a {type(env).__name__}."
        )
    elif task_settings is not None:
        raise InvalidSettings("`task_settings` are for a task given by its name: build the environment with them.")
    else:
        task, given = _identity(env)
    if objective is not None and out is not None:
        raise InvalidSettings("An `objective` of your own cannot be noted in a folder: leave `out` away.")
    values = {"task": task, "steps": steps, "seed": seed, "task_settings": given, "how": built}
    config = build_settings("An exploration", ExploreConfig, values)
    folder = None if out is None else Path(out)
    explorer = make_explorer(env.observation_space, env.action_space, config.how, seed, objective)
    return _Run(env, config, explorer, folder, progress, stop or (lambda recording: False)).go()


def _identity(env: gymnasium.Env) -> tuple[str, dict[str, Any]]:
    """Returns the name of an environment, and what it was built with as far as that can be written down."""
    if env.spec is None:
        return type(env.unwrapped).__name__, {}
    kwargs = {}
    for name, value in env.spec.kwargs.items():
        with suppress(TypeError, ValueError):
            kwargs[name] = json.loads(json.dumps(value, allow_nan=False))
    kwargs.pop("render_mode", None)
    return env.spec.id, kwargs


class _Run:
    """One exploration as it happens; without a folder it keeps nothing."""

    def __init__(
        self,
        env: gymnasium.Env,
        config: ExploreConfig,
        explorer: Explorer,
        out: Path | None,
        progress: Progress | None,
        enough: Callable[[Recording], bool],
    ) -> None:
        self.env, self.config, self.explorer, self.out = env, config, explorer, out
        self.progress, self.enough = progress, enough
        self.recording = Recording()
        self.shown = shown_task(env)
        self.states = States(self.shown, env.observation_space)
        self.obs: Any = None
        self.cpu = 0.0
        self._started, self._told = time.process_time(), 0.0
        self._due = time.monotonic() + CHECKPOINT_SECONDS
        self._lock: Any = None
        if out is not None:
            self._claim(out)

    def go(self) -> Exploration:
        """Explores to the end, or until Ctrl-C."""
        with self._lock or nullcontext(), Interrupts() if self.out is not None else nullcontext() as stop:
            done = len(self.recording) >= self.config.steps
            if stop is not None:
                stop.armed = True
            try:
                if self.obs is None and not done:
                    self._reset(self.config.seed)
                while len(self.recording) < self.config.steps and not (stop is not None and stop.received):
                    self._step()
                    self._look_up()
                    if self.enough(self.recording):
                        break
            finally:  # also where the environment or the model fails: what was gathered is not lost
                figures = self.figures()
                if len(self.recording):
                    self._keep(figures, fresh=not done)
        self._tell()
        if stop is not None and stop.received:
            stop.raise_for(stop.received)
        self.explorer.ready()  # after the checkpoint, from which a longer exploration goes on as if it had never ended
        return Exploration(self.config, self.recording, self.explorer, figures)

    def _reset(self, seed: int | None = None) -> None:
        self.obs = deepcopy(self.env.reset(seed=seed)[0])  # some environments change the array that they gave
        self.states.add(self.obs)
        self.explorer.forget()

    def _step(self) -> None:
        obs = self.obs
        action = self.explorer.act(as_one(obs))
        following, reward, terminated, truncated, _ = self.env.step(deepcopy(action))
        following = deepcopy(following)
        step = as_step(obs, action, following, terminated, truncated)
        step.check_finite(len(self.recording))
        nats = self.explorer.observe(step)
        self.recording.add(obs, action, following, float(reward), terminated, truncated, nats)
        self.obs = following
        self.states.add(following)
        if terminated or truncated:
            self._reset()

    def _look_up(self) -> None:
        """Tells how far it is, and takes a checkpoint, where it is time to."""
        now = time.monotonic()
        if now - self._told > LIVE_SECONDS:
            self._told = now
            self._tell()
        if now > self._due:
            self._checkpoint()
            after = time.monotonic()
            self._due = after + max(CHECKPOINT_SECONDS, (after - now) / CHECKPOINT_SHARE)

    def _tell(self) -> None:
        if self.progress is not None:
            self.progress(self.figures() | {"step": len(self.recording), "steps": self.config.steps})

    def figures(self) -> dict[str, Any]:
        """The figures so far."""
        r = self.recording
        return {
            "task": self.config.task,
            "seed": self.config.seed,
            "model": self.config.how.model,
            "first_termination_step": r.first_termination,
            "steps": len(r),
            "episodes": sum(map(max, r.terminated, r.truncated)),
            "cpu_seconds": round(self.cpu + time.process_time() - self._started, 2),
            "predicted_nats": float(np.nansum(r.predicted)),
            "realised_nats": float(np.nansum(r.realised)),
            "states_covered": len(self.states.seen),
            "calibration": r.calibration(),
        }

    def _claim(self, out: Path) -> None:
        """Takes the folder, and goes on from what is in it."""
        self._lock = hold(out)
        try:
            self._take_over(out)
        except BaseException:
            if self._lock is not None:
                self._lock.close()
            raise

    def _take_over(self, out: Path) -> None:
        path, mine = out / CONFIG, self.config.to_json()
        if path.exists():
            found = read_object(path)
            if "how" not in found:
                raise RunConflict(f"{out} holds {contents(out) or 'something else'}. Choose another folder.")
            there = ExploreConfig.from_json(found).to_json()
            differs = sorted(key for key in mine if key != "steps" and there[key] != mine[key])
            if differs:
                which = differences(differs, there, mine)
                raise RunConflict(
                    f"{out} holds another exploration: {which}. Choose another folder, or delete this one."
                )
            mine["steps"] = max(mine["steps"], there["steps"])  # what was explored stays, however few are asked for now
        elif [file for file in out.iterdir() if file.name != ".lock" and not file.match(TEMPORARY)]:
            raise RunConflict(f"{out} holds something else than an exploration. Choose another folder.")
        write_json(path, mine)
        sweep(out)
        if (out / CHECKPOINT).exists():
            self._resume(read_checkpoint(out / CHECKPOINT), out)

    def _checkpoint(self) -> None:
        if self.out is None:
            return
        try:
            environment: Any = encode(save_environment(self.env))
        except NotSaveable:
            environment = None
        state = {
            "explorer": encode(self.explorer.state_dict()),
            "recording": self.recording.state_dict(),
            "environment": environment,
            "obs": encode(self.obs),
            "cpu": self.figures()["cpu_seconds"],
        }
        write_checkpoint(self.out / CHECKPOINT, state)

    def _resume(self, state: dict[str, Any], out: Path) -> None:
        self.recording = restore(self.explorer, state, out)
        self.cpu = float(state["cpu"])
        for obs in [*self.recording.obs, *self.recording.next_obs]:
            self.states.add(obs)
        if len(self.recording) >= self.config.steps:
            return
        if state["environment"] is None:  # it could not be saved: a new episode, by a seed that was not used yet
            if len(self.recording) and not self.recording.terminated[-1]:
                self.recording.truncated[-1] = True
            self._reset(self.config.seed + len(self.recording))
            return
        self.env.reset(seed=self.config.seed)
        try:
            load_environment(self.env, decode(state["environment"]))
        except ValueError as error:
            raise RunConflict(f"{out} is of an environment that was wrapped otherwise: {error}.") from error
        self.obs = decode(state["obs"])
        self.states.add(self.obs)

    def _keep(self, figures: dict[str, Any], fresh: bool) -> None:
        """Writes everything into the folder: if steps were made a checkpoint; data set, pictures and figures."""
        if self.out is None:
            return
        if fresh:
            self._checkpoint()
        r, task = self.recording, self.config.task
        r.save(self.out / DATA, self.env, f"vime/{re.sub(r'[^a-z0-9_-]', '-', task.lower())}-explored-v0")
        write_json(self.out / RESULT, figures)
        seen = [*r.obs, r.next_obs[-1]]
        drawn = pictures(task, self.shown, seen, r)
        moving = animation(self.shown, seen[:SHOWN])
        if moving is not None:
            drawn["exploration.gif"] = moving
        for name, content in drawn.items():
            write_atomically(self.out / name, partial(_write, content))


def _write(content: bytes, file: Any) -> None:
    file.write(content)
