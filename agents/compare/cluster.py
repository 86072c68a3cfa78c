"""The runs of a study as tasks of a Ray cluster, every one in a worker process as on a single machine.

A task is a launch of one run on the machine that it came to, so workers, exit codes and messages are those of
`agents.compare.launch`. All machines share the folder of the study. A run whose machine dies goes to another one and
continues there from its last checkpoint; the lease on its folder (`agents.lease`) keeps two workers from being at work
in it, should the machine only have seemed dead.
"""

import platform
import signal
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from agents.compare.launch import PRELOAD, Watch, interruptible, launch, standing
from agents.compare.machines import ANSWER_SECONDS, check_head, check_machines, differing, facts_here, line, needs
from agents.compare.states import RunState
from agents.compare.worker import GRACE_SECONDS, LOST, Run, train_run
from agents.config import RunConfig
from agents.lease import LEASE_FILE
from vime.errors import ClusterError

POLL_SECONDS = 0.5
LOOK_SECONDS = 5.0
"""From one look at the whole cluster to the next."""
AHEAD = 2
"""Tasks handed to the cluster, per core of it: a machine that is free finds one waiting."""


def launch_on_cluster(
    runs: Sequence[tuple[RunConfig, Path]],
    out: Path,
    *,
    ray: ModuleType,
    jobs: int | None = None,
    run: Run = train_run,
    watch: Watch = lambda states: None,
    preload: Sequence[str] = PRELOAD,
) -> list[RunState]:
    """Returns how every run ended, as `agents.compare.launch.launch` does; `ray` is connected to the cluster.

    `out` is the folder of the study, under the same path on every machine. `jobs` is how many tasks the cluster is
    given at a time; unless given, as many as keep it busy.

    Raises:
        ClusterError: a machine does not see the folder, or has other versions, or none is large enough; or the head of
            the cluster has gone, and the runs have been saved.
        InvalidSettings: `jobs` is not a positive number.
        KeyboardInterrupt: Ctrl-C or SIGTERM came; by then every run has been saved.
    """
    states = standing(runs, jobs)
    waiting = deque(state for state in states if state.status == "waiting")
    watch(states)
    if not waiting:
        return states
    facts = facts_here()
    check_machines(ray, out, facts, [state.config for state in waiting])
    tasks: dict[Any, RunState] = {}  # by the reference of its outcome
    room, due = 0, time.monotonic()
    try:
        with interruptible():
            while waiting or tasks:
                if time.monotonic() >= due:
                    check_head(ray)
                    room, due = AHEAD * _cores(ray), time.monotonic() + LOOK_SECONDS
                while waiting and len(tasks) < (jobs or room):
                    state = waiting.popleft()
                    tasks[_submit(ray, run, state, facts, preload)] = state
                done, _ = ray.wait([*tasks], timeout=POLL_SECONDS)
                for task in done:
                    state = tasks.pop(task)
                    _settle(ray, task, state)
                    if state.status == "waiting" and state.lost > 0:
                        waiting.append(state)
                for state in tasks.values():
                    _look(state)
                watch(states)
    finally:
        _cancel(ray, list(tasks))
    return states


def carry_out(
    run: Run, config: RunConfig, folder: Path, facts: dict[str, str], preload: Sequence[str]
) -> dict[str, Any]:
    """Returns how the run ended on this machine, as fields of its state; this is the task.

    Raises:
        ClusterError: this machine has other versions than the one that asks.
    """
    different = differing(facts, facts_here())
    if different:
        raise ClusterError(f"The machine {platform.node()} {different}.")
    # the main module here is one of Ray's, which every worker looks at; loaded beforehand, it costs a run nothing
    (state,) = launch([(config, folder)], jobs=1, run=run, preload=("ray", *preload))
    return {"status": state.status, "message": state.message, "exit_code": state.exit_code, "lost": state.lost}


def _cores(ray: ModuleType) -> int:
    """Returns the cores of the cluster, machines that came or went counted; at least 1."""
    return max(1, int(ray.cluster_resources().get("CPU", 0)))


def _submit(ray: ModuleType, run: Run, state: RunState, facts: dict[str, str], preload: Sequence[str]) -> Any:
    asked = needs(state.config)
    calls = {"max_calls": 1} if "GPU" in asked else {}  # a process is told once, at its start, which GPU it has
    task = ray.remote(num_cpus=asked["CPU"], num_gpus=asked.get("GPU", 0), max_retries=0, **calls)(carry_out)
    return task.remote(run, state.config, state.folder.absolute(), facts, preload)


def _look(state: RunState) -> None:
    """Reads where a run stands that the cluster was given; it runs since there is a lease on its folder."""
    if state.status == "waiting" and (state.folder / LEASE_FILE).exists():
        state.status, state.started = "running", time.monotonic()
    if state.status == "running":
        state.refresh()


def _settle(ray: ModuleType, task: Any, state: RunState) -> None:
    """Records how a task ended.

    Raises:
        ClusterError: it came to a machine of other versions.
    """
    try:
        outcome = ray.get(task)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ClusterError):
            raise ClusterError(str(error.cause)) from error
        state.fail(f"No worker could be started: {line(error.cause)}", more=f"\n\n{error}")
        return
    except ray.exceptions.RayError as error:  # its machine, or Ray's process there, is no more
        state.give_back(f"its machine was lost ({type(error).__name__})")
        return
    state.status = "running"  # it was, if only for less than a look
    state.refresh()
    state.status, state.message, state.exit_code = outcome["status"], outcome["message"], outcome["exit_code"]
    if outcome["exit_code"] == -signal.SIGKILL:
        state.give_back("it was killed, as the system does when memory runs out")
    elif state.status == "waiting" and outcome["exit_code"] != LOST:  # lost: another process is at work on it
        state.give_back("it was stopped on its machine")


def _cancel(ray: ModuleType, tasks: Sequence[Any]) -> None:
    """Cancels what has not ended: a run that is under way is saved first, within its grace."""
    if not tasks:
        return
    for task in tasks:
        ray.cancel(task, force=False, recursive=False)
    ray.wait(list(tasks), num_returns=len(tasks), timeout=GRACE_SECONDS + ANSWER_SECONDS)
