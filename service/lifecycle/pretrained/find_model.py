"""Find an uploaded pretrained model, for its owner or for the holder of a lease that needs it."""

from pathlib import Path

from service.errors import LeaseLost, ModelNotFound
from service.store import leases, pretrained, studies
from service.store.store import Store
from spezia.contract.dataset import PREFIX
from spezia.contract.model_files import UploadedModel


def find_model(store: Store, sha256: str) -> UploadedModel:
    """Describe the model of this SHA-256 that the viewer has uploaded.

    Raises:
        ModelNotFound: They have uploaded no such model.
    """
    with store.reading() as tx:
        found = pretrained.find(tx, sha256)
    if found is None:
        raise ModelNotFound(sha256)
    return found


def find_leased_model(store: Store, lease_id: str, token: str) -> UploadedModel:
    """Describe the uploaded model that the study of a lease fine-tunes.

    Raises:
        LeaseLost: The lease is stale.
        ModelNotFound: The study names no uploaded model.
    """
    with store.reading() as tx:
        held = tx.ask(leases.find(lease_id, token))
        study = None if held is None else studies.find_by_uuid(tx, held.study_uuid)
        if study is None:
            raise LeaseLost
        name = study.spec.model.name if study.spec.model else ""
        found = pretrained.find_of_anybody(tx, name.removeprefix(PREFIX)) if name.startswith(PREFIX) else None
    if found is None:
        raise ModelNotFound(name.removeprefix(PREFIX))
    return found


def find_leased_file(store: Store, folder: Path, lease_id: str, token: str, file: str) -> Path:
    """Path of one file of the uploaded model that the study of a lease fine-tunes.

    Raises:
        LeaseLost: The lease is stale.
        ModelNotFound: The study names no uploaded model, it has no such file, or the file is gone.
    """
    model = find_leased_model(store, lease_id, token)
    path = folder / model.sha256 / file
    if file not in {one.file for one in model.files} or not path.is_file():
        raise ModelNotFound(model.sha256)
    return path
