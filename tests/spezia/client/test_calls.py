import io
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest

from spezia.client import Client, NotReady, SpeziaError, Unreachable
from spezia.contract.model_files import UploadedModel
from spezia.contract.preview import Preview, PreviewAwaited
from spezia.contract.problem import Code, FieldProblem
from spezia.contract.study import StudyList
from spezia.contract.study_spec import StudyChange
from spezia.contract.trial import Trial, TrialList
from tests.service.replies import ScriptedService, make_best, make_front, make_study, make_trial_reply, problem


def connect(service: ScriptedService, slept: list[float] | None = None) -> Client:
    sleep = (slept if slept is not None else []).append
    return Client("http://spezia.test", transport=service.transport(), sleep=sleep)


def unavailable(status: int, retry_after: str | None = None) -> httpx2.Response:
    return httpx2.Response(status, headers={} if retry_after is None else {"Retry-After": retry_after})


def test_a_study_is_created_and_read_back() -> None:
    study = make_study()
    service = ScriptedService({"POST /v1/studies": study, "GET /v1/studies/toy": study})
    with connect(service) as client:
        assert client.post_study(study.spec) == study
        assert client.get_study("toy") == study
    assert service.requests[0].content == study.spec.model_dump_json().encode()


def test_a_preview_waits_for_the_worker_that_reads_the_file() -> None:
    shown = Preview(
        format="parquet", separator=None, columns=[], n_columns=0, rows=[], n_rows_read=0, is_whole=True, n_rows=0,
        guess=None, no_guess="there is nothing",
    )  # fmt: skip
    n_asked = 0

    def answer(request: httpx2.Request) -> httpx2.Response:
        nonlocal n_asked
        n_asked += 1
        if n_asked > 3:
            return httpx2.Response(200, content=shown.model_dump_json())
        awaited = PreviewAwaited(n_workers=2, detail="a worker is reading the file")
        return httpx2.Response(202, content=awaited.model_dump_json(), headers={"Retry-After": "2"})

    slept: list[float] = []
    client = connect(ScriptedService({f"GET /v1/datasets/{'0' * 64}/preview": answer}), slept)
    with pytest.raises(NotReady, match="a worker is reading"):
        client.preview("0" * 64, wait_seconds=2.0)
    assert (n_asked, slept) == (2, [2.0])
    assert client.preview("0" * 64, "causal-lm") == shown


def test_a_preview_for_which_there_is_no_worker_is_not_waited_for() -> None:
    awaited = PreviewAwaited(n_workers=0, detail="none is connected")
    response = httpx2.Response(202, content=awaited.model_dump_json(), headers={"Retry-After": "1"})
    client = connect(ScriptedService({f"GET /v1/datasets/{'0' * 64}/preview": response}), slept := [])
    with pytest.raises(NotReady, match="none is connected"):
        client.preview("0" * 64)
    assert slept == []


@pytest.mark.parametrize("verb", ["pause", "resume", "stop", "cancel"])
def test_verbs(verb: str) -> None:
    service = ScriptedService({f"POST /v1/studies/toy/{verb}": make_study(state="stopping")})
    assert getattr(connect(service), verb)("toy").state == "stopping"


def test_lists_fetch_all_pages() -> None:
    def trials(request: httpx2.Request) -> TrialList:
        first = int(request.url.params.get("page_token", "0"))
        page = [Trial(**make_trial_reply(number).model_dump()) for number in (first, first + 1)]
        return TrialList(trials=page, next_page_token=str(first + 2) if first < 4 else None)

    def studies(request: httpx2.Request) -> StudyList:
        more = None if "page_token" in request.url.params else "toy"
        return StudyList(studies=[make_study()], next_page_token=more)

    service = ScriptedService({"GET /v1/studies/toy/trials": trials, "GET /v1/studies": studies})
    client = connect(service)
    assert [trial.number for trial in client.list_trials("toy", "COMPLETE", "value")] == list(range(6))
    assert dict(service.requests[0].url.params) == {"state": "COMPLETE", "order_by": "value", "limit": "1000"}
    assert len(list(client.list_studies("running"))) == 2


def test_the_best_of_several_objectives_is_a_front() -> None:
    front = make_front()
    assert connect(ScriptedService({"GET /v1/studies/toy/best": front})).best("toy") == front


def test_a_trial_and_the_best() -> None:
    best, trial = make_best(), make_trial_reply(3)
    service = ScriptedService({"GET /v1/studies/toy/best": best, "GET /v1/studies/toy/trials/3": trial})
    assert connect(service).best("toy") == best
    assert connect(service).get_trial("toy", 3) == trial


def test_a_problem_is_raised_with_its_fields() -> None:
    errors = [FieldProblem(field="sampler.name", message="needs torch")]
    service = ScriptedService({"POST /v1/studies": problem(422, Code.INVALID, "not accepted", errors=errors)})
    with pytest.raises(SpeziaError, match=r"not accepted\n  sampler\.name: needs torch") as caught:
        connect(service).create_study(make_study().spec)
    assert caught.value.problem.code == Code.INVALID


def test_an_error_that_is_no_problem_document() -> None:
    service = ScriptedService({"GET /v1/studies/toy": httpx2.Response(502, text="<h1>Bad Gateway</h1>")})
    with pytest.raises(SpeziaError, match="502 Bad Gateway") as caught:
        connect(service).get_study("toy")
    assert caught.value.problem.code == Code.UNAVAILABLE


def test_reads_are_repeated_when_the_connection_fails() -> None:
    failures = iter([httpx2.ConnectError("refused"), httpx2.ReadTimeout("slow")])

    def flaky(request: httpx2.Request) -> object:
        for failure in failures:
            raise failure
        return make_study()

    slept: list[float] = []
    assert connect(ScriptedService({"GET /v1/studies/toy": flaky}), slept).get_study("toy").name == "toy"
    assert slept == [0.1, 0.4]


@pytest.mark.parametrize("status", [502, 503, 504])
def test_reads_are_repeated_while_the_service_cannot_answer(status: int) -> None:
    answers = iter([unavailable(status), unavailable(status), unavailable(status, "7"), make_study(state="complete")])
    slept: list[float] = []
    service = ScriptedService({"GET /v1/studies/toy": lambda request: next(answers)})
    assert connect(service, slept).wait("toy").state == "complete"
    assert slept == [0.1, 0.4, 7.0]


def test_a_model_is_fetched_again_from_its_start_when_the_service_fails_in_the_middle(tmp_path: Path) -> None:
    def torn() -> Iterator[bytes]:
        yield b"half"
        raise httpx2.ReadError("cut off")

    answers = iter([unavailable(503), httpx2.Response(200, content=torn()), httpx2.Response(200, content=b"whole")])
    service = ScriptedService({"GET /v1/studies/toy/best/model": lambda request: next(answers)})
    assert connect(service).download_model("toy", tmp_path / "toy.tar").read_bytes() == b"whole"
    assert [path.name for path in tmp_path.iterdir()] == ["toy.tar"]


def test_a_post_is_repeated_under_one_key_and_each_has_its_own() -> None:
    answers = iter([httpx2.ConnectError("refused"), unavailable(503), make_study(), make_study()])

    def answer(request: httpx2.Request) -> object:
        if isinstance(given := next(answers), Exception):
            raise given
        return given

    service = ScriptedService({"POST /v1/studies": answer})
    client = connect(service)
    client.create_study(make_study().spec)
    client.create_study(make_study().spec)
    first, second, third, other = (request.headers["Idempotency-Key"] for request in service.requests)
    assert first == second == third != other
    assert len({request.read() for request in service.requests}) == 1


def test_writes_without_a_key_are_not_repeated(tmp_path: Path) -> None:
    file = tmp_path / "train.csv"
    file.write_bytes(b"text,label\n")
    answers = {"PATCH /v1/studies/toy", "DELETE /v1/studies/toy", "POST /v1/datasets"}
    service = ScriptedService({call: lambda request: unavailable(503) for call in answers})
    client = connect(service)
    for write in (
        lambda: client.extend("toy", StudyChange(n_trials=3)),
        lambda: client.delete("toy"),
        lambda: client.upload(file),
    ):
        with pytest.raises(SpeziaError, match="503"):
            write()
    assert len(service.requests) == 3


def test_of_a_models_folder_the_model_is_sent_and_nothing_else(tmp_path: Path) -> None:
    for name in ("model.safetensors", "config.json", "tokenizer.json", "training_args.bin", "README.md", "modeling.py"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "checkpoint-1").mkdir()
    sent: list[bytes] = []

    def take(request: httpx2.Request) -> UploadedModel:
        sent.append(request.read())
        now = datetime(2026, 11, 27, tzinfo=UTC)
        return UploadedModel(reference="sha256:0", sha256="0", size_bytes=0, files=[], uploaded_at=now)

    assert connect(ScriptedService({"POST /v1/models": take})).upload_model(tmp_path).reference == "sha256:0"
    with tarfile.open(fileobj=io.BytesIO(sent[0])) as archive:
        assert archive.getnames() == ["model/config.json", "model/model.safetensors", "model/tokenizer.json"]


def test_nothing_is_repeated_for_ever() -> None:
    def refuse(request: httpx2.Request) -> object:
        raise httpx2.ConnectError("refused")

    service = ScriptedService({"POST /v1/studies": refuse, "GET /v1/studies/toy": lambda request: unavailable(503)})
    slept: list[float] = []
    with pytest.raises(Unreachable, match=r"http://spezia\.test \(refused\); start one: spezia serve"):
        connect(service, slept).create_study(make_study().spec)
    assert slept == [0.1, 0.4, 1.6]
    slept.clear()
    with pytest.raises(SpeziaError) as refused:
        connect(service, slept).get_study("toy")
    assert refused.value.problem.code == Code.UNAVAILABLE
    assert slept == [0.1, 0.4, 1.6, 6.4, 15.0]


def test_wait_polls_until_the_study_has_ended() -> None:
    states = iter(["running", "stopping", "complete"])
    service = ScriptedService({"GET /v1/studies/toy": lambda request: make_study(state=next(states))})
    seen: list[str] = []
    slept: list[float] = []
    ended = connect(service, slept).wait("toy", 0.5, lambda study: seen.append(study.state))
    assert ended.state == "complete"
    assert seen == ["running", "stopping", "complete"]
    assert slept == [0.5, 0.5]


def test_the_model_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("toy/config.json"))
    service = ScriptedService(
        {
            "GET /v1/studies/toy/best/model": httpx2.Response(200, content=packed.getvalue()),
            "GET /v1/studies/none/best/model": problem(404, Code.NO_MODEL, "no model is kept"),
        }
    )
    written = connect(service).download_model("toy", tmp_path / "toy.tar")
    with tarfile.open(written) as tar:
        assert tar.getnames() == ["toy/config.json"]
    with pytest.raises(SpeziaError, match="no model is kept"):
        connect(service).download_model("none", tmp_path / "none.tar")
    assert [path.name for path in tmp_path.iterdir()] == ["toy.tar"]


def test_names_cannot_leave_their_place_in_the_path() -> None:
    service = ScriptedService({})
    with pytest.raises(SpeziaError):
        connect(service).get_study("../workers")
    assert service.requests[0].url.raw_path == b"/v1/studies/..%2Fworkers"
