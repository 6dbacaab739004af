"""Stock Optuna, as its users write it: in memory, one sampler for the whole search, its own pruners."""

from collections.abc import Hashable, Sequence

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from replay.simulate import Answer, Work
from replay.task import Params

from service.search.space.distributions import to_optuna
from spezia.contract.study_spec import StudySpec


class StockOptuna:
    """A study of Optuna's. A trial's value is that of its best evaluation."""

    def __init__(self, spec: StudySpec, sampler: BaseSampler, pruner: BasePruner, first: Sequence[Params]) -> None:
        """
        Args:
            first: params of the trials to begin with.
        """
        self._study = optuna.create_study(sampler=sampler, pruner=pruner)
        self._distributions = to_optuna(spec.search_space)
        self._fixed = spec.fixed
        self._trials: dict[int, optuna.Trial] = {}
        self._best: dict[int, float] = {}
        for params in first:
            self._study.enqueue_trial({name: params[name] for name in self._distributions})

    def ask(self, worker: int, now: float) -> Work:
        del worker, now
        trial = self._study.ask(self._distributions)
        self._trials[trial.number] = trial
        return Work(trial.number, self._fixed | trial.params)

    def report(self, trial: Hashable, step: int, value: float, now: float, *, is_last: bool) -> Answer:
        del now
        assert isinstance(trial, int)
        own = self._trials[trial]
        own.report(value, step)
        self._best[trial] = min(value, self._best.get(trial, value))
        if is_last or not own.should_prune():
            return "go on"
        self._study.tell(own, state=optuna.trial.TrialState.PRUNED)
        return "stop"

    def end(self, trial: Hashable, now: float, *, diverged: bool) -> None:
        del now
        assert isinstance(trial, int)
        if diverged:
            self._study.tell(self._trials[trial], state=optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(self._trials[trial], self._best[trial])
