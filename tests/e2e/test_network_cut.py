"""A worker that shares nothing with the service but a network, which is cut and mended in the middle of a study."""

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from service.lifecycle.keys.create_key import create_key
from service.settings import Settings
from spezia.client import Client
from spezia.common.home_lock import find
from spezia.contract.key import Scope
from tests.e2e.test_keys import migrated
from tests.e2e.test_kill import ROOT, eventually
from tests.trainer import tiny
from tests.trainer.conftest import pristine as pristine

SERVICE, WORKER = "10.213.77.1", "10.213.77.2"
"""Addresses of the two ends of a cable between two network namespaces; nothing else has them."""


class Proxy:
    """Passes bytes on to a port of loopback, until it is cut: then nobody answers, and who was connected is cut off."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._listen(self._listener)

    def cut(self) -> None:
        for one in [self._listener, *self._sockets]:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._sockets.clear()

    def mend(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._listen(self._listener)

    def _listen(self, listener: socket.socket) -> None:
        def accept() -> None:
            with suppress(OSError):
                while True:
                    near, _ = listener.accept()
                    far = socket.create_connection(("127.0.0.1", self._target_port))
                    self._sockets += [near, far]
                    for source, target in ((near, far), (far, near)):
                        threading.Thread(target=_pump, args=(source, target), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
    for one in (source, target):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


class Link:
    """How a worker reaches the service."""

    def __init__(self, host: str, within: list[str], at: Callable[[int], str]) -> None:
        self.host = host
        """Address at which the service listens."""
        self.within = within
        """What a worker's command line begins with."""
        self.at = at
        """Address of the service for workers, by the port at which it listens."""
        self.cut: Callable[[], object] = lambda: None
        self.mend: Callable[[], object] = lambda: None


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=30)


@pytest.fixture(params=["namespace", "proxy"])
def link(request: pytest.FixtureRequest) -> Iterator[Link]:
    with ExitStack() as stack:
        yield _cable(stack) if request.param == "namespace" else _proxied(stack)


def _cable(stack: ExitStack) -> Link:
    """A network namespace for the worker, and a cable from there to here."""
    space, near, far = (f"spz{kind}{os.getpid()}"[:15] for kind in "nab")
    if shutil.which("ip") is None:
        pytest.skip("there is no `ip` here (Debian's package iproute2)")
    try:
        ip("netns", "add", space)
        stack.callback(ip, "netns", "del", space)
        ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", space)
        ip("addr", "add", f"{SERVICE}/30", "dev", near)
        ip("link", "set", near, "up")
        ip("-n", space, "addr", "add", f"{WORKER}/30", "dev", far)
        ip("-n", space, "link", "set", far, "up")
        ip("netns", "exec", space, "true")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces without more rights: {error.stderr.decode().strip()}")
    link = Link(SERVICE, ["ip", "netns", "exec", space], lambda port: f"http://{SERVICE}:{port}")
    link.cut = lambda: ip("link", "set", near, "down")
    link.mend = lambda: ip("link", "set", near, "up")
    return link


def _proxied(stack: ExitStack) -> Link:
    proxies: list[Proxy] = []

    def at(port: int) -> str:
        proxies.append(Proxy(port))
        stack.callback(proxies[0].cut)
        return f"http://127.0.0.1:{proxies[0].port}"

    link = Link("127.0.0.1", [], at)
    link.cut = lambda: proxies[0].cut()
    link.mend = lambda: proxies[0].mend()
    return link


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_study_goes_on_where_it_was_when_the_network_is_mended(link: Link, pristine: Path, tmp_path: Path) -> None:
    home, node = tmp_path / "home", tmp_path / "node"
    node.mkdir()
    with closing(migrated(Settings(home=home).database)) as store:
        alice = create_key(store, "alice", [Scope.WRITE])
        (tmp_path / "key").write_text(create_key(store, "node", [Scope.WORKER]))
    (tmp_path / "key").chmod(0o600)
    environment = os.environ | {"SPEZIA_HOME": str(home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    serve = [sys.executable, "-m", "spezia.cli", "serve", "--workers", "0", "--host", link.host, "--port", "0"]
    with ExitStack() as stack:

        def start(command: list[str], **more: str) -> subprocess.Popen[bytes]:
            log = stack.enter_context((tmp_path / "log").open("ab"))
            process = stack.enter_context(subprocess.Popen(command, env=environment | more, stderr=log, cwd=node))
            stack.callback(process.kill)
            return process

        service = start(serve)
        url = eventually(lambda: (running := find(home)) and running.url)
        client = stack.enter_context(Client(url, alice))
        model = client.upload_model(pristine / "model").reference
        data = {split: client.upload(pristine / f"{split}.csv").reference for split in ("train", "validation", "test")}
        spec = tiny.make_spec(name="cut", n_trials=2, model={"name": model}, data=data, fixed={"epochs": 40})
        client.create_study(spec)
        worker_command = [*link.within, sys.executable, "-P", "-m", "trainer.cli", "--threads", "1"]
        server = link.at(int(url.rpartition(":")[2]))
        worker_command += ["--server", server, "--key-file", str(tmp_path / "key")]
        worker = start(worker_command, HOME=str(node), XDG_CACHE_HOME=str(node / "cache"))
        eventually(
            lambda: (client.get_study("cut").trials.running and (client.get_trial("cut", 0).step or 0) >= 3) or None
        )
        link.cut()
        eventually(lambda: f"no answer of {server}" in (tmp_path / "log").read_text())
        link.mend()
        eventually(lambda: client.get_study("cut").n_finished)
        eventually(lambda: client.get_study("cut").finished_at)
        assert client.get_study("cut").trials.complete == 2
        for number in (0, 1):
            trial = client.get_trial("cut", number)
            assert [attempt.end for attempt in trial.attempts] == ["COMPLETE"]  # within its lease: nothing ran twice
            steps = [one.step for one in trial.intermediate_values]
            assert steps == list(range(1, len(steps) + 1))
        for process in (worker, service):
            process.terminate()
            assert process.wait(60) == 0
