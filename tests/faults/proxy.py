"""The network between worker and service, as an HTTP proxy that does one wrong thing to every other call.

Which calls are struck is counted, not drawn: of each endpoint the first, third, …, and after `LAST` no more; so every
endpoint is struck and a caller that insists gets through. It closes what it opens, and nothing here sleeps.
"""

import itertools
import re
import socket
import socketserver
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

LAST = 9
"""A worker whose every second dispatch came late would lose each trial to itself for ever."""
LATE_BY = 3
"""Messages that overtake one that comes late."""
_SECONDS = 30.0
"""After which a silent peer is an error of the test."""
_RESET = struct.pack("ii", 1, 0)


class Lost(Exception):
    """The sender hears nothing more on this connection."""


class Wire:
    """Carries messages to a port of loopback, struck by ``faults`` in turn; none are needed."""

    def __init__(self, target_port: int, faults: Sequence[str], folder: Path) -> None:
        """``folder`` gets a file for each endpoint that has been called a third time."""
        self._port = target_port
        self._faults = itertools.cycle([_FAULTS[name] for name in faults]) if faults else None
        self._folder = folder
        self._lock = threading.Lock()
        self.calls: Counter[str] = Counter()
        self._late: list[tuple[int, bytes]] = []
        self.struck: set[str] = set()

    def cross(self, request: bytes, client: "Connection") -> bytes:
        """Return what the sender gets to hear.

        Raises:
            Lost: It hears nothing.
        """
        fault = self._next(request)
        reply = fault(self, request, client) if fault else self.forward(request)
        for late in self._overtaken():
            self.forward(late)
        return reply

    def forward(self, request: bytes, *, is_torn: bool = False) -> bytes:
        """Deliver ``request`` and return the reply; torn, deliver half of it and hang up."""
        with socket.create_connection(("127.0.0.1", self._port), timeout=_SECONDS) as upstream:
            upstream.sendall(request[: len(request) // 2] if is_torn else request)
            if is_torn:
                raise Lost
            with upstream.makefile("rb") as replies:
                return read_message(replies)

    def delay(self, request: bytes) -> None:
        """Deliver ``request`` when `LATE_BY` others have passed."""
        with self._lock:
            self._late.append((sum(self.calls.values()) + LATE_BY, request))

    def flush(self) -> None:
        """Deliver what is late, now."""
        for _, request in self._late:
            self.forward(request)
        self._late.clear()

    def _next(self, request: bytes) -> "Fault | None":
        endpoint = endpoint_of(request)
        with self._lock:
            self.calls[endpoint] += 1
            if self.calls[endpoint] == 3:
                (self._folder / endpoint).touch()
            if self._faults is None or self.calls[endpoint] % 2 == 0 or self.calls[endpoint] > LAST:
                return None
            self.struck.add(endpoint)
            return next(self._faults)

    def _overtaken(self) -> list[bytes]:
        with self._lock:
            now = sum(self.calls.values())
            due = [request for when, request in self._late if when <= now]
            self._late = [(when, request) for when, request in self._late if when > now]
        return due


class Connection(socketserver.StreamRequestHandler):
    """One connection of a worker, as long as it lasts."""

    timeout = _SECONDS
    wire: Wire

    def handle(self) -> None:
        """Pass on one message after the other."""
        try:
            while request := read_message(self.rfile):  # type: ignore[arg-type]
                self.wfile.write(self.wire.cross(request, self))
        except Lost:
            # a reset, not an orderly end
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        except ConnectionError:
            pass  # the worker has hung up first

    def wait_until_client_gives_up(self) -> None:
        """Hold the connection without a word."""
        self.rfile.read(1)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = False  # closing waits for every connection to be closed


@contextmanager
def listening(wire: Wire) -> Iterator[str]:
    """Yield the URL at which ``wire`` begins; whoever connects must have hung up at the end."""
    handler = type("Handler", (Connection,), {"wire": wire})
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="proxy")
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def read_message(stream: BinaryIO) -> bytes:
    """Read one HTTP/1.1 request or reply, as it stands; nothing when the peer has closed."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline()
        if not line:
            return b""
        head += line
    if length := re.search(rb"(?im)^content-length: *(\d+)", head):
        return head + stream.read(int(length[1]))
    if re.search(rb"(?im)^transfer-encoding: *chunked", head):
        while not head.endswith(b"\r\n0\r\n\r\n"):
            line = stream.readline()
            head += line + stream.read(int(line, 16) + 2)
    return head


def endpoint_of(request: bytes) -> str:
    """Return the last word of the path that is no id: dispatch, report, artifacts, …"""
    words = request.split(b" ", 2)[1].decode().split("/")
    if len(words) > 4 and words[4] in ("artifacts", "model", "log"):
        return words[4]
    return words[-1]


def _lose(wire: Wire, request: bytes, client: Connection) -> bytes:
    raise Lost


def _lose_reply(wire: Wire, request: bytes, client: Connection) -> bytes:
    wire.forward(request)
    raise Lost


def _swallow(wire: Wire, request: bytes, client: Connection) -> bytes:
    client.wait_until_client_gives_up()
    raise Lost


def _swallow_reply(wire: Wire, request: bytes, client: Connection) -> bytes:
    wire.forward(request)
    return _swallow(wire, request, client)


def _double(wire: Wire, request: bytes, client: Connection) -> bytes:
    reply = wire.forward(request)
    wire.forward(request)
    return reply


def _delay(wire: Wire, request: bytes, client: Connection) -> bytes:
    wire.delay(request)
    raise Lost


def _tear(wire: Wire, request: bytes, client: Connection) -> bytes:
    return wire.forward(request, is_torn=True)


def _tear_reply(wire: Wire, request: bytes, client: Connection) -> bytes:
    reply = wire.forward(request)
    client.wfile.write(reply[: len(reply) // 2])
    raise Lost


def _trickle(wire: Wire, request: bytes, client: Connection) -> bytes:
    reply = wire.forward(request)
    for start in range(0, len(reply), 40):
        client.wfile.write(reply[start : start + 40])
        client.wfile.flush()
    return b""


Fault = Callable[[Wire, bytes, Connection], bytes]
_FAULTS: dict[str, Fault] = {
    "the request is lost": _lose,
    "the reply is lost": _lose_reply,
    "it comes twice": _double,
    "it comes late, after its repetition": _delay,
    "the request is cut in the middle": _tear,
    "the reply is cut in the middle": _tear_reply,
    "the reply trickles in": _trickle,
    "nobody answers": _swallow,
    "nobody hears the answer": _swallow_reply,
}
FAULTS = tuple(_FAULTS)
