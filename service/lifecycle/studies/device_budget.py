"""How the ``device_seconds`` of a study are shared out: how long a trial will probably take, and what it reserves.

A worker ends a trial that has used up its reservation. One that is too small wastes the trial; one that is too large
only makes others wait until the trial has ended, when what it has not used is free again.

All times are device seconds. The formula and its constants are ours, chosen by the share of trials that are cut short
in the studies of `tests/service/lifecycle/studies/test_device_budget.py`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from service.search.space.params import trial_params
from service.store import attempts, leases, trials
from service.store.sql.statements import Row
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from service.store.trials import FrozenTrial
from spezia.contract.hyperparameters import default_of
from spezia.contract.study_spec import Params

MARGIN = 1.5
"""A trial reserves so many times what it probably takes: epochs and batch size decide most of that, but not all."""

UNKNOWN_SHARE = 0.25
"""Share of what is left that a trial reserves at least while it is not known how long trials take."""

UNKNOWN_LEAST = 0.05
"""Share of the whole budget without which no trial starts beside others while it is not known how long trials take: the
evaluations of those that run will soon tell."""

_N_RUNS = 100
"""Number of a study's last trials by which the length of the next one is judged."""


@dataclass(frozen=True)
class Work:
    """What a trial does. The time that it takes grows with both, and nobody knows with which of them more."""

    epochs: float
    """Passes over the training rows."""
    steps: float
    """Optimizer steps."""


_SCRIPT = Work(1.0, 1.0)
"""Of every trial of a script: nothing is known of what its params mean."""


@dataclass(frozen=True)
class Estimate:
    """How long a trial probably takes."""

    seconds: float
    is_known: bool
    """Whether it is so; else the trial may take longer by any factor."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """An attempt at a trial that has come to an end or to a pause, and what it took."""

    seconds: float
    work: Work
    """As far as it came."""
    is_complete: bool
    """Whether it came to its own end or to the rung at which it pauses, neither pruned nor ended for the budget."""
    is_measured: bool
    """Whether it took ``seconds`` for ``work``; else it took them and did not get so far."""


def is_used_up(tx: Transaction, study: StudyRow) -> bool:
    """Return whether less of a study's ``device_seconds`` is left than its quickest trial took.

    While no trial has come to its end, that is the longest so far.
    """
    if study.spec.device_seconds is None:
        return False
    runs = _ended_runs(tx, study)
    complete = [run.seconds for run in runs if run.is_complete]
    least = min(complete) if complete else max((run.seconds for run in runs), default=0.0)
    left = _left(tx, study, study.spec.device_seconds)
    return left <= 0 or left < least


def seconds_to_reserve(
    tx: Transaction,
    study: StudyRow,
    params: Params,
    *,
    resume_step: int = 0,
    until_step: int | None = None,
    n_left: int | None = None,
) -> float | None:
    """Return the device seconds that the study's next trial, or run that confirms one, reserves before it starts.

    That is its estimate and a margin, but at least an equal share of what is left for it and all trials that have yet
    to start. A trial waits for what others give back where too little is left for that; where no other runs, it
    reserves what is left. What ended attempts have used and live leases have reserved thus never exceeds the budget
    together, but for what workers take to end a trial whose seconds are up.

    Args:
        params: Of the trial, by their plain names.
        resume_step: Step of the last evaluation that the trial has behind it.
        until_step: Step of the rung at which the trial pauses; ``None``: it runs to its end.
        n_left: Number of runs that have yet to start, this one among them; ``None``: all trials that have.

    Returns:
        ``None`` if the study has no such budget; 0 if the trial has to wait.
    """
    budget = study.spec.device_seconds
    if budget is None:
        return None
    left = _left(tx, study, budget)
    if n_left is None:
        counts = trials.counts(tx, study)
        n_left = study.spec.n_trials - counts.n_finished - counts.running
    share = 1 / max(1, n_left)
    runs = [*_ended_runs(tx, study), *_live_runs(tx, study)]
    expected = estimate(_planned_work(study, params, resume_step, until_step), runs)
    wanted = max(MARGIN * expected.seconds, left * (share if expected.is_known else max(share, UNKNOWN_SHARE)))
    if wanted <= left and (expected.is_known or wanted >= UNKNOWN_LEAST * budget):
        return wanted
    return 0.0 if leases.of_study(tx, study.uuid) else left


def estimate(planned: Work, runs: Sequence[Run]) -> Estimate:
    """Estimate how long a trial takes by other trials of its study.

    The time of a trial is in proportion to something between its epochs and its steps, so every run says how long the
    trial takes at least and at most. All that say "at least" are believed, as some params make a trial slower than
    others; of those that say "at most" the lowest, which comes of the batch size that is most alike.
    """
    ratios = [(planned.epochs / run.work.epochs, planned.steps / run.work.steps) for run in runs]
    at_least = [run.seconds * min(ratio) for run, ratio in zip(runs, ratios, strict=True)]
    at_most = [run.seconds * max(ratio) for run, ratio in zip(runs, ratios, strict=True) if run.is_measured]
    if not at_most:
        return Estimate(max(at_least, default=0.0), is_known=False)
    slowest = max(range(len(runs)), key=at_least.__getitem__)
    return Estimate(max(at_least[slowest], min(at_most)), is_known=runs[slowest].is_measured)


def _left(tx: Transaction, study: StudyRow, budget: float) -> float:
    """What of a budget is neither used nor reserved."""
    return budget - attempts.budget_seconds(tx, study.uuid) - leases.reserved_seconds(tx, study.uuid)


def _ended_runs(tx: Transaction, study: StudyRow) -> list[Run]:
    found = ((row, trials.find(tx, study, row.number)) for row in attempts.last_ends(tx, study.uuid, _N_RUNS))
    return [_ended_run(study, row, trial) for row, trial in found if trial is not None]


def _ended_run(study: StudyRow, row: Row, trial: FrozenTrial) -> Run:
    seconds, is_complete = row.device_seconds, row.end in ("COMPLETE", attempts.PAUSED)
    if study.spec.task == "script":
        return Run(seconds=seconds, work=_SCRIPT, is_complete=is_complete, is_measured=row.end != "budget")
    n_evaluations = (row.last_step or 0) - (row.resume_step or 0)
    # one that has not come to its first evaluation would have taken longer for that
    work = _work_of(study, trial, max(1, n_evaluations))
    return Run(seconds=seconds, work=work, is_complete=is_complete, is_measured=n_evaluations > 0)


def _live_runs(tx: Transaction, study: StudyRow) -> list[Run]:
    """Runs of the trials that run now, up to their last evaluation; how far a script has come is not known."""
    if study.spec.task == "script":
        return []
    found = ((row, trials.find(tx, study, row.number)) for row in attempts.live_reports(tx, study.uuid))
    return [_live_run(study, row, trial) for row, trial in found if trial is not None]


def _live_run(study: StudyRow, row: Row, trial: FrozenTrial) -> Run:
    seconds = max(0.0, (row.reported_at - row.started_at).total_seconds())
    work = _work_of(study, trial, row.step - (row.resume_step or 0))
    return Run(seconds=seconds, work=work, is_complete=False, is_measured=True)


def _work_of(study: StudyRow, trial: FrozenTrial, n_evaluations: int) -> Work:
    epochs = n_evaluations / study.spec.training.evaluations_per_epoch
    return _work(study, trial_params(study.spec, trial.params), epochs)


def _planned_work(study: StudyRow, params: Params, resume_step: int, until_step: int | None) -> Work:
    if study.spec.task == "script":
        return _SCRIPT
    per_epoch = study.spec.training.evaluations_per_epoch
    until = _number("epochs", params) if until_step is None else until_step / per_epoch
    return _work(study, params, until - resume_step / per_epoch)


def _work(study: StudyRow, params: Params, epochs: float) -> Work:
    assert study.facts is not None
    return Work(epochs, epochs * math.ceil(study.facts.train_rows / _number("batch_size", params)))


def _number(name: str, params: Params) -> float:
    value = params.get(name, default_of(name, params))
    assert isinstance(value, int | float)
    return float(value)
