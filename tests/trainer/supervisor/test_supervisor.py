"""The supervisor, with a scripted engine in a real process and a service in memory."""

import errno
import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx2
import pytest

from spezia.contract.data import Data
from spezia.contract.parquet_head import HeadOutcome
from spezia.contract.problem import Code
from tests import fake_engine
from tests.fake_service import SPEC, FakeService, assignment, problem
from trainer.supervisor import supervisor
from trainer.supervisor.client import ServiceClient
from trainer.supervisor.supervisor import REFUSED, Limits, Supervisor, Terminated

ENGINE = [sys.executable, "-P", fake_engine.__file__]
GOOD = [{"evaluate": 0.5}, {"evaluate": 0.4, "final": True}]

Start = Callable[..., int]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Run a worker against a service until that has nothing more to do; its exit code."""

    def run(service: FakeService, *more: str, limits: Limits | None = None, **script: Any) -> int:
        file = tmp_path / "script.json"
        file.write_text(json.dumps(script))
        client = ServiceClient("http://service", transport=service.transport)
        command = [*ENGINE, "--parent", str(os.getpid()), "--script", str(file), *more]
        return Supervisor(
            client, command, worker_id="e" * 32, limits=limits or Limits(), sleep=lambda seconds: None
        ).run()

    return run


def test_trial_is_reported_and_told(start: Start) -> None:
    service = FakeService(assignment(number=7))
    assert start(service, trials={"7": GOOD}) == 0
    assert [(r.step, r.value, r.final) for r in service.reports] == [(1, 0.5, False), (2, 0.4, True)]
    assert service.reports[0].metrics["train_loss"] == pytest.approx(0.45)
    (outcome,) = service.outcomes
    assert outcome.pop("device_seconds") > 0
    assert outcome == {"kind": "trial", "state": "COMPLETE", "failure": None, "speed": fake_engine.SPEED}
    assert service.artifacts == {}


def test_a_worker_ends_when_it_has_found_no_work_for_long(start: Start) -> None:
    service = FakeService(assignment(number=7))
    service.is_served = True  # it answers on and on, with nothing
    assert start(service, trials={"7": GOOD}, limits=Limits(idle_seconds=0.0)) == 0
    assert [outcome["state"] for outcome in service.outcomes] == ["COMPLETE"]


def test_log_says_when_a_trial_begins_to_train_and_how_long_a_report_took(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trainer.supervisor")
    start(FakeService(assignment(number=7)), trials={"7": [{"step": 1}, *GOOD]})
    messages = [record.getMessage() for record in caplog.records]
    began, trains, first, second, ended = messages[messages.index("starting an engine") + 2 :][:5]
    assert began.endswith("trial 7: attempt 1 begins")
    assert trains == "first optimizer step"
    assert (first, second) == ("step 1, epoch 1.00: value 0.5", "step 2, epoch 2.00: value 0.4")
    assert ": done after " in ended
    reports = [vars(record)["report_seconds"] for record in caplog.records if "value" in record.getMessage()]
    assert all(0.0 <= seconds < 60.0 for seconds in reports)


def test_worker_registers_with_what_its_engine_found(start: Start) -> None:
    service = FakeService()
    start(service)
    (registered,) = service.workers
    assert registered["device"]["name"] == "fake"
    assert registered["worker_id"] == "e" * 32
    assert registered["protocol"] == 1
    assert registered["versions"] == fake_engine.VERSIONS | {"spezia": version("spezia")}


def test_prepare_hands_back_facts(start: Start) -> None:
    service = FakeService(assignment("prepare"))
    start(service)
    assert service.outcomes[0]["facts"]["train_rows"] == 80


def test_the_beginning_of_a_parquet_file_is_handed_in_and_then_trials_go_on(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    known, unknown = b"a table", "0" * 64
    sha256 = hashlib.sha256(known).hexdigest()
    service = FakeService(assignment(number=7))
    service.to_read.extend([unknown, sha256])

    def datasets(request: httpx2.Request) -> httpx2.Response | None:
        if "/v1/datasets/" not in request.url.path:
            return None
        if request.url.path.endswith(unknown):
            return problem(404, Code.DATASET_NOT_FOUND)
        return httpx2.Response(200, content=known, headers={"Content-Type": "application/vnd.apache.parquet"})

    def read(path: Path) -> HeadOutcome:
        return HeadOutcome(problem=f"holds {path.read_bytes()!r}")

    service.fault = datasets
    monkeypatch.setattr(supervisor, "read_parquet_head", read)
    assert start(service, trials={"7": GOOD}) == 0
    assert service.heads == {sha256: {"head": None, "problem": f"holds {known!r}"}}
    assert len(service.outcomes) == 1


def test_score_fetches_the_model_and_hands_back_metrics(start: Start) -> None:
    service = FakeService(assignment("score"))
    start(service)
    assert service.outcomes[0]["metrics"] == {"test_loss": 0.5, "test_accuracy": 1.0}


def test_a_replay_hands_in_its_evaluations_and_reports_none(start: Start) -> None:
    service = FakeService(assignment("replay"))
    start(service, replay=[{"replay": [0.5, 0.4]}])
    [told] = service.outcomes
    assert (told["kind"], told["failure"], service.reports) == ("replay", None, [])
    assert [(one["step"], one["value"]) for one in told["evaluations"]] == [(1, 0.5), (2, 0.4)]


def test_a_replay_that_fails_hands_in_what_it_measured_before(start: Start) -> None:
    service = FakeService(assignment("replay"))
    start(service, replay=[{"fail": "diverged", "replay": [0.5]}])
    [told] = service.outcomes
    assert told["failure"]["failure_class"] == "diverged"
    assert [one["value"] for one in told["evaluations"]] == [0.5]


def test_model_is_uploaded_when_the_service_wants_it(start: Start) -> None:
    service = FakeService(assignment())
    service.answer = lambda report: {"keep_model": report.final}
    start(service)
    assert service.artifacts == fake_engine.MODEL
    puts = [call.split("/")[-1] for call in service.calls if "/artifacts/" in call or "/tell" in call]
    assert puts[-1] == "tell"


@pytest.mark.parametrize("end", [{"signal": 9}, {"fail": "exception"}], ids=["killed", "failed"])
def test_a_study_is_prepared_though_timing_steps_fails(start: Start, end: dict[str, Any]) -> None:
    service = FakeService(assignment("prepare"), assignment(number=1))
    assert start(service, prepare=[{"found": True}, end], trials={"1": GOOD}) == 0
    prepared, trial = service.outcomes
    assert (prepared["failure"], prepared["facts"]["step_times"]) == (None, None)
    assert trial["state"] == "COMPLETE"


@pytest.mark.parametrize("end", [{"signal": 9}, {"fail": "exception"}], ids=["killed", "failed"])
def test_a_similarity_stands_though_timing_steps_fails(start: Start, end: dict[str, Any]) -> None:
    service = FakeService(assignment("probe"), assignment(number=1))
    assert start(service, probe=[{"found": True}, end], trials={"1": GOOD}) == 0
    probed, trial = service.outcomes
    assert probed["similarity"] == fake_engine.SIMILARITY.model_dump()
    assert (probed["failure"], probed["step_times"], trial["state"]) == (None, None, "COMPLETE")


def test_pruned_trial_ends_at_once_and_the_engine_stays(start: Start) -> None:
    service = FakeService(assignment(number=0), assignment(number=1))
    service.answer = lambda report: {"should_prune": report.lease_id.endswith("0"), "reason": "behind"}
    start(service, trials={"0": [{"evaluate": 0.9}, {"exit": 1}], "1": GOOD})
    assert [o["state"] for o in service.outcomes] == ["PRUNED", "COMPLETE"]
    assert [r.step for r in service.reports] == [1, 1, 2]
    assert service.outcomes[0]["speed"] == fake_engine.SPEED  # measured until it was pruned


def test_cancel_in_a_report_reply_ends_the_trial(start: Start) -> None:
    service = FakeService(assignment())
    service.answer = lambda report: {"directive": "cancel"}
    start(service, trials={"*": [{"evaluate": 0.9}, {"exit": 1}]})
    assert service.outcomes[0]["state"] == "FAIL"
    assert service.outcomes[0]["failure"]["failure_class"] == "cancelled"


@pytest.mark.parametrize("directive", ["cancel", "lost"])
def test_heartbeat_ends_a_trial_in_the_middle_of_an_epoch(start: Start, directive: str) -> None:
    service = FakeService(assignment(number=0), assignment(number=1))
    service.directives = {"0" * 32: directive}
    assert start(service, trials={"0": [{"hang": True}], "1": GOOD}) == 0
    told = [o["failure"]["failure_class"] if o["failure"] else o["state"] for o in service.outcomes]
    assert told == (["cancelled", "COMPLETE"] if directive == "cancel" else ["COMPLETE"])


def test_lost_in_a_report_reply_drops_everything(start: Start) -> None:
    service = FakeService(assignment(number=0), assignment(number=1))
    service.answer = lambda report: {"directive": "lost"} if report.lease_id.endswith("0") else {}
    start(service)
    assert [o["state"] for o in service.outcomes] == ["COMPLETE"]
    assert f"{0:032x}" not in service.logs


def test_a_refusal_in_a_report_reply_ends_that_trial_alone(start: Start) -> None:
    service = FakeService(assignment(number=0), assignment(number=1))
    refusal = {"status": 409, "code": Code.REPORT_CONFLICT, "detail": "step 1 was reported before"}
    service.answer = lambda report: {"refusal": refusal} if report.lease_id.endswith("0") else {}
    start(service, trials={"0": [{"evaluate": 0.9}, {"exit": 1}], "1": GOOD})
    assert [o["state"] for o in service.outcomes] == ["FAIL", "COMPLETE"]
    assert "409 report-conflict: step 1 was reported before" in service.outcomes[0]["failure"]["message"]


def test_stale_tell_is_dropped(start: Start) -> None:
    service = FakeService(assignment(number=0), assignment(number=1))
    stale = f"/v1/leases/{0:032x}/tell"
    service.fault = lambda request: problem(409, Code.LEASE_LOST) if request.url.path == stale else None
    assert start(service) == 0
    assert len(service.outcomes) == 1
    assert service.released == []


@pytest.mark.parametrize(
    ("actions", "state", "failure_class"),
    [
        ([{"fail": "diverged"}], "FAIL", "diverged"),
        ([{"evaluate": 0.9}, {"fail": "diverged"}], "PRUNED", "diverged"),
        ([{"evaluate": 0.9}, {"fail": "out_of_memory"}], "FAIL", "out_of_memory"),
        ([{"fail": "device_error"}], "FAIL", "device_error"),
        ([{"signal": signal.SIGSEGV}], "FAIL", "exception"),
        ([{"evaluate": 0.9}, {"signal": signal.SIGKILL}], "FAIL", "exception"),
        ([{"exit": 3}], "FAIL", "exception"),
        ([{"garble": "Epoch 1"}], "FAIL", "exception"),
        ([], "FAIL", "no_metric"),
    ],
)
def test_failure_is_told_with_its_class_and_the_next_trial_runs(
    start: Start, actions: list[Any], state: str, failure_class: str
) -> None:
    service = FakeService(assignment(number=0), assignment(number=1))
    assert start(service, trials={"0": actions, "1": GOOD}) == 0
    first, second = service.outcomes
    assert first["state"] == state
    assert first["failure"]["failure_class"] == failure_class
    assert second["state"] == "COMPLETE"


def test_death_by_signal_is_named(start: Start) -> None:
    service = FakeService(assignment())
    start(service, trials={"*": [{"signal": signal.SIGSEGV}]})
    assert "died by signal 11 (SIGSEGV)" in service.outcomes[0]["failure"]["message"]
    assert "died by signal 11 (SIGSEGV)" in service.logs[f"{0:032x}"]


def test_what_libraries_print_is_logged_and_harmless(start: Start) -> None:
    service = FakeService(assignment(number=0), assignment(number=1))
    start(service, trials={"0": [{"print": "100%|####|"}, *GOOD], "1": GOOD})
    assert [o["state"] for o in service.outcomes] == ["COMPLETE", "COMPLETE"]
    assert service.logs == {f"{0:032x}": "100%|####|\n"}


def test_log_of_a_trial_that_ends_is_sent_while_the_engine_goes_on(start: Start, tmp_path: Path) -> None:
    answered, sent = tmp_path / "answered", tmp_path / "sent"

    def note_log(request: httpx2.Request) -> None:
        deadline = time.monotonic() + 60.0
        while request.url.path.endswith("/log") and not answered.exists():
            assert time.monotonic() < deadline
            time.sleep(0.005)
        if request.url.path.endswith("/log"):
            sent.touch()

    service = FakeService(assignment())
    service.fault = note_log
    script = [{"print": "x"}, *GOOD, {"pid": str(answered)}, {"until": str(sent)}]
    start(service, limits=Limits(stall_seconds=60.0), trials={"*": script})
    assert service.outcomes[0]["state"] == "COMPLETE"


def test_engine_that_says_nothing_is_stalled(start: Start) -> None:
    service = FakeService(assignment(number=0), assignment(number=1))
    limits = Limits(stall_seconds=0.2)
    start(service, limits=limits, trials={"0": [{"evaluate": 0.5}, {"hang": True}], "1": GOOD})
    assert service.outcomes[0]["failure"]["failure_class"] == "stalled"


@pytest.mark.parametrize(("reports", "state"), [([], "FAIL"), ([{"evaluate": 0.5}], "PRUNED")])
def test_trial_that_overruns_the_study_is_stopped(start: Start, reports: list[Any], state: str) -> None:
    service = FakeService(assignment(seconds_left=0.5))
    start(service, trials={"*": [*reports, {"hang": True}]})
    assert service.outcomes[0]["state"] == state
    assert service.outcomes[0]["failure"]["failure_class"] == "budget"


def test_training_goes_on_while_the_service_is_away(start: Start) -> None:
    service = FakeService(assignment())
    service.fault = Outage("report", 2)
    start(service, trials={"*": [{"evaluate": 0.7}, {"evaluate": 0.6}, {"evaluate": 0.5, "final": True}]})
    assert [r.step for r in service.reports] == [1, 2, 3]
    assert service.batches == [3]
    assert service.outcomes[0]["state"] == "COMPLETE"


@pytest.mark.parametrize("verb", ["workers", "dispatch", "log", "tell"])
def test_calls_are_repeated_until_the_service_is_back(start: Start, verb: str) -> None:
    service = FakeService(assignment())
    service.fault = Outage(verb, 3)
    assert start(service, trials={"*": [{"print": "x"}, *GOOD]}) == 0
    assert service.outcomes[0]["state"] == "COMPLETE"


def test_worker_out_of_contact_stops_its_trial_and_ends(start: Start) -> None:
    service = FakeService(assignment())
    service.heartbeat_seconds = 1_000.0
    service.fault = Outage("report", 10**9)
    assert start(service, limits=Limits(give_up_seconds=0.05)) == 1
    assert service.outcomes == []


def test_forgotten_worker_registers_again(start: Start) -> None:
    service = FakeService(assignment())
    service.fault = Outage("dispatch", 1, problem(404, Code.WORKER_UNKNOWN))
    assert start(service) == 0
    assert len(service.workers) == 2
    assert len(service.outcomes) == 1


def test_too_old_a_worker_ends_with_the_reason(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    service = FakeService()
    service.fault = Outage("workers", 1, problem(426, Code.PROTOCOL_TOO_OLD))
    assert start(service) == REFUSED
    assert "do something else" in caplog.text


@pytest.mark.parametrize("verb", ["report", "tell"])
def test_refusal_that_should_not_be_fails_the_trial(start: Start, verb: str) -> None:
    service = FakeService(assignment())
    service.fault = Outage(verb, 1, problem(409, Code.REPORT_CONFLICT))
    assert start(service) == 0
    assert service.outcomes[0]["failure"]["failure_class"] == "exception"
    assert "do something else" in service.outcomes[0]["failure"]["message"]


UPLOADED = SPEC.model_copy(update={"data": Data(train=f"sha256:{hashlib.sha256(b'rows').hexdigest()}")})


@pytest.mark.parametrize("kind", ["prepare", "probe", "trial", "score"])
@pytest.mark.parametrize(
    ("status", "code"), [(404, Code.DATASET_NOT_FOUND), (403, Code.FORBIDDEN), (422, Code.INVALID)]
)
def test_a_refused_download_of_data_fails_the_attempt_in_the_words_of_the_refusal(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, status: int, code: Code
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    service = FakeService(assignment(kind, spec=UPLOADED), assignment(number=1))
    service.fault = lambda request: problem(status, code) if "/datasets/" in request.url.path else None
    assert start(service, trials={"1": GOOD}) == 0
    refused, next_one = service.outcomes
    assert refused["failure"]["failure_class"] == "data_error"
    assert f"the service refused a download: {status} {code}: do something else" in refused["failure"]["message"]
    assert next_one["state"] == "COMPLETE"
    assert len([call for call in service.calls if "datasets/" in call]) == 1


def test_a_run_under_a_fresh_seed_is_told_with_its_rows(start: Start) -> None:
    service = FakeService(assignment("confirm"))
    assert start(service) == 0
    (told,) = service.outcomes
    assert (told["kind"], told["metrics"], told["row_scores"]) == ("confirm", {"validation_loss": 0.5}, [0.4, 0.6])
    assert told["failure"] is None
    assert "report" not in service.calls


def test_a_refused_download_of_a_model_fails_the_attempt_in_the_words_of_the_refusal(start: Start) -> None:
    service = FakeService(assignment("score"), assignment(number=1))
    service.fault = lambda request: problem(404, Code.NO_MODEL) if "/model/" in request.url.path else None
    assert start(service, trials={"1": GOOD}) == 0
    refused, next_one = service.outcomes
    assert (refused["kind"], refused["metrics"]) == ("score", None)
    assert "the service refused a download: 404" in refused["failure"]["message"]
    assert next_one["state"] == "COMPLETE"


def test_a_download_that_comes_damaged_or_not_at_all_is_repeated(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    answers = [
        httpx2.Response(503),
        httpx2.Response(200, content=b"row", headers={"Content-Type": "text/csv"}),
        httpx2.Response(200, content=b"rows", headers={"Content-Type": "text/csv"}),
    ]
    service = FakeService(assignment(spec=UPLOADED))
    service.fault = lambda request: answers.pop(0) if "/datasets/" in request.url.path else None
    assert start(service, trials={"*": GOOD}) == 0
    assert [outcome["state"] for outcome in service.outcomes] == ["COMPLETE"]
    assert answers == []


def test_a_lease_that_is_lost_during_a_download_is_dropped(start: Start) -> None:
    service = FakeService(assignment("score"))
    service.fault = lambda request: problem(409, Code.LEASE_LOST) if "/model/" in request.url.path else None
    assert start(service) == 0
    assert service.outcomes == []


def test_full_disk_gives_the_trial_back_and_ends_the_worker(start: Start) -> None:
    service = FakeService(assignment(number=0), assignment(number=1))
    assert start(service, trials={"0": [{"fail": "disk_full"}]}) == 1
    assert service.released == ["disk_full"]
    assert service.outcomes == []
    assert len(service.assignments) == 1


def test_full_disk_of_the_supervisor_is_the_same(start: Start) -> None:
    def fill(request: httpx2.Request) -> None:
        if "/model/" in request.url.path:
            raise OSError(errno.ENOSPC, "No space left on device")

    service = FakeService(assignment("score"))
    service.fault = fill
    assert start(service) == 1
    assert service.released == ["disk_full"]


def test_engine_that_does_not_greet_in_time_ends_the_worker(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    service = FakeService()
    assert start(service, limits=Limits(hello_seconds=0.001)) == 1
    assert "did not start within" in caplog.text


def test_release_that_fails_is_left_to_the_lease(start: Start) -> None:
    service = FakeService(assignment(number=0))
    service.fault = Outage("release", 10**9)
    assert start(service, trials={"0": [{"fail": "disk_full"}]}) == 1
    assert service.released == []


def test_refused_model_fails_the_trial(start: Start) -> None:
    service = FakeService(assignment())
    service.answer = lambda report: {"keep_model": True}
    service.fault = Outage("model.safetensors", 1, problem(413, Code.TOO_LARGE))
    start(service)
    assert service.outcomes[0]["failure"]["failure_class"] == "exception"


def test_engine_that_cannot_start_ends_the_worker(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    service = FakeService(assignment())
    assert start(service, "--dead-on-arrival") == 1
    assert service.workers == []
    assert "no device" in caplog.text


def test_process_left_by_a_dead_engine_is_killed(start: Start, tmp_path: Path) -> None:
    service = FakeService(assignment(number=0), assignment(number=1))
    orphan = tmp_path / "orphan"
    start(service, trials={"0": [{"orphan": str(orphan)}, {"until": str(orphan)}, {"exit": 3}], "1": GOOD})
    assert [o["state"] for o in service.outcomes] == ["FAIL", "COMPLETE"]
    assert is_dead(int(orphan.read_text()))


def test_terminated_worker_gives_its_trial_back(start: Start) -> None:
    service = FakeService(assignment())

    def terminate(report: Any) -> dict[str, Any]:
        raise Terminated("SIGTERM")

    service.answer = terminate
    assert start(service) == 0
    assert service.released == ["preempted"]
    assert service.outcomes == []


def test_supervisor_imports_no_torch() -> None:
    code = "import sys, trainer.cli; print([m for m in ('torch', 'transformers', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class Outage:
    """Answers the first calls of one verb with 503 (or with something else)."""

    def __init__(self, verb: str, n_calls: int, response: httpx2.Response | None = None) -> None:
        self._verb = verb
        self._left = n_calls
        self._response = response or httpx2.Response(503)

    def __call__(self, request: httpx2.Request) -> httpx2.Response | None:
        if not request.url.path.endswith(f"/{self._verb}") or self._left == 0:
            return None
        self._left -= 1
        return self._response


def is_dead(pid: int) -> bool:
    """Gone, or a zombie that nobody has asked for yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return True
    return state in "ZX"
