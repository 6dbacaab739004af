"""Accept a worker's result, exactly once (POST /v1/leases/{lease_id}/tell)."""

import logging
from dataclasses import dataclass

from structlog.contextvars import bind_contextvars

from service.errors import LeaseLost, OutcomeRefused, Unavailable
from service.failpoints import failpoint
from service.files.files import Files
from service.lifecycle.confirmation.accept_run import accept_run
from service.lifecycle.leases.accept_probe import accept_probe, facts_with, note_failed_probe
from service.lifecycle.leases.best_evaluation import best_evaluation
from service.lifecycle.leases.lease_fields import lease_fields
from service.lifecycle.leases.past_attempts import past_attempts
from service.lifecycle.leases.take_back import take_back
from service.lifecycle.model_folders import remove_folders
from service.lifecycle.models.keep_models import keep_models
from service.lifecycle.models.write_card import write_card
from service.lifecycle.pilots.accept_pilot import accept_pilot
from service.lifecycle.replays.end_replay import accept_replay
from service.lifecycle.studies.measured_before import with_measured_before
from service.lifecycle.studies.quote import keep_quote, quote_prepared, quote_probed
from service.lifecycle.studies.saved_seconds import saved_seconds
from service.lifecycle.studies.state_machine import begin_stopping, fail, settle
from service.lifecycle.studies.warm_start import past_studies
from service.lifecycle.trials.enqueue_first_trials import FirstTrials, enqueue_first_trials, propose_first_trials
from service.rung_marks import partial_values_of, pause_of
from service.search.propose.proposer import Proposer
from service.search.pruning.rungs import with_rungs_decided
from service.search.results.judge_trial import judge_trial, values_when_pruned
from service.search.warm_start.portfolio import PastStudy
from service.store import artifacts, attempts, leases, measurements, studies, study_summaries, trials
from service.store.leases import Lease
from service.store.store import Store
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from spezia.contract.facts import Facts
from spezia.contract.failure import Failure
from spezia.contract.objectives import DEVICE_SECONDS
from spezia.contract.outcomes import (
    ConfirmOutcome,
    Outcome,
    PreparedOutcome,
    ProbeOutcome,
    ReplayOutcome,
    ScoreOutcome,
    SmallOutcome,
    TrialOutcome,
)
from spezia.contract.protocol import Told
from spezia.contract.quote import Quote

log = logging.getLogger(__name__)


def tell(store: Store, proposer: Proposer, files: Files, lease_id: str, token: str, outcome: Outcome) -> Told:
    """Accept a result: the trial's end and the lease's are one transaction. A replay changes nothing.

    Args:
        files: Where uploaded model files lie, in a folder for each lease.

    Raises:
        LeaseLost: The lease is stale; nothing has changed, files included.
        OutcomeRefused: The outcome does not fit the assignment or the reports; the lease lives on.
    """
    ahead = _work_out_ahead(store, proposer, lease_id, token, outcome)
    failpoint("tell.worked_out_ahead")
    with store.writing() as tx:
        study_id = studies.lock_by_lease(tx, lease_id, token)
        if study_id is None:
            return _replay(tx, lease_id, token, outcome)
        study, folders, ended, _ = tx.ask(
            studies.by_id(tx.caches.studies, study_id),
            artifacts.lease_ids(study_id),
            leases.end(lease_id, token),
            tx.trials.loading(study_id),
        )
        if study is None or ended is None:
            return _replay(tx, lease_id, token, outcome)
        bind_contextvars(**lease_fields(study, ended))
        if outcome.kind != ended.kind:
            raise OutcomeRefused(f"this lease is for {ended.kind!r}; the outcome is of kind {outcome.kind!r}")
        match outcome:
            case PreparedOutcome():
                settled = _accept_prepared(tx, proposer, study, ended, outcome, ahead)
            case ProbeOutcome():
                settled = _accept_probe(tx, study, ended, outcome, ahead)
            case SmallOutcome():
                settled = _accept_pilot(tx, study, ended, outcome)
            case TrialOutcome():
                settled = _accept_trial(tx, study, ended, outcome, has_files=bool(folders))
            case ConfirmOutcome():
                settled = _accept_confirm(tx, study, ended, outcome)
            case ReplayOutcome():
                settled = _accept_replay(tx, study, ended, outcome)
            case ScoreOutcome():
                settled = _accept_score(tx, study, ended, outcome)
        left = tx.ask(artifacts.lease_ids(study_id)) if folders else folders
        unwanted = folders - left
        if not files.is_at_hand:  # the worker does not wait for a bucket: the reaper's next round tidies up
            artifacts.drop_folders(tx, unwanted)
        failpoint("tell.before_commit")
    failpoint("tell.after_commit")
    _log(outcome)
    if files.is_at_hand:
        remove_folders(files, unwanted)
    if files.is_at_hand and settled.has_ended:
        _write_card(store, files, study.uuid)
    return Told(replayed=False)


def _write_card(store: Store, files: Files, study_uuid: str) -> None:
    try:
        write_card(store, files, study_uuid)
    except (Unavailable, OSError) as error:
        # the result is accepted whatever becomes of the card: the reaper's next round writes what is missing
        log.warning("the model card has to wait: %s", error)


def _log(outcome: Outcome) -> None:
    if outcome.failure is None:
        log.debug("told: %s", outcome.state if isinstance(outcome, TrialOutcome) else outcome.kind)
    else:
        fields = {"failure_class": outcome.failure.failure_class, "failure": outcome.failure.message}
        log.info("the attempt failed", extra=fields)


def _replay(tx: Transaction, lease_id: str, token: str, outcome: Outcome) -> Told:
    accepted = attempts.accepted_outcome(tx, lease_id, token)
    if accepted is None:
        raise LeaseLost
    if accepted != outcome.model_dump_json():
        raise OutcomeRefused("another outcome was accepted for this lease before; the first one stands")
    return Told(replayed=True)


@dataclass(frozen=True)
class _Ahead:
    """What takes too long for the transaction that accepts facts."""

    facts: Facts | None
    """The facts of a study that has been prepared, with what was measured before; ``None``: it has begun."""
    past: list[PastStudy]
    """Finished studies of which trials run first."""
    first: FirstTrials | None
    """Trials that the study begins with; ``None``: it has begun."""
    quoted: Quote | None
    """What the study will take; ``None`` where no steps were timed."""


def _work_out_ahead(store: Store, proposer: Proposer, lease_id: str, token: str, outcome: Outcome) -> _Ahead | None:
    """Propose the first trials of a study, and quote it, outside of the transaction that accepts facts."""
    if not isinstance(outcome, PreparedOutcome | ProbeOutcome):
        return None
    with store.reading() as tx:
        held = tx.ask(leases.find(lease_id, token))
        study = None if held is None or held.kind != outcome.kind else studies.find_by_uuid(tx, held.study_uuid)
        if held is None or study is None:
            return None  # the facts come too late, or again
        if isinstance(outcome, ProbeOutcome):
            assert study.facts is not None
            quoted = quote_probed(tx, study, facts_with(study.facts, outcome), outcome.device_seconds)
            return _Ahead(facts=None, past=[], first=None, quoted=quoted)
        if outcome.facts is None:
            return None
        seen, attrs = trials.all_of(tx, study), tx.trials.get_study_system_attrs(study.study_id)
        facts = with_measured_before(tx, study, outcome.facts, held.worker_id)
        past = past_studies(tx, study, facts)
    first = propose_first_trials(proposer, study, facts, past, seen, attrs)
    begins_with = [trial.params for trial in seen] + [proposal.params for proposal, _ in first.proposals]
    with store.reading() as tx:
        quoted = quote_prepared(tx, study, facts, begins_with, outcome.device_seconds)
    return _Ahead(facts=facts, past=past, first=first, quoted=quoted)


def _accept_prepared(
    tx: Transaction,
    proposer: Proposer,
    study: StudyRow,
    held: Lease,
    outcome: PreparedOutcome,
    ahead: _Ahead | None,
) -> StudyRow:
    if (outcome.facts is None) == (outcome.failure is None):
        raise OutcomeRefused("a prepare ends with facts or with a failure, and not with both")
    if outcome.failure is not None and _is_worth_another_try(tx, held, outcome.failure):
        return _try_again(tx, study, held, outcome, outcome.failure)
    _close(tx, held, outcome, "COMPLETE" if outcome.failure is None else outcome.failure.failure_class)
    if study.ending is not None:
        return settle(tx, study)
    if outcome.failure is not None:
        return fail(tx, study, outcome.failure)
    assert outcome.facts is not None
    facts = outcome.facts if ahead is None or ahead.facts is None else ahead.facts
    study = studies.change(tx, study, facts=facts)
    spec = with_rungs_decided(study.spec, facts)
    if spec != study.spec:
        study = studies.change_spec(tx, study, spec)
    seen = trials.all_of(tx, study)
    _keep_quote(tx, study, held, ahead)
    first = None if ahead is None else ahead.first
    if first is None or first.number != len(seen) or len(seen) + len(first.proposals) > spec.n_trials:
        # stock Optuna has added trials since, or a person has lowered their number
        attrs = tx.trials.get_study_system_attrs(study.study_id)
        past = [] if ahead is None else ahead.past
        first = propose_first_trials(proposer, study, facts, past, seen, attrs)
    return settle(tx, enqueue_first_trials(tx, study, first))


def _accept_probe(
    tx: Transaction, study: StudyRow, held: Lease, outcome: ProbeOutcome, ahead: _Ahead | None
) -> StudyRow:
    if outcome.failure is not None and (outcome.similarity is not None or outcome.step_times is not None):
        raise OutcomeRefused("a probe ends with what was measured or with a failure, and not with both")
    if outcome.failure is not None and _is_worth_another_try(tx, held, outcome.failure):
        return _try_again(tx, study, held, outcome, outcome.failure)
    _close(tx, held, outcome, "COMPLETE" if outcome.failure is None else outcome.failure.failure_class)
    if outcome.failure is not None:
        return settle(tx, note_failed_probe(tx, study, outcome.failure))
    _keep_quote(tx, study, held, ahead)
    return settle(tx, accept_probe(tx, study, outcome))


def _keep_quote(tx: Transaction, study: StudyRow, held: Lease, ahead: _Ahead | None) -> None:
    if ahead is not None and ahead.quoted is not None:
        keep_quote(tx, study, held, ahead.quoted)


def _accept_pilot(tx: Transaction, study: StudyRow, held: Lease, outcome: SmallOutcome) -> StudyRow:
    if outcome.failure is not None and _is_worth_another_try(tx, held, outcome.failure):
        return _try_again(tx, study, held, outcome, outcome.failure)
    _close(tx, held, outcome, "COMPLETE" if outcome.failure is None else outcome.failure.failure_class)
    study, hopeless = accept_pilot(tx, study, held, outcome)
    if hopeless is not None:
        study = begin_stopping(tx, study, "failed", hopeless)
    return settle(tx, study)


def _accept_confirm(tx: Transaction, study: StudyRow, held: Lease, outcome: ConfirmOutcome) -> StudyRow:
    if outcome.failure is not None and _is_worth_another_try(tx, held, outcome.failure):
        return _try_again(tx, study, held, outcome, outcome.failure)
    _close(tx, held, outcome, "COMPLETE" if outcome.failure is None else outcome.failure.failure_class)
    accept_run(tx, study, held, outcome)
    return settle(tx, study)


def _accept_trial(tx: Transaction, study: StudyRow, held: Lease, outcome: TrialOutcome, *, has_files: bool) -> StudyRow:
    """``has_files``: workers have uploaded models of the study."""
    failure = outcome.failure
    trial = trials.find(tx, study, held.number)
    assert trial is not None
    if not trials.is_running(trial):
        raise LeaseLost  # another program has ended it; the reaper's next round ends the lease
    if outcome.state == "FAIL" and failure is not None and _is_worth_another_try(tx, held, failure):
        artifacts.forget(tx, held.lease_id)
        return _try_again(tx, study, held, outcome, failure)
    best = best_evaluation(tx, study, held, trial)
    was_pruned = tx.ask(measurements.was_pruned(held))
    is_paused = pause_of(trial) is not None
    has_reported = best is not None or (outcome.state == "PRUNED" and bool(partial_values_of(trial)))
    _check_trial_outcome(outcome, has_reported=has_reported, was_pruned=was_pruned, is_paused=is_paused)
    if outcome.state == "COMPLETE":
        assert best is not None
        judged = judge_trial(study.spec, best, _device_seconds(tx, study, held, outcome))
        trials.finish(tx, study, trial, outcome.state, judged.values, failure, judged.constraints)
    else:
        values = values_when_pruned(study.spec, trial.intermediate_values) if outcome.state == "PRUNED" else None
        trials.finish(tx, study, trial, outcome.state, values, failure)
    _close(tx, held, outcome, failure.failure_class if failure else outcome.state)
    if outcome.state != "FAIL" and failure is None:  # what a budget has ended, or a loss that diverged, saves nothing
        saved = saved_seconds(study, trial, outcome.state, outcome.speed)
        study_summaries.add_saved_seconds(tx, study.uuid, saved)
    if has_files:
        keep_models(tx, study, held)
    return settle(tx, study)


def _check_trial_outcome(outcome: TrialOutcome, *, has_reported: bool, was_pruned: bool, is_paused: bool) -> None:
    if outcome.state == "FAIL" and outcome.failure is None:
        raise OutcomeRefused("an outcome with state FAIL needs a failure, with class and message")
    if outcome.state == "COMPLETE" and outcome.failure is not None:
        raise OutcomeRefused("an outcome with state COMPLETE must have no failure")
    if outcome.state != "FAIL" and not has_reported:
        raise OutcomeRefused(
            f"a {outcome.state} trial must have reported a value; tell FAIL with failure class no_metric"
        )
    if outcome.state == "COMPLETE" and was_pruned:
        raise OutcomeRefused("this trial was told that it is pruned, so its outcome must be PRUNED")
    if outcome.state == "COMPLETE" and is_paused:
        raise OutcomeRefused("this trial was told to pause, so it is not complete; release its lease as paused")


def _device_seconds(tx: Transaction, study: StudyRow, held: Lease, outcome: TrialOutcome) -> float:
    """Return the trial's device seconds, all attempts together; 0 where no objective or constraint needs them."""
    if DEVICE_SECONDS not in study.spec.wanted_metrics:
        return 0.0
    past = attempts.history(tx, held.study_uuid, held.kind, held.number)
    return outcome.device_seconds + sum(float(row.device_seconds) for row in past if row.lease_id != held.lease_id)


def _accept_replay(tx: Transaction, study: StudyRow, held: Lease, outcome: ReplayOutcome) -> StudyRow:
    if outcome.failure is not None and _is_worth_another_try(tx, held, outcome.failure):
        return _try_again(tx, study, held, outcome, outcome.failure)
    _close(tx, held, outcome, "COMPLETE" if outcome.failure is None else outcome.failure.failure_class)
    accept_replay(tx, study, held, outcome.evaluations, outcome.failure)
    return study


def _accept_score(tx: Transaction, study: StudyRow, held: Lease, outcome: ScoreOutcome) -> StudyRow:
    if (outcome.metrics is None) == (outcome.failure is None):
        raise OutcomeRefused("a score ends with metrics or with a failure, and not with both")
    if outcome.failure is not None and _is_worth_another_try(tx, held, outcome.failure):
        return _try_again(tx, study, held, outcome, outcome.failure)
    _close(tx, held, outcome, "COMPLETE" if outcome.failure is None else outcome.failure.failure_class)
    warnings = study.warnings
    if outcome.failure is not None:
        warnings = [*warnings, f"the winner was not scored on the test split: {outcome.failure.message}"]
    return settle(tx, studies.change(tx, study, is_scored=True, test_metrics=outcome.metrics, warnings=warnings))


def _is_worth_another_try(tx: Transaction, held: Lease, failure: Failure) -> bool:
    """A broken device is tried once more, in a new process; what is wrong with the data stays wrong."""
    if failure.failure_class != "device_error":
        return False
    past = past_attempts(tx, held)
    return all(attempt.end != "device_error" for attempt in past)


def _try_again(tx: Transaction, study: StudyRow, held: Lease, outcome: Outcome, failure: Failure) -> StudyRow:
    return take_back(
        tx,
        study,
        held,
        failure,
        is_counted=True,
        device_seconds=outcome.device_seconds,
        outcome=outcome.model_dump_json(),
    )


def _close(tx: Transaction, held: Lease, outcome: Outcome, end: str) -> None:
    attempts.close(tx, held, end, device_seconds=outcome.device_seconds, outcome=outcome.model_dump_json())
