"""Remove an uploaded pretrained model (DELETE /v1/models/{sha256})."""

from service.errors import ModelInUse, ModelNotFound
from service.files.files import Files
from service.files.stored_file import model_folder
from service.store import pretrained, studies
from service.store.store import Store


def remove_model(store: Store, files: Files, sha256: str) -> None:
    """Remove a model that the viewer has uploaded; if they see all, whoever has. Files go with the last owner's.

    Raises:
        ModelNotFound: They have uploaded no such model.
        ModelInUse: Studies that have not ended fine-tune it.
        Unavailable: Its files cannot be removed; it is there as before, and may be removed again.
    """
    with store.writing() as tx:
        pretrained.lock(tx)
        model = pretrained.find(tx, sha256)
        if model is None:
            raise ModelNotFound(sha256)
        # a study that is being created holds the row until its own is committed
        is_nobodys = pretrained.forget(tx, sha256)
        if names := studies.fine_tuning(tx, model.reference):
            raise ModelInUse(sha256, names)
        if is_nobodys:
            files.remove(model_folder(sha256))  # before the commit: what fails or crashes here can be done again
