"""Simulated workers of `scale.py`: a thousand in one process, each with a connection of its own and the real protocol.

They compute nothing: where a worker would train, they sleep. What they cost the machine is kept low, since services
and database share it: plain HTTP on asyncio, and bodies that are written once.
"""

import asyncio
import json
import math
import random
import time
from array import array
from collections import Counter
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from benchmarks.made_up_report import made_up_report
from tests.service.hand_worker import FACTS

ANSWER_SECONDS = 120.0
"""How long an answer is waited for, besides the wait that the call itself asks for."""
RETRY_SECONDS = 1.0
MODEL = bytes(4096)
GIVEN_BACK = json.dumps({"reason": "preempted"}).encode()
LOG = "step 1, epoch 1.00: value 0.412\n" * 20
_MOST_CONNECTING = asyncio.Semaphore(64)
"""Connections that are opened at the same time: a service lets 128 wait to be accepted."""


@dataclass
class Pace:
    """How fast all workers go; changed while they run."""

    trial_seconds: float
    """How long a trial takes, on average."""
    n_reports: int
    """Evaluations of each trial."""
    wait_seconds: float
    """How long a request for work waits."""
    is_over: bool = False
    """Whether workers give back what they hold, and end."""


class Tally:
    """What the workers have seen since it was last taken."""

    def __init__(self) -> None:
        self.errors: Counter[str] = Counter()
        self.reported: dict[tuple[str, int, int], float] = {}
        """When each evaluation was sent that no watcher has heard of yet, by study, trial and step."""
        self.lags = array("d")
        """Seconds from the sending of an evaluation to its event."""
        self.n_events = 0
        self.n_reopened = 0
        """Connections that had been closed by the service while they were idle."""
        self._seconds: dict[str, array[float]] = {}

    def note(self, call: str, seconds: float) -> None:
        self._seconds.setdefault(call, array("d")).append(seconds)

    def take(self) -> dict[str, Any]:
        """Return what was seen, and begin anew."""
        seen = {
            "worker_ms": {call: quantiles(self._seconds[call]) for call in sorted(self._seconds)},
            "reopened": self.n_reopened,
            "events": self.n_events,
            "event_lag_ms": quantiles(self.lags) if self.lags else None,
            "n_errors": self.errors.total(),
            "errors": dict(self.errors.most_common(5)),
        }
        self.errors, self.lags, self.n_events, self.n_reopened, self._seconds = Counter(), array("d"), 0, 0, {}
        return seen


def quantiles(seconds: "array[float]") -> dict[str, float]:
    in_order = sorted(seconds)
    found = {f"p{share}": in_order[min(len(in_order) - 1, len(in_order) * share // 100)] for share in (50, 99)}
    return {"n": len(in_order)} | {name: round(1000 * value, 1) for name, value in found.items()}


class Over(Exception):
    """All is over, in the middle of a trial."""


class Refused(Exception):
    """The service has refused a call in a way that no second try cures."""


class Connection:
    """One connection to a service, which is opened again where the service has closed it."""

    def __init__(self, port: int, tally: Tally) -> None:
        self._port = port
        self._tally = tally
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def exchange(self, method: str, path: str, content: bytes, headers: str = "") -> tuple[int, bytes]:
        """Return status and body of the answer.

        Raises:
            OSError: The service does not answer.
        """
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}Content-Length: {len(content)}\r\n\r\n"
        was_open = self._streams is not None
        try:
            return await self._once(head.encode() + content)
        except (OSError, asyncio.IncompleteReadError) as error:
            self.close()
            if not was_open or isinstance(error, TimeoutError):
                raise ConnectionError(f"{method}: {type(error).__name__}") from None
        self._tally.n_reopened += 1
        try:
            return await self._once(head.encode() + content)
        except (OSError, asyncio.IncompleteReadError) as error:
            self.close()
            raise ConnectionError(f"{method}: {type(error).__name__}") from None

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _once(self, request: bytes) -> tuple[int, bytes]:
        if self._streams is None:
            async with _MOST_CONNECTING:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(request)
        async with asyncio.timeout(ANSWER_SECONDS):
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            _, _, length = head.partition(b"\r\ncontent-length: ")
            body = await reader.readexactly(int(length.partition(b"\r\n")[0])) if length else b""
        return int(head[9:12]), body


class Worker:
    """Asks for work, takes as long for a trial as the pace says, reports, renews its lease and tells."""

    def __init__(self, port: int, pace: Pace, tally: Tally, seed: int) -> None:
        self._connection = Connection(port, tally)
        self._pace = pace
        self._tally = tally
        self._draw = random.Random(seed)
        self._id = uuid4().hex
        self._heartbeat_seconds = math.inf
        self._beat_at = math.inf
        self.is_waiting = False
        """Whether a request for work is open."""

    async def run(self) -> None:
        """Work until all is over."""
        await self._register()
        while not self._pace.is_over:
            try:
                for held in await self._ask():
                    try:
                        await self._carry_out(held)
                    except Over:
                        await self._send("release", "POST", self._path(held, "release"), GIVEN_BACK, held)
            except Refused as refused:
                self._tally.errors[str(refused)] += 1
                await asyncio.sleep(RETRY_SECONDS)
        self._connection.close()

    async def _register(self) -> None:
        device = {"kind": "cpu", "name": "simulated", "memory_bytes": 0, "bf16": False}
        body = {"worker_id": self._id, "host": "here", "device": device, "versions": {}, "protocol": 1}
        terms = await self._post("register", "/v1/workers", body)
        self._heartbeat_seconds = terms["heartbeat_seconds"]

    async def _ask(self) -> list[dict[str, Any]]:
        self.is_waiting = True
        body = {"slots": 1, "wait_seconds": self._pace.wait_seconds, "checkpoints": []}
        reply = await self._post("dispatch", f"/v1/workers/{self._id}/dispatch", body)
        self.is_waiting = False
        found: list[dict[str, Any]] = reply["assignments"]
        return found

    async def _carry_out(self, held: dict[str, Any]) -> None:
        self._beat_at = time.monotonic() + self._heartbeat_seconds
        if held["kind"] == "prepare":
            await self._tell(held, {"kind": "prepare", "facts": FACTS, "device_seconds": 1.0})
            return
        state = "COMPLETE"
        for step in range(1, self._pace.n_reports + 1):
            await self._train(held)
            reply = await self._report(held, step)
            if reply["directive"] != "continue":
                raise Refused(f"report: {reply['directive']}")
            if reply["should_prune"]:
                state = "PRUNED"
                break
            if reply["keep_model"]:
                await self._send("upload", "PUT", self._path(held, "artifacts/model.bin"), MODEL, held)
        await self._send("log", "PUT", self._path(held, "log"), LOG.encode(), held, "text/plain")
        await self._tell(held, {"kind": "trial", "state": state, "device_seconds": self._pace.trial_seconds})

    async def _train(self, held: dict[str, Any]) -> None:
        """Take as long as from one evaluation to the next, and renew the lease whenever it is time."""
        # of uneven length, so that workers which began together are soon spread over time
        until = time.monotonic() + self._pace.trial_seconds / self._pace.n_reports * self._draw.uniform(0.5, 1.5)
        if self._pace.is_over:
            raise Over
        while self._beat_at < until:
            await asyncio.sleep(max(0.0, self._beat_at - time.monotonic()))
            lease = {"lease_id": held["lease_id"], "token": held["token"]}
            reply = await self._post("heartbeat", "/v1/leases/heartbeat", {"leases": [lease]})
            if (directive := reply["leases"][0]["directive"]) != "continue":
                raise Refused(f"heartbeat: {directive}")
            self._beat_at = time.monotonic() + self._heartbeat_seconds
        await asyncio.sleep(max(0.0, until - time.monotonic()))

    async def _report(self, held: dict[str, Any], step: int) -> dict[str, Any]:
        one = made_up_report(held, step, is_last=step == self._pace.n_reports)
        self._tally.reported[held["study"], held["number"], step] = time.monotonic()
        replies = await self._post("report", "/v1/leases/report", {"reports": [one]})
        reply: dict[str, Any] = replies["replies"][0]
        return reply

    async def _tell(self, held: dict[str, Any], outcome: dict[str, Any]) -> None:
        await self._send("tell", "POST", self._path(held, "tell"), json.dumps(outcome).encode(), held)

    def _path(self, held: dict[str, Any], rest: str) -> str:
        return f"/v1/leases/{held['lease_id']}/{rest}"

    async def _post(self, call: str, path: str, body: Any) -> Any:
        return json.loads(await self._send(call, "POST", path, json.dumps(body).encode()))

    async def _send(
        self,
        call: str,
        method: str,
        path: str,
        content: bytes,
        held: dict[str, Any] | None = None,
        media_type: str = "application/json",
    ) -> bytes:
        """Send, and again where that may help, as a worker does; each answer but 2xx is an error."""
        headers = f"Content-Type: {'application/octet-stream' if content is MODEL else media_type}\r\n"
        headers += f"Lease-Token: {held['token']}\r\n" if held else ""
        while True:
            began_at = time.monotonic()
            try:
                status, answer = await self._connection.exchange(method, path, content, headers)
            except ConnectionError as error:
                self._tally.errors[f"{call}: {error}"] += 1
            else:
                self._tally.note(call, time.monotonic() - began_at)
                if 200 <= status < 300:
                    return answer
                words = f"{call}: {status} {answer[:200]!r}"
                if status < 500 and status != 429:
                    raise Refused(words)
                self._tally.errors[words] += 1
            await asyncio.sleep(RETRY_SECONDS)


async def watch(port: int, tally: Tally, *, notes_lags: bool) -> None:
    """Follow the events of all studies until cancelled, and count them."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    writer.write(b"GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    try:
        while line := await reader.readline():
            if not line.startswith(b"data: "):
                continue
            tally.n_events += 1
            told = json.loads(line[6:])
            if notes_lags and "step" in told:
                sent_at = tally.reported.pop((told["study"], told["number"], told["step"]), None)
                if sent_at is not None:
                    tally.lags.append(time.monotonic() - sent_at)
    finally:
        writer.close()
