"""The page of a new study, in a browser: from a dropped table to a study that runs."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from service.settings import Settings
from spezia.cli.study_file import load_study_file
from spezia.client import Client
from tests.browser.conftest import OpenPage
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
    assert made.fixed["epochs"] == 10
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


def test_a_file_that_is_no_table_says_why(served: tuple[str, Settings], open_page: OpenPage) -> None:
    watched = open_page(served[0])
    watched.expected.append("error: Failed to load resource: the server responded with a status of 422")
    watched.go("/new")
    drop(watched.page, "notes.csv", b"once upon a time")
    expect(watched.page.locator('[data-message-for="data.train"]')).to_contain_text("this is not CSV")
