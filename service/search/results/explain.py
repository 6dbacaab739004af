"""What a trial's learning curve says, in plain words, with the edit of the study that would help.

The thresholds are rules of thumb of ours: nothing here ends a trial or changes a number.
"""

from collections.abc import Sequence
from math import ceil

from service.search.results.learning_curve import Point, best_point
from spezia.contract.space import active_dimension
from spezia.contract.study_spec import Params, StudySpec
from spezia.contract.tasks import DIRECTIONS

_CHANGE = 0.01
"""Relative change of a value from which on it is told."""
_GAP_SHARE = 0.5
"""Least part of the validation loss by which it must exceed the training loss to be told."""
_GAP_NATS = 0.1
"""Least number of nats by which validation loss must exceed training loss to be told."""
_REMEDIES = {"dropout": "0.0 to 0.4", "weight_decay": "0.0 to 0.3", "frozen_layers": "0 to half of the blocks"}
"""Params that make a model fit its training data less, with ranges to search where they are not searched yet."""


def explain(spec: StudySpec, params: Params, curve: Sequence[Point]) -> list[str]:
    """Return what the learning curve of one trial says.

    Args:
        params: Params of the trial, fixed ones included.
        curve: Evaluations of the trial, in order; nothing is said about none, or about those of a script.

    Returns:
        One sentence or two for each thing that is worth knowing.
    """
    if not curve or spec.task == "script":
        return []
    best = best_point(spec, curve)
    overfits = _overfitting(spec, params, curve)
    found = [
        overfits or _passed_its_best(spec, params, curve, best),
        _still_improving(spec, params, curve, best),
        None if overfits else _gap(spec, params, best),
        _disagreement(spec, curve, best),
    ]
    return [sentence for sentence in found if sentence]


def _overfitting(spec: StudySpec, params: Params, curve: Sequence[Point]) -> str | None:
    both = [point for point in curve if {"validation_loss", "train_loss"} <= point.metrics.keys()]
    if len(both) < 2:
        return None
    lowest, last = min(both, key=lambda point: point.metrics["validation_loss"]), both[-1]
    before, after = lowest.metrics, last.metrics
    rose = after["validation_loss"] > (1 + _CHANGE) * before["validation_loss"]
    if not rose or after["train_loss"] >= before["train_loss"]:
        return None
    return (
        f"validation loss rose from {before['validation_loss']:.4g} at step {lowest.step} to "
        f"{after['validation_loss']:.4g} at step {last.step} while training loss fell from {before['train_loss']:.4g} "
        f"to {after['train_loss']:.4g}: later steps overfitted. {_fit_less(spec, params, ceil(lowest.epoch))}"
    )


def _passed_its_best(spec: StudySpec, params: Params, curve: Sequence[Point], best: Point) -> str | None:
    last = curve[-1]
    if best.step == last.step:
        return None
    return (
        f"the best evaluation was step {best.step} of {last.step}: later ones were no better; "
        f"{_set_epochs(spec, params, ceil(best.epoch))}"
    )


def _still_improving(spec: StudySpec, params: Params, curve: Sequence[Point], best: Point) -> str | None:
    if len(curve) < 2 or best.step != curve[-1].step:
        return None
    before = curve[-2].value
    if abs(best.value - before) <= _CHANGE * abs(before):
        return None
    metric = spec.metric
    return (
        f"{metric} still improved at the last step, from {before:.4g} to {best.value:.4g}: train longer; "
        f"{_set_epochs(spec, params, 2 * ceil(best.epoch))}"
    )


def _gap(spec: StudySpec, params: Params, best: Point) -> str | None:
    if not {"validation_loss", "train_loss"} <= best.metrics.keys():
        return None
    gap = best.metrics["validation_loss"] - best.metrics["train_loss"]
    if gap < max(_GAP_NATS, _GAP_SHARE * best.metrics["validation_loss"]):
        return None
    return (
        f"at the best step validation loss is {best.metrics['validation_loss']:.4g} and training loss "
        f"{best.metrics['train_loss']:.4g}, a gap of {gap:.4g} nats: the model knows its training data by heart. "
        f"More data would help most; {_regularise(spec, params)}"
    )


def _disagreement(spec: StudySpec, curve: Sequence[Point], best: Point) -> str | None:
    objective = spec.metric
    if len(spec.objectives) > 1:
        return None  # that they disagree is what the study is about
    if objective != "validation_loss":
        return _loss_disagrees(objective, curve, best)
    for name in best.metrics:
        if name == objective or name not in DIRECTIONS:
            continue
        sign = 1 if DIRECTIONS[name] == "minimize" else -1
        measured = [point for point in curve if name in point.metrics]
        other = min(measured, key=lambda point: sign * point.metrics[name])
        here, there = best.metrics[name], other.metrics[name]
        if sign * (here - there) > _CHANGE * abs(there):
            return (
                f"validation loss was best at step {best.step}, {name} at step {other.step} ({there:.4g} against "
                f"{here:.4g}): if {name} is what counts, set objective.metric to {name}"
            )
    return None


def _loss_disagrees(objective: str, curve: Sequence[Point], best: Point) -> str | None:
    losses = {point.step: point.metrics["validation_loss"] for point in curve if "validation_loss" in point.metrics}
    if best.step not in losses:
        return None
    step = min(losses, key=losses.__getitem__)
    if losses[best.step] <= (1 + 5 * _CHANGE) * losses[step]:
        return None
    return (
        f"{objective} was best at step {best.step}, where validation loss is {losses[best.step]:.4g}; it was lowest at "
        f"step {step} with {losses[step]:.4g}: the model is right more often but too sure of itself. If its "
        "probabilities matter, set objective.metric to validation_loss or search label_smoothing"
    )


def _fit_less(spec: StudySpec, params: Params, epochs: int) -> str:
    fewer = f"{_set_epochs(spec, params, epochs)}; or " if epochs < int(params.get("epochs", epochs)) else ""
    advice = fewer + _regularise(spec, params)
    return advice[0].upper() + advice[1:]


def _regularise(spec: StudySpec, params: Params) -> str:
    """The first remedy that the search cannot find by itself."""
    for name, usual in _REMEDIES.items():
        if name == "frozen_layers" and params.get("method") == "head_only":
            continue  # all blocks are frozen
        dimension = active_dimension(spec.search_space, name, spec.fixed | params)
        if dimension is None and name not in spec.search_space:
            return f"search {name} ({usual})"
        high = getattr(dimension.distribution, "high", None) if dimension else None
        if dimension and high is not None and float(params[name]) >= 0.8 * high:
            return f"raise {'.'.join(map(str, dimension.path))}.high above {high:g}"
    return "take fewer trainable blocks (frozen_layers), or method lora"


def _set_epochs(spec: StudySpec, params: Params, epochs: int) -> str:
    dimension = active_dimension(spec.search_space, "epochs", spec.fixed | params)
    if dimension is None:
        return f"set fixed.epochs to {epochs}"
    path = ".".join(map(str, dimension.path))
    if hasattr(dimension.distribution, "high"):
        return f"set {path}.high to {epochs}"
    return f"put {epochs} into {path}.choices, as the largest"
