"""The rungs of a locked study, under the pruner `rungs`: who pauses, who goes on, and when those that wait are dropped.

Which trials go on is decided by `service.search.pruning.rungs`; this file knows what is stored.
"""

from collections.abc import Sequence

from service.lifecycle.studies.saved_seconds import saved_seconds
from service.rung_marks import arrivals_of, n_promoted_of, pause_of
from service.search.pruning.rungs import Promotion, Ranks, RungCounts, promotions, rung_steps
from service.search.results.judge_trial import values_when_pruned
from service.search.space.params import trial_params
from service.store import decisions, study_summaries, trials
from service.store.leases import Lease
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from service.store.trials import FrozenTrial
from spezia.contract.protocol import Report
from spezia.contract.pruners import RungsPruner

STUDY_ENDED = "the study was ended before it was promoted"
"""Why a trial goes no further whose study a person or a limit has ended."""


def due_promotions(tx: Transaction, study: StudyRow) -> list[Promotion]:
    """Return the paused trials of a study that may go on, in the order in which they do."""
    if not isinstance(study.spec.pruner, RungsPruner):
        return []
    return _promotions(tx, study, trials.unfinished(tx, study))


def next_rung(study: StudyRow, trial: FrozenTrial) -> int | None:
    """Return the step of the rung at which a trial may pause next when it goes on; ``None``: it runs to its end."""
    if trials.passes_rungs(trial):
        return None
    pause = pause_of(trial)
    n_passed = n_promoted_of(trial) if pause is None else pause.rung + 1
    steps = rung_steps(study.spec, trial_params(study.spec, trial.params))
    return steps[n_passed] if n_passed < len(steps) else None


def reach_rung(tx: Transaction, study: StudyRow, held: Lease, trial: FrozenTrial, newest: Report) -> None:
    """Decide on a RUNNING trial that has just reported ``newest``: at a rung it is told to pause, or it is promoted.

    The baseline passes all rungs, as does the first trial of a warm start; a trial that begins anew passes those from
    which it was promoted before. Where device seconds are limited a trial always pauses, as it has reserved those up to
    its rung; it may go on at once.
    """
    if not isinstance(study.spec.pruner, RungsPruner) or trials.passes_rungs(trial):
        return
    steps = rung_steps(study.spec, trial_params(study.spec, trial.params))
    if newest.step not in steps:
        return
    step, rung = newest.step, steps.index(newest.step)
    trials.reach(tx, trial, rung, newest.value)
    if rung < n_promoted_of(trial):
        return
    pausing = [
        trials.as_if_paused(tx, one, rung, step, held.attempt) if one.number == trial.number else one
        for one in trials.unfinished(tx, study)
    ]
    may_go_on = any(one.number == trial.number for one in _promotions(tx, study, pausing))
    if may_go_on and study.spec.device_seconds is None:
        trials.promote(tx, trial, rung)
        tx.make_work()  # its arrival may have made others due
    else:
        trials.tell_to_pause(tx, trial, rung, step, held.attempt)


def are_over(tx: Transaction, study: StudyRow) -> bool:
    """Return whether no trial of a study will be promoted again, though some are paused."""
    counts = trials.counts(tx, study)
    return bool(counts.paused) and not counts.running and _all_begun(tx, study) and not due_promotions(tx, study)


def drop_paused(tx: Transaction, study: StudyRow) -> None:
    """End the paused trials of a study whose best have completed, as PRUNED; what that has saved is counted."""
    dropped = trials.paused(tx, study)
    for trial in dropped:
        pause = pause_of(trial)
        assert pause is not None
        saved = saved_seconds(study, trial, "PRUNED", pause.speed)
        study_summaries.add_saved_seconds(tx, study.uuid, saved)
    end_at_rung(tx, study, dropped, "the best have completed, and no more trials begin")


def end_paused(tx: Transaction, study: StudyRow) -> None:
    """End the paused trials of a study that a person or a limit ends, as PRUNED; that is no saving."""
    end_at_rung(tx, study, trials.paused(tx, study), STUDY_ENDED)


def end_at_rung(tx: Transaction, study: StudyRow, ending: Sequence[FrozenTrial], why: str) -> None:
    """End trials that are paused, or were told to pause, as PRUNED at their last values, each with its place at
    its rung and ``why`` it goes no further."""
    ranks = Ranks(study.spec, trials.all_of(tx, study) if ending else ())
    for trial in ending:
        pause = pause_of(trial)
        assert pause is not None
        reason, pruner = ranks.reason_to_end(trial, why), study.spec.pruner.name
        decisions.add(tx, study.uuid, trial.number, pause.attempt, pause.step, pruner, **vars(reason))
        trials.finish(tx, study, trial, "PRUNED", values_when_pruned(study.spec, trial.intermediate_values), None)


def _promotions(tx: Transaction, study: StudyRow, unfinished: Sequence[FrozenTrial]) -> list[Promotion]:
    finished = tx.trials.summary(study.study_id, RungCounts)
    return promotions(study.spec, finished, unfinished, all_arrived=_all_arrived(tx, study, unfinished))


def _all_arrived(tx: Transaction, study: StudyRow, unfinished: Sequence[FrozenTrial]) -> bool:
    """Whether all trials of a study have begun, and none is on its way to its first rung."""
    return _all_begun(tx, study) and not any(
        trials.is_running(trial) and not arrivals_of(trial) and next_rung(study, trial) is not None
        for trial in unfinished
    )


def _all_begun(tx: Transaction, study: StudyRow) -> bool:
    """Whether the study begins no further trial; one that is stopping lets nobody go on for the sake of ``top``."""
    counts = trials.counts(tx, study)
    has_begun = counts.n_total >= study.spec.n_trials and counts.waiting == counts.paused
    return has_begun and study.state != "stopping"
