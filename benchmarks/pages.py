"""What the page of a study of many trials takes in a browser.

    PYTHONPATH=. python benchmarks/pages.py [--trials 10000] [--steps 20]

Needs Chromium. Prints one JSON line for each figure: milliseconds from the request to the first paint and to the drawn
learning curves, of the first visit and of the median of three more; the longest task of the browser's main thread while
the page is scrolled to its end and back, and while 50 evaluations a second are told for 20 s; and the growth of the
heap, in bytes after a collection, by 180,000 events that come as fast as the page takes them.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.pages_api import fill
from service.app import create_app
from service.cli.local_service import local_service
from service.settings import Settings
from service.store import events, studies
from service.store.sql.engine import DatabaseClock, open_engine
from service.store.store import Store
from spezia.contract.event import ValueReported
from tests.fake_engine import FACTS

REPEATS = 3
REPORTS_A_SECOND = 50
SECONDS = 20
N_EVENTS = 180_000

_OBSERVE = """
window.longTasks = [];
new PerformanceObserver((list) => window.longTasks.push(...list.getEntries().map((one) => one.duration)))
  .observe({ type: "longtask", buffered: true });
"""
_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
_REPLAY = """(count) => {
  const study = document.getElementById("study").dataset.study;
  for (let step = 0; step < count; step++) {
    const detail = { study, number: step % 10000, step, value: 0.5 };
    document.dispatchEvent(new CustomEvent("spezia:value", { detail }));
  }
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=20)
    asked = parser.parse_args()
    size = {"trials": asked.trials, "steps": asked.steps}
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder), n_workers=0)
        app = create_app(settings)
        store: Store = app.state.parts.store
        name = fill(store, asked.trials, asked.steps)
        with store.writing() as tx:
            studies.change(tx, studies.lock(tx, name), facts=FACTS)
        app.state.parts.proposer.close()
        store.close()
        with local_service(settings, []) as (url, _), sync_playwright() as playwright:
            options = ["--no-sandbox"] if os.geteuid() == 0 else []
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=options)
            address = f"{url}/studies/{name}"
            visits = [visit(browser, address) for _ in range(1 + REPEATS)]
            for figure in ("first_paint_ms", "curves_ms"):
                first, *again = [one[figure] for one in visits]
                say(figure, size, first=round(first), again=round(statistics.median(again)))
            page = open_page(browser, address)
            say("longest_task_ms, scrolling", size, most=longest_task(page, lambda: scroll(page)))
            told = longest_task(page, lambda: tell(settings, name, page))
            say(f"longest_task_ms, {REPORTS_A_SECOND} reports a second", size, most=told)
            say(f"heap_bytes, {N_EVENTS:,} events", size, grown=heap_growth(page))
            browser.close()


def say(figure: str, size: dict[str, int], **values: Any) -> None:
    print(json.dumps({"figure": figure} | size | values), flush=True)


def open_page(browser: Browser, address: str) -> Page:
    """Open a page in a profile of its own and wait for its curves."""
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.add_init_script(_OBSERVE)
    page.goto(address)
    page.wait_for_selector("#curves canvas")
    return page


def visit(browser: Browser, address: str) -> dict[str, float]:
    """Return when the page was first painted and when its curves were drawn, in milliseconds from its request."""
    page = open_page(browser, address)
    found = {"curves_ms": page.evaluate("performance.now()"), "first_paint_ms": page.evaluate(_PAINT)}
    page.context.close()
    return found


def longest_task(page: Page, act: Any) -> int:
    """Return the longest task in milliseconds while something is done; 0 if none took 50."""
    page.evaluate("window.longTasks.length = 0")
    act()
    return round(max(page.evaluate("window.longTasks"), default=0))


def scroll(page: Page) -> None:
    """Scroll to the end of the page and back, a screen at a time."""
    height = page.evaluate("document.documentElement.scrollHeight")
    for delta in (*[300] * (height // 300 + 1), *[-300] * (height // 300 + 1)):
        page.mouse.wheel(0, delta)
        page.wait_for_timeout(20)


def tell(settings: Settings, name: str, page: Page) -> None:
    """Tell of evaluations from another process' place, as workers' reports do, while the page is open."""
    thread = threading.Thread(target=_tell, args=(settings.database, name))
    thread.start()
    while thread.is_alive():
        page.wait_for_timeout(200)
    thread.join()


def _tell(database: str, name: str) -> None:
    store = Store(open_engine(database), DatabaseClock())
    began = time.monotonic()
    for nth in range(REPORTS_A_SECOND * SECONDS):
        time.sleep(max(0.0, began + nth / REPORTS_A_SECOND - time.monotonic()))
        with store.writing() as tx:
            study = studies.lock(tx, name)
            events.add(tx, study.uuid, study.study_id, ValueReported(number=nth % 100, step=1, value=0.5))
    store.close()


def heap_growth(page: Page) -> int:
    """Return by how many bytes the heap has grown after many events and a collection."""
    session = page.context.new_cdp_session(page)

    def used() -> int:
        session.send("HeapProfiler.collectGarbage")
        return int(session.send("Runtime.getHeapUsage")["usedSize"])

    before = used()
    page.evaluate(_REPLAY, N_EVENTS)
    page.wait_for_timeout(2000)
    return used() - before


if __name__ == "__main__":
    main()
