"""All tasks by name, and how the one that fits the data is chosen."""

from collections.abc import Mapping, Sequence
from typing import Any

from spezia.contract.data import Data
from spezia.contract.tasks import Task as TaskName
from trainer.tasks.causal_lm import ChatLm, TextLm
from trainer.tasks.image_classification import ImageClassification
from trainer.tasks.task import Task
from trainer.tasks.text_classification import TextClassification
from trainer.tasks.text_multi_label import MultiLabelClassification
from trainer.tasks.text_regression import TextRegression
from trainer.tasks.token_classification import TokenClassification

AnyTask = Task[Any, Any]

_TASKS: dict[TaskName, AnyTask] = {
    "text-classification": TextClassification(),
    "text-regression": TextRegression(),
    "token-classification": TokenClassification(),
    "image-classification": ImageClassification(),
    "causal-lm": TextLm(),
}


def choose_task(name: TaskName, data: Data, train: Mapping[str, Sequence[Any]]) -> AnyTask:
    """Return the task of a name for data like this, without its classes.

    Texts have several classes each where a separator is named or the first label is a list; a language model has
    prompts or conversations where there is such a column.

    Args:
        train: the training data's columns.
    """
    if name == "text-classification" and (data.label_separator is not None or isinstance(train["label"][0], list)):
        return MultiLabelClassification(separator=data.label_separator)
    if name == "causal-lm" and "prompt" in train:
        return TextLm(has_prompts=True)
    if name == "causal-lm" and "messages" in train:
        return ChatLm()
    return _TASKS[name]
