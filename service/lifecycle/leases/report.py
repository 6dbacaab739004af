"""Store the evaluations that workers report, and say whether to go on (POST /v1/leases/report)."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial

from structlog.contextvars import bind_contextvars

from service.errors import OutcomeRefused, ReportConflict
from service.failpoints import failpoint
from service.lifecycle.leases.best_evaluation import best_evaluation
from service.lifecycle.leases.heartbeat import directive
from service.lifecycle.leases.lease_fields import lease_fields
from service.lifecycle.studies.rungs import reach_rung
from service.rung_marks import Pause, pause_of
from service.search.pruning.curves import Curves
from service.search.pruning.rungs import partial_steps
from service.search.pruning.should_prune import Decision, should_prune
from service.search.results.judge_trial import judge_trial
from service.search.results.learning_curve import points
from service.search.results.ranking import rank_if_complete
from service.search.space.params import trial_params
from service.store import decisions, leases, measurements, studies, trials
from service.store.leases import Lease
from service.store.measurements import Answer
from service.store.store import Store
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from service.store.trials import FrozenTrial
from spezia.contract.objectives import missing_metrics
from spezia.contract.protocol import Refusal, Report, ReportReply

MAX_TOGETHER = 50
"""Reports that share a transaction: so many hold SQLite's lock for 10 to 40 ms, in which nobody else writes."""

_REFUSALS = {one.code: one for one in (ReportConflict, OutcomeRefused)}


@dataclass
class _Decided:
    """What has been decided about an attempt."""

    by_step: dict[int, Answer]
    pruned: Answer | None
    """The answer that ended the trial early."""
    pause: Pause | None
    """Where the trial was told to pause."""


def report(store: Store, reports: list[Report]) -> list[ReportReply]:
    """Store evaluations and decide on each, those of a lease in the order given.

    At most ``MAX_TOGETHER`` of them share a transaction: what is stored before a failure stays, and is answered alike
    when it is sent again.

    Raises:
        ReportConflict: Every report is refused, and the first one because its step was reported before with another
            value; that one stands.
        OutcomeRefused: Every report is refused, and the first one because its lease is not for a trial, or because it
            lacks a metric that the study's spec needs.
    """
    by_lease: dict[tuple[str, str], list[Report]] = {}
    for one in reports:
        by_lease.setdefault((one.lease_id, one.token), []).append(one)
    replies: dict[int, ReportReply] = {}
    for (lease_id, token), of_lease in by_lease.items():
        for begin in range(0, len(of_lease), MAX_TOGETHER):
            mine = of_lease[begin : begin + MAX_TOGETHER]
            study_id = store.caches.leases.study_of(lease_id)
            answered = store.together(study_id, partial(_accept, lease_id, token, mine))
            failpoint("report.after_commit")
            replies.update(zip(map(id, mine), answered, strict=True))
    in_order = [replies[id(one)] for one in reports]
    refusals = [reply.refusal for reply in in_order if reply.refusal is not None]
    if len(refusals) == len(in_order):
        raise _REFUSALS[refusals[0].code](refusals[0].detail)
    return in_order


def _accept(lease_id: str, token: str, reports: list[Report], tx: Transaction) -> list[ReportReply]:
    study_id = studies.lock_by_lease(tx, lease_id, token)
    if study_id is None:
        return [_lost(one) for one in reports]
    # the token is compared behind the study's lock, without which no lease ends or changes hands
    held, study, answers, _ = tx.ask(
        leases.find(lease_id, token),
        studies.by_id(tx.caches.studies, study_id),
        measurements.decided(lease_id, from_step=min(one.step for one in reports)),
        tx.trials.loading(study_id),
    )
    if study is None or held is None or directive(study, held) == "lost" or _has_ended(tx, study, held):
        return [_lost(one) for one in reports]
    bind_contextvars(**lease_fields(study, held))
    decided = _Decided(
        by_step={answer.step: answer for answer in answers},
        pruned=next((answer for answer in answers if answer.should_prune), None),
        pause=_pause_of(tx, study, held),
    )
    replies = [_answer_or_refuse(tx, study, held, one, decided) for one in reports]
    if any(reply.refusal is None for reply in replies):  # what is refused has no effect
        # a heartbeat renews several, in the order of their ids, and without the study's lock
        tx.write_at_end(lease_id, leases.renew(lease_id, token, tx.now))
    failpoint("report.before_commit")
    return replies


def _pause_of(tx: Transaction, study: StudyRow, held: Lease) -> Pause | None:
    """Where the trial of a lease was told to pause; ``None`` where it was not."""
    trial = trials.find(tx, study, held.number) if held.kind == "trial" else None
    return None if trial is None else pause_of(trial)


def _has_ended(tx: Transaction, study: StudyRow, held: Lease) -> bool:
    """Whether another program has ended the trial; the reaper's next round ends the lease."""
    trial = trials.find(tx, study, held.number) if held.kind == "trial" else None
    return trial is not None and not trials.is_running(trial)


def _answer_or_refuse(tx: Transaction, study: StudyRow, held: Lease, one: Report, decided: _Decided) -> ReportReply:
    """Answer one report by itself; one that is refused has written nothing."""
    try:
        return _answer(tx, study, held, one, decided)
    except (ReportConflict, OutcomeRefused) as refused:
        return ReportReply(
            lease_id=one.lease_id,
            step=one.step,
            directive=directive(study, held),
            should_prune=False,
            reason=None,
            keep_model=False,
            refusal=Refusal(status=refused.status, code=refused.code, detail=refused.detail),
        )


def _answer(tx: Transaction, study: StudyRow, held: Lease, one: Report, decided: _Decided) -> ReportReply:
    if held.kind != "trial":
        raise OutcomeRefused(f"this lease is for {held.kind!r}; only a lease for a trial may report")
    stored = decided.by_step.get(one.step)
    if stored is not None:
        _check_same(one, stored)
        return _reply(study, held, stored, decided.pause)
    # either decision is final: what came after it was in vain
    if decided.pruned is not None:
        return _reply(study, held, replace(decided.pruned, step=one.step, keep_model=False), None)
    if decided.pause is not None and one.step > decided.pause.step:
        in_vain = Answer(step=one.step, value=one.value, should_prune=False, reason=None, keep_model=False)
        return _reply(study, held, in_vain, decided.pause)
    answer = _decide(tx, study, held, one, is_newest=one.step > max(decided.by_step, default=0))
    decided.by_step[one.step] = answer
    decided.pruned = answer if answer.should_prune else None
    decided.pause = _pause_of(tx, study, held)
    return _reply(study, held, answer, decided.pause)


def _decide(tx: Transaction, study: StudyRow, held: Lease, one: Report, *, is_newest: bool) -> Answer:
    """Take an evaluation in and decide on its trial; one that comes behind a later one pauses nobody at its rung."""
    _check_metrics(study, one)
    if one.partial:
        _check_partial(tx, study, held, one)
        trial = trials.add_partial_value(tx, study, held.number, one.step, one.value)
    else:
        trial = trials.add_value(tx, study, held.number, one.step, one.value)
    decision = _ask_pruner(tx, study, trial, is_final=one.final)
    keep_model = one.final and study.spec.training.keep_models > 0 and _is_among_best(tx, study, held, trial, one)
    if is_newest and not one.final and pause_of(trial) is None:
        reach_rung(tx, study, held, trial, one)
    trials.report(tx, study, trial, one.step, one.value, decision.system_attrs, partial=one.partial)
    answer = Answer(
        step=one.step,
        value=one.value,
        should_prune=decision.should_prune,
        reason=None if decision.reason is None else decision.reason.text,
        keep_model=keep_model,
    )
    measurements.add(tx, held, one, answer)
    tx.after_commit.append(tx.metrics.reports.inc)
    if decision.reason is not None:
        pruner = study.spec.pruner.name
        decisions.add(tx, study.uuid, held.number, held.attempt, one.step, pruner, **vars(decision.reason))
    return answer


def _ask_pruner(tx: Transaction, study: StudyRow, trial: FrozenTrial, *, is_final: bool) -> Decision:
    """Whether a trial, its newest value in it, ends early.

    At its final report it has nothing left to lose; and the baseline is what others are compared with.
    """
    curves = partial(tx.trials.summary, study.study_id, Curves)
    decision = should_prune(study.spec, study.name, trial, trials.all_of(tx, study), curves)
    if decision.should_prune and (is_final or trials.is_baseline(trial)):
        return Decision(should_prune=False, reason=None, system_attrs=decision.system_attrs)
    return decision


def _is_among_best(tx: Transaction, study: StudyRow, held: Lease, trial: FrozenTrial, last: Report) -> bool:
    """Whether the model would be kept if the trial ended now, at no cost: what it has cost is told later."""
    [newest] = points([last])
    best = best_evaluation(tx, study, held, trial, newest)
    judged = judge_trial(study.spec, best, device_seconds=0.0)
    if not judged.is_feasible:
        return False
    rank = rank_if_complete(held.number, judged.values, trials.all_of(tx, study), study.spec)
    return rank is not None and rank < study.spec.training.keep_models


def _check_metrics(study: StudyRow, one: Report) -> None:
    missing = missing_metrics(study.spec.wanted_metrics, one.metrics | {study.spec.metric: one.value})
    if missing:
        raise OutcomeRefused(
            f"the metrics of step {one.step} lack {', '.join(missing)}, which an objective or constraint needs"
        )


def _check_partial(tx: Transaction, study: StudyRow, held: Lease, one: Report) -> None:
    trial = trials.find(tx, study, held.number)
    assert trial is not None
    assert study.facts is not None
    asked = partial_steps(study.spec, trial_params(study.spec, trial.params), study.facts)
    if one.final or one.step not in asked:
        raise OutcomeRefused(
            f"step {one.step} is to read all validation rows; only {_listed(asked)} may read a part of them"
        )


def _listed(steps: Iterable[int]) -> str:
    return f"steps {', '.join(map(str, steps))}" if steps else "no step"


def _check_same(one: Report, stored: Answer) -> None:
    if not math.isclose(stored.value, one.value, rel_tol=0, abs_tol=0):
        raise ReportConflict(
            f"step {one.step} was reported before with the value {stored.value!r}, which stands; "
            f"{one.value!r} is refused. Report each step once"
        )


def _reply(study: StudyRow, held: Lease, answer: Answer, pause: Pause | None) -> ReportReply:
    goes_on = directive(study, held)
    is_pausing = goes_on == "continue" and pause is not None and answer.step >= pause.step
    return ReportReply(
        lease_id=held.lease_id,
        step=answer.step,
        directive="pause" if is_pausing else goes_on,
        should_prune=answer.should_prune,
        reason=answer.reason,
        keep_model=answer.keep_model,
    )


def _lost(one: Report) -> ReportReply:
    return ReportReply(
        lease_id=one.lease_id,
        step=one.step,
        directive="lost",
        should_prune=False,
        reason=None,
        keep_model=False,
    )
