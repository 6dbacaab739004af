"""Gives one class to each text."""

from collections.abc import Mapping
from typing import Any, ClassVar

from transformers import AutoModelForSequenceClassification

from trainer.data.label_and_text_checks import check_label, check_text
from trainer.data.rows import Rows
from trainer.data.tokenise import encode_texts
from trainer.data.tokenised_split import TokenisedSplit
from trainer.tasks.one_class import OneClassTask


class TextClassification(OneClassTask[str]):
    """Examples are texts, each with the name of its class."""

    model_class: ClassVar[Any] = AutoModelForSequenceClassification

    def check_row(self, row: Mapping[str, Any]) -> tuple[str, str]:
        return check_text(row["text"]), check_label(row["label"])

    def is_empty(self, example: str) -> bool:
        return not example.strip()

    def encode(self, rows: Rows[str, str], processor: Any, max_length: int) -> TokenisedSplit:
        return encode_texts(rows.inputs, self.targets_of(rows), processor, max_length)
