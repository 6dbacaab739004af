"""What an actor does on its node, without a cluster."""

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.launch import ray_actor
from service.launch.ray_actor import WorkerActor, versions_here
from tests.service.launch.waits import wait_until

# says what it was given, and lives until its stdin closes or it is told to end
WORKER = """
import json, os, sys
with open(sys.argv[1], "w") as file:
    json.dump(dict(os.environ), file)
os.rename(*sys.argv[1:3])
sys.stdin.read()
"""
# does not end when it is told to
STUBBORN = """
import signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1], "w").close()
signal.pause()
"""


@pytest.fixture
def left() -> threading.Event:
    return threading.Event()


@pytest.fixture
def actor(left: threading.Event, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerActor]:
    monkeypatch.setattr(ray_actor, "TOLD_SECONDS", 0.0)
    actor = WorkerActor("a plan", left.set)
    yield actor
    if actor.report().worker_id is not None:
        actor.end()
        assert left.wait(60)


def start(actor: WorkerActor, folder: Path, worker_id: str = "w", **environment: str) -> Path:
    told = folder / f"{worker_id}.json"
    actor.start(worker_id, ["-c", WORKER, f"{told}.new", str(told)], environment)
    return told


def test_an_actor_says_how_it_fares(actor: WorkerActor, tmp_path: Path) -> None:
    fresh = actor.report()
    assert (fresh.plan, fresh.worker_id, fresh.exit_code, fresh.versions) == ("a plan", None, None, versions_here())
    told = start(actor, tmp_path)
    wait_until(told.exists)
    assert (actor.report().worker_id, actor.report().exit_code, actor.report().is_ending) == ("w", None, False)
    actor.end()
    assert actor.report().is_ending
    wait_until(lambda: actor.report().exit_code == -signal.SIGTERM)


def test_a_second_start_starts_nothing(actor: WorkerActor, tmp_path: Path) -> None:
    start(actor, tmp_path)
    second = start(actor, tmp_path, worker_id="other")
    assert actor.report().worker_id == "w"
    actor.end()
    wait_until(lambda: actor.report().exit_code is not None)
    assert not second.exists()


def test_a_worker_gets_its_key_and_not_the_clusters_token(
    actor: WorkerActor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of the cluster")
    told = start(actor, tmp_path, SPEZIA_API_KEY="of the worker")
    wait_until(told.exists)
    assert "of the worker" in told.read_text()
    assert "RAY_" not in told.read_text()


def test_an_actor_leaves_when_its_worker_has_ended(actor: WorkerActor, left: threading.Event) -> None:
    actor.start("w", ["-c", "raise SystemExit(7)"], {})
    assert left.wait(60)
    assert actor.report().exit_code == 7


def test_an_actor_that_nobody_uses_leaves(left: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_actor, "UNUSED_SECONDS", 0.01)
    WorkerActor("a plan", left.set)
    assert left.wait(60)


def test_what_does_not_heed_its_end_is_killed(
    actor: WorkerActor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_actor, "KILL_SECONDS", 0.1)
    actor.start("w", ["-c", STUBBORN, str(tmp_path / "deaf")], {})
    wait_until((tmp_path / "deaf").exists)
    actor.end()
    wait_until(lambda: actor.report().exit_code == -signal.SIGKILL)
