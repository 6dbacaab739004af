"""Add a trial that a sampler has proposed."""

from collections.abc import Mapping
from typing import Any

from service.search.propose.propose import Proposal
from service.store import trials
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from service.store.trials import FrozenTrial
from spezia.contract.trial import TrialState


def add_proposed(
    tx: Transaction, study: StudyRow, state: TrialState, proposal: Proposal, user_attrs: Mapping[str, Any]
) -> FrozenTrial:
    """Add a proposed trial to a locked study, with all that its sampler wants stored of trial and study."""
    for key, value in proposal.study_system_attrs.items():
        tx.trials.set_study_system_attr(study.study_id, key, value)
    return trials.add(
        tx,
        study,
        state,
        proposal.params,
        proposal.distributions,
        system_attrs=proposal.system_attrs,
        user_attrs=user_attrs,
    )
