"""`/metrics`: each one moves when its cause happens, is explained, and tells nobody's name."""

import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from service.app import create_app
from service.errors import Unavailable
from service.lifecycle.leases.reap import reap
from service.settings import Settings
from tests.conftest import FakeClock
from tests.service.conftest import URL
from tests.service.hand_worker import HandWorker, spec

DOCS = Path(__file__).parents[3] / "docs"
Sample = tuple[str, frozenset[tuple[str, str]]]


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """Of SQLite alone: what the process counts is the same on both. `test_gauges.py` asks both."""
    return f"sqlite:///{tmp_path / 'spezia.db'}"


def scrape(http: TestClient) -> dict[Sample, float]:
    answer = http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(answer.text)
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def names(http: TestClient) -> set[str]:
    """Of what is scraped, without the endings of histograms' series."""
    return {re.sub("_(bucket|sum|count)$", "", name) for name, _ in scrape(http)}


def read(http: TestClient, name: str, **labels: str) -> float:
    return scrape(http).get((name, frozenset(labels.items())), 0.0)


def start(http: TestClient, worker: HandWorker, **changes: Any) -> None:
    assert http.post("/v1/studies", json=spec(**changes)).status_code == 201
    worker.prepare()


def reports(http: TestClient, worker: HandWorker) -> None:
    worker.run_trial(0.9, 0.8)


def fails(http: TestClient, worker: HandWorker) -> None:
    worker.fail(worker.take(), "out_of_memory")


def beats(http: TestClient, worker: HandWorker) -> None:
    worker.heartbeat(worker.take())


def asks_for_nothing(http: TestClient, worker: HandWorker) -> None:
    http.get("/v1/nothing")


MOVED: dict[Callable[[TestClient, HandWorker], None], list[tuple[str, dict[str, str], int]]] = {
    reports: [
        ("spezia_reports_total", {}, 2),
        ("spezia_trials_finished_total", {"state": "COMPLETE"}, 1),
        ("spezia_call_seconds_count", {"call": "dispatch"}, 1),
        ("spezia_call_seconds_count", {"call": "report"}, 2),
        ("spezia_call_seconds_count", {"call": "tell"}, 1),
        ("spezia_proposal_seconds_count", {"sampler": "random"}, 1),
        ("spezia_requests_total", {"method": "POST", "route": "/v1/leases/{lease_id}/tell", "status": "200"}, 1),
        ("spezia_request_seconds_count", {"method": "POST", "route": "/v1/leases/report"}, 2),
    ],
    fails: [
        ("spezia_failures_total", {"failure_class": "out_of_memory"}, 1),
        ("spezia_trials_finished_total", {"state": "FAIL"}, 1),
    ],
    beats: [("spezia_call_seconds_count", {"call": "heartbeat"}, 1)],
    asks_for_nothing: [("spezia_requests_total", {"method": "GET", "route": "other", "status": "404"}, 1)],
}


def test_counters_move_by_their_causes(http: TestClient, worker: HandWorker) -> None:
    start(http, worker)
    for cause, expected in MOVED.items():
        before = scrape(http)
        cause(http, worker)
        after = scrape(http)
        for name, labels, by in expected:
            sample = (name, frozenset(labels.items()))
            assert after.get(sample, 0.0) - before.get(sample, 0.0) == by, sample


def test_the_reaper_counts_what_it_takes_back(
    http: TestClient, app: FastAPI, worker: HandWorker, clock: FakeClock
) -> None:
    start(http, worker)
    reap(app.state.parts.store)
    worker.take()
    for _ in range(4):
        clock.advance(30)
        reap(app.state.parts.store)
    assert read(http, "spezia_leases_reaped_total") == 1
    assert read(http, "spezia_failures_total", failure_class="lost") == 1


def test_a_round_of_the_reaper_is_known(app: FastAPI) -> None:
    with TestClient(app, base_url=URL):
        pass
    assert read(TestClient(app, base_url=URL), "spezia_reaper_last_success_timestamp_seconds") > 1.7e9


def test_a_round_of_the_reaper_is_known_although_a_card_cannot_be_written(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise FileNotFoundError("no disk")

    monkeypatch.setattr("service.app.write_missing_cards", fail)
    with TestClient(app, base_url=URL) as http:
        assert http.get("/healthz").is_success
    assert read(http, "spezia_reaper_last_success_timestamp_seconds") > 0
    assert "could not tidy up the models" in caplog.text


def test_what_is_rolled_back_was_never_counted(app: FastAPI, http: TestClient) -> None:
    store = app.state.parts.store
    with contextlib.suppress(ZeroDivisionError), store.writing() as tx:
        tx.after_commit.append(tx.metrics.reports.inc)
        raise ZeroDivisionError
    assert read(http, "spezia_reports_total") == 0


@pytest.mark.parametrize(("said", "reason"), [("database is locked", "busy"), ("unable to open", "unreachable")])
def test_errors_of_the_database_are_counted_by_reason(app: FastAPI, http: TestClient, said: str, reason: str) -> None:
    before = read(http, "spezia_transaction_seconds_count", access="writing")
    with pytest.raises(Unavailable), app.state.parts.store.writing():
        raise OperationalError("SELECT 1", {}, Exception(said))
    assert read(http, "spezia_database_errors_total", reason=reason) == 1
    assert read(http, "spezia_transaction_seconds_count", access="writing") == before + 1


def test_without_its_database_a_service_still_tells_what_it_counted(
    http: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OperationalError("SELECT 1", {}, Exception("unable to open"))

    monkeypatch.setattr(Engine, "connect", refuse)
    seen = scrape(http)
    assert seen["spezia_database_up", frozenset()] == 0
    assert ("spezia_leases", frozenset()) not in seen
    assert seen["spezia_database_errors_total", frozenset({("reason", "unreachable")})] == 1


def test_no_label_holds_what_a_client_chose(http: TestClient, worker: HandWorker) -> None:
    start(http, worker)
    held = worker.take()
    worker.finish(held | {"token": "f" * 32})
    http.request("MADEUP", "/v1/studies/feedback")
    http.get("/v1/secret-path")
    http.get("/v1/studies/feedback/trials/0?order_by=secret-query", headers={"X-Request-ID": "secret-id"})
    text = http.get("/metrics").text
    for chosen in ("feedback", "MADEUP", "secret", held["token"], held["lease_id"], worker.worker_id):
        assert chosen not in text


def test_each_app_counts_for_itself(http: TestClient, settings: Settings) -> None:
    http.get("/v1/nothing")
    other = create_app(settings)
    counted = {"method": "GET", "route": "other", "status": "404"}
    assert read(TestClient(other, base_url=URL), "spezia_requests_total", **counted) == 0
    assert read(http, "spezia_requests_total", **counted) == 1
    other.state.parts.store.close()


def test_the_page_and_the_alerts_know_every_metric_and_no_other(http: TestClient, worker: HandWorker) -> None:
    start(http, worker)
    reports(http, worker)
    fails(http, worker)
    families = {family.name for family in text_string_to_metric_families(http.get("/metrics").text)}
    counted = {name.removesuffix("_total") for name in names(http)} | families
    assert all(name.startswith("spezia_") for name in counted)
    explained = set(re.findall(r"^\| `(spezia_\w+)`", (DOCS / "operations.md").read_text(), re.MULTILINE))
    assert {name.removesuffix("_total") for name in explained} == counted
    rules = [rule for group in YAML(typ="safe").load(DOCS / "alerts.yaml")["groups"] for rule in group["rules"]]
    assert len(rules) >= 8
    for rule in rules:
        used = {re.sub("_(bucket|sum|count|total)$", "", name) for name in re.findall(r"spezia_\w+", rule["expr"])}
        assert used, rule["alert"]
        assert used <= counted, rule["alert"]
        assert rule["annotations"]["summary"]
