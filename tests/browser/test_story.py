"""One whole story in a browser, by the keyboard alone: from a key and a CSV to a best model, with a real worker.

Another owner looks on all the while, and sees nothing of it.
"""

import csv
import io
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Locator, Page, expect

from service.cli.local_service import local_service
from service.lifecycle.keys.create_key import create_key
from service.settings import Settings
from service.store.sql.engine import DatabaseClock, open_engine
from service.store.sql.migrate import migrate
from service.store.store import Store
from spezia.client import Client
from spezia.contract.best_trial import BestTrial
from spezia.contract.key import Scope
from tests.browser.conftest import OpenPage, Watched
from tests.browser.keyboard import Keyboard
from tests.trainer import tiny

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

N_TRIALS = 4
PATIENCE_MS = 180_000
"""How long one step of the story may take: a worker may start while the machine is busy."""

POLL_MS = 200

HEARD = """() => {
    window.heard = [];
    for (const kind of ["study", "trial", "value", "replay"]) {
        document.addEventListener(`spezia:${kind}`, event => window.heard.push(event.detail));
    }
}"""


def moods() -> bytes:
    """A table of a column of texts and two that may be their classes, of which the first is not meant."""
    text = io.StringIO()
    rows = [(said, ("web", "mail", "phone")[n % 2], mood) for n, (said, mood) in enumerate(tiny.make_examples(600, 0))]
    csv.writer(text).writerows([("message", "label", "mood"), *rows])
    return text.getvalue().encode()


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str], Path]]:
    """The address of a service with a worker, keys by their owners, and the folder of a model that trains fast."""
    settings = Settings(home=tmp_path_factory.mktemp("home"), n_workers=1)
    model = tiny.save_bert(tmp_path_factory.mktemp("models") / "tiny-bert")
    engine = open_engine(settings.database)
    migrate(engine)
    store = Store(engine, DatabaseClock())
    scopes = {"alice": Scope.WRITE, "bob": Scope.WRITE, "root": Scope.ADMIN}
    keys = {name: create_key(store, name, [scope], timedelta(days=7)) for name, scope in scopes.items()}
    engine.dispose()
    with local_service(settings, [model.parent]) as (url, _):
        yield url, keys, model


class Visitor:
    """Somebody at a keyboard, before a page of the service."""

    def __init__(self, seen: Watched) -> None:
        self.seen = seen
        self.page: Page = seen.page
        self.keyboard = Keyboard(seen.page)

    def sign_in(self, key: str) -> None:
        self.seen.go("/")
        expect(self.page.get_by_label("API key")).to_be_focused()
        self.page.keyboard.type(key)
        self.page.keyboard.press("Enter")
        expect(self.page.get_by_role("heading", name="No study yet")).to_be_visible()

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def link(self, name: str) -> Locator:
        return self.page.get_by_role("link", name=name, exact=True)

    def stay(self) -> None:
        """Mark the page, so that `check_stayed` can tell whether it was loaded again."""
        self.page.evaluate("window.isTheSame = true")

    def check_stayed(self) -> None:
        assert self.page.evaluate("window.isTheSame === true")


def test_from_a_csv_to_the_best_params_by_keyboard_alone(
    open_page: OpenPage, keyed: tuple[str, dict[str, str], Path]
) -> None:
    url, keys, model = keyed
    alice, bob = Visitor(open_page(url)), Visitor(open_page(url))
    alice.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    alice.seen.go("/")
    alice.seen.shots("story-sign-in")
    alice.sign_in(keys["alice"])
    bob.sign_in(keys["bob"])
    bob.page.evaluate(HEARD)

    _create(alice, model)
    _watch(alice)
    _read_a_log(alice)
    _watch_to_the_end(alice)
    with Client(url, keys["alice"]) as client:
        best = client.best("moods")
    assert isinstance(best, BestTrial)
    _copy_the_best(alice, best)
    _compare_two(alice)
    _see_workers(alice)
    _see_nothing(bob)
    _sign_out(alice)


def _create(alice: Visitor, model: Path) -> None:
    page, keyboard = alice.page, alice.keyboard
    keyboard.press(page.get_by_role("link", name="New study").first)
    page.wait_for_selector("form[data-is-ready]")
    keyboard.upload(page.locator("#file"), "moods.csv", moods())
    expect(page.locator("#file-note")).to_contain_text("moods.csv: 600 rows of 3 columns")
    expect(page.locator("#preview tbody tr").first).to_be_visible()
    expect(page.locator("#column-label")).to_have_value("label")
    keyboard.choose(page.locator("#column-label"), "mood")
    expect(page.get_by_text("its name is that of a label")).to_be_hidden()
    expect(page.locator("#preview th[data-is-read]")).to_have_text(["message", "mood"])
    keyboard.write(page.locator("#model"), str(model))
    keyboard.write(page.locator("#n-trials"), str(N_TRIALS))
    keyboard.write(page.get_by_label("Value of epochs"), "12")
    expect(page.locator("#checked")).to_contain_text("Can run")
    expect(alice.button("Create study")).to_be_enabled()
    alice.seen.shots("story-new")
    keyboard.press(page.locator("summary", has_text="As a study file"))
    keyboard.press(page.locator('[data-copy-from="yaml"]'))
    assert "columns: {text: message, label: mood}" in _clipboard(alice)
    keyboard.press(alice.button("Create study"))
    page.wait_for_url("**/studies/moods")


def _watch(alice: Visitor) -> None:
    """Curves grow and states change on a page that is not loaded again; pause and resume."""
    page, keyboard = alice.page, alice.keyboard
    alice.stay()
    expect(page.locator("#state .badge-running")).to_be_visible()
    expect(page.locator("#state .key-running")).to_contain_text("1 running", timeout=PATIENCE_MS)
    expect(page.locator("#curves canvas")).to_be_visible(timeout=PATIENCE_MS)
    _changes(page, "document.querySelector('#curves canvas').toDataURL()")
    expect(page.locator("#state")).to_contain_text(f"1 of {N_TRIALS} ended", timeout=PATIENCE_MS)
    keyboard.press(alice.button("Pause"))
    expect(page.locator("#state .badge-paused")).to_be_visible()
    expect(page.locator("#state .key-running")).to_have_count(0, timeout=PATIENCE_MS)
    alice.seen.shots("story-study-paused")
    keyboard.press(alice.button("Resume"))
    expect(page.locator("#state .badge-running")).to_be_visible()
    expect(page.locator("#state .key-running")).to_contain_text("1 running", timeout=PATIENCE_MS)
    alice.check_stayed()


def _read_a_log(alice: Visitor) -> None:
    page, keyboard = alice.page, alice.keyboard
    running = page.locator("#trials tbody tr", has=page.locator(".badge-running")).locator("th a")
    keyboard.press(running)
    page.wait_for_url("**/studies/moods/trials/*")
    alice.stay()
    expect(page.locator("#metric-charts canvas").first).to_be_visible(timeout=PATIENCE_MS)
    _changes(page, "document.getElementById('log').textContent")
    expect(page.get_by_label("Follow")).to_be_checked()
    expect(page.locator("#trial-state .badge-running")).to_have_count(0, timeout=PATIENCE_MS)
    expect(page.locator("#attempts")).not_to_contain_text("runs")
    alice.check_stayed()
    expect(page.locator("#log")).not_to_contain_text("it/s]")  # a progress bar
    alice.seen.shots("story-trial")
    keyboard.press(alice.link("moods"))
    page.wait_for_url("**/studies/moods")


def _watch_to_the_end(alice: Visitor) -> None:
    page = alice.page
    alice.stay()
    expect(page.locator("#state .badge-complete")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.locator("#state")).to_contain_text(f"{N_TRIALS} of {N_TRIALS} ended")
    expect(page.locator("#best-title")).to_contain_text("Best: trial")
    alice.check_stayed()
    alice.seen.shots("story-study")


def _copy_the_best(alice: Visitor, best: BestTrial) -> None:
    page, keyboard = alice.page, alice.keyboard
    for name in ("json", "arguments", "curl", "python"):
        keyboard.press(page.locator(f"#snippet-{name} summary"))
        keyboard.press(page.locator(f"#snippet-{name} button"))
        expect(page.locator(".toast").last).to_contain_text("Copied")
        copied = _clipboard(alice)
        assert copied == page.locator(f"#snippet-text-{name}").text_content()
        if name == "json":
            assert json.loads(copied) == best.params
    assert "client.best('moods')" in copied


def _compare_two(alice: Visitor) -> None:
    page, keyboard = alice.page, alice.keyboard
    for number in (0, 1):
        keyboard.press(page.get_by_label(f"Compare trial {number}", exact=True), "Space")
    keyboard.press(alice.button("Compare the chosen trials"))
    page.wait_for_url("**/studies/moods/compare?**")
    expect(page.locator("#compare-table thead th")).to_have_text(["trial 1", "trial 0"])
    expect(page.locator("#compare-chart canvas")).to_be_visible()
    alice.seen.shots("story-compare")


def _see_workers(alice: Visitor) -> None:
    alice.keyboard.press(alice.link("Workers"))
    expect(alice.page.locator("table .badge-idle")).to_be_visible()
    alice.seen.shots("story-workers")
    alice.keyboard.press(alice.link("Studies"))
    expect(alice.link("moods")).to_be_visible()
    alice.seen.shots("story-studies")


def _see_nothing(bob: Visitor) -> None:
    """Neither in the list, which has listened all the time, nor by any address."""
    assert bob.page.evaluate("window.heard") == []
    expect(bob.page.get_by_role("heading", name="No study yet")).to_be_visible()
    bob.seen.expected.append("error: Failed to load resource: the server responded with a status of 404")
    for path in ("", "/trials/0", "/compare?trials=0,1"):
        bob.seen.go(f"/studies/moods{path}")
        expect(bob.page.get_by_role("heading", name="There is nothing here")).to_be_visible()
    for path in ("", "/best", "/trials", "/curves", "/events", "/trials/0/log", "/plots/history"):
        status = bob.page.evaluate("path => fetch(path).then(answer => answer.status)", f"/v1/studies/moods{path}")
        assert status == 404, path
    bob.seen.go("/workers")
    expect(bob.page.locator("main")).not_to_contain_text("moods")


def _sign_out(alice: Visitor) -> None:
    cookies = {one["name"]: one["value"] for one in alice.page.context.cookies()}  # type: ignore[typeddict-item]
    assert cookies
    alice.keyboard.press(alice.button("Sign out"))
    alice.page.wait_for_url("**/sign-in")
    with httpx2.Client(base_url=alice.seen.url, cookies=cookies) as kept:
        assert kept.get("/v1/studies").status_code == 401
    alice.seen.go("/studies/moods")
    alice.page.wait_for_url("**/sign-in?next=%2Fstudies%2Fmoods")


def _changes(page: Page, expression: str) -> None:
    """Wait until what is shown has become something else; the page's policy lets Playwright not wait inside of it."""
    before = page.evaluate(expression)
    for _ in range(PATIENCE_MS // POLL_MS):
        page.wait_for_timeout(POLL_MS)
        if page.evaluate(expression) != before:
            return
    raise AssertionError(f"{expression} has not changed")


def _clipboard(alice: Visitor) -> str:
    text: str = alice.page.evaluate("navigator.clipboard.readText()")
    return text
