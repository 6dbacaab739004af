"""Signing in to the pages with a key: what a session may do, what it must show, and when it ends."""

import re
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.app import create_app
from service.lifecycle.keys.revoke_key import revoke_key
from service.lifecycle.keys.sessions import SESSION_TIME
from service.lifecycle.studies.follow_events import follow_events
from service.settings import Settings
from service.store.sql.tables import web_session
from service.web.pages.sign_in import safe_next
from tests.conftest import FakeClock
from tests.service.hand_worker import spec
from tests.service.keyed import client, client_of, id_of, make_key

OURS = {"Origin": "http://127.0.0.1"}
HTML = {"Accept": "text/html"}
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture(autouse=True)
def nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.gate.REMEMBERED_SECONDS", 0.0)
    monkeypatch.setattr("service.gate.OPEN_SECONDS", 0.0)


def sign_in(browser: TestClient, key: str, next_path: str = "/", **headers: str) -> Any:
    fields = {"key": key, "next": next_path}
    return browser.post("/sign-in", data=fields, headers=OURS | HTML | headers, follow_redirects=False)


def signed_in(app: FastAPI, *scopes: str, name: str = "alice") -> TestClient:
    browser = client(app)
    assert sign_in(browser, make_key(app, name, *scopes)).status_code == 303
    return browser


def token_of(browser: TestClient) -> str:
    """The CSRF token, as the page's scripts find it."""
    [token] = re.findall(r'<meta name="csrf-token" content="([0-9a-f]{64})">', browser.get("/", headers=HTML).text)
    return token


def writing(browser: TestClient) -> dict[str, str]:
    return OURS | {"X-CSRF-Token": token_of(browser)}


def test_a_key_begins_a_session_of_which_only_a_hash_is_stored(app: FastAPI) -> None:
    browser, key = client(app), make_key(app, "alice", "write")
    answer = sign_in(browser, key, "/workers?page_token=a")
    assert (answer.status_code, answer.headers["location"]) == (303, "/workers?page_token=a")
    cookie = answer.headers["set-cookie"]
    assert re.fullmatch(r"spezia_session=[\w-]{43}; HttpOnly; Max-Age=43200; Path=/; SameSite=strict", cookie), (
        "and no Secure without TLS"
    )
    token = browser.cookies["spezia_session"]
    with app.state.parts.store.reading() as tx:
        [row] = tx.connection.execute(web_session.select())
    assert token not in repr(row)
    assert key not in repr(row)
    assert browser.get("/v1/studies").status_code == 200
    page = browser.get("/", headers=HTML).text
    assert ">alice<" in page
    assert token not in page
    assert key not in page


def test_a_session_is_good_at_every_service_on_the_database(app: FastAPI, settings: Settings, clock: FakeClock) -> None:
    browser = signed_in(app, "write")
    another = create_app(settings, clock)
    there = client(another)
    there.cookies.update(browser.cookies)
    assert there.get("/v1/studies").status_code == 200
    another.state.parts.proposer.close()
    another.state.parts.store.close()


def test_a_session_ends_by_signing_out(app: FastAPI) -> None:
    browser = signed_in(app, "read")
    kept = dict(browser.cookies)
    assert browser.post("/sign-out", headers=writing(browser)).status_code == 204
    assert not browser.cookies
    assert browser.get("/v1/studies").status_code == 401
    browser.cookies.update(kept)
    assert browser.get("/v1/studies").status_code == 401


def test_signing_out_counts_at_once_where_the_session_is_remembered(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.gate.REMEMBERED_SECONDS", 60.0)
    browser = signed_in(app, "read")
    kept = dict(browser.cookies)
    browser.post("/sign-out", headers=writing(browser))
    browser.cookies.update(kept)
    assert browser.get("/v1/studies").status_code == 401


def test_a_session_ends_after_twelve_hours(app: FastAPI, clock: FakeClock) -> None:
    browser = signed_in(app, "read")
    clock.advance(SESSION_TIME.total_seconds() - 1)
    assert browser.get("/v1/studies").status_code == 200
    clock.advance(1)
    assert browser.get("/v1/studies").status_code == 401
    signed_in(app, "read", name="bob")
    with app.state.parts.store.reading() as tx:
        assert len(list(tx.connection.execute(web_session.select()))) == 1, "the old one was dropped"


def test_a_session_ends_with_its_key(app: FastAPI) -> None:
    browser, key = client(app), make_key(app, "alice", "read")
    sign_in(browser, key)
    revoke_key(app.state.parts.store, id_of(key))
    assert browser.get("/v1/studies").status_code == 401
    assert sign_in(client(app), key).status_code == 401


@on_sqlite
def test_an_open_stream_ends_with_the_session(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.routes.events.POLL_SECONDS", 0.01)
    browser, key = client(app), make_key(app, "alice", "write")
    sign_in(browser, key)
    browser.post("/v1/studies", json=spec(), headers=writing(browser))
    n_looks = 0

    def look(*arguments: Any) -> Any:
        nonlocal n_looks
        n_looks += 1
        if n_looks == 3:
            revoke_key(app.state.parts.store, id_of(key))
        return follow_events(*arguments)

    monkeypatch.setattr("service.routes.events.follow_events", look)
    assert "event: study" in browser.get("/v1/studies/feedback/events").text
    assert n_looks == 3


@on_sqlite
def test_a_session_has_the_scopes_and_the_owner_of_its_key(app: FastAPI) -> None:
    alice, bob = signed_in(app, "write"), signed_in(app, "read", name="bob")
    assert alice.post("/v1/studies", json=spec(), headers=writing(alice)).json()["owner"] == "alice"
    assert bob.get("/v1/studies/feedback").status_code == 404
    assert bob.post("/v1/studies", json=spec(name="other"), headers=writing(bob)).status_code == 403
    assert alice.get("/keys", headers=HTML).status_code == 403


@on_sqlite
def test_a_session_speaks_no_protocol_of_workers(app: FastAPI) -> None:
    root = signed_in(app, "admin")
    assert root.post("/v1/leases/heartbeat", json={"leases": []}, headers=writing(root)).status_code == 401


@on_sqlite
def test_a_key_for_workers_begins_no_session(app: FastAPI) -> None:
    browser = client(app)
    answer = sign_in(browser, make_key(app, "gpu", "worker"))
    assert answer.status_code == 403
    assert "is for workers" in answer.text
    assert not browser.cookies


@on_sqlite
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://127.0.0.1"},
        {"X-CSRF-Token": "{token}"},
        {"Origin": "https://evil.example", "X-CSRF-Token": "{token}"},
        {"Origin": "null", "X-CSRF-Token": "{token}"},
        {"Origin": "http://127.0.0.1", "X-CSRF-Token": "0" * 64},
        {"Origin": "http://127.0.0.1", "X-CSRF-Token": "größer"},
        {"Origin": "http://127.0.0.1", "X-CSRF-Token": "{token}", "Sec-Fetch-Site": "same-site"},
    ],
)
def test_every_write_by_cookie_shows_its_origin_and_its_token(app: FastAPI, headers: dict[str, str]) -> None:
    browser = signed_in(app, "write")
    sent = {name: value.format(token=token_of(browser)).encode("latin-1") for name, value in headers.items()}
    for method, path in (("POST", "/v1/studies"), ("DELETE", "/v1/studies/none"), ("POST", "/sign-out")):
        answer = browser.request(method, path, headers=sent)  # type: ignore[arg-type]
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), (method, path)
    assert browser.post("/v1/studies", json=spec(), headers=writing(browser)).status_code == 201


@on_sqlite
def test_the_token_of_one_session_is_none_of_another(app: FastAPI) -> None:
    alice, bob = signed_in(app, "write"), signed_in(app, "write", name="bob")
    assert alice.post("/v1/studies", json=spec(), headers=writing(bob)).status_code == 403


@on_sqlite
def test_a_session_is_no_key_and_a_key_is_no_session(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.gate.REMEMBERED_SECONDS", 60.0)
    browser, key = client(app), make_key(app, "alice", "read")
    sign_in(browser, key)
    assert browser.get("/v1/studies").status_code == 200
    token = browser.cookies["spezia_session"]
    assert client(app, token).get("/v1/studies").status_code == 401
    browser.cookies.set("spezia_session", key)
    assert client(app).get("/v1/studies", headers={"Cookie": f"spezia_session={key}"}).status_code == 401


@on_sqlite
def test_without_a_key_there_is_the_sign_in_and_nothing_else(app: FastAPI) -> None:
    make_key(app, "first", "admin")
    stranger = client(app, follow_redirects=False)
    page = stranger.get("/sign-in?next=/workers", headers=HTML)
    assert page.status_code == 200
    assert 'value="/workers"' in page.text
    assert "<nav" not in page.text
    for path in ("/", "/workers", "/studies/feedback", "/new", "/none"):
        assert stranger.get(path, headers=HTML).headers["location"].startswith("/sign-in?next=")


@on_sqlite
@pytest.mark.parametrize("key", ["", "nonsense", "spz_" + "0" * 12 + "_" + "a" * 43, "<script>alert(1)</script>"])
def test_a_wrong_key_is_refused_with_a_reason(app: FastAPI, key: str) -> None:
    make_key(app, "first", "admin")
    browser = client(app)
    answer = sign_in(browser, key)
    assert answer.status_code == 401
    assert 'role="alert"' in answer.text
    assert "<script>alert" not in answer.text
    assert not browser.cookies


@on_sqlite
def test_attempts_to_sign_in_are_limited(settings: Settings, clock: FakeClock) -> None:
    app = create_app(settings.model_copy(update={"requests_per_minute": 3}), clock)
    make_key(app, "first", "admin")
    answers = [sign_in(client(app), "nonsense") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
    assert int(answers[-1].headers["retry-after"]) > 0
    app.state.parts.proposer.close()
    app.state.parts.store.close()


@on_sqlite
def test_nobody_signs_another_in_from_elsewhere(app: FastAPI) -> None:
    key = make_key(app, "mallory", "write")
    browser = client(app)
    assert sign_in(browser, key, Origin="https://evil.example").status_code == 403
    assert not browser.cookies


@on_sqlite
def test_behind_tls_the_cookie_is_secure_and_the_origin_is_the_public_one(settings: Settings, clock: FakeClock) -> None:
    app = create_app(settings.model_copy(update={"public_url": "https://Spezia.example.org/"}), clock)
    key = make_key(app, "alice", "write")
    public = {"Origin": "https://spezia.example.org"}
    browser = client(app)
    answer = sign_in(browser, key, **public)
    assert answer.status_code == 303
    assert "; Secure" in answer.headers["set-cookie"]
    cookie = {"Cookie": answer.headers["set-cookie"].partition(";")[0]}
    page = client(app).get("/", headers=HTML | cookie).text
    [token] = re.findall(r'csrf-token" content="(\w+)"', page)
    sent = public | cookie | {"X-CSRF-Token": token}
    assert client(app).post("/v1/studies", json=spec(), headers=sent).status_code == 201
    app.state.parts.proposer.close()
    app.state.parts.store.close()


@on_sqlite
def test_where_no_key_is_needed_nobody_is_asked_to_sign_in(http: TestClient) -> None:
    answer = http.get("/sign-in?next=/workers", headers=HTML, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/workers")
    assert "data-sign-out" not in http.get("/", headers=HTML).text


@on_sqlite
def test_a_key_in_the_header_needs_no_token_though_a_cookie_comes_along(app: FastAPI) -> None:
    alice = client_of(app, "alice", "write")
    alice.cookies.set("spezia_session", "nonsense")
    assert alice.post("/v1/studies", json=spec()).status_code == 201


@pytest.mark.parametrize(
    ("path", "safe"),
    [
        ("/studies/a?b=c#d", "/studies/a?b=c#d"),
        ("", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("https://evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("studies", "/"),
        ("/\r\nSet-Cookie: a=b", "/"),
    ],
)
def test_signing_in_leads_to_no_other_host(path: str, safe: str) -> None:
    assert safe_next(path) == safe
