"""Gives one class to each image."""

from collections.abc import Mapping
from typing import Any, ClassVar

from transformers import AutoModelForImageClassification

from trainer.data.image_files import ImageFile
from trainer.data.image_split import ImageSplit, encode_images
from trainer.data.label_and_text_checks import check_label
from trainer.data.rows import Rows
from trainer.tasks.one_class import OneClassTask


class ImageClassification(OneClassTask[ImageFile]):
    """Examples are images, each with the name of its class."""

    model_class: ClassVar[Any] = AutoModelForImageClassification
    noun = "images"
    reads_images = True

    def check_row(self, row: Mapping[str, Any]) -> tuple[ImageFile, str]:
        return row["image"], check_label(row["label"])

    def encode(self, rows: Rows[ImageFile, str], processor: Any, max_length: int) -> ImageSplit:
        del max_length
        return encode_images(rows, self.targets_of(rows), processor)
