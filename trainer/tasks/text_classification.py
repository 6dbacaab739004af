"""Gives one class to each text, or pair of texts."""

from collections.abc import Mapping
from typing import Any, ClassVar

from transformers import AutoModelForSequenceClassification

from trainer.data.label_and_text_checks import check_label, check_text_or_pair, is_blank
from trainer.data.rows import Rows
from trainer.data.tokenise import Text, encode_texts
from trainer.data.tokenised_split import TokenisedSplit
from trainer.tasks.one_class import OneClassTask


class TextClassification(OneClassTask[Text]):
    """Examples are texts or pairs of texts, each with the name of its class."""

    model_class: ClassVar[Any] = AutoModelForSequenceClassification

    def check_row(self, row: Mapping[str, Any]) -> tuple[Text, str]:
        return check_text_or_pair(row), check_label(row["label"])

    def is_empty(self, example: Text) -> bool:
        return is_blank(example)

    def encode(self, rows: Rows[Text, str], processor: Any, max_length: int) -> TokenisedSplit:
        return encode_texts(rows.inputs, self.targets_of(rows), processor, max_length)
