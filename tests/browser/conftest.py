"""A browser, a service that it visits, and pages that fail their test when the browser complains."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from service.cli.local_service import local_service
from service.settings import Settings

NAMES = ("chromium", "chromium-browser", "google-chrome")
WIDTHS = {"phone": 375, "desk": 1440}
PATIENCE_MS = 30_000
"""How long anything may take: a worker may train beside the browser."""
SHOTS = "SPEZIA_SHOTS"
"""Environment variable that names the folder of the screenshots; without it they are not kept."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium; tests are skipped where there is none, but in CI.

    Of a module, not of the session: while Playwright is there no other test of the process can run an event loop.
    """
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        message = f"no browser: none of {', '.join(NAMES)} is installed (Debian's package is chromium)"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    expect.set_options(timeout=PATIENCE_MS)
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program, args=options)
        yield launched
        launched.close()


@dataclass
class Watched:
    """A page of a browser, and what must not happen on it."""

    page: Page
    url: str
    """Address of the service."""
    problems: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    """Beginnings of complaints that this test is about, such as the status of a page that is not there."""

    def __post_init__(self) -> None:
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        self.page.on("request", self._see)
        self.page.add_init_script(
            "addEventListener('securitypolicyviolation', event => console.error('policy: ' + event.violatedDirective))"
        )

    def go(self, path: str) -> None:
        """Open a page of the service."""
        self.page.goto(self.url + path)

    def check(self) -> None:
        """Fail if the browser has complained or has asked another host for something."""
        assert [one for one in self.problems if not one.startswith(tuple(self.expected))] == []

    def shots(self, name: str) -> None:
        """Look at the page on a phone and on a desk, light and dark: nothing sticks out, and axe finds nothing serious.

        Pictures are kept in the folder that SPEZIA_SHOTS names.
        """
        for device, width in WIDTHS.items():
            self.page.set_viewport_size({"width": width, "height": 812 if device == "phone" else 900})
            assert self.page.evaluate("document.documentElement.scrollWidth") <= width, (
                f"{name} is wider than {width} px"
            )
            for scheme in ("light", "dark"):
                self.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                if folder := os.environ.get(SHOTS):
                    Path(folder).mkdir(parents=True, exist_ok=True)
                    self.page.screenshot(path=Path(folder) / f"{name}-{device}-{scheme}.png")
                self.check_axe()

    def check_axe(self) -> None:
        """Fail if axe finds something serious."""
        found: list[dict[str, Any]] = Axe().run(self.page).response["violations"]
        serious = [one for one in found if one["impact"] in ("serious", "critical")]
        assert [f"{one['id']}: {node['html'][:200]}" for one in serious for node in one["nodes"]] == []

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"{message.type}: {message.text}")

    def _see(self, request: Request) -> None:
        if urlsplit(request.url).scheme not in ("data", "blob") and not request.url.startswith(f"{self.url}/"):
            self.problems.append(f"request to {request.url}")


OpenPage = Callable[[str], Watched]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Opens pages of a service, each in a profile of its own, and checks at the end what the browser said of them."""
    opened: list[Watched] = []

    def open_one(url: str) -> Watched:
        # with fading colours axe would measure one on its way from light to dark
        context = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
        context.set_default_timeout(PATIENCE_MS)
        opened.append(Watched(context.new_page(), url))
        return opened[-1]

    yield open_one
    for one in opened:
        one.page.context.close()
    for one in opened:
        one.check()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Settings]]:
    """The address and the settings of a service without workers."""
    settings = Settings(home=tmp_path_factory.mktemp("home"), n_workers=0)
    with local_service(settings, []) as (url, _):
        yield url, settings
