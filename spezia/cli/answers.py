"""What commands print with ``--json`` where no call of the API answers it."""

from spezia.contract.tasks import Task
from spezia.contract.wire import Reply


class LogPiece(Reply):
    """A piece of what a trial has printed."""

    text: str
    """The piece, which need not end with a line."""


class PulledModel(Reply):
    """A model that was fetched."""

    study: str
    """Name of its study."""
    folder: str
    """Folder that it lies in."""


class DeletedStudy(Reply):
    """A study that was removed."""

    name: str
    """Name that it had."""


class DeletedModel(Reply):
    """An uploaded pretrained model that was removed."""

    reference: str
    """Name that it had in a spec."""


class WrittenStudy(Reply):
    """A study file that was written."""

    file: str
    """Path of the file."""
    name: str
    """Name of the study."""
    task: Task
    """Task of the study."""
    columns: dict[str, str]
    """Columns of the data by what they are for."""
    model: str
    """Pretrained model."""
    preset: str
    """Preset of ranges."""
    next_command: str
    """Command that runs the study."""
