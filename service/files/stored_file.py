"""One file that the database names, wherever the service keeps it."""

from dataclasses import dataclass

DATASETS = "datasets"
"""Folder of uploaded data sets, each a file named after its SHA-256."""
MODELS = "models"
"""Folder of uploaded pretrained models, with a folder for each that is named after its SHA-256."""
ARTIFACTS = "artifacts"
"""Folder of the models that trials have made, and of checkpoints that were sent, with a folder for each lease."""


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A file by its place and its content: nobody changes one, so another content is another file."""

    folder: str
    """Folder below that of all files, such as ``models/53aa51…``; its parts are separated by slashes."""
    name: str
    """Name in the folder; that of a model's file may be a path below it."""
    size_bytes: int
    sha256: str

    @property
    def path(self) -> str:
        """Path below the folder of all files."""
        return f"{self.folder}/{self.name}"


def lease_folder(lease_id: str) -> str:
    """Return the folder of what came under a lease: a trial's model, or a checkpoint."""
    return f"{ARTIFACTS}/{lease_id}"


def dataset_file(sha256: str, size_bytes: int) -> StoredFile:
    """Return the file of an uploaded data set."""
    return StoredFile(folder=DATASETS, name=sha256, size_bytes=size_bytes, sha256=sha256)


def model_folder(sha256: str) -> str:
    """Return the folder of an uploaded pretrained model."""
    return f"{MODELS}/{sha256}"


def model_file(model_sha256: str, name: str, size_bytes: int, sha256: str) -> StoredFile:
    """Return one file of an uploaded pretrained model."""
    return StoredFile(folder=model_folder(model_sha256), name=name, size_bytes=size_bytes, sha256=sha256)
