"""What all pages have in common: their policy, their files, their errors, and that text stays text."""

import re

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.web.frame import POLICY
from service.web.pages import workers
from service.web.static_files import static_url
from tests.service.hand_worker import spec
from tests.service.keyed import client, client_of, make_key

HTML = {"Accept": "text/html,application/xhtml+xml"}
PAGES = ("/", "/workers", "/webhooks", "/keys")
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_pages_load_nothing_from_elsewhere_and_hold_nothing_inline(http: TestClient) -> None:
    for path in PAGES:
        answer = http.get(path, headers=HTML)
        assert (answer.status_code, answer.headers["content-security-policy"]) == (200, POLICY)
        assert answer.headers["cache-control"] == "no-store"
        assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=", answer.text), path
        for address in re.findall(r'(?:src|href|action)="([^"]*)"', answer.text):
            assert address.startswith(("/", "#")), address
    assert "unsafe" not in POLICY
    assert "*" not in POLICY


def test_files_of_pages_are_kept_for_good_under_a_hashed_name(http: TestClient) -> None:
    for name, media_type in {
        "app.js": "text/javascript",
        "spezia.css": "text/css",
        "icon.svg": "image/svg+xml",
    }.items():
        answer = http.get(static_url(name))
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["content-type"].startswith(media_type)
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/static/0000000000000000/app.js", "{tree}/none.js", "{tree}/../frame.py", "{tree}/"])
def test_only_files_of_pages_are_served(http: TestClient, path: str) -> None:
    tree = static_url("app.js").removesuffix("/app.js")
    assert http.get(path.format(tree=tree)).status_code == 404
    assert http.get(path.format(tree=tree).replace("..", "%2e%2e")).status_code == 404


def test_a_person_gets_a_page_of_an_error_and_a_program_the_document(http: TestClient) -> None:
    page = http.get("/none", headers=HTML)
    assert (page.status_code, page.headers["content-security-policy"]) == (404, POLICY)
    assert page.headers["content-type"].startswith("text/html")
    assert "There is nothing here" in page.text
    assert http.get("/none").json()["code"] == "not-found"
    assert http.get("/v1/none", headers=HTML).json()["code"] == "not-found"


def test_an_unexpected_error_is_a_page_that_says_what_to_do(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "list_workers", lambda *_: 1 / 0)
    visitor = client(app, raise_server_exceptions=False)
    answer = visitor.get("/workers", headers=HTML | {"X-Request-ID": "the-number"})
    assert (answer.status_code, answer.headers["content-security-policy"]) == (500, POLICY)
    assert answer.headers["x-request-id"] == "the-number"
    assert "The service has failed" in answer.text
    assert "Try again" in answer.text
    assert "request the-number" in answer.text
    assert visitor.get("/workers").json()["code"] == "internal"


def test_whoever_shows_no_key_is_sent_to_sign_in_and_back(app: FastAPI) -> None:
    make_key(app, "first", "admin")
    stranger = client(app, follow_redirects=False)
    answer = stranger.get("/workers?page_token=a%26b", headers=HTML)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=%2Fworkers%3Fpage_token%3Da%2526b")
    assert answer.text == ""
    assert stranger.get("/").status_code == 401
    assert stranger.get(static_url("app.js")).status_code == 200


def test_pages_of_all_owners_are_for_admins(app: FastAPI) -> None:
    alice, root = client_of(app, "alice", "write"), client_of(app, "root", "admin")
    for path in ("/webhooks", "/keys"):
        assert alice.get(path, headers=HTML).status_code == 403
        assert root.get(path, headers=HTML).status_code == 200
    assert 'href="/keys"' not in alice.get("/", headers=HTML).text
    assert 'href="/keys"' in root.get("/", headers=HTML).text


def test_studies_show_their_state_and_only_ones_own(app: FastAPI) -> None:
    alice, bob = client_of(app, "alice", "write"), client_of(app, "bob", "write")
    assert "No study yet" in alice.get("/", headers=HTML).text
    alice.post("/v1/studies", json=spec())
    shown = alice.get("/", headers=HTML).text
    assert "badge-running" in shown
    assert 'href="/studies/feedback"' in shown
    assert "feedback" not in bob.get("/", headers=HTML).text


def test_studies_are_filtered_searched_and_paged_by_the_service(http: TestClient) -> None:
    for index in range(27):
        http.post("/v1/studies", json=spec(name=f"study-{index:02}"))
    http.post("/v1/studies/study-03/pause")
    first = http.get("/?order_by=name", headers=HTML).text
    assert "study-24" in first
    assert "study-25" not in first
    [following] = re.findall(r'href="([^"]*)" rel="next"', first)
    assert re.findall(r">(study-\d+)<", http.get(following.replace("&amp;", "&"), headers=HTML).text) == [
        "study-25",
        "study-26",
    ]
    assert re.findall(r">(study-\d+)<", http.get("/?state=paused", headers=HTML).text) == ["study-03"]
    assert re.findall(r">(study-\d+)<", http.get("/?search=Study-1&order_by=name", headers=HTML).text) == [
        f"study-{index}" for index in range(10, 20)
    ]
    assert re.findall(r">(study-\d+)<", http.get("/?search=UDY-13", headers=HTML).text) == ["study-13"]
    assert "No study is like that" in http.get("/?search=<script>", headers=HTML).text


def test_what_people_have_typed_is_shown_as_text(http: TestClient) -> None:
    typed = '"><script>alert(1)</script>{{ 7 * 7 }}'
    answer = http.get("/", params={"search": typed}, headers=HTML)
    assert "<script>alert" not in answer.text
    assert "&#34;&gt;&lt;script&gt;" in answer.text
    assert "{{ 7 * 7 }}" in answer.text


def test_webhooks_show_where_they_post_and_never_their_secret(http: TestClient) -> None:
    made = http.post("/v1/webhooks", json={"url": "https://hooks.example/in"}).json()
    shown = http.get("/webhooks", headers=HTML).text
    assert "https://hooks.example/in" in shown
    assert made["secret"] not in shown


def test_keys_are_shown_by_name_id_and_state_alone(app: FastAPI) -> None:
    key = make_key(app, "root", "admin")
    shown = client(app, key).get("/keys", headers=HTML).text
    assert key.split("_")[1] in shown
    assert key.split("_", 2)[2] not in shown
