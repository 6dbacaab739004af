"""Files of a trial's model."""

from spezia.contract.wire import Count, Reply

FILE_PATTERN = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)?$"
"""Of a file in a model's directory, or in a folder of it."""


class Artifact(Reply):
    file: str
    """Path inside the model's directory."""
    size_bytes: Count
    sha256: str


class ArtifactList(Reply):
    artifacts: list[Artifact]
    """None where the trial's model is not kept."""
