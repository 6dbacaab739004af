"""Data sets on the hub, with the download replaced."""

import io
import re
from typing import Any

import datasets
import httpx2
import pytest
from PIL import Image

from trainer.data.read_hub import read_hub
from trainer.errors import DataError

COLUMNS = {"text": "text", "label": "label"}
ROWS = datasets.Dataset.from_dict(
    {"text": ["a", "b", "c"], "label": [1, 0, -1]},
    features=datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])}),
)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What ``load_dataset`` was asked for; it always answers with ``ROWS``."""
    made: list[tuple[Any, ...]] = []

    def load(name: str, config: str | None, *, split: str) -> datasets.Dataset:
        made.append((name, config, split))
        return ROWS

    monkeypatch.setattr(datasets, "load_dataset", load)
    return made


def test_class_ids_become_names_and_no_class_none(calls: list[Any]) -> None:
    raw = read_hub("hub://owner/name:config#train[:10%]", [COLUMNS])
    assert calls == [("owner/name", "config", "train[:10%]")]
    assert raw["text"] == ["a", "b", "c"]
    assert raw["label"] == ["yes", "no", None]


def test_the_configuration_may_be_left_out(calls: list[Any]) -> None:
    read_hub("hub://owner/name#test", [COLUMNS])
    assert calls == [("owner/name", None, "test")]


@pytest.mark.parametrize("source", ["hub://name#train", "hub://owner/name", "hub://owner/name#"])
def test_malformed_address_is_refused(calls: list[Any], source: str) -> None:
    with pytest.raises(DataError, match=re.escape("write hub://owner/name[:config]#split")):
        read_hub(source, [COLUMNS])
    assert calls == []


def test_missing_column_is_refused(calls: list[Any]) -> None:
    with pytest.raises(DataError, match="hub://owner/name#train has no column 'mood'"):
        read_hub("hub://owner/name#train", [COLUMNS | {"label": "mood"}])


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("no route"),
        ValueError("unknown split"),
        datasets.exceptions.DatasetNotFoundError("no such data set"),
        httpx2.ProxyError("407 Proxy Authentication Required"),
        httpx2.ReadTimeout("slow"),
    ],
)
def test_what_the_hub_refuses_is_a_data_error(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(DataError, match=f"cannot be read: {error}"):
        read_hub("hub://owner/name#train", [COLUMNS])


def test_lists_of_class_ids_become_names_and_images_stay_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (2, 2)).save(stream, "PNG")
    features = {"tags": datasets.List(datasets.ClassLabel(names=["O", "B-X"])), "image": datasets.Image()}
    rows = datasets.Dataset.from_dict(
        {"tags": [[1, 0], []], "image": [{"bytes": stream.getvalue(), "path": None}] * 2},
        features=datasets.Features(features),
    )
    monkeypatch.setattr(datasets, "load_dataset", lambda *_args, **_options: rows)
    table = read_hub("hub://owner/name#train", [{"tags": "tags", "image": "image"}])
    assert table["tags"] == [["B-X", "O"], []]
    assert table["image"][0]["bytes"] == stream.getvalue()
