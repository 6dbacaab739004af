"""The messages between a supervisor and its engine, each one line of JSON. Imports no torch."""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from spezia.contract.assignments import Assignment
from spezia.contract.evaluation import Metrics
from spezia.contract.facts import Facts, Similarity
from spezia.contract.failure import Failure
from spezia.contract.outcomes import ReplayedEvaluation, TrialSpeed
from spezia.contract.protocol import Device
from spezia.contract.step_times import StepTimes
from spezia.contract.wire import Reply


class Work(Reply):
    """Carry out an assignment."""

    kind: Literal["work"] = "work"
    assignment: Assignment
    """The assignment without its token, with which the engine has no business."""
    directory: str
    """Folder where a kept model is saved, and where the one to be scored lies; empty otherwise."""


class Answer(Reply):
    """The supervisor answers an ``Evaluated``, for which the engine waits."""

    kind: Literal["answer"] = "answer"
    go_on: bool
    """Whether the trial goes on."""
    pause: bool = False
    """Whether a trial that goes on is saved as it is now and ends here for a while; answered by ``Preempted``. A trial
    that has come to its end ends as it would have."""
    keep_model: bool = False
    """Whether the best model is saved should the trial end here by itself."""


class Stop(Reply):
    """Save the trial before its next optimizer step and end it; answered by ``Preempted``, or by its end."""

    kind: Literal["stop"] = "stop"


class Hello(Reply):
    """The engine can be given work; its first message."""

    kind: Literal["hello"] = "hello"
    device: Device
    versions: dict[str, str]


class Alive(Reply):
    """The engine's main thread has moved since the last message."""

    kind: Literal["alive"] = "alive"


class Training(Reply):
    """The trial has made its first optimizer step of this attempt."""

    kind: Literal["training"] = "training"
    trunk_seconds: float = 0.0
    """Seconds in which the trial has filled the trunk cache before; all else that came before was no training."""


class Found(Reply):
    """What was found so far of an assignment to prepare or to probe, which holds whatever becomes of timing a few steps
    after it."""

    kind: Literal["found"] = "found"
    facts: Facts | None = None
    """What was found, of an assignment to prepare."""
    similarity: Similarity | None = None
    """What was found, of a probe."""


class Evaluated(Reply):
    """The trial was evaluated; the engine waits for an ``Answer``."""

    kind: Literal["evaluated"] = "evaluated"
    step: int
    epoch: float
    optimizer_steps: int
    value: float
    metrics: Metrics
    final: bool
    partial: bool = False
    speed: TrialSpeed | None = None
    """What was measured of the trial's speed so far."""


class Ended(Reply):
    """The assignment came to its end, or was stopped by an answer."""

    kind: Literal["ended"] = "ended"
    facts: Facts | None = None
    """What was found, of an assignment to prepare."""
    similarity: Similarity | None = None
    """How close the task is to what the model knows, of a probe."""
    step_times: StepTimes | None = None
    """What trials will take, of a probe."""
    metrics: Metrics | None = None
    """What was measured, of a pilot, a run that confirms a trial, or an assignment to score."""
    row_scores: list[float] | None = None
    """The objective on each validation row, of a run that confirms a trial."""
    replayed: list[ReplayedEvaluation] = []
    """Evaluations of a replay."""
    model_saved: bool = False
    """Whether the best model lies in the folder that ``Work`` named."""


class Failed(Reply):
    """The assignment failed."""

    kind: Literal["failed"] = "failed"
    failure: Failure
    replayed: list[ReplayedEvaluation] = []
    """Evaluations of a replay before it failed."""


class Preempted(Reply):
    """The trial has been saved, as ``Stop`` or an ``Answer`` asked for; a pause saves nothing that is not worth it."""

    kind: Literal["preempted"] = "preempted"


Command = Annotated[Work | Answer | Stop, Field(discriminator="kind")]
Event = Annotated[
    Hello | Alive | Found | Training | Evaluated | Ended | Failed | Preempted, Field(discriminator="kind")
]

_COMMANDS: TypeAdapter[Command] = TypeAdapter(Command)
_EVENTS: TypeAdapter[Event] = TypeAdapter(Event)


def encode(message: Command | Event) -> bytes:
    """Return a message as one line, newline included."""
    return message.model_dump_json().encode() + b"\n"


def decode_command(line: bytes) -> Command:
    """Return the command that a line holds.

    Raises:
        pydantic.ValidationError: it holds none.
    """
    return _COMMANDS.validate_json(line)


def decode_event(line: bytes) -> Event:
    """Return the event that a line holds.

    Raises:
        pydantic.ValidationError: it holds none.
    """
    return _EVENTS.validate_json(line)
