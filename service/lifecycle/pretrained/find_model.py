"""Find an uploaded pretrained model, for its owner or for the holder of a lease that needs it."""

from service.errors import LeaseLost, ModelNotFound
from service.files.files import Files
from service.files.stored_file import StoredFile, model_file
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


def find_leased_file(store: Store, files: Files, lease_id: str, token: str, file: str) -> StoredFile:
    """Return one file of the uploaded model that the study of a lease fine-tunes; it is there.

    Raises:
        LeaseLost: The lease is stale.
        ModelNotFound: The study names no uploaded model, it has no such file, or the file is gone.
    """
    model = find_leased_model(store, lease_id, token)
    found = next((one for one in stored_files(model) if one.name == file), None)
    if found is None or not files.has(found):
        raise ModelNotFound(model.sha256)
    return found


def stored_files(model: UploadedModel) -> list[StoredFile]:
    """Return the files of a model by their place."""
    return [model_file(model.sha256, one.file, one.size_bytes, one.sha256) for one in model.files]
