"""How fast futures are imagined and models fitted, beside `mbrl-lib` in the same run where it is installed."""

import json
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces

from agents.planning.controller import Controller
from agents.planning.imagination import imagine
from agents.planning.objective import Objective
from agents.planning.planners import plan
from agents.planning.precision import has_bfloat16
from agents.planning.sequences import make_sequences
from agents.planning.settings import PlannerSettings
from vime.deep_ensemble import EnsembleDynamics, EnsembleSettings
from vime.dynamics import Rows
from vime.errors import InvalidSettings
from vime.members import Members

SIZES: Mapping[str, Any] = {
    "observation": 17,
    "action": 6,
    "layers": 4,
    "hidden": 200,
    "members": 5,
    "rows": 65_535,
    "plan": {"candidates": 400, "iterations": 5, "elites": 40, "horizon": 30, "particles": 20},
    "fit": {"members": 7, "rows": 8192, "minibatch": 256},
}
"""Of HalfCheetah in `mbrl-lib`: 17 + 6 numbers in, mean and variance of 17 + 1 out; the last is the reward."""
TASKS: Mapping[str, tuple[int, int]] = {"mountain_car": (2, 1), "half_cheetah": (17, 6)}
"""Numbers in an observation and in an action, for which a default plan is timed."""
PAUSE = 2  # rounds of what takes seconds, for one of what takes less


def imagination(rounds: int = 5, peer: str | None = None) -> dict[str, Any]:
    """Returns imagined transitions per CPU second, what a plan and an epoch cost, and how `mbrl-lib` compares.

    Everything runs on one thread, in turn with the peer; the medians of CPU seconds are compared. A transition is one
    prediction of mean and variance by one of five networks, the rows shared evenly among them.

    Args:
        rounds: how often each is measured.
        peer: interpreter of an environment in which `mbrl-lib` 0.2.0 is installed.

    Returns:
        `transitions_per_second_fp32` and `transitions_per_second_bf16`; `peer_ratio`, `peer_ratio_bf16`, `plan_ratio`,
        `plan_ratio_bf16` and `epoch_ratio`: how many times as fast as the peer, which computes in fp32 (None without
        one); `plan_seconds`, `plan_seconds_bf16` and `epoch_seconds` at its sizes; `default_plan_ms` by task: one
        action of our own planner; `hardware_bf16`: whether the processor multiplies bfloat16 itself. Where it does not,
        bfloat16 is slower, and never chosen.

    Raises:
        InvalidSettings: there is nothing to measure, or the peer's interpreter does not run it.
    """
    if rounds < 1:
        raise InvalidSettings(f"`rounds` must be at least 1; got {rounds}.")
    torch.set_num_threads(1)
    measured: dict[str, Callable[[], object]] = {**_ours(), **_plans()}
    side = None if peer is None else _Peer(peer)
    spent: dict[str, list[float]] = {}
    try:
        for turn in range(rounds + 1):
            for name, task in measured.items():
                if name in ("plan", "plan_bf16", "step_bf16") and turn > max(rounds // PAUSE, 1):
                    continue
                theirs = side.ask(name) if side is not None and name in _Peer.KNOWN else None
                start = time.process_time()
                task()
                seconds = time.process_time() - start
                if turn:  # the first one warms up
                    spent.setdefault(name, []).append(seconds)
                    if theirs is not None:
                        spent.setdefault(f"peer_{name}", []).append(theirs)
    finally:
        if side is not None:
            side.close()
    return _figures({name: statistics.median(seconds) for name, seconds in spent.items()}, rounds)


def _figures(seconds: Mapping[str, float], rounds: int) -> dict[str, Any]:
    rows = SIZES["rows"]

    def ratio(name: str, peer: str) -> float | None:
        return seconds[peer] / seconds[name] if peer in seconds else None

    return {
        "transitions_per_second_fp32": rows / seconds["step"],
        "transitions_per_second_bf16": rows / seconds["step_bf16"],
        "peer_ratio": ratio("step", "peer_step"),
        "peer_ratio_bf16": ratio("step_bf16", "peer_step"),
        "plan_ratio": ratio("plan", "peer_plan"),
        "plan_ratio_bf16": ratio("plan_bf16", "peer_plan"),
        "epoch_ratio": ratio("epoch", "peer_epoch"),
        "peer_transitions_per_second": rows / seconds["peer_step"] if "peer_step" in seconds else None,
        "plan_seconds": seconds["plan"],
        "plan_seconds_bf16": seconds["plan_bf16"],
        "epoch_seconds": seconds["epoch"],
        "default_plan_ms": {task: 1000 * seconds[f"default_{task}"] for task in TASKS},
        "hardware_bf16": has_bfloat16("cpu"),
        "processor": _processor(),
        "torch": torch.__version__,
        "rounds": rounds,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def networks(features: int, actions: int, hidden: tuple[int, ...], count: int) -> Members:
    """Returns an ensemble with random weights, as a model that was just built gives it."""
    return _model(features, actions, hidden=hidden, count=count).members()


def _model(features: int, actions: int, **settings: Any) -> EnsembleDynamics:
    box = spaces.Box(-np.inf, np.inf, (features,), np.float32)
    return EnsembleDynamics(box, spaces.Box(-1, 1, (actions,), np.float32), EnsembleSettings(**settings))


def _ours() -> dict[str, Callable[[], object]]:
    """Returns what is compared with the peer, networks of the peer's size: a step, a plan, and an epoch."""
    features = SIZES["observation"] + 1
    actions = SIZES["action"] - 1  # the reward is a feature here: as many inputs as there
    hidden = (SIZES["hidden"],) * SIZES["layers"]
    members = networks(features, actions, hidden, SIZES["members"])
    halves = members.to(torch.bfloat16)
    draw = torch.Generator().manual_seed(0)
    each = SIZES["rows"] // SIZES["members"]
    state, action = (torch.randn(SIZES["members"], each, n, generator=draw) for n in (features, actions))

    def step(networks: Members) -> None:
        with torch.no_grad():
            networks.predict(state, action)

    return {
        "step": lambda: step(members),
        "step_bf16": lambda: step(halves),
        "plan": lambda: _their_plan(members, actions, draw),
        "plan_bf16": lambda: _their_plan(halves, actions, draw),
        "epoch": _epoch(features, actions, hidden),
    }


def _their_plan(members: Members, actions: int, generator: torch.Generator) -> None:
    """Plans as PETS does: every candidate by twenty particles, four for each member, with noise."""
    sizes = SIZES["plan"]
    names = ("candidates", "iterations", "elites", "horizon")
    settings = PlannerSettings(kind="cem", keep=0.1, warm_start=False, **{name: sizes[name] for name in names})
    sequences = make_sequences(spaces.Box(-1, 1, (actions,), np.float32))
    objective = Objective(measure=None, reward=lambda s, a, f: f[:, -1], propagation="members", noise=True)
    copies = sizes["particles"] // members.count
    start = torch.zeros(1, members.features)

    def evaluate(drawn: torch.Tensor) -> torch.Tensor:
        futures = drawn.flatten(0, 1).repeat(copies, 1, 1)
        noise = torch.randn(sizes["horizon"], len(futures), members.features, generator=generator)
        score = imagine(members, start.expand(len(futures), -1), futures, objective, noise).score
        return score.view(copies, 1, -1).mean(0)

    plan(evaluate, sequences, settings, 1, generator)


def _epoch(features: int, actions: int, hidden: tuple[int, ...]) -> Callable[[], object]:
    fit = SIZES["fit"]
    model = _model(features, actions, hidden=hidden, count=fit["members"], minibatch=fit["minibatch"])
    draw = torch.Generator().manual_seed(0)
    inputs, targets = (torch.randn(fit["rows"], n, generator=draw) for n in (features + actions, features))
    model.add(Rows(inputs, targets))
    return lambda: model.fit(fit["rows"] // fit["minibatch"])


def _plans() -> dict[str, Callable[[], object]]:
    """Returns an action of our own planner at its defaults, for models of the default size."""
    found: dict[str, Callable[[], object]] = {}
    for task, (observation, action) in TASKS.items():
        space: gymnasium.Space = spaces.Box(-1, 1, (action,), np.float32)
        controller = Controller(networks(observation, action, EnsembleSettings().hidden, 5), space)
        state = torch.zeros(1, observation)
        found[f"default_{task}"] = lambda controller=controller, state=state: controller.act(state)
    return found


class _Peer:
    """A process that has `mbrl-lib`."""

    KNOWN = ("step", "plan", "epoch")

    def __init__(self, python: str) -> None:
        command = [python, str(Path(__file__).with_name("mbrl_peer.py")), json.dumps(dict(SIZES))]
        pipe = subprocess.PIPE
        try:
            self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.PIPE, text=True)
        except OSError as error:
            raise InvalidSettings(f"The peer's interpreter {python!r} does not start: {error}.") from error

    def ask(self, name: str) -> float:
        """Returns the CPU seconds that the task `name` took there."""
        self.process.stdin.write(name + "\n")  # type: ignore[union-attr]
        self.process.stdin.flush()  # type: ignore[union-attr]
        answer = self.process.stdout.readline()  # type: ignore[union-attr]
        if not answer:
            words = self.process.stderr.read().strip().splitlines()  # type: ignore[union-attr]
            raise InvalidSettings(f"The peer ended over {name!r}: {words[-1] if words else 'it said nothing'}.")
        return float(answer)

    def close(self) -> None:
        """Ends the process."""
        self.process.stdin.close()  # type: ignore[union-attr]
        self.process.wait(timeout=60)
