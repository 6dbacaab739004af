"""Warnings about a number of trials that does not fit the size of the space, or what the sampler needs."""

from collections.abc import Iterator

from service.search.space.allowed import ranges_of
from service.search.space.space_size import is_constant, n_advised, n_searched, space_size, trials_advised
from spezia.contract import samplers
from spezia.contract.ranges import Choices
from spezia.contract.study_spec import StudySpec
from spezia.contract.validation import SpecWarning

_FIRST = (
    "learning_rate",
    "method",
    "epochs",
    "frozen_fraction",
    "frozen_layers",
    "lora_rank",
    "weight_decay",
    "warmup_ratio",
    "lr_schedule",
)
"""Parameters that are worth searching first when trials are few; dropout, batch and the rest come after."""


def budget_warnings(spec: StudySpec) -> Iterator[SpecWarning]:
    """Yield the warnings about trials, space and sampler that do not fit each other."""
    yield from _constants(spec)
    size = space_size(spec)
    if size is not None and size < spec.n_trials:
        yield _small_space(spec, size)
    elif isinstance(spec.sampler, samplers.GridSampler):
        if size is not None and size > spec.n_trials:
            yield _large_grid(spec, size)
    else:
        yield from _few_trials(spec)
        yield from _startup(spec)
    yield from _cmaes(spec)
    if spec.n_parallel is not None and 1 < spec.n_trials <= spec.n_parallel and _learns(spec):
        yield SpecWarning(
            field="n_parallel",
            message=f"all {spec.n_trials} trials start at once, so none learns from another",
            advice=f"lower n_parallel, to {max(1, spec.n_trials // 4)} say, or use sampler random",
        )


def _constants(spec: StudySpec) -> Iterator[SpecWarning]:
    for name in spec.search_space:
        if is_constant(spec, name):
            yield SpecWarning(
                field=f"search_space.{name}",
                message="has one value, so nothing is searched",
                advice=f"move {name} to fixed, or give it a range",
            )


def _small_space(spec: StudySpec, size: int) -> SpecWarning:
    is_grid = isinstance(spec.sampler, samplers.GridSampler)
    after = "the study ends after them" if is_grid else "the others repeat them"
    return SpecWarning(
        field="n_trials",
        message=f"the space holds {size} different trials, fewer than n_trials = {spec.n_trials}: {after}",
        advice=f"lower n_trials to {size}" if is_grid else f"use sampler grid with n_trials {size}, or widen the space",
    )


def _large_grid(spec: StudySpec, size: int) -> SpecWarning:
    return SpecWarning(
        field="n_trials",
        message=f"the grid has {size} points and n_trials is {spec.n_trials}: a random part of it is visited",
        advice=f"raise n_trials to {size}, thin the grid out, or use sampler tpe",
    )


def _few_trials(spec: StudySpec) -> Iterator[SpecWarning]:
    advised = trials_advised(spec)
    if spec.n_trials >= advised:
        return
    room = n_advised(spec.n_trials)
    first = [name for name in _FIRST if name in spec.search_space][:room]
    fewer = f"search only {', '.join(first)}" if first and spec.task != "script" else f"search {room} of them"
    yield SpecWarning(
        field="n_trials",
        message=f"{n_searched(spec)} parameters are searched with {spec.n_trials} trials, too few to tell them apart",
        advice=f"raise n_trials to {advised}, or {fewer}",
    )


def _startup(spec: StudySpec) -> Iterator[SpecWarning]:
    match spec.sampler:
        case samplers.TpeSampler(options=options) | samplers.GpSampler(options=options):
            field, n_random = "n_startup_trials", options.n_startup_trials
        case samplers.CmaEsSampler(options=options):
            field, n_random = "n_startup_trials", options.n_startup_trials
        case samplers.Nsga2Sampler(options=options) | samplers.Nsga3Sampler(options=options):
            field, n_random = "population_size", options.population_size
        case _:
            return
    if n_random >= spec.n_trials > 1 and n_searched(spec) > 0:
        name = spec.sampler.name
        yield SpecWarning(
            field=f"sampler.options.{field}",
            message=f"{name} draws its first {n_random} trials by chance and {spec.n_trials} run: it learns nothing",
            advice=f"lower {field} to {max(1, spec.n_trials // 3)}, or raise n_trials",
        )


def _cmaes(spec: StudySpec) -> Iterator[SpecWarning]:
    if not isinstance(spec.sampler, samplers.CmaEsSampler):
        return
    by_chance = [name for name in spec.search_space if any(isinstance(one, Choices) for one in ranges_of(spec, name))]
    if by_chance:
        yield SpecWarning(
            field="sampler.name",
            message=f"cmaes models numbers only and draws {', '.join(by_chance)} by chance",
            advice="use sampler tpe, or give them ranges",
        )


def _learns(spec: StudySpec) -> bool:
    return not isinstance(spec.sampler, samplers.RandomSampler | samplers.GridSampler | samplers.QmcSampler)
