"""What a supervisor and its engine say to each other: one JSON line a message. Imports no torch."""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from spezia.contract.facts import Facts
from spezia.contract.failure import Failure
from spezia.contract.protocol import Assignment, Device, Metrics
from spezia.contract.wire import Reply


class Work(Reply):
    """Carry out ``assignment``; its token is left out, the engine has no business with it."""

    kind: Literal["work"] = "work"
    assignment: Assignment
    directory: str
    """Where to save a kept model, and where the one to be scored lies. Empty otherwise."""


class Answer(Reply):
    """To every ``Evaluated``; the engine waits for it."""

    kind: Literal["answer"] = "answer"
    go_on: bool
    keep_model: bool = False
    """Should the trial end here by itself: save the best model."""


class Stop(Reply):
    """Save the trial before its next optimizer step and end it; answered by ``Preempted``, or by its end."""

    kind: Literal["stop"] = "stop"


class Hello(Reply):
    """First message of every engine: it can be given work."""

    kind: Literal["hello"] = "hello"
    device: Device
    versions: dict[str, str]


class Alive(Reply):
    """The engine's main thread has moved since the last message."""

    kind: Literal["alive"] = "alive"


class Evaluated(Reply):
    kind: Literal["evaluated"] = "evaluated"
    step: int
    epoch: float
    optimizer_steps: int
    value: float
    metrics: Metrics
    final: bool


class Ended(Reply):
    """The assignment came to its end, or was stopped by an answer."""

    kind: Literal["ended"] = "ended"
    facts: Facts | None = None
    metrics: Metrics | None = None
    model_saved: bool = False


class Failed(Reply):
    kind: Literal["failed"] = "failed"
    failure: Failure


class Preempted(Reply):
    """The trial has been saved, as it was asked to."""

    kind: Literal["preempted"] = "preempted"


Command = Annotated[Work | Answer | Stop, Field(discriminator="kind")]
Event = Annotated[Hello | Alive | Evaluated | Ended | Failed | Preempted, Field(discriminator="kind")]

_COMMANDS: TypeAdapter[Command] = TypeAdapter(Command)
_EVENTS: TypeAdapter[Event] = TypeAdapter(Event)


def encode(message: Command | Event) -> bytes:
    """One line, newline included."""
    return message.model_dump_json().encode() + b"\n"


def decode_command(line: bytes) -> Command:
    """Raises ``pydantic.ValidationError`` for anything else."""
    return _COMMANDS.validate_json(line)


def decode_event(line: bytes) -> Event:
    """Raises ``pydantic.ValidationError`` for anything else."""
    return _EVENTS.validate_json(line)
