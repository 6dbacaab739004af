"""One class per image."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForImageClassification

from trainer.data.image_files import ImageFile
from trainer.data.image_split import ImageSplit, encode_images
from trainer.data.row_checks import check_label
from trainer.data.rows import Rows
from trainer.tasks.task import Task, class_positions, joined
from trainer.tasks.text_classification import class_losses, class_metrics


class ImageClassification(Task[ImageFile, str]):
    """An example is an image and the name of its class."""

    model_class: ClassVar[Any] = AutoModelForImageClassification
    metric_names = ("accuracy", "f1_macro", "matthews")
    noun = "images"
    reads_images = True
    min_classes = 2

    def check_row(self, row: Mapping[str, Any]) -> tuple[ImageFile, str]:
        return row["image"], check_label(row["label"])

    def classes_of(self, target: str) -> Iterable[str]:
        return (target,)

    def stratum(self, target: str) -> str:
        return target

    def encode(self, rows: Rows[ImageFile, str], processor: Any, max_length: int) -> ImageSplit:
        del max_length
        return encode_images(rows, np.asarray(class_positions(self.class_names, rows.targets)), processor)

    def head(self) -> dict[str, Any]:
        return super().head() | {"problem_type": "single_label_classification"}

    def losses(self, logits: torch.Tensor, targets: torch.Tensor, label_smoothing: float = 0.0) -> torch.Tensor:
        return class_losses(logits, targets, label_smoothing)

    def predict(self, logits: torch.Tensor) -> torch.Tensor:
        return logits.argmax(dim=-1)

    def metrics(
        self, predicted: Sequence[NDArray[Any]], actual: Sequence[NDArray[Any]], loss: float
    ) -> dict[str, float]:
        del loss
        return class_metrics(joined(predicted), joined(actual))
