"""List the workers that are connected, and what they do (GET /v1/workers)."""

from service.lease_and_heartbeat_terms import LEASE_SECONDS
from service.store import leases, studies, workers
from service.store.store import Store
from spezia.contract.protocol import Device
from spezia.contract.workers import Work, Worker, WorkerList


def list_workers(store: Store, limit: int, page_token: str | None) -> WorkerList:
    """Return one page of the workers heard of within a lease's length, by id; what they do for others is left out."""
    with store.reading() as tx:
        rows = workers.seen_within(tx, LEASE_SECONDS, limit + 1, page_token or "")
        shown = []
        for row in rows[:limit]:
            work = []
            for held in tx.ask(leases.of_worker(row.worker_id)):
                study = studies.find_by_uuid(tx, held.study_uuid)
                if study is not None and studies.is_visible(tx, study):
                    number = held.number if held.kind in ("trial", "replay") else None
                    work.append(Work(study=study.name, kind=held.kind, number=number, attempt=held.attempt))
            shown.append(
                Worker(
                    worker_id=row.worker_id,
                    host=row.host,
                    device=Device.model_validate(row.device),
                    versions=row.versions,
                    registered_at=row.registered_at,
                    last_seen_at=row.last_seen_at,
                    work=work,
                )
            )
    return WorkerList(workers=shown, next_page_token=shown[-1].worker_id if len(rows) > limit else None)
