"""Ask a kept model: read inputs as a JSON list from standard input, and write a line of JSON for each answer.

`spezia predict` starts this as a process of its own, so that the command line loads no torch.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers import AutoConfig, pipeline
from transformers.utils import logging
from transformers.utils.chat_template_utils import Chat

from spezia.contract.prediction import Prediction, Tag
from trainer.data.image_files import decode
from trainer.model.device import choose_device
from trainer.model.pretrained import load_image_processor, max_positions

MAX_NEW_TOKENS = 128
"""Largest number of tokens that a language model writes after a text."""

_PIPELINES = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForImageClassification": "image-classification",
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
}
"""Kind of pipeline by the end of an architecture's name."""


class NoModel(Exception):
    """A folder holds no model that can be asked; the message says why."""


class BadInput(Exception):
    """An input that the model cannot read; the message says why and what to do."""


def predict(folder: Path, inputs: list[str], *, is_chat: bool = False) -> Iterator[Prediction]:
    """Yield the answer of the model in ``folder`` to each input: a text, or the path of an image.

    Args:
        is_chat: Whether each input is what a user says in a conversation.

    Raises:
        NoModel: The folder holds no model of a task of ours.
        BadInput: An input is no image, or leaves no room for an answer.
    """
    if not (folder / "config.json").is_file():
        raise NoModel(f"{folder} holds no model: it has no config.json")
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    architecture = (config.architectures or ["none"])[0]
    kind = next((kind for end, kind in _PIPELINES.items() if architecture.endswith(end)), None)
    if kind is None:
        raise NoModel(f"{folder} holds a model of the architecture {architecture}, which answers none of our tasks")
    # pixels as the model was trained on, with torchvision or without
    options = {"image_processor": load_image_processor(folder)} if kind == "image-classification" else {}
    ask: Any = pipeline(kind, model=str(folder), device=choose_device(), **options)
    for one in inputs:
        yield _ANSWERS[kind](ask, one, config.problem_type, is_chat=is_chat)


def _classify(ask: Any, text: str, problem_type: str | None, *, is_chat: bool) -> Prediction:
    scores = ask([text], top_k=None, truncation=True)[0]
    if problem_type == "regression":
        return Prediction(input=text, number=scores[0]["score"])
    probabilities = _probabilities(scores)
    if problem_type == "multi_label_classification":
        labels = [label for label, probability in probabilities.items() if probability > 0.5]
        return Prediction(input=text, labels=labels, probabilities=probabilities)
    return Prediction(input=text, label=next(iter(probabilities)), probabilities=probabilities)


def _see(ask: Any, path: str, _problem_type: str | None, *, is_chat: bool) -> Prediction:
    try:
        image = decode(Path(path))
    except Exception as error:  # decoders raise what they will
        raise BadInput(f"{path} is not a readable image ({error}); name a file of one") from error
    probabilities = _probabilities(ask([image], top_k=len(ask.model.config.id2label))[0])
    return Prediction(input=path, label=next(iter(probabilities)), probabilities=probabilities)


def _tag(ask: Any, text: str, _problem_type: str | None, *, is_chat: bool) -> Prediction:
    found = ask([text], aggregation_strategy="simple")[0]
    tags = [
        Tag(
            text=text[one["start"] : one["end"]],
            start=one["start"],
            end=one["end"],
            tag=one["entity_group"],
            probability=float(one["score"]),
        )
        for one in found
    ]
    return Prediction(input=text, tags=tags)


def _write(ask: Any, text: str, _problem_type: str | None, *, is_chat: bool) -> Prediction:
    asked = Chat([{"role": "user", "content": text}]) if is_chat else text
    n_given, n_read = ask.preprocess(asked)["input_ids"].shape[-1], max_positions(ask.model)
    n_new = MAX_NEW_TOKENS if n_read is None else min(MAX_NEW_TOKENS, n_read - n_given)
    if n_new < 1:
        raise BadInput(f"the text {text[:40]!r}… has {n_given} tokens, and the model reads {n_read}; shorten it")
    said = ask(asked, max_new_tokens=n_new, do_sample=False, return_full_text=False)[0]["generated_text"]
    return Prediction(input=text, completion=said if isinstance(said, str) else said[-1]["content"])


_ANSWERS = {
    "text-classification": _classify,
    "image-classification": _see,
    "token-classification": _tag,
    "text-generation": _write,
}


def _probabilities(scores: list[dict[str, Any]]) -> dict[str, float]:
    return {one["label"]: one["score"] for one in sorted(scores, key=lambda one: -one["score"])}


def main() -> None:
    """Answer what standard input asks of the model in the folder that the command line names."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    folder, is_chat = Path(sys.argv[1]), "--chat" in sys.argv[2:]
    try:
        for answer in predict(folder, json.load(sys.stdin), is_chat=is_chat):
            sys.stdout.write(answer.model_dump_json() + "\n")
            sys.stdout.flush()
    except (NoModel, BadInput, OSError, ValueError) as error:
        sys.exit(" ".join(str(error).split()))


if __name__ == "__main__":
    main()
