"""Say what a study will take: when its steps have been timed, and before that by an earlier study of the same."""

from collections import Counter
from collections.abc import Sequence

from service.lease_and_heartbeat_terms import LEASE_SECONDS
from service.lifecycle.studies.budgets import elapsed_seconds
from service.lifecycle.studies.measured_before import MOST_LOOKED_AT, device_name, subject_of
from service.search.quote.quote_study import quote_study
from service.store import attempts, quotes, studies, trials, workers
from service.store.leases import Kind, Lease
from service.store.store import Store
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from spezia.contract.facts import Facts
from spezia.contract.quote import Quote
from spezia.contract.study_spec import Params, StudySpec

_BEFORE_TRIALS: tuple[Kind, ...] = ("prepare", "probe")
"""What leases are for whose device seconds a study has spent when it is quoted, besides trials that have begun."""


def quote_prepared(
    tx: Transaction, study: StudyRow, facts: Facts, begins_with: Sequence[Params], prepare_seconds: float
) -> Quote | None:
    """Return what a study will take that has been prepared now; ``None`` where no steps were timed.

    Args:
        begins_with: Params of the trials that it begins with, named as in Optuna's tables.
        prepare_seconds: Device seconds that preparing it has taken.
    """
    return quote_study(
        study.spec,
        facts,
        n_workers=len(workers.all_seen_within(tx, LEASE_SECONDS)),
        begins_with=begins_with,
        prepare_seconds=prepare_seconds,
        elapsed_seconds=elapsed_seconds(tx, study),
    )


def quote_probed(tx: Transaction, study: StudyRow, facts: Facts, probe_seconds: float) -> Quote | None:
    """Return what a study will take whose steps one worker has timed while others began its trials; ``None`` where none
    were timed.

    Args:
        facts: With what has been timed.
        probe_seconds: Device seconds that this worker has taken for that and for what else it has measured.
    """
    assert study.facts is not None
    if not study.facts.awaits_step_times:
        return None
    before = [row for kind in _BEFORE_TRIALS for row in attempts.history(tx, study.uuid, kind, 0)]
    return quote_study(
        study.spec,
        facts,
        n_workers=len(workers.all_seen_within(tx, LEASE_SECONDS)),
        begins_with=[trial.params for trial in trials.all_of(tx, study)],
        prepare_seconds=sum(float(row.device_seconds) for row in before),
        probe_seconds=probe_seconds,
        elapsed_seconds=max(0.0, elapsed_seconds(tx, study) - probe_seconds),
    )


def keep_quote(tx: Transaction, study: StudyRow, held: Lease, quoted: Quote) -> None:
    """Store the quote of a study whose steps the worker of a lease has timed."""
    device = device_name(tx.ask(workers.find(held.worker_id)))
    quotes.add(tx, study.uuid, subject_of(study.spec, device), quoted)


def quote_by_earlier(store: Store, spec: StudySpec) -> Quote | None:
    """Return what a study would take, by the steps of an earlier one of the same task, model and data on a device that
    is here now; ``None`` where there is none that the caller may see."""
    with store.reading() as tx:
        n_workers = Counter(map(device_name, workers.all_seen_within(tx, LEASE_SECONDS)))
        found = quotes.studies_of(tx, [subject_of(spec, device) for device in n_workers], MOST_LOOKED_AT)
        earlier = (studies.find_by_uuid(tx, uuid) for uuid in found)
        seen = next((one for one in earlier if one is not None and studies.is_visible(tx, one)), None)
    if seen is None or seen.facts is None:
        return None
    return quote_study(spec, seen.facts, n_workers=n_workers.total(), prepare_seconds=0.0)
