"""The page of a new study, in a browser: from a dropped table to a study that runs."""

import json
from pathlib import Path
from typing import cast

import httpx2
import pytest
from fastapi.testclient import TestClient
from playwright.sync_api import Page, expect

from service.lifecycle.keys.create_key import create_key
from service.settings import Settings
from service.store.sql.engine import DatabaseClock, open_engine
from service.store.store import Store
from spezia.cli.study_file import load_study_file
from spezia.client import Client
from spezia.contract.key import Scope
from tests.browser.conftest import OpenPage
from tests.service.hand_worker import HandWorker
from tests.service.stories.test_datasets import parquet
from tests.spezia.common.test_guess_columns import TEXTS, cycle, table

pytestmark = pytest.mark.slow

REVIEWS = table(review=TEXTS, stars=cycle(1, 2, 3), shop=cycle("<b>north</b>", "<img src=x onerror=alert(1)>"))

DROP = """([name, text]) => {
    const dropped = new DataTransfer();
    dropped.items.add(new File([text], name));
    document.getElementById("drop").dispatchEvent(new DragEvent("drop", {dataTransfer: dropped, bubbles: true}));
}"""


def drop(page: Page, name: str = "reviews.csv", content: bytes = REVIEWS) -> None:
    page.wait_for_selector("form[data-is-ready]")
    page.evaluate(DROP, [name, content.decode()])


def test_a_dropped_table_becomes_a_study(served: tuple[str, Settings], open_page: OpenPage, tmp_path: Path) -> None:
    watched = open_page(served[0])
    page = watched.page
    watched.go("/new")
    drop(page)
    expect(page.locator("#file-note")).to_contain_text("reviews.csv: 40 rows of 3 columns")
    expect(page.locator("#preview")).to_contain_text("<img src=x onerror=alert(1)>")
    expect(page.locator("#task")).to_have_value("text-classification")
    expect(page.locator("#checked")).to_contain_text("Can run")
    watched.shots("new-study")

    page.set_input_files("#test", {"name": "test.csv", "mimeType": "text/csv", "buffer": REVIEWS + b"one more,1,<b>\n"})
    expect(page.locator("#yaml")).to_contain_text("test: ")
    page.select_option("#column-label", "shop")
    page.select_option("#pruner", "none")
    page.fill("#name", "from the page")
    expect(page.locator('[data-message-for="name"]')).to_be_visible()
    expect(page.locator("#create")).to_be_disabled()
    page.fill("#name", "from-the-page")
    page.fill('[aria-label="Highest of learning_rate"]', "0.0004")
    expect(page.locator("#create")).to_be_enabled()
    text = page.locator("#yaml").text_content()
    assert text is not None
    (tmp_path / "study.yaml").write_text(text)
    page.click("#create")
    page.wait_for_url("**/studies/from-the-page")
    with Client(served[0]) as client:
        made = client.get_study("from-the-page").spec
    assert made.data is not None
    assert made.data.columns == {"text": "review", "label": "shop"}
    assert made.search_space["learning_rate"].high == 0.0004  # type: ignore[union-attr]
    assert (made.pruner.name, made.fixed["epochs"]) == ("none", 20)
    written = load_study_file(tmp_path / "study.yaml")
    assert (written.data, written.search_space["learning_rate"]) == (made.data, made.search_space["learning_rate"])
    watched.expected.append("error: Failed to load resource")  # there may be no page of a study without trials


def test_another_task_is_guessed_anew_and_posted_by_keyboard(served: tuple[str, Settings], open_page: OpenPage) -> None:
    watched = open_page(served[0])
    page = watched.page
    watched.go("/new")
    drop(page)
    expect(page.locator("#checked")).to_contain_text("Can run")
    page.locator("#task").focus()
    page.keyboard.type("text-regression")
    page.keyboard.press("Tab")
    expect(page.locator("#yaml")).to_contain_text("task: text-regression")
    expect(page.locator("#column-label")).to_have_value("stars")
    expect(page.locator("#checked")).to_contain_text("Can run")
    body = json.loads((page.locator("#curl").text_content() or "").split("-d '", 1)[1].rsplit("'", 1)[0])
    assert (body["task"], body["data"]["columns"]) == ("text-regression", {"text": "review", "label": "stars"})


def test_ranges_with_conditions_are_edited_and_the_study_file_is_copied(
    served: tuple[str, Settings], open_page: OpenPage
) -> None:
    watched = open_page(served[0])
    page = watched.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    watched.go("/new")
    drop(page)
    page.select_option("#preset", "encoder-methods")
    expect(page.locator('[data-param="learning_rate"] .range:visible')).to_have_count(3)
    page.fill('[aria-label="Highest of learning_rate where method is lora"]', "0.002")
    expect(page.locator("#checked")).to_contain_text("Can run")
    page.click("summary:has-text('As a study file')")
    page.click('[data-copy-from="yaml"]')
    expect(page.locator(".toast")).to_contain_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.locator("#yaml").text_content()
    assert "{when: {method: lora}, type: float, low: 0.00005, high: 0.002, log: true}" in copied
    page.select_option('[aria-label="Values of learning_rate"]', "fixed")
    page.fill('[aria-label="Value of learning_rate"]', "0.0003")
    expect(page.locator("#yaml")).to_contain_text("learning_rate: 0.0003")
    expect(page.locator('[data-param="learning_rate"] .range:visible')).to_have_count(1)
    expect(page.locator("#checked")).to_contain_text("Can run")


def test_a_file_that_is_no_table_says_why(served: tuple[str, Settings], open_page: OpenPage) -> None:
    watched = open_page(served[0])
    watched.expected.append("error: Failed to load resource: the server responded with a status of 422")
    watched.go("/new")
    drop(watched.page, "notes.csv", b"once upon a time")
    expect(watched.page.locator('[data-message-for="data.train"]')).to_contain_text("this is not CSV")


def test_columns_of_parquet_are_named_by_hand_until_a_worker_has_read_it(
    served: tuple[str, Settings], open_page: OpenPage
) -> None:
    watched = open_page(served[0])
    page = watched.page
    watched.go("/new")
    page.wait_for_selector("form[data-is-ready]")
    page.set_input_files("#file", {"name": "talks.parquet", "mimeType": "", "buffer": parquet()})
    expect(page.locator("#file-note")).to_contain_text("name task and columns yourself")  # there is no worker
    expect(page.locator("#preview")).to_be_hidden()
    page.fill("#column-label", "intent")
    expect(page.locator("#yaml")).to_contain_text("columns: {text: text, label: intent}")
    expect(page.locator("#checked")).to_contain_text("Can run")
    _read_parquet(served[0])
    expect(page.locator("#file-note")).to_contain_text("talks.parquet: 40 rows of 2 columns")
    expect(page.locator("#preview")).to_contain_text("<b>talk</b>")
    expect(page.locator("#yaml")).to_contain_text("columns: {text: text, label: intent}")  # what a person has said


def test_the_guess_of_a_worker_is_taken(served: tuple[str, Settings], open_page: OpenPage) -> None:
    watched = open_page(served[0])
    page = watched.page
    watched.go("/new")
    page.wait_for_selector("form[data-is-ready]")
    content = parquet() + b"PAR1"  # another file, which nobody has read
    page.set_input_files("#file", {"name": "talks.parquet", "mimeType": "", "buffer": content})
    expect(page.locator("#file-note")).to_contain_text("not shown yet")
    _read_parquet(served[0])
    expect(page.locator("#yaml")).to_contain_text("columns: {text: talk, label: intent}")


def _read_parquet(url: str) -> None:
    """What a worker does."""
    with httpx2.Client(base_url=url) as http:
        worker = HandWorker(cast("TestClient", http))
        to_read = http.post(f"/v1/workers/{worker.worker_id}/dispatch", json={}).json()["to_read"]
        rows = [{"talk": f"a <b>talk</b> about {number}", "intent": "ab"[number % 2]} for number in range(40)]
        head = {"lines": "\n".join(map(json.dumps, rows)), "n_columns": 2, "n_rows": 40}
        told = http.post(f"/v1/workers/{worker.worker_id}/heads/{to_read['sha256']}", json={"head": head})
        assert told.status_code == 204


def test_whoever_signs_in_begins_a_study_of_their_own(served: tuple[str, Settings], open_page: OpenPage) -> None:
    url, settings = served  # the last test here: from now on the service asks for keys
    engine = open_engine(settings.database)
    alice = create_key(Store(engine, DatabaseClock()), "alice", [Scope.WRITE])
    engine.dispose()
    watched = open_page(url)
    page = watched.page
    page.wait_for_timeout(1500)  # so long a service may stay open after its first key was made
    watched.go("/new")
    page.get_by_label("API key").fill(alice)
    page.keyboard.press("Enter")
    drop(page)
    expect(page.locator("#checked")).to_contain_text("Can run")
    expect(page.locator("#curl")).to_contain_text("Bearer $SPEZIA_API_KEY")
    watched.expected.append("error: Failed to load resource")  # there may be no page of a study without trials
    page.fill("#name", "of-alice")
    expect(page.locator("#create")).to_be_enabled()
    page.click("#create")
    page.wait_for_url("**/studies/of-alice")
    with Client(url, alice) as client:
        assert client.get_study("of-alice").owner == "alice"
