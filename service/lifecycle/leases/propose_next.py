"""Propose params for a study's next trial, outside its lock, from a snapshot of its trials."""

from dataclasses import dataclass
from typing import Any

from service.lifecycle.studies.budgets import is_full
from service.search.propose.propose import Proposal, ProposalRequest, as_before, is_made_ahead
from service.search.propose.proposer import Proposer
from service.search.propose.samplers import needs_torch
from service.store import studies, trials
from service.store.store import Store
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from spezia.contract.protocol import Assignment, TrialAssignment


@dataclass(frozen=True)
class Next:
    """A new trial that a study would run next."""

    number: int
    """Number that the trial would have."""
    proposal: Proposal | None
    """Params of the trial; ``None`` where the sampler has nothing left to propose."""


def propose_next(store: Store, proposer: Proposer, study_id: int) -> Next | None:
    """Propose the next new trial of a study; ``None`` if the study has other work, or none."""
    with store.reading() as tx:
        study, attrs, _ = tx.ask(
            studies.by_id(study_id), tx.trials.study_system_attrs(study_id), tx.trials.loading(study_id)
        )
        if study is None or study.facts is None or study.state != "running" or is_full(tx, study):
            return None
        request = _request(tx, study, attrs)
    if request is None:
        return None
    return Next(request.number, _propose(proposer, study.uuid, request))


def _propose(proposer: Proposer, study_uuid: str, request: ProposalRequest) -> Proposal | None:
    if not is_made_ahead(request.spec, request.number):
        return proposer.propose(request)
    prepared = proposer.prepared(study_uuid, request.number)
    return proposer.propose(as_before(request)) if prepared is None else prepared.result()


def propose_locked(tx: Transaction, proposer: Proposer, study: StudyRow) -> Next | None:
    """Propose the next new trial under the study's lock; ``None`` also where that may take seconds (``gp``)."""
    request = _request(tx, study, tx.trials.get_study_system_attrs(study.study_id))
    if request is None or needs_torch(request.spec, request.trials):
        return None
    return Next(request.number, _propose(proposer, study.uuid, request))


def propose_ahead(store: Store, proposer: Proposer, granted: Assignment) -> None:
    """Begin, in the background, to propose the trial after one that was just granted, if that takes long."""
    if not isinstance(granted, TrialAssignment) or not is_made_ahead(granted.spec, granted.number + 1):
        return
    with store.reading() as tx:
        study = studies.find_by_uuid(tx, granted.study_id)
        request = None if study is None else _request(tx, study, tx.trials.get_study_system_attrs(study.study_id))
    if request is not None and request.number == granted.number + 1:
        proposer.prepare(granted.study_id, as_before(request))


def _request(tx: Transaction, study: StudyRow, study_system_attrs: dict[str, Any]) -> ProposalRequest | None:
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
