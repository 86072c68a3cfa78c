"""A Ray cluster before it is given work: whether it answers, and whether its machines can serve a study.

Ray is imported here alone, and only when a cluster is asked for.
"""

import contextlib
import importlib
import logging
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from agents.config import RunConfig
from agents.versions import LIBRARIES
from vime.errors import ClusterError

CONNECT_SECONDS = 5.0
"""How long the head of the cluster may take to answer at all."""
HEAD_ATTEMPTS = 3
"""How often, a second apart, it is asked before it is taken for gone."""
ANSWER_SECONDS = 45.0
"""How long it may take to let us in, and a machine to answer a first question."""
SHARED_SECONDS = 5.0
"""How long a new file may take to be seen by other machines."""
JOIN = "import sys, ray; ray.init(sys.argv[1], logging_level='CRITICAL', log_to_driver=False)"


@contextlib.contextmanager
def joined(address: str) -> Iterator[ModuleType]:
    """Yields Ray, connected to the cluster at `address` (`HOST:PORT`, or `auto` for the one of this machine).

    Raises:
        ClusterError: Ray is not installed, or the cluster does not answer, or is of another version.
    """
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        raise ClusterError("Studies on a cluster need Ray: `pip install .[ray]`.") from error
    if ray.is_initialized():  # by the program that calls us; it stays connected
        yield ray
        return
    _answers(address)
    # said nowhere else: Ray prints the last words of a dead machine, twenty lines, where our table or JSON goes
    setattr(importlib.import_module("ray._private.worker"), "_worker_logs_enabled", False)  # noqa: B010
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL)
    except Exception as error:
        raise ClusterError(f"The Ray cluster at {address} cannot be joined: {line(error)}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _answers(address: str) -> None:
    """Finds out whether a cluster can be joined, in a process that can be given up: Ray would wait for minutes.

    Raises:
        ClusterError: it cannot.
    """
    host, _, port = address.rpartition(":")
    if address != "auto":
        if not host or "/" in host or not port.isdigit():
            raise ClusterError(
                f"The address of a Ray cluster is HOST:PORT of its head, or auto, on a machine of it; got {address!r}."
            )
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
        except (OSError, OverflowError) as error:
            raise ClusterError(
                f"No Ray cluster answers at {address} ({line(error)}). Start one with `ray start --head`, or leave "
                "`--ray` out: nothing has been begun."
            ) from error
    try:
        tried = subprocess.run(
            [sys.executable, "-c", JOIN, address], capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False
        )
        reason = "" if tried.returncode == 0 else (tried.stderr.strip().splitlines() or ["no reason was given"])[-1]
    except subprocess.TimeoutExpired:
        reason = f"what answers there let nobody in within {ANSWER_SECONDS:.0f} s"
    if reason:
        raise ClusterError(f"The Ray cluster at {address} cannot be joined: {reason}")


def check_head(ray: ModuleType) -> None:
    """Finds out whether the head of the cluster is still there; Ray itself would end this process without a word of it.

    Raises:
        ClusterError: it does not answer any more.
    """
    address = ray.get_runtime_context().gcs_address
    host, _, port = address.rpartition(":")
    for left in reversed(range(HEAD_ATTEMPTS)):
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
            return
        except OSError as error:
            if not left:
                raise ClusterError(
                    f"The head of the Ray cluster at {address} has gone ({line(error)}). What is finished stays; once "
                    "there is a cluster again, the same command goes on with the other runs from their checkpoints."
                ) from error
        time.sleep(1.0)


def check_machines(ray: ModuleType, out: Path, facts: dict[str, str], configs: Sequence[RunConfig]) -> None:
    """Asks every machine whether it sees the folder and has our versions.

    Raises:
        ClusterError: one does not, or none has the cores or the GPU that a run asks for.
    """
    machines = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    for config in configs:
        if not any(all(node["Resources"].get(k, 0) >= v for k, v in needs(config).items()) for node in machines):
            asked = " and ".join(f"{amount} {name}" for name, amount in needs(config).items())
            raise ClusterError(f"A run asks for {asked} of one machine, and no machine of the cluster has as many.")
    mark = out / f".shared-{secrets.token_hex(8)}"
    mark.touch()
    try:
        questions = {
            ray.remote(num_cpus=0, max_retries=0)(_question())
            .options(scheduling_strategy=_on(node["NodeID"]))
            .remote([*facts], str(mark.absolute()), SHARED_SECONDS): node["NodeManagerHostname"]
            for node in machines
        }
        for question, name in questions.items():
            try:
                sees, theirs = ray.get(question, timeout=ANSWER_SECONDS)
            except Exception as error:
                raise ClusterError(f"The machine {name} of the cluster does not answer: {line(error)}") from error
            if not sees:
                raise ClusterError(
                    f"The machine {name} does not see {out.absolute()}, or cannot write there: all machines of the "
                    "cluster must share the folder of the study, under the same path."
                )
            different = differing(facts, theirs)
            if different:
                raise ClusterError(f"The machine {name} {different}.")
    finally:
        mark.unlink(missing_ok=True)


def _question() -> Any:
    """Returns a function that travels whole, for machines on which nothing of ours may be installed.

    It tells whether the file `mark` is seen within `seconds`, in a folder that can be written into, and versions.
    """

    def ask(names: list[str], mark: str, seconds: float) -> tuple[bool, dict[str, str]]:
        import os
        import platform
        import time
        from importlib import metadata

        end = time.monotonic() + seconds
        while not os.path.exists(mark) and time.monotonic() < end:
            time.sleep(0.2)
        found = {}
        for name in names:
            try:
                found[name] = platform.python_version() if name == "python" else metadata.version(name)
            except metadata.PackageNotFoundError:
                found[name] = "none"
        return os.path.exists(mark) and os.access(os.path.dirname(mark), os.W_OK), found

    return ask


def facts_here() -> dict[str, str]:
    """Returns the versions on which equal results depend."""
    return _question()(["python", *LIBRARIES], "", 0.0)[1]


def differing(ours: dict[str, str], theirs: dict[str, str]) -> str:
    """Returns in words what versions a machine has that are not ours; nothing where all are the same."""
    parts = [f"{name} {theirs.get(name)} where we have {ours[name]}" for name in ours if theirs.get(name) != ours[name]]
    return f"has {', '.join(parts)}; results would not be comparable: install the same versions" if parts else ""


def needs(config: RunConfig) -> dict[str, int]:
    """Returns what one run asks for of its machine, in Ray's names."""
    return {"CPU": config.threads} | ({"GPU": 1} if config.device.startswith("cuda") else {})


def _on(node: str) -> Any:
    return importlib.import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy(node, soft=False)


def line(error: BaseException) -> str:
    """Returns the first line of an error."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
