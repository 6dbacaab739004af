"""Warnings about everything else that a search leaves to chance while it trains."""

import re
from collections.abc import Iterator

from service.search.space.allowed import choices_of, largest, n_values, ranges_of
from service.search.space.space_size import trials_advised
from spezia.contract.study_spec import StudySpec
from spezia.contract.validation import SpecWarning

_MANY_EPOCHS = 10
_TRIALS_FOR_BATCH = 40

_DEPTHS = (
    (r"modernbert-base", 22),
    (r"modernbert-large", 28),
    (r"deberta-v3-xsmall", 12),
    (r"deberta-v3-small|distilbert|distilroberta|distilgpt2", 6),
    (r"(?<![a-z])(bert|roberta|electra|vit|deberta|deit)(-v3)?-base", 12),
    (r"(?<![a-z])(bert|roberta|electra|vit|deberta)(-v3)?-large", 24),
)
"""Blocks of well-known models by their names, beside those that say it themselves, as in ``MiniLM-L6``."""
_SAYS_DEPTH = re.compile(r"[-_]L-?(\d{1,2})(?=[-_]|$)")


def training_warnings(spec: StudySpec) -> Iterator[SpecWarning]:
    """Yield the warnings about everything but rate, budget and pruner."""
    yield from _batch(spec)
    yield from _alpha(spec)
    yield from _frozen(spec)
    yield from _warmup(spec)
    yield from _dropout(spec)
    yield from _epochs(spec)
    yield from _several(spec)
    is_scored = spec.data is not None and spec.data.test is not None and len(spec.objectives) == 1
    if is_scored and spec.training.keep_models == 0:
        yield SpecWarning(
            field="training.keep_models",
            message="no model is kept, so there is none to score on data.test",
            advice="set keep_models: 1, or drop data.test",
        )


def _several(spec: StudySpec) -> Iterator[SpecWarning]:
    """What a front has otherwise than a single winner."""
    if len(spec.objectives) == 1:
        return
    if spec.data is not None and spec.data.test is not None:
        yield SpecWarning(
            field="data.test",
            message="several objectives have no single winner, so no model is scored on it: it stays unseen",
            advice="choose a trial of the Pareto front, then score its model on the test data yourself",
        )
    if spec.training.keep_models == 1:
        yield SpecWarning(
            field="training.keep_models",
            message=f"of the Pareto front only the model that is best by {spec.metric} is kept",
            advice="set keep_models to how many models of the front you want to choose from",
        )


def _batch(spec: StudySpec) -> Iterator[SpecWarning]:
    # where trials are too few for the whole space, that has been said
    is_few_for_batch = trials_advised(spec) <= spec.n_trials < _TRIALS_FOR_BATCH
    if is_few_for_batch and {"batch_size", "learning_rate"} <= spec.search_space.keys():
        yield SpecWarning(
            field="search_space.batch_size",
            message="every batch size has its own best learning rate, so searching both multiplies the trials needed",
            advice=f"fix batch_size (16, say), or raise n_trials to {_TRIALS_FOR_BATCH}; memory never limits it here",
        )


def _alpha(spec: StudySpec) -> Iterator[SpecWarning]:
    if {"lora_alpha_ratio", "learning_rate"} <= spec.search_space.keys():
        yield SpecWarning(
            field="search_space.lora_alpha_ratio",
            message="alpha scales what the adapters add, much as the learning rate does: the two trade off",
            advice="fix lora_alpha_ratio at 2 and search the rate",
        )


def _frozen(spec: StudySpec) -> Iterator[SpecWarning]:
    depth = None if spec.model is None else _known_depth(spec.model.name)
    deepest = largest(spec, "frozen_layers")
    if depth is None or deepest <= depth:
        return
    searched = "frozen_layers" in spec.search_space
    yield SpecWarning(
        field="search_space.frozen_layers" if searched else "fixed.frozen_layers",
        message=f"up to {deepest:g} blocks are frozen, and by its name this model has {depth}: it will be refused",
        advice=f"go up to {depth}, or use frozen_fraction, which fits any model",
    )


def _known_depth(model: str) -> int | None:
    said = _SAYS_DEPTH.search(model)
    if said is not None:
        return int(said[1])
    return next((depth for pattern, depth in _DEPTHS if re.search(pattern, model.lower())), None)


def _warmup(spec: StudySpec) -> Iterator[SpecWarning]:
    if "warmup_ratio" in spec.search_space and choices_of(spec, "lr_schedule") == {"constant"}:
        yield SpecWarning(
            field="search_space.warmup_ratio",
            message="the schedule constant has no warm-up, so this changes nothing",
            advice="use lr_schedule constant_with_warmup, or drop warmup_ratio",
        )


def _dropout(spec: StudySpec) -> Iterator[SpecWarning]:
    constant = "fixed" if "dropout" in spec.fixed else "search_space"
    ranges = ranges_of(spec, "dropout")
    if constant == "fixed" or (len(ranges) == 1 and n_values(ranges[0]) == 1):
        yield SpecWarning(
            field=f"{constant}.dropout",
            message="one value for every dropout of the model replaces the checkpoint's own, which often differ",
            advice="leave dropout out to keep the checkpoint's own, or search it",
        )


def _epochs(spec: StudySpec) -> Iterator[SpecWarning]:
    most = largest(spec, "epochs")
    if most > _MANY_EPOCHS and spec.training.early_stopping_patience is None:
        yield SpecWarning(
            field="training.early_stopping_patience",
            message=f"trials run up to {most:g} epochs to the end, however long ago they were best",
            advice="set early_stopping_patience: 3, or fewer epochs",
        )
