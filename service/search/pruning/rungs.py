"""The pruner `rungs`: at which steps trials evaluate and pause, and which of those that wait go on.

Asynchronous successive halving (Li et al. 2020) whose trials are paused instead of ended. Of the trials that have
reached a rung, at most one of ``eta`` is promoted from it, whatever comes later: as proposals get better, nearly every
trial is among the best so far, and without that cap most of them would run to their end. Only trials of equally many
steps share a rung, as a learning rate that decays over fewer epochs looks better early; where ``epochs`` is searched,
each number of epochs has rungs of its own.
"""

import math
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from optuna.trial import FrozenTrial, TrialState

from service.rung_marks import Pause, arrivals_of, n_promoted_of, pause_of
from service.search.pruning.comparable import Schedule, schedule_of
from service.search.pruning.pruners import longest_schedule
from service.search.pruning.reasons import Reason
from service.search.seeds import trial_seed
from service.search.space.allowed import largest
from spezia.contract.facts import Facts
from spezia.contract.hyperparameters import default_of
from spezia.contract.pruners import MAX_FIRST, RungsPruner
from spezia.contract.step_times import KindTimes
from spezia.contract.study_spec import Params, StudySpec

FIRST_SHARE = 1 / 50
"""Share of the longest trial at which the first rung stands, where a study does not say it: 2 to 5 % are best on
recorded learning curves."""

MIN_OPTIMIZER_STEPS = 8
"""Number of optimizer steps before the first rung: after fewer, values say nothing yet."""

MIN_TRAINING_PER_PAUSE = 5
"""Training before the first rung, as a multiple of the time in which a trial is paused there and resumed."""

MAX_EVALUATION_SHARE = 0.1
"""Time of a trial's evaluations, as a share of its training; those at rungs are made in any case."""

MIN_RANKED_ROWS = 256
"""Rows of the validation split that trials are ranked by at least: the standard error of a share of so many is 3
points at most."""

Place = tuple[Schedule, int]
"""What trials have to share to be compared: their epochs, and the rung, from 0."""


def rung_steps(spec: StudySpec, params: Params) -> list[int]:
    """Return the steps at which the rungs of a trial stand, none of them its last; none under other pruners.

    Args:
        params: Of the trial, by their plain names.
    """
    if not isinstance(spec.pruner, RungsPruner):
        return []
    options, last = spec.pruner.options, n_steps(spec, params)
    steps, step = [], options.first or 1
    while step < last:
        steps.append(step)
        step *= options.eta
    return steps


def n_steps(spec: StudySpec, params: Params) -> int:
    """Return the number of steps of a whole trial; ``params`` go by their plain names."""
    epochs = params.get("epochs", default_of("epochs", params))
    assert isinstance(epochs, int | float)
    return math.ceil(epochs * spec.training.evaluations_per_epoch)


def steps_to_evaluate(spec: StudySpec, params: Params, facts: Facts) -> list[int] | None:
    """Return the steps at which a trial evaluates: its rungs and the ends of its epochs; ``None``: at every step.

    Where evaluations would take more than a tenth of the training, some ends of epochs are left out, evenly.
    """
    if not isinstance(spec.pruner, RungsPruner):
        return None
    return sorted({*rung_steps(spec, params), *_steps_to_read_all(spec, params, facts)})


def partial_steps(spec: StudySpec, params: Params, facts: Facts) -> dict[int, float]:
    """Return the steps at which a trial reads only a share of the validation rows, with the share.

    They are rungs, and neither the last step nor the end of an epoch at which it evaluates in any case.
    """
    shares = zip(rung_steps(spec, params), _rung_shares(spec, params), strict=True)
    read_whole = _steps_to_read_all(spec, params, facts)
    return {step: share for step, share in shares if share < 1 and step not in read_whole}


def with_rungs_decided(spec: StudySpec, facts: Facts) -> StudySpec:
    """Return the spec with what it leaves open of its rungs decided: the step of the first one, and the share of the
    validation rows that trials read there."""
    if not isinstance(spec.pruner, RungsPruner):
        return spec
    options = spec.pruner.options
    first = options.first or _first_step(spec, facts)
    share = options.validation_share or _first_share(spec, first, facts)
    if (first, share) == (options.first, options.validation_share):
        return spec
    options = options.model_copy(update={"first": first, "validation_share": share})
    return spec.model_copy(update={"pruner": spec.pruner.model_copy(update={"options": options})})


def _first_step(spec: StudySpec, facts: Facts) -> int:
    """The step of the first rung: behind the longest warm-up, at a fiftieth of the longest trial at least, where a
    trial of the largest batch has made 8 optimizer steps, and where trials have trained for 5 times as long as a pause
    takes."""
    last, per_epoch = longest_schedule(spec), spec.training.evaluations_per_epoch
    batches_per_epoch = math.ceil(facts.train_rows / max(1, int(largest(spec, "batch_size"))))
    steps_per_optimizer_step = per_epoch / max(1, batches_per_epoch)
    return max(
        math.ceil(FIRST_SHARE * last),
        math.ceil(largest(spec, "warmup_ratio") * last),
        math.ceil(MIN_OPTIMIZER_STEPS * steps_per_optimizer_step),
        # a worker may have timed next to nothing for an epoch; no trial has as many steps as that
        math.ceil(min(MAX_FIRST, MIN_TRAINING_PER_PAUSE * _epochs_of_a_pause(facts) * per_epoch)),
    )


def _first_share(spec: StudySpec, first: int, facts: Facts) -> float:
    """The share of the validation rows that trials read in a tenth of their training up to the first rung, over all
    kinds of trials together, but enough rows to rank by; all of them where it is not known what they take."""
    kinds = _timed_kinds(facts)
    of_evaluations = sum(kind.evaluation_seconds for kind in kinds)
    if not of_evaluations:
        return 1.0
    of_epochs = sum(kind.epoch_seconds or 0.0 for kind in kinds)
    affordable = MAX_EVALUATION_SHARE * first / spec.training.evaluations_per_epoch * of_epochs / of_evaluations
    enough = MIN_RANKED_ROWS / max(1, facts.validation_rows)
    return min(1.0, float(f"{max(affordable, enough):.3g}"))


def _rung_shares(spec: StudySpec, params: Params) -> list[float]:
    """The share of the validation rows that belongs to each rung of a trial; each stands behind ``eta`` times as much
    training as the one before, and so may read as many rows more."""
    if not isinstance(spec.pruner, RungsPruner):
        return []
    options = spec.pruner.options
    first_share = 1.0 if options.validation_share is None else options.validation_share
    return [min(1.0, first_share * options.eta**rung) for rung in range(len(rung_steps(spec, params)))]


def _steps_to_read_all(spec: StudySpec, params: Params, facts: Facts) -> set[int]:
    """The steps at which a trial reads all validation rows whether a rung stands there or not: the ends of its epochs,
    as many as it can afford beside its rungs, and its last step."""
    last, per_epoch = n_steps(spec, params), spec.training.evaluations_per_epoch
    n_epochs = math.ceil(last / per_epoch)
    n_ends = math.floor(min(n_epochs, _n_affordable(n_epochs, facts) - sum(_rung_shares(spec, params))))
    between = math.ceil(n_epochs / max(1, n_ends)) * per_epoch
    return {*range(between, last, between), last}


def _n_affordable(n_epochs: int, facts: Facts) -> float:
    """How many evaluations take ``MAX_EVALUATION_SHARE`` of the training, over all kinds of trials together; infinitely
    many where it is not known."""
    kinds = _timed_kinds(facts)
    of_evaluations = sum(kind.evaluation_seconds for kind in kinds)
    of_epochs = sum(kind.epoch_seconds or 0.0 for kind in kinds)
    return MAX_EVALUATION_SHARE * n_epochs * of_epochs / of_evaluations if of_evaluations else math.inf


def _epochs_of_a_pause(facts: Facts) -> float:
    """How many epochs of training take as long as a pause, over all kinds of trials together; 0: it is not known."""
    kinds = _timed_kinds(facts)
    of_epochs = sum(kind.epoch_seconds or 0.0 for kind in kinds)
    return sum(kind.pause_seconds + kind.start_seconds for kind in kinds) / of_epochs if of_epochs else 0.0


def _timed_kinds(facts: Facts) -> list[KindTimes]:
    return [] if facts.step_times is None else [kind for kind in facts.step_times.kinds if kind.epoch_seconds]


class RungCounts:
    """How many of some trials have reached each rung and were promoted from it, and how many are complete.

    They are immutable. A trial counts that has reached a rung; one that passes them all, as the baseline, has reached
    none.
    """

    def __init__(
        self,
        n_promoted: Mapping[Place, int] = MappingProxyType({}),
        arrivals: Mapping[Place, tuple[str, ...]] = MappingProxyType({}),
        n_complete: int = 0,
    ) -> None:
        self.n_promoted = Counter(n_promoted)
        self.arrivals = dict(arrivals)
        """When trials reached each rung, ascending, as ISO 8601 in UTC."""
        self.n_complete = n_complete

    def extended(self, trials: Sequence[FrozenTrial]) -> "RungCounts":
        """Return the counts of these trials and ``trials``."""
        more = RungCounts(self.n_promoted, self.arrivals, self.n_complete)
        new: defaultdict[Place, list[str]] = defaultdict(list)
        for trial in trials:
            arrivals, schedule = arrivals_of(trial), schedule_of(trial)
            for rung, arrival in arrivals.items():
                new[schedule, rung].append(arrival.at)
            for rung in range(n_promoted_of(trial)):
                # a worker that skipped a rung has had no place there to be promoted from
                more.n_promoted[schedule, rung] += rung in arrivals
            more.n_complete += bool(arrivals) and trial.state is TrialState.COMPLETE
        for place, times in new.items():
            more.arrivals[place] = tuple(sorted((*more.arrivals.get(place, ()), *times)))
        return more

    def n_free(self, place: Place, eta: int) -> int:
        """Return how many more trials may be promoted from a rung, by as many as have reached it."""
        return max(0, len(self.arrivals.get(place, ())) // eta - self.n_promoted[place])

    def free_since(self, place: Place, eta: int, nth: int) -> str:
        """Return when the ``nth`` of the free promotions became free, from 0: by the arrival that raised the cap."""
        return self.arrivals[place][eta * (self.n_promoted[place] + nth + 1) - 1]

    def all_came_at(self) -> str:
        """Return when a trial reached its first rung last; an empty text if all have skipped theirs."""
        return max((times[-1] for (_, rung), times in self.arrivals.items() if rung == 0), default="")


@dataclass(frozen=True)
class Promotion:
    """A paused trial that may go on."""

    number: int
    """Number of the trial."""
    pause: Pause
    """Where it is paused."""
    due_since: str
    """Since when the trial may go on, as ISO 8601 in UTC: it has reached its rung, and the arrival that raised the cap
    has come, or, where all have arrived, the last of them. What comes later does not change it, unless it is better."""


def promotions(
    spec: StudySpec, finished: RungCounts, unfinished: Sequence[FrozenTrial], *, all_arrived: bool
) -> list[Promotion]:
    """Return the paused trials that may go on, in the order in which they do: of the highest rung first.

    From each rung those of the best values go on, as many as the cap leaves. Once all trials have arrived and no
    promotion is due, the best that wait go on all the same, until ``top`` are complete or on their way.

    Args:
        finished: Counts of the trials that have ended.
        unfinished: All other trials.
        all_arrived: Whether no further trial will come to a first rung: before that nobody knows who is the best.
    """
    if not isinstance(spec.pruner, RungsPruner):
        return []
    options, counts = spec.pruner.options, finished.extended(unfinished)
    waiting = _waiting_in_order(spec, unfinished)
    from_the_top = sorted(waiting, key=lambda place: (-place[1], place[0] or 0.0))
    due = [
        _promotion(trial, counts.free_since(place, options.eta, nth))
        for place in from_the_top
        for nth, trial in enumerate(waiting[place][: counts.n_free(place, options.eta)])
    ]
    if due or not all_arrived:
        return due
    n_ahead = sum(
        trial.state is TrialState.RUNNING and not pause_of(trial) and n_promoted_of(trial) > 0 for trial in unfinished
    )
    # values of different epochs are not compared: the best of each first, then the second of each
    in_order = [
        (-place[1], nth, trial_seed(spec.seed, trial.number), trial)
        for place, trials in waiting.items()
        for nth, trial in enumerate(trials)
    ]
    in_order.sort(key=lambda one: one[:3])
    n_wanted = max(0, options.top - counts.n_complete - n_ahead)
    return [_promotion(trial, counts.all_came_at()) for *_, trial in in_order[:n_wanted]]


class Ranks:
    """The ranks of trials at the rungs that they have reached, among all trials of a study."""

    def __init__(self, spec: StudySpec, trials: Sequence[FrozenTrial]) -> None:
        self._sign = spec.objectives[0].sign
        reached: defaultdict[Place, list[float]] = defaultdict(list)
        for trial in trials:
            for rung, arrival in arrivals_of(trial).items():
                reached[schedule_of(trial), rung].append(self._sign * arrival.value)
        self._reached = {place: sorted(values) for place, values in reached.items()}

    def reason_to_end(self, trial: FrozenTrial, why: str) -> Reason:
        """Return why a trial that is paused, or told to pause, ends there."""
        pause = pause_of(trial)
        assert pause is not None
        value = arrivals_of(trial)[pause.rung].value
        peers = self._reached[schedule_of(trial), pause.rung]
        rank = 1 + bisect_left(peers, self._sign * value)
        text = f"paused at step {pause.step}: the value {value:.6g} ranks {rank} of {len(peers)} at rung {pause.rung}"
        # not the peers: of a thousand trials that end at once each would name them all
        return Reason(text=f"{text}; {why}", value=value, rank=rank, rung=pause.rung, peers=[])


def _waiting_in_order(spec: StudySpec, unfinished: Sequence[FrozenTrial]) -> dict[Place, list[FrozenTrial]]:
    """The paused trials of each rung, the best first; equal ones by a number that is drawn for each trial."""
    sign = spec.objectives[0].sign
    found: defaultdict[Place, list[tuple[float, int, FrozenTrial]]] = defaultdict(list)
    for trial in unfinished:
        pause = pause_of(trial) if trial.state is TrialState.WAITING else None
        if pause is not None:
            value = arrivals_of(trial)[pause.rung].value
            found[schedule_of(trial), pause.rung].append((sign * value, trial_seed(spec.seed, trial.number), trial))
    return {place: [trial for *_, trial in sorted(some, key=lambda one: one[:2])] for place, some in found.items()}


def _promotion(trial: FrozenTrial, free_since: str) -> Promotion:
    pause = pause_of(trial)
    assert pause is not None
    return Promotion(trial.number, pause, max(free_since, arrivals_of(trial)[pause.rung].at))
