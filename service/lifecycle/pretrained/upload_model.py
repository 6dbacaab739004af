"""Upload a pretrained model, which is known by its content from then on (POST /v1/models)."""

from pathlib import Path

from service.errors import Unavailable
from service.lifecycle.pretrained.check_model import check_model
from service.lifecycle.pretrained.find_model import find_model
from service.lifecycle.pretrained.receive_model import ModelUpload
from service.store import pretrained
from service.store.store import Store
from spezia.common.write_durably import rename_durably
from spezia.contract.model_files import UploadedModel
from spezia.contract.model_rules import identity


def upload_model(store: Store, folder: Path, upload: ModelUpload) -> tuple[UploadedModel, bool]:
    """Keep an upload as a model of the viewer; return it and whether it is new to them. The same again is harmless.

    Raises:
        Invalid: It is no model that a worker would open; the message names the file.
        Unavailable: It cannot be stored, for want of space perhaps.
    """
    upload.end()
    check_model(upload.path)
    sha256 = identity({name: file.sha256 for name, file in upload.files.items()})
    try:
        if not (folder / sha256).exists():
            rename_durably(upload.path, folder / sha256)
    except OSError as error:
        # somebody else may have been first with the same
        if not (folder / sha256).exists():
            raise Unavailable(f"the service cannot store a model in {folder}: {error.strerror}") from error
    with store.writing() as tx:
        is_new = pretrained.add(tx, sha256, [upload.files[name] for name in sorted(upload.files)])
    return find_model(store, sha256), is_new
