"""Outcomes: what workers tell the service at the end of their assignments."""

from typing import Annotated, Literal

from pydantic import Field

from spezia.contract.confirm import MAX_ROW_SCORES
from spezia.contract.evaluation import Metrics, Step
from spezia.contract.facts import Facts, Similarity
from spezia.contract.failure import Failure
from spezia.contract.step_times import StepTimes
from spezia.contract.wire import Wire

MAX_REPLAYED = 1_000
"""Largest number of evaluations that a replay compares: the first ones of a trial that has made more."""


class PreparedOutcome(Wire):
    """The outcome of a ``prepare`` assignment: facts or a failure."""

    kind: Literal["prepare"]
    """Kind of the assignment."""
    facts: Facts | None = None
    """What was found out about data and model; absent where preparing has failed."""
    failure: Failure | None = None
    """Reason why preparing has failed; absent otherwise."""
    device_seconds: Annotated[float, Field(ge=0)]
    """Seconds that the assignment has occupied the device."""


class TrialSpeed(Wire):
    """What a worker has measured of the speed of a trial, from which follows what pruning, early stopping and the trunk
    cache have saved."""

    seconds_per_epoch: Annotated[float, Field(ge=0)] | None = None
    """Seconds that the last attempt took for an epoch, on average, its evaluations included unless the assignment names
    the steps to evaluate at; making the model and waiting for the service are not counted. Null where it has trained
    nothing."""
    trunk_seconds: float | None = None
    """Seconds that frozen blocks would have taken for the rows that came from the trunk cache instead, at the speed at
    which they were computed for it, less the seconds in which the trial itself has filled it. Null where the trial has
    read no rows from it, or their speed is not known."""


class TrialOutcome(Wire):
    """The outcome of a ``trial`` assignment; it has no value, because the service derives that from the reports."""

    kind: Literal["trial"]
    """Kind of the assignment."""
    state: Literal["COMPLETE", "PRUNED", "FAIL"]
    """State in which the trial ends."""
    failure: Failure | None = None
    """Reason why the trial failed or was ended early; absent where it is complete."""
    device_seconds: Annotated[float, Field(ge=0)]
    """Seconds that the assignment has occupied the device."""
    speed: TrialSpeed | None = None
    """What was measured of the trial's speed; absent where nothing was."""


class SmallOutcome(Wire):
    """The outcome of a ``small`` assignment: metrics or a failure."""

    kind: Literal["small"]
    """Kind of the assignment."""
    metrics: Metrics | None = None
    """Metrics of the best evaluation by name, the objective's among them; absent where the small run has failed."""
    failure: Failure | None = None
    """Reason why the small run has failed; absent otherwise."""
    device_seconds: Annotated[float, Field(ge=0)]
    """Seconds that the assignment has occupied the device."""


class ConfirmOutcome(Wire):
    """The outcome of a ``confirm`` assignment: metrics or a failure."""

    kind: Literal["confirm"]
    """Kind of the assignment."""
    metrics: Metrics | None = None
    """Metrics of the run's best evaluation by name, the objective's among them; absent where the run has failed."""
    row_scores: Annotated[list[float], Field(min_length=1, max_length=MAX_ROW_SCORES, fail_fast=True)] | None = None
    """Value of the objective on each validation row at that evaluation, or on groups of rows, the same in all runs of a
    study, so scaled that their mean is the objective; absent where it is no mean over rows, or the run has failed."""
    failure: Failure | None = None
    """Reason why the run has failed; absent otherwise."""
    device_seconds: Annotated[float, Field(ge=0)]
    """Seconds that the assignment has occupied the device."""


class ScoreOutcome(Wire):
    """The outcome of a ``score`` assignment: metrics or a failure."""

    kind: Literal["score"]
    """Kind of the assignment."""
    metrics: Metrics | None = None
    """Metrics of the winner's model on the test split, by name; absent where scoring has failed."""
    failure: Failure | None = None
    """Reason why scoring has failed; absent otherwise."""
    device_seconds: Annotated[float, Field(ge=0)]
    """Seconds that the assignment has occupied the device."""


class ProbeOutcome(Wire):
    """The outcome of a ``probe`` assignment: what was measured, nothing where it cannot be measured, or a failure."""

    kind: Literal["probe"]
    """Kind of the assignment."""
    similarity: Similarity | None = None
    """How close the task is to what the checkpoint has learnt already; absent where nothing can be told, or where
    measuring has failed."""
    step_times: StepTimes | None = None
    """What trials of the study will take; absent where ``facts`` does not await it, or where measuring has failed."""
    failure: Failure | None = None
    """Reason why measuring has failed; absent otherwise."""
    device_seconds: Annotated[float, Field(ge=0)]
    """Seconds that the assignment has occupied the device."""


class ReplayedEvaluation(Wire):
    """One evaluation of a replay."""

    step: Step
    """Step of the evaluation within the trial, from 1."""
    value: float
    """Value of the first objective."""
    metrics: Metrics
    """Metrics of the evaluation by name."""


class ReplayOutcome(Wire):
    """The outcome of a ``replay`` assignment: the evaluations that it made, and how it failed if it did."""

    kind: Literal["replay"]
    """Kind of the assignment."""
    evaluations: Annotated[list[ReplayedEvaluation], Field(max_length=MAX_REPLAYED, fail_fast=True)]
    """Evaluations in the order of their steps, those before a failure too."""
    failure: Failure | None = None
    """Reason why the replay has failed; absent otherwise."""
    device_seconds: Annotated[float, Field(ge=0)]
    """Seconds that the assignment has occupied the device."""


Outcome = Annotated[
    PreparedOutcome | ProbeOutcome | SmallOutcome | TrialOutcome | ReplayOutcome | ConfirmOutcome | ScoreOutcome,
    Field(discriminator="kind"),
]
"""Any outcome, told apart by the ``kind`` of its assignment."""
