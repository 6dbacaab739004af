"""Propose params for a study's next trial, outside its lock, from a snapshot of its trials."""

from dataclasses import dataclass
from typing import Any

from service.search.propose.propose import Proposal, ProposalRequest, as_before, is_made_ahead
from service.search.propose.proposer import Proposer
from service.search.propose.samplers import needs_torch
from service.store import studies, trials
from service.store.store import Store
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from spezia.contract.assignments import Assignment, TrialAssignment


@dataclass(frozen=True)
class Next:
    """A new trial that a study would run next."""

    number: int
    """Number that the trial would have."""
    proposal: Proposal | None
    """Params of the trial; ``None`` where the sampler has nothing left to propose."""


def propose_next(store: Store, proposer: Proposer, study_uuid: str, request: ProposalRequest) -> Next | None:
    """Propose the new trial that is asked for, or take what was proposed ahead.

    Returns:
        ``None`` while a helper process is at it, which may take seconds: no thread waits for it, and whoever waits for
        work is woken when it is done.
    """
    if needs_torch(request.spec, request.trials) and not proposer.prepare_in_helper(
        study_uuid, request, store.work.notify
    ):
        return None
    return Next(request.number, _propose(proposer, study_uuid, request))


def propose_locked(tx: Transaction, proposer: Proposer, study: StudyRow) -> Next | None:
    """Propose the next new trial under the study's lock; ``None`` also where that may take seconds (``gp``)."""
    request = next_request(tx, study, tx.trials.get_study_system_attrs(study.study_id))
    if request is None or needs_torch(request.spec, request.trials):
        return None
    return Next(request.number, _propose(proposer, study.uuid, request))


def propose_ahead(store: Store, proposer: Proposer, granted: Assignment) -> None:
    """Begin, in the background, to propose the trial after one that was just granted, if that takes long."""
    if not isinstance(granted, TrialAssignment) or not is_made_ahead(granted.spec, granted.number + 1):
        return
    with store.reading() as tx:
        study = studies.find_by_uuid(tx, granted.study_id)
        request = None if study is None else next_request(tx, study, tx.trials.get_study_system_attrs(study.study_id))
    if request is not None and request.number == granted.number + 1:
        proposer.prepare(granted.study_id, as_before(request))


def next_request(tx: Transaction, study: StudyRow, study_system_attrs: dict[str, Any]) -> ProposalRequest | None:
    """Return what decides the params of the study's next new trial; ``None`` if it has other work, or none."""
    seen = trials.all_of(tx, study)
    if len(seen) >= study.spec.n_trials or trials.waiting(tx, study):
        return None
    return ProposalRequest(
        spec=study.spec,
        study_name=study.name,
        number=len(seen),
        trials=seen,
        study_system_attrs=study_system_attrs,
    )


def _propose(proposer: Proposer, study_uuid: str, request: ProposalRequest) -> Proposal | None:
    prepared = proposer.prepared(study_uuid, request.number)
    if prepared is not None:
        return prepared.result()
    return proposer.propose(as_before(request) if is_made_ahead(request.spec, request.number) else request)
