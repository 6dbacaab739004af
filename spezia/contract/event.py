"""The events that `GET /v1/studies/{name}/events` streams: one model for each kind."""

from typing import Annotated, Literal

from pydantic import Field

from spezia.contract.failure import Failure
from spezia.contract.replay import Verdict
from spezia.contract.study import StudyState
from spezia.contract.study_spec import Params
from spezia.contract.trial import Paused, TrialState
from spezia.contract.warm_start import TakenFrom
from spezia.contract.wire import Count, Reply


class StudyChanged(Reply):
    """The study has entered another state; in ``complete``, ``cancelled`` and ``failed`` none of its trials runs."""

    kind: Literal["study"] = "study"
    """Kind of the event."""
    state: StudyState
    """State that the study has entered."""
    failure: Failure | None = None
    """Reason why the study failed or is about to fail; null otherwise."""


class TrialChanged(Reply):
    """A trial was created, started, returned to the queue or finished."""

    kind: Literal["trial"] = "trial"
    """Kind of the event."""
    number: Count
    """Number of the trial within its study, from 0."""
    state: TrialState
    """State that the trial has entered."""
    params: Params
    """Searched params of the trial."""
    value: float | None = None
    """Value of the trial by the first objective; null while it has none."""
    values: list[float] = []
    """Values of the trial by all objectives, in the order of the study's spec; empty while it has none."""
    failure: Failure | None = None
    """Reason why the trial failed or was ended early; null otherwise."""
    paused: Paused | None = None
    """Rung at which the WAITING trial is paused; null: it is not paused."""
    taken_from: TakenFrom | None = None
    """Trial of an earlier study whose params this trial runs; null: there is none."""


class ValueReported(Reply):
    """A running trial has reported an evaluation."""

    kind: Literal["value"] = "value"
    """Kind of the event."""
    number: Count
    """Number of the trial within its study, from 0."""
    step: Count
    """Number of the evaluation within the trial, from 1."""
    value: float
    """Value of the first objective at this evaluation."""
    partial: bool = False
    """Whether the value tells of a part of the validation rows only."""


class ReplayEnded(Reply):
    """The replay of a trial has ended."""

    kind: Literal["replay"] = "replay"
    """Kind of the event."""
    number: Count
    """Number of the trial within its study, from 0."""
    verdict: Verdict
    """What the replay says of the trial's numbers."""
    sentence: str
    """The result in words."""


class EventsPruned(Reply):
    """The events up to this one were removed, since the study ended long ago: read its trials instead."""

    kind: Literal["pruned"] = "pruned"
    """Kind of the event."""


Event = StudyChanged | TrialChanged | ValueReported | ReplayEnded | EventsPruned
"""Any event of a study."""


class Happened(Reply):
    """An event of one of one's own studies, as `GET /v1/events` streams them."""

    event_id: Count
    """Id of the event; ids grow, and who asks for what happened behind one misses nothing."""
    study: str
    """Name of the study."""
    event: Annotated[Event, Field(discriminator="kind")]
    """What has happened."""
