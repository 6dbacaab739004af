"""Upload a pretrained model, which is known by its content from then on (POST /v1/models)."""

from service.errors import Unavailable
from service.files.files import Files
from service.files.stored_file import model_file
from service.lifecycle.pretrained.check_model import check_model
from service.lifecycle.pretrained.find_model import find_model
from service.lifecycle.pretrained.receive_model import ModelUpload
from service.store import pretrained
from service.store.store import Store
from spezia.contract.model_files import UploadedModel
from spezia.contract.model_rules import identity


def upload_model(store: Store, files: Files, upload: ModelUpload) -> tuple[UploadedModel, bool]:
    """Keep an upload as a model of the viewer; return it and whether it is new to them. The same again is harmless.

    Raises:
        Invalid: It is no model that a worker would open; the message names the file.
        Unavailable: It cannot be stored, for want of space perhaps, or because the same is just being deleted.
    """
    upload.end()
    check_model(upload.path)
    received = [upload.files[name] for name in sorted(upload.files)]
    sha256 = identity({file.file: file.sha256 for file in received})
    kept = [model_file(sha256, file.file, file.size_bytes, file.sha256) for file in received]
    for file in kept:
        files.send(upload.path / file.name, file)
        files.keep(upload.path / file.name, file)
    with store.writing() as tx:
        pretrained.lock(tx)
        if not all(map(files.has, kept)):
            raise Unavailable("somebody has deleted the same model at this moment; send it again")
        is_new = pretrained.add(tx, sha256, received)
    return find_model(store, sha256), is_new
