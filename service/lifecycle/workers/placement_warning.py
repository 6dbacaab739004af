"""The warning of studies that wait for workers which their launcher cannot have: added, changed and taken away."""

from collections.abc import Collection

from service.store import studies
from service.store.store import Store
from service.store.studies import StudyRow
from service.store.work import studies_with_work

PREFIX = "waiting for workers: "
"""How the warning begins, by which it is known; a study has one at most."""


def find_warned(store: Store) -> frozenset[str]:
    """Return the UUIDs of the studies with the warning, for which all are read."""
    with store.reading() as tx:
        return frozenset(studies.with_warning(tx, PREFIX))


def warn_waiting(store: Store, reason: str | None, warned: Collection[str]) -> frozenset[str]:
    """Have each study that has work say why nobody takes it, and no other study.

    Args:
        reason: Why there are no workers; ``None``: there are, or nobody needs them.
        warned: UUIDs of the studies that have the warning.

    Returns:
        UUIDs of the studies that have it now.
    """
    waiting: set[str] = set()
    with store.reading() as tx:
        if reason is not None:
            waiting = {uuid for _, uuid in tx.ask(studies_with_work(tx.about_now))}
        seen = [studies.find_by_uuid(tx, uuid) for uuid in sorted(waiting.union(warned))]
    for before in seen:
        said = reason if before is not None and before.uuid in waiting else None
        if before is None or _with_warning(before, said) == before.warnings:
            continue
        with store.writing() as tx:
            study = studies.lock_by_uuid(tx, before.uuid)
            if study is not None:
                studies.change(tx, study, warnings=_with_warning(study, said))
    return frozenset(waiting)


def _with_warning(study: StudyRow, reason: str | None) -> list[str]:
    others = [warning for warning in study.warnings if not warning.startswith(PREFIX)]
    return others if reason is None else [*others, f"{PREFIX}{reason}"]
