"""Optuna's samplers by name, one per ask, each seeded from the study's seed and the trial's number."""

from collections.abc import Sequence

from optuna.distributions import BaseDistribution
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIIISampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.search_space import IntersectionSearchSpace
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from service.optuna_private import tell_search_space
from service.search.optuna_warnings import ignore_optuna_warnings
from service.search.seeds import trial_seed
from service.search.space.distributions import to_optuna
from spezia.contract import samplers
from spezia.contract.space import is_conditional
from spezia.contract.study_spec import StudySpec


class SpecSearchSpace(IntersectionSearchSpace):
    """The search space of a study, known from its spec; Optuna would gather it from all trials at every ask.

    As in Optuna it is empty until a trial has ended, and every sampler still drops what it cannot model.
    """

    def __init__(self, space: dict[str, BaseDistribution], *, include_pruned: bool) -> None:
        super().__init__(include_pruned=include_pruned)
        self._space = dict(sorted(space.items()))
        self._states = [TrialState.COMPLETE, TrialState.PRUNED] if include_pruned else [TrialState.COMPLETE]

    def calculate(self, study: Study, use_cache: bool = False) -> dict[str, BaseDistribution]:
        """Return the space of the spec, sorted by name, as soon as a trial has ended."""
        ended = study.get_trials(deepcopy=False, states=self._states)
        return self._space if ended else {}


def needs_torch(spec: StudySpec, trials: Sequence[FrozenTrial]) -> bool:
    """Return whether `build_sampler` would import torch: ``gp`` does when it has trials enough for a model."""
    if not isinstance(spec.sampler, samplers.GpSampler):
        return False
    n_complete = sum(trial.state == TrialState.COMPLETE for trial in trials)
    return n_complete >= max(1, spec.sampler.options.n_startup_trials)


def build_sampler(spec: StudySpec, number: int, trials: Sequence[FrozenTrial]) -> BaseSampler:
    """Return the sampler that proposes trial ``number`` after ``trials``: the same one after a restart.

    Raises:
        ValueError: Optuna refuses the combination of options.
    """
    seed = trial_seed(spec.seed, number)
    # gp draws from a random sampler, too, until it has a model
    has_no_model = isinstance(spec.sampler, samplers.GpSampler) and not needs_torch(spec, trials)
    if has_no_model or isinstance(spec.sampler, samplers.RandomSampler):
        return RandomSampler(seed=seed)
    sampler = build_unbound_sampler(spec, seed)
    if not is_conditional(spec.search_space):
        # Optuna's own, too, learns from PRUNED trials with TPE only
        space = SpecSearchSpace(to_optuna(spec.search_space), include_pruned=isinstance(sampler, TPESampler))
        tell_search_space(sampler, space)
    return sampler


def build_unbound_sampler(spec: StudySpec, seed: int) -> BaseSampler:
    """Return a sampler of Optuna's that would gather the search space itself; for ``gp`` this imports torch.

    Raises:
        ValueError: Optuna refuses the combination of options.
    """
    with ignore_optuna_warnings():
        return _build(spec, seed)


def _build(spec: StudySpec, seed: int) -> BaseSampler:
    options = spec.sampler.options.model_dump()
    match spec.sampler:
        case samplers.TpeSampler():
            # groups of parameters that trials have together; without, all but the common ones are drawn one by one
            group = options.pop("group") or is_conditional(spec.search_space)
            if group and len(spec.objectives) > 1:
                options["multivariate"] = True  # as Optuna would, with a warning
            return TPESampler(seed=seed, group=group, **options)
        case samplers.GpSampler():
            return GPSampler(seed=seed, warn_independent_sampling=False, **options)
        case samplers.CmaEsSampler():
            return CmaEsSampler(seed=seed, warn_independent_sampling=False, **options)
        case samplers.QmcSampler():
            # the sequence belongs to the study, only the draws outside it to the trial
            drawn = RandomSampler(seed=seed)
            return QMCSampler(seed=spec.seed, independent_sampler=drawn, warn_independent_sampling=False, **options)
        case samplers.Nsga2Sampler():
            return NSGAIISampler(seed=seed, **options)
        case samplers.Nsga3Sampler():
            return NSGAIIISampler(seed=seed, **options)
        case samplers.RandomSampler():
            raise AssertionError("build_sampler builds it")
        case samplers.GridSampler():
            raise AssertionError("grid.next_grid_point proposes the points of a grid")
        case samplers.MultiFidelitySampler():
            raise AssertionError("multi_fidelity.next_point proposes its points")
