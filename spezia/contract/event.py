"""What `GET /v1/studies/{name}/events` streams: one model for each kind of event."""

from typing import Literal

from spezia.contract.failure import Failure
from spezia.contract.study import StudyState
from spezia.contract.study_spec import Params
from spezia.contract.trial import TrialState
from spezia.contract.wire import Count, Reply


class StudyChanged(Reply):
    """The study has another state. In ``complete``, ``cancelled`` and ``failed`` nothing of it runs."""

    kind: Literal["study"] = "study"
    state: StudyState
    failure: Failure | None = None


class TrialChanged(Reply):
    """A trial was made, begun, put back or ended."""

    kind: Literal["trial"] = "trial"
    number: Count
    state: TrialState
    params: Params
    value: float | None = None
    """Of several objectives the first's."""
    values: list[float] = []
    """Of all objectives, in the order of the study's spec."""
    failure: Failure | None = None


class ValueReported(Reply):
    """An intermediate value came in."""

    kind: Literal["value"] = "value"
    number: Count
    step: Count
    value: float


Happening = StudyChanged | TrialChanged | ValueReported
