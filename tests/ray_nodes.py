"""Ray clusters on this machine: one of two nodes with a CPU each, in a process of its own, and one of a head alone.

python -m tests.ray_nodes starts it, says its address, and obeys: `kill` kills the second node.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ray.cluster_utils import Cluster

ROOT = Path(__file__).parent.parent
NODE = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": 80 * 2**20, "include_dashboard": False}


class RayNodes:
    """The cluster, as a test sees it."""

    def __init__(self, token: str = "t" * 43) -> None:
        # a socket's path must be short
        self._folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        self.token_environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
        """What a driver must have in its environment to be let in."""
        # nodes import what actors run from here, wherever they are started
        environment = os.environ | self.token_environment | {"PYTHONPATH": str(ROOT), "RAY_TMPDIR": str(self._folder)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.ray_nodes"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.address = self._hear()

    def kill_second(self) -> None:
        """Kill the second node, as when its machine is gone."""
        assert self._process.stdin is not None
        self._process.stdin.write("kill\n")
        self._process.stdin.flush()
        assert self._hear() == "killed"

    def close(self) -> None:
        """End the cluster and all that runs on it; harmless when repeated."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(60)
        finally:
            self._process.kill()
            self._process.stdout.close()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _hear(self) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("> "):
                return line.removeprefix("> ").strip()
        raise AssertionError("the cluster did not start")


class RayHead:
    """A cluster of one node, started by `ray start --head` as people do; once killed, it may come back on its port."""

    def __init__(self, num_gpus: int = 0, token: str = "t" * 43) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        self.token_environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
        self._num_gpus = num_gpus
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._port = listener.getsockname()[1]
        self.address = f"127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start the head, and return when it answers."""
        options = {
            "node-ip-address": "127.0.0.1",
            "port": self._port,
            "num-cpus": NODE["num_cpus"],
            "num-gpus": self._num_gpus,
            "object-store-memory": NODE["object_store_memory"],
            "include-dashboard": "false",
            "temp-dir": self._folder,
        }
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"]
        self._process = subprocess.Popen(
            [*command, *(f"--{name}={value}" for name, value in options.items())],
            env=os.environ | self.token_environment | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1):
                return
            assert self._process.poll() is None, "the head did not start"
            assert time.monotonic() < until, "the head does not answer"
            time.sleep(0.1)

    def kill(self) -> None:
        """Kill all that the head consists of and all that runs on it, as when its machine is gone."""
        assert self._process is not None
        for process in [*_below(self._process.pid), self._process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._process.wait(60)

    def close(self) -> None:
        """End the head and all that runs on it."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


def _below(pid: int) -> list[int]:
    """The processes that a process has started, and those that these have."""
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
    return [*children, *(below for child in children for below in _below(child))]


def main() -> None:
    """Run the cluster until stdin closes."""
    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    second = cluster.add_node(**NODE)
    print(f"> {cluster.address}", flush=True)  # noqa: T201 - the test reads it
    for _ in sys.stdin:
        cluster.remove_node(second, allow_graceful=False)
        print("> killed", flush=True)  # noqa: T201
    cluster.shutdown()


if __name__ == "__main__":
    main()
