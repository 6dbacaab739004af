"""Data sets on the hub, with the download replaced."""

import re
from typing import Any

import datasets
import pytest

from service.contract.study import Columns
from trainer.data_hub import read_hub
from trainer.errors import DataError

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
    raw = read_hub("hub://owner/name:config#train[:10%]", Columns())
    assert calls == [("owner/name", "config", "train[:10%]")]
    assert raw.texts == ["a", "b", "c"]
    assert raw.labels == ["yes", "no", None]


def test_the_configuration_may_be_left_out(calls: list[Any]) -> None:
    read_hub("hub://owner/name#test", Columns())
    assert calls == [("owner/name", None, "test")]


@pytest.mark.parametrize("source", ["hub://name#train", "hub://owner/name", "hub://owner/name#"])
def test_malformed_address_is_refused(calls: list[Any], source: str) -> None:
    with pytest.raises(DataError, match=re.escape("write hub://owner/name[:config]#split")):
        read_hub(source, Columns())
    assert calls == []


def test_missing_column_is_refused(calls: list[Any]) -> None:
    with pytest.raises(DataError, match="hub://owner/name#train has no column 'mood'"):
        read_hub("hub://owner/name#train", Columns(label="mood"))


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("no route"),
        ValueError("unknown split"),
        datasets.exceptions.DatasetNotFoundError("no such data set"),
    ],
)
def test_what_the_hub_refuses_is_a_data_error(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(DataError, match=f"cannot be read: {error}"):
        read_hub("hub://owner/name#train", Columns())
