"""The files of a model: which ones make it up, what those of a trial may be called, and how the service lists them."""

from datetime import datetime

from spezia.contract.wire import Count, Reply

FILE_PATTERN = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)?$"
"""Path of a file in a model's directory, or in a folder of it; no part of it begins with a dot."""

MAX_FILE_LENGTH = 100
"""Largest number of characters of such a path."""

IDENTITY = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
"""Patterns of the files that decide what a pretrained model computes: weights, config, tokenizer, chat template. They
are what a worker downloads from the hub, and what the hash of a model is taken over."""


class Artifact(Reply):
    """One file of a trial's kept model."""

    file: str
    """Path of the file inside the model's directory."""
    size_bytes: Count
    """Size in bytes."""
    sha256: str
    """SHA-256 of the content, in hexadecimal."""


class ArtifactList(Reply):
    """The files of a trial's kept model."""

    artifacts: list[Artifact]
    """Files of the trial's model; empty where its model is not kept."""


class UploadedModel(Reply):
    """A pretrained model that was uploaded, which studies of its owner may name."""

    reference: str
    """Name of the model in a spec, to be given as ``model.name``."""
    sha256: str
    """SHA-256 over the names of its files and the SHA-256 of each, in hexadecimal."""
    size_bytes: Count
    """Size of all files together, in bytes."""
    files: list[Artifact]
    """Files of the uploaded model, by name."""
    uploaded_at: datetime
    """Time of the owner's first upload of this content."""


class UploadedModelList(Reply):
    """A page of the pretrained models that were uploaded."""

    models: list[UploadedModel]
    """The models of the page, by their SHA-256."""
    next_page_token: str | None
    """Token for the next page; null if this is the last one."""
