"""Each page as it is shown to strangers: the demo's study, carried out by a real worker, beside some others.

With `SPEZIA_SHOTS=FOLDER` the pictures of `docs/images/` are made, as `FOLDER/docs/NAME.png`.
"""

import os
import time
from collections.abc import Iterator
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import httpx2
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from service.cli.local_service import local_service
from service.lifecycle.keys.create_key import create_key
from service.lifecycle.keys.revoke_key import revoke_key
from service.settings import Settings
from service.store.sql.engine import DatabaseClock, open_engine
from service.store.store import Store
from spezia.cli.study_file import load_study_file
from spezia.client import Client
from spezia.contract.key import Scope
from tests.browser.conftest import SHOTS, OpenPage, Watched
from tests.browser.test_new_study import drop

FEEDBACK = Path(__file__).parents[2] / "examples" / "feedback"
WIDTH, LEAST_HEIGHT, MOST_HEIGHT = 1200, 420, 1560
BELOW = 6
"""Pixels below the last part of a picture: less than there are between two parts."""
COLOURS = 256
PATIENCE_SECONDS = 900

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Settings]]:
    """The address and the settings of a service on which the demo's study has ended and others have not."""
    settings = Settings(home=tmp_path_factory.mktemp("home"), n_workers=1)
    with local_service(settings, [FEEDBACK]) as (url, _), Client(url) as client:
        study = load_study_file(FEEDBACK / "study.yaml")
        client.create_study(study).wait()
        for name, changes in {
            "feedback-longer": {"n_trials": 40},
            "feedback-lora": {"n_trials": 12},
            "feedback-balanced": {"n_trials": 20},
            "feedback-large-batches": {"n_trials": 16},
        }.items():
            client.create_study(study.model_copy(update={"name": name, **changes}))
        client.cancel("feedback-lora")
        client.pause("feedback-balanced")
        client.pause("feedback-large-batches")
        for body in (
            {"url": "https://hooks.example.org/spezia", "events": ["study.changed", "best.improved"]},
            {"url": "https://chat.example.org/in/ml-team", "study": "feedback-balanced"},
        ):
            httpx2.post(f"{url}/v1/webhooks", json=body).raise_for_status()
        ends_at = time.monotonic() + PATIENCE_SECONDS
        while client.get_study("feedback-longer").n_finished < 1 and time.monotonic() < ends_at:
            time.sleep(1)
        yield url, settings


def test_each_page_is_one_to_show_to_strangers(demo: tuple[str, Settings], open_page: OpenPage) -> None:
    url, settings = demo
    seen = open_page(url)
    # drawing with WebGL on a machine without a GPU
    seen.expected.append("warning: [.WebGL")
    with Client(url) as client:
        best = client.best("customer-feedback").number  # type: ignore[union-attr]
    for path, name, awaited in (
        ("/", "studies", ".spark"),
        ("/studies/customer-feedback", "study", "#curves canvas"),
        ("/studies/feedback-longer", "study-running", "#curves canvas"),
        (f"/studies/customer-feedback/trials/{best}", "trial", "#metric-charts canvas"),
        (f"/studies/customer-feedback/compare?trials={best},0,3", "compare", "#compare-chart canvas"),
        ("/workers", "workers", "table .badge"),
        ("/webhooks", "webhooks", "table .badge"),
        ("/docs", "docs", ".opblock"),
    ):
        seen.go(path)
        expect(seen.page.locator(awaited).first).to_be_visible()
        _picture(seen, name, has_axe=name != "docs")
    seen.go("/new")
    drop(seen.page, "customer-messages.csv", (FEEDBACK / "train.csv").read_bytes())
    expect(seen.page.locator("#checked")).to_contain_text("Can run")
    _picture(seen, "new")
    _plots(seen)
    _keys(seen, settings)


def _plots(seen: Watched) -> None:
    seen.go("/studies/customer-feedback")
    for kind in ("History", "Parallel coordinates", "Importances", "Slice", "Timeline"):
        seen.page.get_by_role("button", name=kind).click()
        expect(seen.page.locator("#plot-note")).to_have_text("", timeout=60_000)
        expect(seen.page.locator("#plot .main-svg").first).to_be_visible()
        seen.page.locator("#plots-title").scroll_into_view_if_needed()
        seen.shots(f"plot-{kind.lower().replace(' ', '-')}")


def _keys(seen: Watched, settings: Settings) -> None:
    engine = open_engine(settings.database)
    store = Store(engine, DatabaseClock())
    root = create_key(store, "mara", [Scope.ADMIN])
    for name, scope in (("jonas", Scope.WRITE), ("dashboard", Scope.READ), ("gpu-rack-2", Scope.WORKER)):
        create_key(store, name, [scope], timedelta(days=90))
    left = create_key(store, "intern-2025", [Scope.WRITE])
    revoke_key(store, left.split("_")[1])
    engine.dispose()
    seen.page.wait_for_timeout(1500)  # so long a service may stay open after its first key was made
    seen.go("/keys")
    _picture(seen, "sign-in")
    seen.page.get_by_label("API key").fill(root)
    seen.page.keyboard.press("Enter")
    expect(seen.page.get_by_role("heading", name="API keys")).to_be_visible()
    _picture(seen, "keys")


def _picture(seen: Watched, name: str, *, has_axe: bool = True) -> None:
    """Look at the page in all its forms, and keep the picture of it that the documentation shows."""
    if has_axe:
        seen.shots(f"picture-{name}")
    if folder := os.environ.get(SHOTS):
        file = Path(folder) / "docs" / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        _write_small(_shot(seen.page), file)


def _shot(page: Page) -> bytes:
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page.set_viewport_size({"width": WIDTH, "height": 900})
    page.evaluate("scrollTo(0, 0)")
    page.set_viewport_size({"width": WIDTH, "height": _height(page)})
    page.wait_for_timeout(500)  # charts are drawn again
    return page.screenshot()


def _height(page: Page) -> int:
    """Height at which the picture ends with the page, or else below the last card or row that it has room for whole."""
    ends: dict[str, list[float]] = page.evaluate(
        """() => {
            const end = (one) => one.getBoundingClientRect().bottom;
            const ends = (what) => [...document.querySelectorAll(what)].map(end);
            return { page: ends("main"), cards: ends("main .card"), rows: ends("main tr, main .opblock") };
        }"""
    )
    if ends["page"][0] <= MOST_HEIGHT:
        return max(int(ends["page"][0]), LEAST_HEIGHT)
    whole = {part: max((end for end in ends[part] if end < MOST_HEIGHT), default=0.0) for part in ("cards", "rows")}
    return int(whole["cards"] if whole["cards"] > MOST_HEIGHT / 2 else whole["rows"]) + BELOW


def _write_small(picture: bytes, file: Path) -> None:
    """Write a PNG of few colours: a third of the size, and neither a large area nor a small mark looks different."""
    with Image.open(BytesIO(picture)) as whole:
        pixels = np.asarray(whole.convert("RGB"), np.int64)
    colours, which, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True, return_counts=True)
    nearest = np.zeros(len(colours), np.uint8)
    distances = np.full(len(colours), np.inf)
    chosen: list[int] = []
    while len(chosen) < min(COLOURS, len(colours)):
        # the colour whose pixels are shown worst by those that are chosen already
        chosen.append(int(np.argmax(np.minimum(distances, 1e9) * counts)))
        squares = ((colours - colours[chosen[-1]]) ** 2).sum(axis=-1)
        nearest[squares < distances] = len(chosen) - 1
        distances = np.minimum(distances, squares)
    written = Image.fromarray(nearest[which].reshape(pixels.shape[:2]))
    written.putpalette(colours[chosen].astype(np.uint8).tobytes())
    written.save(file, optimize=True)
