"""What else a search leaves to chance while it trains."""

import re
from collections.abc import Iterator

from service.search.edits import drop, fix, lower_high, raise_field, set_choices, set_field
from service.search.finding import Finding, Gain, Remedy, some
from service.search.space.allowed import choices_of, edges_of, largest, n_values, nearest, ranges_of
from service.search.space.space_size import trials_advised
from spezia.common.plural import plural
from spezia.contract.ranges import Choices
from spezia.contract.space import active_dimension, each_dimension
from spezia.contract.study_spec import StudySpec

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


def training_findings(spec: StudySpec) -> Iterator[Finding]:
    """Yield what is odd about everything but rate, budget and pruner."""
    yield from _batch(spec)
    yield from _alpha(spec)
    yield from _frozen(spec)
    yield from _warmup(spec)
    yield from _dropout(spec)
    yield from _epochs(spec)
    yield from _several(spec)
    is_scored = spec.data is not None and spec.data.test is not None and len(spec.objectives) == 1
    if is_scored and spec.training.keep_models == 0:
        yield Finding(
            field="training.keep_models",
            message="no model is kept, so there is none to score on data.test",
            gain=Gain.EFFECT,
            remedies=(
                set_field("training.keep_models", 1, "set keep_models: 1"),
                drop("data.test", words="drop data.test"),
            ),
        )
    yield from _winners_model(spec)


def _winners_model(spec: StudySpec) -> Iterator[Finding]:
    """A spec that says both may keep too few, as may a copy of one that was made before it was to be confirmed."""
    n_kept = spec.training.keep_models
    n_confirmed = 0 if spec.confirm is None else min(spec.confirm.top, spec.n_trials)
    if 0 < n_kept < n_confirmed:
        yield Finding(
            field="training.keep_models",
            message=f"{plural(n_kept, 'model')} kept, and one of {n_confirmed} trials may win under fresh seeds: there "
            "may be none of the winner",
            gain=Gain.EFFECT,
            remedies=(set_field("training.keep_models", n_confirmed, f"set keep_models: {n_confirmed}"),),
        )


def _several(spec: StudySpec) -> Iterator[Finding]:
    """What a front has otherwise than a single winner."""
    if len(spec.objectives) == 1:
        return
    if spec.data is not None and spec.data.test is not None:
        yield Finding(
            field="data.test",
            message="several objectives have no single winner, so no model is scored on it: it stays unseen",
            gain=Gain.EFFECT,
            remedies=(
                Remedy(words="choose a trial of the Pareto front, then score its model on the test data yourself"),
            ),
        )
    if spec.training.keep_models == 1:
        yield Finding(
            field="training.keep_models",
            message=f"of the Pareto front only the model that is best by {spec.metric} is kept",
            gain=Gain.EFFECT,
            remedies=(Remedy(words="set keep_models to how many models of the front you want to choose from"),),
        )


def _batch(spec: StudySpec) -> Iterator[Finding]:
    # where trials are too few for the whole space, that has been said
    is_few_for_batch = trials_advised(spec) <= spec.n_trials < _TRIALS_FOR_BATCH
    if is_few_for_batch and {"batch_size", "learning_rate"} <= spec.search_space.keys():
        dimension = active_dimension(spec.search_space, "batch_size", spec.fixed)
        usual = 16 if dimension is None else nearest(dimension.distribution, 16)
        yield Finding(
            field="search_space.batch_size",
            message="every batch size has its own best learning rate, so searching both multiplies the trials needed",
            gain=Gain.COST,
            remedies=some(
                fix(spec, "batch_size", usual, f"fix batch_size at {usual}, say (memory never limits it here)"),
                raise_field(spec, "n_trials", _TRIALS_FOR_BATCH),
                Remedy(words="search one of the two alone"),
            ),
        )


def _alpha(spec: StudySpec) -> Iterator[Finding]:
    if {"lora_alpha_ratio", "learning_rate"} <= spec.search_space.keys():
        yield Finding(
            field="search_space.lora_alpha_ratio",
            message="alpha scales what the adapters add, much as the learning rate does: the two trade off",
            gain=Gain.COST,
            remedies=some(
                fix(spec, "lora_alpha_ratio", 2.0, "fix lora_alpha_ratio at 2 and search the rate"),
                Remedy(words="search one of them alone"),
            ),
        )


def _frozen(spec: StudySpec) -> Iterator[Finding]:
    depth = None if spec.model is None else _known_depth(spec.model.name)
    deepest = largest(spec, "frozen_layers")
    if depth is None or deepest <= depth:
        return
    searched = "frozen_layers" in spec.search_space
    yield Finding(
        field="search_space.frozen_layers" if searched else "fixed.frozen_layers",
        message=f"up to {deepest:g} blocks are frozen, and by its name this model has {depth}: it will be refused",
        gain=Gain.EFFECT,
        remedies=some(_freeze_up_to(spec, depth), Remedy(words="use frozen_fraction, which fits any model")),
    )


def _freeze_up_to(spec: StudySpec, depth: int) -> Remedy | None:
    if "frozen_layers" in spec.fixed:
        return set_field("fixed.frozen_layers", depth)
    too_deep = [
        one for one in each_dimension(spec.search_space, "frozen_layers") if max(edges_of(one.distribution)) > depth
    ]
    if len(too_deep) != 1:
        return None
    (dimension,) = too_deep
    if isinstance(dimension.distribution, Choices):
        fitting = [one for one in dimension.distribution.choices if isinstance(one, int) and one <= depth]
        return set_choices(dimension, list(fitting), f"go up to {depth}") if fitting else None
    return lower_high(dimension, depth)


def _known_depth(model: str) -> int | None:
    said = _SAYS_DEPTH.search(model)
    if said is not None:
        return int(said[1])
    return next((depth for pattern, depth in _DEPTHS if re.search(pattern, model.lower())), None)


def _warmup(spec: StudySpec) -> Iterator[Finding]:
    if "warmup_ratio" in spec.search_space and choices_of(spec, "lr_schedule") == {"constant"}:
        yield Finding(
            field="search_space.warmup_ratio",
            message="the schedule constant has no warm-up, so this changes nothing",
            gain=Gain.EFFECT,
            remedies=some(
                set_field("fixed.lr_schedule", "constant_with_warmup", "use lr_schedule constant_with_warmup")
                if "lr_schedule" in spec.fixed
                else None,
                drop("search_space.warmup_ratio", words="drop warmup_ratio"),
            ),
        )


def _dropout(spec: StudySpec) -> Iterator[Finding]:
    constant = "fixed" if "dropout" in spec.fixed else "search_space"
    ranges = ranges_of(spec, "dropout")
    if constant == "fixed" or (len(ranges) == 1 and n_values(ranges[0]) == 1):
        yield Finding(
            field=f"{constant}.dropout",
            message="one value for every dropout of the model replaces the checkpoint's own, which often differ",
            gain=Gain.VALUE,
            remedies=(
                drop(f"{constant}.dropout", words="leave dropout out to keep the checkpoint's own"),
                Remedy(words="search it"),
            ),
        )


def _epochs(spec: StudySpec) -> Iterator[Finding]:
    most = largest(spec, "epochs")
    if most > _MANY_EPOCHS and spec.training.early_stopping_patience is None:
        yield Finding(
            field="training.early_stopping_patience",
            message=f"trials run up to {most:g} epochs to the end, however long ago they were best",
            gain=Gain.COST,
            remedies=(
                set_field("training.early_stopping_patience", 3, "set early_stopping_patience: 3"),
                Remedy(words="take fewer epochs"),
            ),
        )
