"""A trial as the service describes it: in a list, and in full with its evaluations and every attempt."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import StringConstraints

from spezia.contract.advice import Advice
from spezia.contract.failure import Failure
from spezia.contract.study_spec import Params
from spezia.contract.warm_start import TakenFrom
from spezia.contract.wire import Count, Reply, Wire

TrialState = Literal["WAITING", "RUNNING", "COMPLETE", "PRUNED", "FAIL"]
"""States of a trial, spelt as Optuna spells them; the last three are final."""

TrialOrder = Annotated[
    str,
    StringConstraints(pattern=r"^-?(number|state|value|started_at|duration|params\.[^\x00-\x1f]+)$", max_length=210),
]
"""Orders of a list of trials: ``number``, ``state`` (in Optuna's order: RUNNING, COMPLETE, PRUNED, FAIL, WAITING),
``value`` (the best first), ``started_at``, ``duration`` from start to end, or ``params.NAME``, where names of a
categorical range come in the order of its choices. A minus sign turns the order round: ``-value`` puts the worst first.
Trials without what is sorted by come last, both ways."""


class EnqueuedTrial(Wire):
    """A trial that a person wants to run next."""

    params: Params = {}
    """Params to try; searched params that are left out are drawn."""


class Paused(Reply):
    """Where and since when a trial is paused, to go on when it is promoted."""

    rung: Count
    """Rung at which the trial waits for its promotion, from 0."""
    since: datetime
    """Time at which the trial was paused."""


class Trial(Reply):
    """A trial in short."""

    study: str
    """Name of the study."""
    number: Count
    """Number of the trial within its study, from 0."""
    state: TrialState
    """State of the trial.

    - ``WAITING``: it waits for a worker, or, where ``paused`` says so, for its promotion.
    - ``RUNNING``: a worker carries it out.
    - ``COMPLETE``: it was carried out to its end.
    - ``PRUNED``: it was ended early but has a value.
    - ``FAIL``: it has failed or was cancelled.
    """
    params: Params
    """Searched params of the trial; fixed ones are in the study's spec."""
    value: float | None
    """Value of the trial by the first objective: its best evaluation, or, of a PRUNED trial, its last one, as in
    Optuna; null while it has none. Evaluations of a part of the validation rows do not count."""
    values: dict[str, float] = {}
    """Values of a COMPLETE trial by all objectives at its best evaluation, by metric; empty otherwise."""
    violations: dict[str, float] = {}
    """Constraints that the best evaluation of a COMPLETE trial does not meet, with by how much; such a trial is never
    the best."""
    step: Count
    """Number of the trial's last evaluation, from 1; 0 while there is none."""
    epoch: float
    """Epochs that the trial had trained at its last evaluation."""
    failure: Failure | None
    """Reason why the trial failed or was ended early; null otherwise."""
    paused: Paused | None = None
    """Rung at which the WAITING trial is paused, under the pruner ``rungs``; null: it is not paused."""
    baseline: bool
    """Whether the trial runs the defaults, for comparison."""
    retry_of: Count | None = None
    """Number of the FAIL trial whose params this trial runs again; null where it is no retry."""
    taken_from: TakenFrom | None = None
    """Trial of an earlier study whose params this trial runs, by ``warm_start``; null where they come from nowhere
    else."""
    started_at: datetime | None
    """Time at which the trial started; null while it waits."""
    finished_at: datetime | None
    """Time at which the trial ended; null until then."""


class Evaluation(Reply):
    """One evaluation of a trial on the validation split."""

    step: Count
    """Number of the evaluation within the trial, from 1."""
    epoch: float
    """Epochs that the trial had trained."""
    optimizer_steps: Count
    """Optimizer steps that the trial had made."""
    value: float
    """Value of the first objective."""
    metrics: dict[str, float]
    """All metrics of the evaluation, by name. Where blocks are frozen, ``cached_rows`` beside them counts the rows that
    the trial has read from the worker's cache of frozen blocks so far; it is 0 where the cache could not be used, and
    absent where the worker has none."""
    partial: bool = False
    """Whether value and metrics tell of a part of the validation rows only, as at the first rungs of the pruner
    ``rungs``; such an evaluation is never the best."""
    should_prune: bool
    """Whether the pruner ended the trial at this evaluation."""
    reason: str | None
    """Reason why the pruner ended the trial; null otherwise."""
    reported_at: datetime
    """Time of the report."""


class Attempt(Reply):
    """One attempt of a worker to carry out a trial."""

    attempt: Count
    """Number of the attempt, from 1."""
    resumed_from: Count = 0
    """Step of the checkpoint that the attempt resumed from; 0: it started from the beginning."""
    worker_id: str
    """Id of the worker."""
    device: str
    """Name of the worker's device."""
    versions: dict[str, str] = {}
    """Versions of Python and of the libraries that the worker trained with, by name; empty of attempts that are older
    than their record."""
    started_at: datetime
    """Time at which the attempt started."""
    ended_at: datetime | None
    """Time at which the attempt ended; null while it runs."""
    end: str | None
    """How the attempt ended: the trial's state, or the class of the failure; null while it runs."""
    device_seconds: float
    """Device seconds that the attempt has used; 0 while it runs."""


class PruneDecision(Reply):
    """Why a trial was pruned, in numbers; those that the pruner's rule does not use are null."""

    attempt: Count
    """Number of the attempt that was pruned, from 1."""
    step: Count
    """Number of the evaluation at which the trial was pruned, from 1."""
    pruner: str
    """Name of the pruner."""
    reason: str
    """The decision in words."""
    value: float
    """Value of the trial that was compared."""
    threshold: float | None
    """Value that the trial's value was compared with."""
    rank: int | None
    """Rank of the trial's value among those of its peers and its own, from 1."""
    rung: int | None
    """Rung at which the trial was compared, from 0."""
    peers: list[Count]
    """Numbers of the trials that the trial was compared with."""
    decided_at: datetime
    """Time of the decision."""


class TrialDetail(Trial):
    """A trial in full."""

    intermediate_values: list[Evaluation]
    """Evaluations of the last attempt, in order; of more than 1,000 evaluations 1,000 that are evenly spread, with the
    first and the last, and the best one."""
    attempts: list[Attempt]
    """Attempts at the trial, in order."""
    decisions: list[PruneDecision] = []
    """Decisions to prune the trial, in order."""
    best_step: Count | None = None
    """Number of the trial's best evaluation; null while there is none."""
    generalization_gap: float | None = None
    """Validation loss minus training loss at the trial's best evaluation, in nats; null where one of them is not
    known."""
    warnings: list[str] = []
    """What the trial's curves say, with the edit of the search space that would help."""
    advice: list[Advice] = []
    """Changes of the spec that the trial's curves advise, what may gain most first; at most one for each parameter. The
    sentence of each is among the warnings."""
    log_tail: list[str] = []
    """Last log lines of a trial that has failed; empty otherwise."""


class EvaluationList(Reply):
    """One page of the evaluations of a trial."""

    evaluations: list[Evaluation]
    """Evaluations of this page, in order."""
    next_page_token: str | None
    """Value of ``page_token`` for the next page; null on the last page."""


class TrialList(Reply):
    """One page of a list of trials."""

    trials: list[Trial]
    """Trials of this page, in the order that was asked for."""
    next_page_token: str | None
    """Value of ``page_token`` for the next page; null on the last page."""
