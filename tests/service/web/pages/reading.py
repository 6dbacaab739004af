"""What tests of pages do: fill a study, and read what a page says."""

import re
from html import unescape
from typing import Any

from fastapi.testclient import TestClient

from tests.service.hand_worker import HandWorker, spec

SPACE = {
    "learning_rate": {"type": "float", "low": 1e-5, "high": 1e-3, "log": True},
    "batch_size": {"type": "categorical", "choices": [8, 16]},
}


def begin(http: TestClient, worker: HandWorker, **changes: Any) -> None:
    assert http.post("/v1/studies", json=spec(search_space=SPACE, **changes)).status_code == 201
    worker.prepare()


def page(http: TestClient, path: str) -> str:
    reply = http.get(path, headers={"Accept": "text/html"})
    assert reply.status_code == 200, reply.text
    return reply.text


def section(html: str, name: str) -> str:
    """Text of a section of a page, without tags."""
    (found,) = re.findall(rf'<section id="{name}".*?</section>', html, re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", found)).split())
