"""Choose which of the trials that wait is handed out next.

Where nothing speaks against it, that is the longest: a long trial that begins last keeps one worker busy while all
others have nothing left to do. (Graham (1969), "Bounds on multiprocessing timing anomalies": with the longest first, no
schedule takes more than 4/3 of the shortest possible time.)

Elsewhere it is the one that was added first, except that the baseline begins second where something is known to begin
with: it is there to be compared with, and what was enqueued or was best in earlier studies is probably better
(docs/decisions/0048-the-baseline-begins-second.md).
"""

import math
from collections.abc import Collection, Sequence

from service.search.space.params import trial_params
from service.store import trials
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from spezia.contract.facts import Facts
from spezia.contract.hyperparameters import default_of
from spezia.contract.study_spec import Params

_N_COMPARED = 100
"""How many trials are compared, those that have waited longest, so that a thousand that wait slow no dispatch down. The
order of the last hundred decides when a study ends."""

_STEP_ROWS = 2.0
"""Rows that cost as much to train on as what a step does once: gradients to zero, clipping, AdamW. Measured with MiniLM
at batch 8, see the profile in docs/performance.md."""

_LEAST_SHARE = 0.05
"""Share of the cost of a row that is left where the whole body is frozen and its output cached."""

_LORA_SHARE = 2 / 3
"""Forward and backward pass without the gradients of the weights, a third of a row's matrix products."""


def choose_waiting(tx: Transaction, study: StudyRow, held: Collection[int]) -> int:
    """Return the number of the WAITING trial of a locked study that is next; there must be one.

    Args:
        held: Numbers of the trials that the asking worker holds checkpoints of; such a trial comes before all others.
    """
    waiting = trials.waiting(tx, study)
    if own := [number for number in waiting if number in held]:
        return own[0]
    if not _may_reorder(tx, study):
        return waiting[1] if _begins_second(tx, study, waiting) else waiting[0]
    return max(waiting[:_N_COMPARED], key=lambda number: _length_of(tx, study, number))  # of equals the first


def relative_length(params: Params, facts: Facts) -> float:
    """Return how long a trial probably takes, in rows that a whole model is trained on; for comparing trials only."""
    n_rows = facts.train_rows
    n_steps = math.ceil(n_rows / _number("batch_size", params))
    share = _LEAST_SHARE + (1 - _LEAST_SHARE) * _trained_share(params, facts.blocks)
    if params.get("method") == "lora":
        share *= _LORA_SHARE
    return _number("epochs", params) * share * (n_rows + _STEP_ROWS * n_steps)


def _begins_second(tx: Transaction, study: StudyRow, waiting: Sequence[int]) -> bool:
    """Whether the baseline is the first that waits, and behind it the first of the trials that are known to be good."""
    if len(waiting) < 2 or waiting[1] != waiting[0] + 1:
        return False
    first, second = (trials.find(tx, study, number) for number in waiting[:2])
    assert first is not None
    assert second is not None
    return trials.is_baseline(first) and (bool(study.spec.enqueue) or trials.taken_from(second) is not None)


def _may_reorder(tx: Transaction, study: StudyRow) -> bool:
    """Whether nobody can tell in which order the trials of a study begin, but by when the last one ends.

    A sampler proposes by what has ended, a pruner compares with it, and a limit of time may leave the last trials out;
    the meaning of a script's params is unknown.
    """
    spec = study.spec
    has_limit = spec.timeout_seconds is not None or spec.device_seconds is not None or spec.target_value is not None
    is_watched = spec.task == "script" or spec.pruner.name != "none" or has_limit
    return not is_watched and trials.counts(tx, study).n_total >= spec.n_trials


def _length_of(tx: Transaction, study: StudyRow, number: int) -> float:
    trial = trials.find(tx, study, number)
    assert trial is not None
    assert study.facts is not None
    return relative_length(trial_params(study.spec, trial.params), study.facts)


def _trained_share(params: Params, n_blocks: int | None) -> float:
    if params.get("method") == "head_only":
        return 0.0
    if not n_blocks or params.get("unfreeze") == "gradual":
        return 1.0  # thawed after the first third of the trial
    n_frozen = params.get("frozen_layers") or round(_number("frozen_fraction", params) * n_blocks)
    assert isinstance(n_frozen, int)
    return max(0.0, 1 - n_frozen / n_blocks)


def _number(name: str, params: Params) -> float:
    value = params.get(name, default_of(name, params))
    assert isinstance(value, int | float)
    return float(value)
