"""Study definitions, and a worker whose every word a test decides."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from fastapi.testclient import TestClient

FACTS: dict[str, Any] = {
    "train_rows": 100,
    "validation_rows": 20,
    "test_rows": None,
    "classes": ["bad", "good"],
    "max_tokens": 12,
    "truncated_rows": 0,
    "blocks": 6,
    "parameters": 1000,
    "checkpoint_dropout": 0.1,
    "model_commit": None,
    "model_sha256": "0" * 64,
    "data_sha256": "1" * 64,
    "precision": "fp32",
    "warnings": [],
}


def spec(**changes: Any) -> dict[str, Any]:
    """A valid study definition of three random trials."""
    return {
        "name": "feedback",
        "task": "text-classification",
        "model": {"name": "some/model"},
        "data": {"train": "train.csv"},
        "search_space": {"learning_rate": {"type": "float", "low": 1e-5, "high": 1e-3, "log": True}},
        "sampler": {"name": "random"},
        "n_trials": 3,
        "baseline": False,
    } | changes


def evaluation(
    held: dict[str, Any], step: int, value: float, *, final: bool = False, partial: bool = False, **metrics: float
) -> dict[str, Any]:
    """A report of one evaluation, with two losses among its metrics."""
    return {
        "lease_id": held["lease_id"],
        "token": held["token"],
        "step": step,
        "epoch": float(step),
        "optimizer_steps": 10 * step,
        "value": value,
        "metrics": {"validation_loss": value, "train_loss": value - 0.1} | metrics,
        "final": final,
        "partial": partial,
    }


class HandWorker:
    """One worker of the service; it computes nothing."""

    def __init__(
        self, http: TestClient, *, bf16: bool = False, versions: dict[str, str] | None = None, worker_id: str = ""
    ) -> None:
        self.http = http
        self.worker_id = worker_id or uuid4().hex
        registration = {
            "worker_id": self.worker_id,
            "host": "here",
            "device": {"kind": "cpu", "name": "a hand", "memory_bytes": 0, "bf16": bf16},
            "versions": versions or {"torch": "1"},
            "protocol": 1,
        }
        assert http.post("/v1/workers", json=registration).status_code == 201

    def dispatch(
        self, slots: int = 1, wait_seconds: float = 0.0, checkpoints: Sequence[dict[str, Any]] = ()
    ) -> list[dict[str, Any]]:
        wanted = {"slots": slots, "wait_seconds": wait_seconds, "checkpoints": list(checkpoints)}
        reply = self.http.post(f"/v1/workers/{self.worker_id}/dispatch", json=wanted)
        assert reply.status_code == 200, reply.text
        assignments: list[dict[str, Any]] = reply.json()["assignments"]
        return assignments

    def take(self) -> dict[str, Any]:
        """One assignment; there must be one."""
        (assignment,) = self.dispatch()
        return assignment

    def prepare(self, **facts: Any) -> None:
        """Take the study's `prepare` and hand in its facts."""
        assignment = self.take()
        assert assignment["kind"] == "prepare"
        outcome = {"kind": "prepare", "facts": FACTS | facts, "device_seconds": 1.0}
        assert self.tell(assignment, outcome).status_code == 200

    def report(self, held: dict[str, Any], step: int, value: float, **said: Any) -> dict[str, Any]:
        """Report an evaluation, which must be accepted; `evaluation` says what else may be said of it."""
        reply = self.send_report(held, step, value, **said)
        assert reply.status_code == 200, reply.text
        answer: dict[str, Any] = reply.json()["replies"][0]
        return answer

    def send_report(self, held: dict[str, Any], step: int, value: float, **said: Any) -> Any:
        return self.send_reports([evaluation(held, step, value, **said)])

    def send_reports(self, reports: list[dict[str, Any]]) -> Any:
        return self.http.post("/v1/leases/report", json={"reports": reports})

    def tell(self, held: dict[str, Any], outcome: dict[str, Any]) -> Any:
        return self.http.post(
            f"/v1/leases/{held['lease_id']}/tell", json=outcome, headers={"Lease-Token": held["token"]}
        )

    def finish(self, held: dict[str, Any], state: str = "COMPLETE", **failure: str) -> Any:
        outcome: dict[str, Any] = {"kind": "trial", "state": state, "device_seconds": 2.0}
        return self.tell(held, outcome | ({"failure": failure} if failure else {}))

    def fail(self, held: dict[str, Any], failure_class: str = "exception") -> Any:
        return self.finish(held, "FAIL", failure_class=failure_class, message="it broke")

    def run_trial(self, *values: float) -> dict[str, Any]:
        """Take a trial, report ``values`` and end it as the replies say."""
        held = self.take()
        assert held["kind"] == "trial", held
        state = "COMPLETE"
        for step, value in enumerate(values, start=1):
            if self.report(held, step, value, final=step == len(values))["should_prune"]:
                state = "PRUNED"
                break
        assert self.finish(held, state).status_code == 200
        return held

    def heartbeat(self, held: dict[str, Any]) -> str:
        directive: str = self._beat(held)["leases"][0]["directive"]
        return directive

    def wanted(self, held: dict[str, Any]) -> list[dict[str, Any]]:
        """The checkpoints that others wait for, by a heartbeat."""
        checkpoints: list[dict[str, Any]] = self._beat(held)["checkpoints"]
        return checkpoints

    def _beat(self, held: dict[str, Any]) -> dict[str, Any]:
        lease = {"lease_id": held["lease_id"], "token": held["token"]}
        reply = self.http.post("/v1/leases/heartbeat", json={"leases": [lease]})
        assert reply.status_code == 200, reply.text
        answer: dict[str, Any] = reply.json()
        return answer

    def send_checkpoint(self, wanted: dict[str, Any], content: bytes) -> Any:
        path, headers = f"/v1/leases/{wanted['lease_id']}/checkpoint", {"Lease-Token": wanted["token"]}
        return self.http.put(path, content=content, headers=headers)

    def fetch_checkpoint(self, held: dict[str, Any]) -> Any:
        path, headers = f"/v1/leases/{held['lease_id']}/checkpoint", {"Lease-Token": held["token"]}
        return self.http.get(path, headers=headers)

    def release(self, held: dict[str, Any], reason: str = "preempted", **said: Any) -> Any:
        return self.http.post(
            f"/v1/leases/{held['lease_id']}/release",
            json={"reason": reason} | said,
            headers={"Lease-Token": held["token"]},
        )

    def upload(self, held: dict[str, Any], file: str, content: bytes) -> Any:
        return self.http.put(
            f"/v1/leases/{held['lease_id']}/artifacts/{file}",
            content=content,
            headers={"Lease-Token": held["token"]},
        )
