"""Assignments: what the service hands to workers to carry out, each under a lease."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from spezia.contract.evaluation import Step
from spezia.contract.facts import Facts
from spezia.contract.study_spec import CheckedSpec, Params
from spezia.contract.wire import Count, Reply


class _Assignment(Reply):
    lease_id: str
    """Id of the lease under which the worker carries out the assignment."""
    token: str
    """Secret of the lease; every write under the lease needs it."""
    expires_at: datetime
    """Time at which the lease may be taken back, unless it is renewed."""
    attempt: Count
    """Number of the attempt at this assignment, from 1."""
    study: str
    """Name of the study."""
    study_id: str
    """Random id of the study, never reused: the key of a worker's caches."""
    spec: CheckedSpec
    """Spec of the study."""


class PrepareAssignment(_Assignment):
    """Check a study's data and model, and tell the facts, before its first trial."""

    kind: Literal["prepare"] = "prepare"
    """Kind of the assignment."""


class SentCheckpoint(Reply):
    """A checkpoint that has come through the service, to be fetched from ``/v1/leases/{lease_id}/checkpoint``."""

    size_bytes: int
    """Size of what is to be fetched, in bytes."""
    sha256: str
    """SHA-256 of what is to be fetched."""


class Resume(Reply):
    """The checkpoint that a trial resumes from, of the asking worker or sent through the service; its next report is of
    the evaluation after ``step``."""

    attempt: int
    """Number of the attempt that wrote the checkpoint, from 1."""
    step: int
    """Step of the trial's last evaluation when the checkpoint was written; 0: it had made none."""
    sent: SentCheckpoint | None = None
    """Checkpoint as it has come through the service, for a worker that lacks it; null: it has not."""


class TrialAssignment(_Assignment):
    """Carry out one trial: train with its params and report its evaluations."""

    kind: Literal["trial"] = "trial"
    """Kind of the assignment."""
    number: Count
    """Number of the trial within its study, from 0."""
    params: Params
    """Params of the trial, searched and fixed ones together."""
    facts: Facts
    """What was found out about data and model when the study was prepared."""
    seconds_left: float | None
    """Seconds that the trial may take before the study's timeout or its share of device seconds is used up; it ends
    itself as ``budget`` then. Null: there is no limit."""
    resume: Resume | None = None
    """Checkpoint that the trial resumes from; null: it starts from the beginning."""
    evaluate_at: list[Step] | None = None
    """Steps at which the trial evaluates and reports, ascending, its last step among them; a step is one
    ``evaluations_per_epoch``-th of an epoch, so a report's ``step`` says how far the trial has come, and those in
    between are left out. Null: the trial evaluates at every step."""
    partial_at: dict[Step, float] = {}
    """Steps of these at which the trial reads only a share of the validation rows, with the share. Its report says so:
    such a value is compared with others of its rung, and never is the trial's."""


class SmallAssignment(_Assignment):
    """Train with a trial's params on a fraction of the training data, and tell only the outcome."""

    kind: Literal["small"] = "small"
    """Kind of the assignment."""
    number: Count
    """Number of the trial whose params these are, from 0."""
    params: Params
    """Params of the trial, searched and fixed ones together."""
    facts: Facts
    """What was found out about data and model when the study was prepared."""
    fraction: float
    """Fraction of the training rows of each class to train on."""
    seconds_left: float | None
    """Seconds that the small run may take before the study's timeout; null: there is no limit."""


class ConfirmAssignment(_Assignment):
    """Train in full with a trial's params under a fresh seed, and tell only the outcome."""

    kind: Literal["confirm"] = "confirm"
    """Kind of the assignment."""
    number: Count
    """Number of the trial whose params these are, from 0."""
    fresh_seed: Count
    """Number of the fresh seed, from 0; head, dropout and the order of the data are drawn by it and by the study's
    seed, as no trial draws them."""
    params: Params
    """Params of the trial, searched and fixed ones together."""
    facts: Facts
    """What was found out about data and model when the study was prepared."""
    seconds_left: float | None
    """Seconds that the run may take before the study's timeout or its share of device seconds is used up; null: there
    is no limit."""
    evaluate_at: list[Step] | None = None
    """Steps at which the run evaluates, ascending: those at which the trial reads all validation rows; null: it
    evaluates at every step."""


class ScoreAssignment(_Assignment):
    """Score the winner's kept model on the test split."""

    kind: Literal["score"] = "score"
    """Kind of the assignment."""
    number: Count
    """Number of the winning trial, from 0."""
    params: Params
    """Params of the winning trial, searched and fixed ones together."""
    facts: Facts
    """What was found out about data and model when the study was prepared."""
    model_files: list[str]
    """Files of the model, to be fetched from ``/v1/leases/{lease_id}/model/{file}``."""


class ReplayAssignment(_Assignment):
    """Run a trial that has ended once more, and tell all its evaluations at the end."""

    kind: Literal["replay"] = "replay"
    """Kind of the assignment."""
    number: Count
    """Number of the trial, from 0."""
    params: Params
    """Params of the trial, searched and fixed ones together."""
    facts: Facts
    """What was found out about data and model when the study was prepared."""
    evaluate_at: list[Step] | None
    """Steps at which the trial was evaluated, ascending, or would have been; null: at every step."""
    partial_at: dict[Step, float] = {}
    """Steps of these at which the trial read only a share of the validation rows, with the share."""
    last_step: Step | None
    """Step of the evaluation at which the replay ends, as the trial did; null: it ends by itself, or fails as the trial
    did."""


class ProbeAssignment(_Assignment):
    """Measure what ``facts`` awaits while others train: how close the task is to what the checkpoint has learnt, how
    long steps take, or both."""

    kind: Literal["probe"] = "probe"
    """Kind of the assignment."""
    facts: Facts
    """What was found out about data and model when the study was prepared."""


Assignment = Annotated[
    PrepareAssignment
    | ProbeAssignment
    | SmallAssignment
    | TrialAssignment
    | ReplayAssignment
    | ConfirmAssignment
    | ScoreAssignment,
    Field(discriminator="kind"),
]
"""Any assignment, told apart by its ``kind``."""
