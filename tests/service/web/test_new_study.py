"""The page of a new study offers what the contract has."""

import html
import json
import re

from fastapi.testclient import TestClient

from service.search.presets.presets import PRESETS
from spezia.contract.tasks import TASKS, TRAINED_TASKS


def test_the_page_offers_every_task_that_is_trained_and_explains_every_parameter(http: TestClient) -> None:
    answer = http.get("/new")
    assert answer.status_code == 200
    found = re.search('data-choices="([^"]*)"', answer.text)
    assert found is not None
    choices = json.loads(html.unescape(found[1]))
    assert list(choices["tasks"]) == list(TRAINED_TASKS)
    for task in TRAINED_TASKS:
        assert choices["tasks"][task]["columns"] == [list(columns) for columns in TASKS[task].columns]
        assert [rows for rows, _ in choices["tasks"][task]["presets"]] == [0, 1_000, 5_000]
        assert {preset for _, preset in choices["tasks"][task]["presets"]} <= set(PRESETS)
    assert all(name in choices["parameters"] for preset in PRESETS.values() for name in preset.parameters)
