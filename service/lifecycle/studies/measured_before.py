"""What an earlier study of the same has measured on such a device, so that no worker need measure it again."""

import hashlib
import json

from service.store import quotes, studies, workers
from service.store.sql.statements import Row
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from spezia.contract.facts import Facts
from spezia.contract.study_spec import StudySpec

MOST_LOOKED_AT = 20
"""Number of earlier studies that are looked at for one whose figures may be used."""


def with_measured_before(tx: Transaction, study: StudyRow, facts: Facts, worker_id: str) -> Facts:
    """Return the facts of a study that a worker has prepared, with what they await and an earlier study has measured.

    It is one of the same owner, data, model, search space and training, whose steps were timed on such a device.
    """
    earlier = _earlier(tx, study, facts, worker_id) if facts.awaits_probe else None
    if earlier is None:
        return facts
    known: dict[str, object] = {}
    if facts.awaits_step_times and earlier.step_times is not None:
        known |= {"step_times": earlier.step_times, "awaits_step_times": False}
    if facts.awaits_similarity and earlier.similarity is not None:
        known |= {"similarity": earlier.similarity, "awaits_similarity": False}
        if earlier.similarity.suggestion not in (None, study.spec.preset):
            known["warnings"] = [*facts.warnings, earlier.similarity.why]
    return facts.model_copy(update=known)


def subject_of(spec: StudySpec, device: str) -> str:
    """Hash all that the time of a study's steps depends on, besides its params."""
    what = {
        "task": spec.task,
        "model": spec.model and spec.model.model_dump(mode="json"),
        "data": spec.data and spec.data.model_dump(mode="json"),
        "precision": spec.training.precision,
        "device": device,
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def device_name(worker: Row | None) -> str:
    """Name a worker's device such that two of one name are equally fast: the processor of a machine is only told by its
    kind. It is empty for a worker that is not known."""
    if worker is None:
        return ""
    name, kind = worker.device["name"], worker.device["kind"]
    return str(name) if kind == "cuda" else f"{name} of {worker.host}"


def _earlier(tx: Transaction, study: StudyRow, facts: Facts, worker_id: str) -> Facts | None:
    device = device_name(tx.ask(workers.find(worker_id)))
    found = quotes.studies_of(tx, [subject_of(study.spec, device)], MOST_LOOKED_AT)
    for earlier in (studies.find_by_uuid(tx, uuid) for uuid in found):
        if earlier is None or earlier.facts is None or earlier.owner != study.owner:
            continue
        if _steps_of(earlier.spec) == _steps_of(study.spec) and _read_of(earlier.facts) == _read_of(facts):
            return earlier.facts
    return None


def _steps_of(spec: StudySpec) -> tuple[object, ...]:
    """What decides, besides data and model, which steps are timed."""
    return spec.search_space, spec.fixed, spec.training


def _read_of(facts: Facts) -> tuple[str, ...]:
    """What a worker has read: files may have changed under their names."""
    return facts.data_sha256, facts.model_sha256, facts.precision
