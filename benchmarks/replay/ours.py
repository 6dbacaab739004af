"""Spezia by its pure functions `propose` and `should_prune`, without a database: as `lifecycle.py`, in less time.

`rungs` is not among the pruners: that it works is a matter of the whole lifecycle.
"""

from collections.abc import Hashable

from optuna.trial import FrozenTrial, TrialState
from replay.simulate import Answer, Work
from replay.task import Params

from service.search.propose.propose import ProposalRequest, propose
from service.search.pruning.should_prune import should_prune
from service.search.snapshot_storage import running_trial
from spezia.contract.study_spec import StudySpec


class Spezia:
    """A study of ours, whose trials are kept in memory."""

    def __init__(self, spec: StudySpec, baseline: Params) -> None:
        """
        Args:
            baseline: params of the baseline, which begins behind the first of what ``spec`` enqueues.
        """
        self._spec = spec
        self._first = [*spec.enqueue[:1], baseline, *spec.enqueue[1:]]
        self._baseline = self._first.index(baseline)
        self._trials: list[FrozenTrial] = []

    def ask(self, worker: int, now: float) -> Work | None:
        del worker, now
        number = len(self._trials)
        if number == self._spec.n_trials:
            return None
        wanted = self._first[number] if number < len(self._first) else {}
        request = ProposalRequest(
            spec=self._spec,
            study_name=str(self._spec.name),
            number=number,
            trials=self._trials,
            fixed={name: value for name, value in wanted.items() if name not in self._spec.fixed},
        )
        proposal = propose(request)
        assert proposal is not None
        trial = running_trial(number, proposal.system_attrs)
        trial.params, trial.distributions = proposal.params, proposal.distributions
        self._trials.append(trial)
        return Work(number, self._spec.fixed | proposal.params)

    def report(self, trial: Hashable, step: int, value: float, now: float, *, is_last: bool) -> Answer:
        del now
        assert isinstance(trial, int)
        own = self._trials[trial]
        own.intermediate_values[step] = value
        decision = should_prune(self._spec, str(self._spec.name), own, self._trials)
        own.system_attrs |= decision.system_attrs
        if is_last or trial == self._baseline or not decision.should_prune:
            return "go on"
        own.state, own.value = TrialState.PRUNED, value
        return "stop"

    def end(self, trial: Hashable, now: float, *, diverged: bool) -> None:
        del now
        assert isinstance(trial, int)
        own = self._trials[trial]
        own.state = TrialState.FAIL if diverged else TrialState.COMPLETE
        own.value = None if diverged else min(own.intermediate_values.values())
