"""A Ray cluster of two nodes on this machine, each with one CPU for one worker, in a process of its own.

python -m tests.ray_nodes starts it, says its address, and obeys: `kill` kills the second node.
"""

import os
import shutil
import subprocess
import sys
import tempfile
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
