"""Say what a study will take: draw its trials by chance, and let workers carry them out one after the other."""

import heapq
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from random import Random

import numpy as np

from service.search.baseline import baseline
from service.search.pruning.pruners import first_step
from service.search.pruning.rungs import partial_steps, rung_steps, steps_to_evaluate, with_rungs_decided
from service.search.quote.draw_params import draw_params
from service.search.quote.rungs_passed import rungs_passed
from service.search.quote.trial_cost import TrialCost, TrialCosts
from service.search.space.params import plain_params
from service.search.space.space_size import space_size
from spezia.contract import pruners
from spezia.contract.facts import Facts
from spezia.contract.quote import Interval, Quote
from spezia.contract.samplers import GridSampler
from spezia.contract.step_times import StepTimes
from spezia.contract.study_spec import Params, StudySpec

MARGIN = 1.25
"""Factor by which the time of a step in a trial may differ from that of the few that were timed."""

_PERCENTILES = (5, 95)
"""Ends of what studies take whose trials are drawn by chance."""

_MOST_TRIALS = 200
"""Largest number of trials that are drawn; a study of more takes in proportion."""

_ROUNDS = 30
"""Number of studies that are drawn."""


_MOST_PROBED = 2_000
"""Rows of a split by which a worker measures the similarity; of a large model it takes fewer."""

_N_DRAWN = 400
"""Number of trials that are drawn in all; those studies are made of them."""


@dataclass(frozen=True)
class _Taken:
    """Seconds that a study takes."""

    device: float
    wall: float


def quote_study(
    spec: StudySpec,
    facts: Facts,
    *,
    n_workers: int,
    begins_with: Sequence[Params] | None = None,
    prepare_seconds: float = 0.0,
    probe_seconds: float | None = None,
    elapsed_seconds: float = 0.0,
) -> Quote | None:
    """Return what a study will take; ``None`` where no steps were timed.

    Args:
        n_workers: workers that are there.
        begins_with: params of the trials that the study begins with, by their plain names or as in Optuna's tables;
            ``None``: they are not known beyond the baseline and what is enqueued.
        prepare_seconds: device seconds that preparing the study has taken.
        probe_seconds: device seconds for which one worker has measured similarity and steps since then; ``None``: it
            is not known.
        elapsed_seconds: seconds from its creation until it was prepared.
    """
    times = facts.step_times
    if times is None or not times.kinds:
        return None
    spec = with_rungs_decided(spec, facts)
    size = space_size(spec) if isinstance(spec.sampler, GridSampler) else None  # others try a point again
    n_trials = spec.n_trials if size is None else min(size, spec.n_trials)
    n_workers = max(1, min(n_workers, n_trials, spec.n_parallel or n_workers))
    never_pause = _never_pause(spec, begins_with)
    studies = list(_studies(spec, facts, times, n_trials, begins_with))
    all_epochs = {one.epochs for study in studies for one in study}
    fleet = _Fleet(
        spec=spec,
        facts=facts,
        times=times,
        n_workers=n_workers,
        probe_seconds=probe_seconds,
        scale=n_trials / len(studies[0]),
        never_pause=never_pause,
        evaluated={epochs: _shares_read(spec, {"epochs": epochs}, facts) for epochs in all_epochs if epochs},
    )
    full = [fleet.carry_out(study, ends_early=False) for study in studies]
    least = [fleet.carry_out(study, ends_early=True) for study in studies]
    return Quote(
        device_seconds=_interval(prepare_seconds, [one.device for one in full], [one.device for one in least]),
        wall_seconds=_interval(elapsed_seconds, [one.wall for one in full], [one.wall for one in least]),
        n_trials=n_trials,
        n_workers=n_workers,
        device=times.device,
        peak_memory_bytes=times.peak_memory_bytes,
        will_not_fit=_will_not_fit(times),
    )


def _studies(
    spec: StudySpec, facts: Facts, times: StepTimes, n_trials: int, begins_with: Sequence[Params] | None
) -> Iterator[list[TrialCost]]:
    """Yield the trials of studies such as this one may be: those that it begins with, and others by chance."""
    chance = Random(spec.seed)
    costs = TrialCosts(facts, times.kinds)
    if begins_with is None:
        begins_with = [*([baseline(spec, facts).params] if spec.baseline else []), *spec.enqueue]
    begun = [costs.of(draw_params(spec, chance, plain_params(given))) for given in begins_with[:_MOST_TRIALS]]
    drawn = [costs.of(draw_params(spec, chance, {})) for _ in range(_N_DRAWN)]
    n_shown = min(n_trials, _MOST_TRIALS)
    for _ in range(_ROUNDS):
        yield [*begun, *chance.choices(drawn, k=max(0, n_shown - len(begun)))][:n_shown]


def _never_pause(spec: StudySpec, begins_with: Sequence[Params] | None) -> set[int]:
    """The places of the trials that pass all rungs: the baseline, and the first one of a warm start."""
    n_own = spec.baseline + len(spec.enqueue)
    has_taken = spec.starts_warm and begins_with is not None and len(begins_with) > n_own
    return {*([0] if spec.baseline else []), *([n_own] if has_taken else [])}


def _shares_read(spec: StudySpec, params: Params, facts: Facts) -> dict[int, float] | None:
    """The steps at which a trial evaluates, with the share of the validation rows that it reads there; ``None``: at
    every step, all of them."""
    steps = steps_to_evaluate(spec, params, facts)
    return None if steps is None else dict.fromkeys(steps, 1.0) | partial_steps(spec, params, facts)


@dataclass(frozen=True, kw_only=True)
class _Fleet:
    """Workers that carry out a study, each the next trial as soon as it has ended one."""

    spec: StudySpec
    facts: Facts
    times: StepTimes
    n_workers: int
    probe_seconds: float | None
    """Seconds that the probe has taken; ``None``: it is yet to come, if the facts say so."""
    scale: float
    """Trials of the study for each that is carried out here."""
    never_pause: Set[int]
    """Places of the trials that pass all rungs."""
    evaluated: Mapping[int, Mapping[int, float] | None]
    """Steps at which a trial evaluates, with the share of the validation rows that it reads there, by the number of its
    epochs; ``None``: at every step. One that does not fit has no epochs."""

    def carry_out(self, study: Sequence[TrialCost], *, ends_early: bool) -> _Taken:
        """Return the seconds that pilots, trials, confirming the winner and scoring it take.

        Args:
            ends_early: whether each trial ends as soon as the pruner or early stopping may end it.
        """
        if isinstance(self.spec.pruner, pruners.RungsPruner):
            trials = self._under_rungs(study, self.spec.pruner.options, ends_early=ends_early)
        else:
            trials = self._one_by_one(study, ends_early=ends_early)
        filled: set[int] = set()
        for index, one in enumerate(study):
            if one.fill and one.depth not in filled:
                filled.add(one.depth)
                trials[index] += one.fill
        loads = [0.0, *[self.times.load_seconds] * (self.n_workers - 1)]  # the first worker has prepared the study
        others = [*self._probe_seconds(), *self._pilot_seconds(study)]
        confirming = self._confirm_seconds(study, ends_early=ends_early)
        of_trials = sum(trials) * self.scale + sum(confirming)
        if self.spec.device_seconds is not None:
            of_trials = min(of_trials, self.spec.device_seconds)
        score = self._score_seconds(study)
        trials += confirming
        wall = _makespan([*others, *trials], loads) * (of_trials / sum(trials) if sum(trials) else 1.0) + score
        if self.spec.timeout_seconds is not None:
            wall = min(wall, self.spec.timeout_seconds)
        return _Taken(sum(loads) + sum(others) + of_trials + score, wall)

    def _one_by_one(self, study: Sequence[TrialCost], *, ends_early: bool) -> list[float]:
        """Return the seconds of each trial: of a whole one, or until the pruner may end it."""
        pruner = self.spec.pruner
        if not ends_early or isinstance(pruner, pruners.NoPruner):
            return [self._seconds(one, None, ends_early=ends_early) for one in study]
        n_startup, last_step = self._n_startup(), first_step(pruner)
        return [
            self._seconds(one, None if index < n_startup else last_step, ends_early=True)
            for index, one in enumerate(study)
        ]

    def _under_rungs(
        self, study: Sequence[TrialCost], options: pruners.RungsOptions, *, ends_early: bool
    ) -> list[float]:
        """Return the seconds of each trial until it pauses for the last time, with those that pauses take before."""
        epochs_N = [one.epochs for one in study]
        rungs = {epochs: rung_steps(self.spec, {"epochs": epochs}) for epochs in set(epochs_N)}
        top = round(options.top / self.scale)
        passed = rungs_passed(self.spec, options, epochs_N, never_pause=self.never_pause, top=top)
        seconds = []
        for place, (one, n_passed) in enumerate(zip(study, passed, strict=True)):
            pauses_at = rungs[one.epochs]
            steps = self._steps(one, None if n_passed is None else pauses_at[n_passed], ends_early=ends_early)
            n_resumed = 0 if place in self.never_pause else sum(step < steps for step in pauses_at)
            seconds.append(self._until(one, steps) + n_resumed * (one.start + one.pause))
        return seconds

    def _seconds(self, trial: TrialCost, last_step: int | None, *, ends_early: bool) -> float:
        """Return the seconds of a trial that does not pause until ``last_step``, or to its end."""
        return self._until(trial, self._steps(trial, last_step, ends_early=ends_early))

    def _steps(self, trial: TrialCost, last_step: int | None, *, ends_early: bool) -> int:
        """Return the step at which a trial ends: ``last_step`` or its last one, unless early stopping comes before."""
        training = self.spec.training
        steps = trial.epochs * training.evaluations_per_epoch
        if last_step is not None:
            steps = min(steps, last_step)
        if ends_early and training.early_stopping_patience is not None:
            steps = min(steps, self._patience(training.early_stopping_patience) + 1)
        return steps

    def _until(self, trial: TrialCost, steps: int) -> float:
        training = self.spec.training
        evaluated = self.evaluated.get(trial.epochs)
        n_evaluations = steps if evaluated is None else sum(share for step, share in evaluated.items() if step <= steps)
        return trial.seconds(steps / training.evaluations_per_epoch, n_evaluations)

    def _patience(self, stated: int) -> int:
        """Return the patience in steps; under rungs it is stated in epochs."""
        per_epoch = self.spec.training.evaluations_per_epoch
        return stated * per_epoch if isinstance(self.spec.pruner, pruners.RungsPruner) else stated

    def _n_startup(self) -> int:
        """Number of trials that certainly come to their end."""
        if isinstance(self.spec.pruner, pruners.MedianPruner | pruners.PercentilePruner):
            return max(1, self.spec.pruner.options.n_startup_trials)
        return 1

    def _probe_seconds(self) -> list[float]:
        """Return the seconds that the probe takes: measuring the similarity is a forward pass of so many rows."""
        if self.probe_seconds is not None:
            return [self.probe_seconds]
        if not self.facts.awaits_similarity:
            return []
        n_rows = min(_MOST_PROBED, self.facts.train_rows) + min(_MOST_PROBED, self.facts.validation_rows)
        return [self.times.kinds[0].evaluation_seconds * n_rows / max(1, self.facts.validation_rows)]

    def _pilot_seconds(self, study: Sequence[TrialCost]) -> list[float]:
        small = self.spec.start_small
        if small is None:
            return []
        return [one.start + one.epochs * (small.fraction * one.epoch + one.evaluation) for one in study[: small.trials]]

    def _confirm_seconds(self, study: Sequence[TrialCost], *, ends_early: bool) -> list[float]:
        """Return the seconds of the runs that confirm the winner, as if the first trials were the best."""
        confirm = self.spec.confirm
        if confirm is None:
            return []
        once = [self._seconds(one, None, ends_early=ends_early) for one in study[: confirm.top + 1]]
        return once * confirm.seeds

    def _score_seconds(self, study: Sequence[TrialCost]) -> float:
        """Return the seconds to load the winner and to score it on the test rows, as if it were the first trial."""
        if not self.facts.test_rows:
            return 0.0
        return study[0].start + study[0].evaluation * self.facts.test_rows / max(1, self.facts.validation_rows)


def _makespan(trials: Sequence[float], loads: Sequence[float]) -> float:
    """Return the seconds until workers that are free after ``loads`` have carried out ``trials``, each the next one."""
    free_at = list(loads)
    heapq.heapify(free_at)
    for seconds in trials:
        heapq.heapreplace(free_at, free_at[0] + seconds)
    return max(free_at)


def _interval(before: float, full: Sequence[float], least: Sequence[float]) -> Interval:
    """Return what studies take that were drawn by chance, and between what, with a margin for what was timed.

    Args:
        before: what has been taken already.
    """
    low, high = _PERCENTILES
    return Interval(
        low=before + float(np.percentile(least, low)) / MARGIN,
        expected=before + float(np.mean(full)),
        high=before + float(np.percentile(full, high)) * MARGIN,
    )


def _will_not_fit(times: StepTimes) -> list[Params]:
    """Return what tells the kinds of trials that do not fit, whatever their batch."""
    found: list[Params] = [
        {
            "method": kind.method,
            "frozen_layers": kind.frozen_blocks,
            "gradient_checkpointing": kind.gradient_checkpointing,
        }
        for kind in times.kinds
        if kind.epoch_seconds is None
    ]
    return [params for index, params in enumerate(found) if params not in found[:index]]
