"""What a trial's learning curve says, in plain words, with the edits of the study that would help.

The thresholds are rules of thumb of ours: nothing here ends a trial or changes a number.
"""

from collections.abc import Sequence
from math import ceil

from service.search.edits import search
from service.search.finding import Finding, Gain, Remedy, some
from service.search.results.learning_curve import Point, best_point
from service.search.results.remedies import choose_by, fit_less, train_less, train_longer
from spezia.contract.facts import Facts
from spezia.contract.study_spec import Params, StudySpec
from spezia.contract.tasks import DIRECTIONS

_CHANGE = 0.01
"""Relative change of a value from which on it is told."""
_GAP_SHARE = 0.5
"""Least part of the validation loss by which it must exceed the training loss to be told."""
_GAP_NATS = 0.1
"""Least number of nats by which validation loss must exceed training loss to be told."""
_LOSSES = {"validation_loss", "train_loss"}
_MORE_DATA = Remedy(words="give more training data")


def explain(spec: StudySpec, params: Params, curve: Sequence[Point], facts: Facts | None) -> list[Finding]:
    """Return what the learning curve of one trial says.

    Args:
        params: Params of the trial, fixed ones included.
        curve: Evaluations of the trial, in order; nothing is said about none, or about those of a script.
        facts: Facts of the study, as far as they are known.
    """
    if not curve or spec.task == "script":
        return []
    best = best_point(spec, curve)
    overfits = _overfitting(spec, params, curve, facts)
    found = [
        overfits or _passed_its_best(spec, params, curve, best),
        _still_improving(spec, params, curve, best),
        None if overfits else _gap(spec, params, best, facts),
        _disagreement(spec, curve, best),
    ]
    return [finding for finding in found if finding is not None and finding.remedies]


def _overfitting(spec: StudySpec, params: Params, curve: Sequence[Point], facts: Facts | None) -> Finding | None:
    both = [point for point in curve if point.metrics.keys() >= _LOSSES]
    if len(both) < 2:
        return None
    lowest, last = min(both, key=lambda point: point.metrics["validation_loss"]), both[-1]
    before, after = lowest.metrics, last.metrics
    rose = after["validation_loss"] > (1 + _CHANGE) * before["validation_loss"]
    if not rose or after["train_loss"] >= before["train_loss"]:
        return None
    return Finding(
        message=f"validation loss rose from {before['validation_loss']:.4g} at step {lowest.step} to "
        f"{after['validation_loss']:.4g} at step {last.step} while training loss fell from {before['train_loss']:.4g} "
        f"to {after['train_loss']:.4g}: later steps overfitted",
        gain=Gain.VALUE,
        remedies=some(
            train_less(spec, params, ceil(lowest.epoch)),
            fit_less(spec, params, facts),
            _MORE_DATA,
        ),
    )


def _passed_its_best(spec: StudySpec, params: Params, curve: Sequence[Point], best: Point) -> Finding | None:
    last = curve[-1]
    if best.step == last.step:
        return None
    return Finding(
        message=f"the best evaluation was step {best.step} of {last.step}: later ones were no better",
        gain=Gain.COST,
        remedies=some(train_less(spec, params, ceil(best.epoch))),
    )


def _still_improving(spec: StudySpec, params: Params, curve: Sequence[Point], best: Point) -> Finding | None:
    if len(curve) < 2 or best.step != curve[-1].step:
        return None
    before = curve[-2].value
    if abs(best.value - before) <= _CHANGE * abs(before):
        return None
    return Finding(
        message=f"{spec.metric} still improved at the last step, from {before:.4g} to {best.value:.4g}: train longer",
        gain=Gain.VALUE,
        remedies=some(train_longer(spec, params, ceil(best.epoch))),
    )


def _gap(spec: StudySpec, params: Params, best: Point, facts: Facts | None) -> Finding | None:
    if not best.metrics.keys() >= _LOSSES:
        return None
    gap = best.metrics["validation_loss"] - best.metrics["train_loss"]
    if gap < max(_GAP_NATS, _GAP_SHARE * best.metrics["validation_loss"]):
        return None
    return Finding(
        message=f"at the best step validation loss is {best.metrics['validation_loss']:.4g} and training loss "
        f"{best.metrics['train_loss']:.4g}, a gap of {gap:.4g} nats: the model knows its training data by heart",
        gain=Gain.VALUE,
        remedies=some(_MORE_DATA, fit_less(spec, params, facts)),
    )


def _disagreement(spec: StudySpec, curve: Sequence[Point], best: Point) -> Finding | None:
    objective = spec.metric
    if len(spec.objectives) > 1:
        return None  # that they disagree is what the study is about
    if objective != "validation_loss":
        return _loss_disagrees(spec, curve, best)
    for name in best.metrics:
        if name == objective or name not in DIRECTIONS:
            continue
        sign = 1 if DIRECTIONS[name] == "minimize" else -1
        measured = [point for point in curve if name in point.metrics]
        other = min(measured, key=lambda point: sign * point.metrics[name])
        here, there = best.metrics[name], other.metrics[name]
        if sign * (here - there) > _CHANGE * abs(there):
            return Finding(
                message=f"validation loss was best at step {best.step}, {name} at step {other.step} ({there:.4g} "
                f"against {here:.4g})",
                gain=Gain.CLARITY,
                remedies=some(choose_by(spec, name, DIRECTIONS[name], f"{name} is what counts")),
            )
    return None


def _loss_disagrees(spec: StudySpec, curve: Sequence[Point], best: Point) -> Finding | None:
    losses = {point.step: point.metrics["validation_loss"] for point in curve if "validation_loss" in point.metrics}
    if best.step not in losses:
        return None
    step = min(losses, key=losses.__getitem__)
    if losses[best.step] <= (1 + 5 * _CHANGE) * losses[step]:
        return None
    return Finding(
        message=f"{spec.metric} was best at step {best.step}, where validation loss is {losses[best.step]:.4g}; it was "
        f"lowest at step {step} with {losses[step]:.4g}: the model is right more often but too sure of itself",
        gain=Gain.CLARITY,
        remedies=some(
            choose_by(spec, "validation_loss", "minimize", "its probabilities matter"),
            search(spec, "label_smoothing", 0.0, 0.2),
        ),
    )
