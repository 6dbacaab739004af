"""The frame of the pages, as people see it: empty, full, narrow, dark, by keyboard, signed in and out."""

from datetime import timedelta

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from service.lifecycle.keys.create_key import create_key
from service.settings import Settings
from service.store.sql.engine import DatabaseClock, open_engine
from service.store.store import Store
from spezia.client import Client
from spezia.contract.key import Scope
from spezia.contract.study_spec import StudySpec
from tests.browser.conftest import WIDTHS, OpenPage
from tests.service.hand_worker import spec


def test_an_empty_service_says_how_to_begin(open_page: OpenPage, served: tuple[str, Settings]) -> None:
    url, _ = served
    seen = open_page(url)
    seen.go("/")
    expect(seen.page.get_by_role("heading", name="No study yet")).to_be_visible()
    expect(seen.page.get_by_text("spezia run study.yaml")).to_be_visible()
    seen.page.keyboard.press("Tab")
    expect(seen.page.get_by_role("link", name="Skip to content")).to_be_focused()
    seen.page.keyboard.press("Enter")
    assert seen.page.evaluate("document.activeElement.id") == "main"


@pytest.mark.slow
def test_each_page_can_be_used_on_a_phone_and_in_the_dark(open_page: OpenPage, served: tuple[str, Settings]) -> None:
    url, settings = served
    seen = open_page(url)
    for path, name in (("/", "studies-empty"), ("/workers", "workers-empty"), ("/webhooks", "webhooks-empty")):
        seen.go(path)
        seen.shots(name)
    with Client(url) as client:
        for index in range(30):
            client.create_study(StudySpec.model_validate(spec(name=f"customer-feedback-{index:02}")))
        for index, end in ((3, client.pause), (4, client.cancel), (5, client.stop)):
            end(f"customer-feedback-{index:02}")
    seen.go("/?order_by=name")
    seen.shots("studies")
    seen.page.get_by_role("link", name="Paused").click()
    expect(seen.page.get_by_role("link", name="customer-feedback-03")).to_be_visible()
    expect(seen.page.get_by_role("link", name="customer-feedback-04")).to_be_hidden()
    seen.page.get_by_role("link", name="All", exact=True).click()
    seen.page.get_by_role("searchbox").fill("customer-feedback-1")
    seen.page.keyboard.press("Enter")
    expect(seen.page.get_by_role("link", name="customer-feedback-17")).to_be_visible()
    expect(seen.page.get_by_role("link", name="customer-feedback-05")).to_have_count(0)
    seen.go("/docs")
    expect(seen.page.get_by_text("Create a study and start it")).to_be_visible()
    for scheme in ("light", "dark"):
        seen.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        expect(seen.page.locator(".swagger-ui").first).to_have_css("background-color", "rgba(0, 0, 0, 0)")
        pale = Axe().run(seen.page, options={"runOnly": ["color-contrast"]}).response["violations"]
        assert [node["html"] for one in pale for node in one["nodes"]] == []
    seen.page.set_viewport_size({"width": WIDTHS["phone"], "height": 812})
    seen.page.get_by_text("Create a study and start it").click()
    expect(seen.page.get_by_role("button", name="Try it out")).to_be_visible()
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= WIDTHS["phone"]
    assert seen.page.evaluate("document.getElementById('swagger-ui').scrollWidth") <= WIDTHS["phone"]
    seen.expected.append("error: Failed to load resource: the server responded with a status of 404")
    seen.go("/nothing/here")
    seen.shots("not-found")
    _sign_in_and_out(open_page, url, settings)


def _sign_in_and_out(open_page: OpenPage, url: str, settings: Settings) -> None:
    engine = open_engine(settings.database)
    store = Store(engine, DatabaseClock())
    root = create_key(store, "root", [Scope.ADMIN], timedelta(days=7))
    alice = create_key(store, "alice", [Scope.WRITE])
    engine.dispose()
    seen = open_page(url)
    seen.page.wait_for_timeout(1500)  # so long a service may stay open after its first key was made
    seen.go("/workers")
    expect(seen.page).to_have_url(f"{url}/sign-in?next=%2Fworkers")
    seen.shots("sign-in")
    seen.expected.append("error: Failed to load resource: the server responded with a status of 401")
    seen.page.get_by_label("API key").fill("nonsense")
    seen.page.keyboard.press("Enter")
    expect(seen.page.get_by_role("alert")).to_contain_text("not an API key")
    seen.page.get_by_label("API key").fill(root)
    seen.page.keyboard.press("Enter")
    expect(seen.page).to_have_url(f"{url}/workers")
    for path, name in (("/keys", "keys"), ("/", "studies-admin")):
        seen.go(path)
        seen.shots(name)
    seen.page.get_by_role("button", name="Sign out").click()
    expect(seen.page).to_have_url(f"{url}/sign-in")
    seen.page.get_by_label("API key").fill(alice)
    seen.page.get_by_role("button", name="Sign in").click()
    expect(seen.page.get_by_role("heading", name="No study yet")).to_be_visible()
    expect(seen.page.get_by_role("link", name="Keys")).to_have_count(0)
