"""A simulated worker of `load.py` and the account that all keep: each call timed, each error kept."""

import http.client
import json
import statistics
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import uuid4

from benchmarks.made_up_report import made_up_report
from tests.service.hand_worker import FACTS

TIMEOUT_SECONDS = 120.0
MODEL = bytes(4096)
QUARTERS = 4


class Account:
    """What the workers of one run have seen; shared by threads."""

    def __init__(self, n_trials: int, pids: list[int]) -> None:
        self._pids = pids
        self._n_trials = n_trials
        self._lock = threading.Lock()
        self._seconds: dict[str, list[float]] = {}
        self._errors: Counter[str] = Counter()
        self._rss_mb = [self._memory()]
        self._n_told = 0

    def note(self, verb: str, seconds: float) -> None:
        with self._lock:
            self._seconds.setdefault(verb, []).append(seconds)

    def note_error(self, words: str) -> None:
        with self._lock:
            self._errors[words] += 1

    def note_told(self) -> None:
        """Another trial has ended; look at the services' memory at each quarter."""
        with self._lock:
            self._n_told += 1
            if self._n_told * QUARTERS >= self._n_trials * len(self._rss_mb):
                self._rss_mb.append(self._memory())

    def figures(self, seconds: float) -> dict[str, Any]:
        counts = {verb: len(found) for verb, found in self._seconds.items()}
        return {
            "trials_per_s": round(self._n_told / seconds, 2),
            "reports_per_s": round(counts.get("report", 0) / seconds, 1),
            "ms": {verb: _quantiles(self._seconds[verb]) for verb in sorted(counts)},
            "rss_mb": self._rss_mb,
            "n_errors": sum(self._errors.values()),
            "errors": dict(self._errors.most_common(5)),
        }

    def _memory(self) -> list[float]:
        """Resident memory of each service, in MB."""
        lines = [Path(f"/proc/{pid}/status").read_text().splitlines() for pid in self._pids]
        found = [next(line for line in one if line.startswith("VmRSS")) for one in lines]
        return [round(int(line.split()[1]) / 1000, 1) for line in found]


class Refused(Exception):
    """An answer that is not 2xx."""


class SimulatedWorker:
    """Asks, reports and tells as fast as it gets answers."""

    def __init__(self, port: int, study: str, n_reports: int, account: Account) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
        self._study = study
        self._n_reports = n_reports
        self._account = account
        self._id = uuid4().hex
        self._register()

    def prepare(self) -> None:
        """Hand in the facts of the study."""
        (held,) = self._ask()
        outcome = {"kind": "prepare", "facts": FACTS, "device_seconds": 1.0}
        self._send("prepare", "POST", f"/v1/leases/{held['lease_id']}/tell", outcome, held["token"])

    def run(self) -> None:
        """Work until the study has ended."""
        try:
            while not self._has_ended():
                while held := self._ask():
                    self._carry_out(held[0])
        except (Refused, OSError, http.client.HTTPException) as error:
            self._account.note_error(f"{type(error).__name__}: {error}"[:300])
        finally:
            self._http.close()

    def _carry_out(self, held: dict[str, Any]) -> None:
        lease, state = f"/v1/leases/{held['lease_id']}", "COMPLETE"
        for step in range(1, self._n_reports + 1):
            answer = self._report(held, step)
            if answer["should_prune"]:
                state = "PRUNED"
                break
        else:
            if answer["keep_model"]:
                self._send("upload", "PUT", f"{lease}/artifacts/model.bin", MODEL, held["token"])
        outcome = {"kind": "trial", "state": state, "device_seconds": 1.0}
        self._send("tell", "POST", f"{lease}/tell", outcome, held["token"])
        self._account.note_told()

    def _report(self, held: dict[str, Any], step: int) -> dict[str, Any]:
        reports = {"reports": [made_up_report(held, step, is_last=step == self._n_reports)]}
        reply: dict[str, Any] = self._send("report", "POST", "/v1/leases/report", reports)["replies"][0]
        if reply["directive"] != "continue":
            raise Refused(f"report: {reply['directive']}")
        return reply

    def _ask(self) -> list[dict[str, Any]]:
        began_at = time.monotonic()
        body = {"slots": 1, "wait_seconds": 1.0}
        found: list[dict[str, Any]] = self._send("", "POST", f"/v1/workers/{self._id}/dispatch", body)["assignments"]
        if found:
            self._account.note("dispatch", time.monotonic() - began_at)
        return found

    def _has_ended(self) -> bool:
        return self._send("show", "GET", f"/v1/studies/{self._study}")["finished_at"] is not None

    def _register(self) -> None:
        device = {"kind": "cpu", "name": "simulated", "memory_bytes": 0, "bf16": False}
        body = {"worker_id": self._id, "host": "here", "device": device, "versions": {}, "protocol": 1}
        self._send("register", "POST", "/v1/workers", body)

    def _send(self, verb: str, method: str, path: str, body: Any = None, token: str | None = None) -> Any:
        began_at = time.monotonic()
        reply = _exchange(self._http, method, path, body, token)
        if verb:
            self._account.note(verb, time.monotonic() - began_at)
        return reply


def call(port: int, method: str, path: str, body: Any = None) -> Any:
    """One call on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        return _exchange(connection, method, path, body, None)
    finally:
        connection.close()


def _exchange(connection: http.client.HTTPConnection, method: str, path: str, body: Any, token: str | None) -> Any:
    is_file = isinstance(body, bytes)
    headers = {"Content-Type": "application/octet-stream" if is_file else "application/json"}
    headers |= {"Lease-Token": token} if token else {}
    content = None if body is None else body if is_file else json.dumps(body)
    connection.request(method, path, content, headers)
    answer = connection.getresponse()
    text = answer.read()
    if not 200 <= answer.status < 300:
        raise Refused(f"{method} {path.rpartition('/')[2]}: {answer.status} {text[:200]!r}")
    return json.loads(text) if text else None


def _quantiles(seconds: list[float]) -> dict[str, float]:
    ranks = statistics.quantiles(seconds, n=100) if len(seconds) > 1 else seconds * 99
    return {"n": len(seconds), "p50": round(1000 * ranks[49], 1), "p99": round(1000 * ranks[98], 1)}
