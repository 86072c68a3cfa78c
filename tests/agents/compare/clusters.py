"""A Ray cluster of two machines that are none: every one its own raylet on loopback, in a folder of its own."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STORE_BYTES = 80 * 2**20  # the least that Ray takes
PLACE = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # keeps 127.0.0.1 what it is; else Ray takes the address of the network
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}
os.environ.update(PLACE)  # Ray reads them when it is imported


class LocalCluster:
    """Two nodes of one core each; `address` is that of the first, on which nothing may be killed."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        alike = {"num_cpus": 1, "object_store_memory": STORE_BYTES, "node_ip_address": "127.0.0.1"}
        self._cluster = Cluster(initialize_head=True, head_node_args={**alike, "include_dashboard": False})
        self.address: str = self._cluster.address
        self.second: Any = self._cluster.add_node(**alike)

    def processes(self) -> set[int]:
        """Returns all processes of the second node: its raylet, Ray's workers, fork servers, runs."""
        raylet = self.second.all_processes["raylet"][0].process.pid
        return {raylet} | descendants(raylet)

    def kill_second(self) -> None:
        """The power of the second machine fails."""
        for process in self.processes():
            os.kill(process, signal.SIGKILL)
        self._cluster.remove_node(self.second, allow_graceful=False)

    def close(self) -> None:
        self._cluster.shutdown()


@contextmanager
def local_cluster() -> Iterator[LocalCluster]:
    """Yields a cluster; nothing of it is left behind, however this ends."""
    place = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # short: sockets lie in it
    here = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[3])])
    values = {"RAY_TMPDIR": place, "PYTHONPATH": here}
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    known = descendants(os.getpid())
    cluster = None
    try:
        cluster = LocalCluster()
        yield cluster
    finally:
        import ray

        ray.shutdown()
        if cluster is not None:
            cluster.close()
        for process in descendants(os.getpid()) - known:
            if "ray" in _command(process):  # not the fork server of this process, which is shared
                os.kill(process, signal.SIGKILL)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        shutil.rmtree(place, ignore_errors=True)


def descendants(process: int) -> set[int]:
    """Returns the children of a process, their children, and so on."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
    found, front = set(), {process}
    while front:
        front = {child for child, parent in parents.items() if parent in front} - found
        found |= front
    return found


def _command(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_text()
    except OSError:
        return ""
