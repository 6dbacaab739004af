"""The real client against the real service, in process."""

from pathlib import Path

import httpx2
import pytest
from fastapi.testclient import TestClient

from spezia.client import Client, SpeziaError
from spezia.contract.problem import Code
from spezia.contract.study_spec import StudyChange, StudySpec
from tests.service.conftest import URL
from tests.service.hand_worker import HandWorker, spec

CSV = b"text,label\nwhat a film,good\nnever again,bad\n"


@pytest.fixture
def client(http: TestClient) -> Client:
    return Client(URL, transport=http._transport)


def test_a_study_is_controlled_from_its_upload_to_its_deletion(
    client: Client, worker: HandWorker, tmp_path: Path
) -> None:
    file = tmp_path / "train.csv"
    file.write_bytes(CSV)
    uploaded = client.upload(file)
    assert client.upload(file) == uploaded
    body = spec(n_trials=1, data={"train": uploaded.reference})
    assert client.post_study(StudySpec.model_validate(body)).spec.data.train == uploaded.reference
    worker.prepare()
    held = worker.take()
    headers = {"Lease-Token": held["token"], "Content-Type": "text/plain"}
    worker.http.put(f"/v1/leases/{held['lease_id']}/log", content="half\nway\n", headers=headers)
    assert client.cancel_trial("feedback", 0).state == "RUNNING"
    worker.fail(held, "cancelled")
    assert client.log("feedback", 0) == "half\nway\n"
    assert client.get_study("feedback").state == "complete"  # what a person has cancelled did not fail
    client.delete("feedback")
    assert list(client.list_studies()) == []


def test_a_finished_study_is_extended_enqueued_and_retried(client: Client, worker: HandWorker) -> None:
    client.create_study(StudySpec.model_validate(spec(n_trials=1)))
    worker.prepare()
    worker.run_trial(0.5)
    assert client.extend("feedback", StudyChange(n_trials=2)).state == "running"
    worker.fail(worker.take())
    assert client.get_study("feedback").state == "complete"
    assert client.retry_trial("feedback", 1).number == 2
    assert client.enqueue("feedback", {"learning_rate": 1e-4}).params == {"learning_rate": 1e-4}
    with pytest.raises(SpeziaError) as refused:
        client.enqueue("feedback", {"learning_rate": 5.0})
    assert refused.value.problem.code == Code.INVALID
    assert client.get_study("feedback").spec.n_trials == 4


def test_all_pages_of_trials_are_read_by_value(client: Client, worker: HandWorker) -> None:
    client.create_study(StudySpec.model_validate(spec(n_trials=4)))
    worker.prepare()
    for value in (0.5, 0.2, 0.9, 0.2):
        worker.run_trial(value)
    assert [trial.number for trial in client.list_trials("feedback", order_by="value")] == [1, 3, 0, 2]


def test_what_is_posted_acts_once_though_its_reply_is_lost(http: TestClient, worker: HandWorker) -> None:
    def lose_first_reply(request: httpx2.Request) -> httpx2.Response:
        reply = http._transport.handle_request(request)
        posted.append(reply)
        if len(posted) == 1:
            reply.close()
            raise httpx2.ReadTimeout("lost")
        return reply

    posted: list[httpx2.Response] = []
    Client(URL, transport=http._transport).create_study(StudySpec.model_validate(spec(n_trials=1)))
    worker.prepare()
    client = Client(URL, transport=httpx2.MockTransport(lose_first_reply), sleep=lambda _: None)
    assert client.enqueue("feedback", {"learning_rate": 1e-4}).number == 0
    assert [reply.headers.get("Idempotency-Replayed") for reply in posted] == [None, "true"]
    assert http.get("/v1/studies/feedback").json()["trials"]["waiting"] == 1
