"""Whether the number of trials, the size of the space and what the sampler needs fit each other."""

from collections.abc import Iterator

from service.search.edits import drop, fix, lower_field, raise_field, set_field
from service.search.finding import Finding, Gain, Remedy, listed, some
from service.search.space.allowed import ranges_of
from service.search.space.space_size import (
    SEARCH_FIRST,
    is_constant,
    n_advised,
    n_searched,
    space_size,
    trials_advised,
)
from spezia.common.plural import plural
from spezia.contract import samplers
from spezia.contract.hyperparameters import ParamValue
from spezia.contract.ranges import Choices
from spezia.contract.study_spec import StudySpec


def budget_findings(spec: StudySpec) -> Iterator[Finding]:
    """Yield where trials, space and sampler do not fit each other."""
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
        yield Finding(
            field="n_parallel",
            message=f"all {spec.n_trials} trials start at once, so none learns from another",
            gain=Gain.EFFECT,
            remedies=some(lower_field(spec, "n_parallel", max(1, spec.n_trials // 4)), _use_sampler("random")),
        )


def _constants(spec: StudySpec) -> Iterator[Finding]:
    for name in spec.search_space:
        if is_constant(spec, name):
            fixed = fix(spec, name, _only_value(spec, name), f"move {name} to fixed")
            yield Finding(
                field=f"search_space.{name}",
                message="has one value, so nothing is searched",
                gain=Gain.COST,
                remedies=some(fixed, Remedy(words="give it more values")),
            )


def _only_value(spec: StudySpec, name: str) -> ParamValue:
    (only,) = ranges_of(spec, name)
    return only.choices[0] if isinstance(only, Choices) else only.low


def _small_space(spec: StudySpec, size: int) -> Finding:
    is_grid = isinstance(spec.sampler, samplers.GridSampler)
    after = "the study ends after them" if is_grid else "the others repeat them"
    fewer = lower_field(spec, "n_trials", size)
    assert fewer is not None
    grid = _use_sampler("grid")
    in_a_grid = Remedy(words=f"{grid.words} with n_trials {size}", changes=grid.changes + fewer.changes)
    return Finding(
        field="n_trials",
        message=f"the space holds {size} different trials, fewer than n_trials = {spec.n_trials}: {after}",
        gain=Gain.COST,
        remedies=(fewer if is_grid else in_a_grid, Remedy(words="widen the space")),
    )


def _large_grid(spec: StudySpec, size: int) -> Finding:
    return Finding(
        field="n_trials",
        message=f"the grid has {size} points and n_trials is {spec.n_trials}: a random part of it is visited",
        gain=Gain.VALUE,
        remedies=some(raise_field(spec, "n_trials", size), Remedy(words="thin the grid out"), _use_sampler("tpe")),
    )


def _few_trials(spec: StudySpec) -> Iterator[Finding]:
    advised = trials_advised(spec)
    if spec.n_trials >= advised:
        return
    yield Finding(
        field="n_trials",
        message=f"{plural(n_searched(spec), 'parameter')} searched with {plural(spec.n_trials, 'trial')}: too few to "
        "tell what each does",
        gain=Gain.VALUE,
        remedies=some(raise_field(spec, "n_trials", advised), _search_fewer(spec)),
    )


def _search_fewer(spec: StudySpec) -> Remedy:
    room = n_advised(spec.n_trials)
    first = [name for name in SEARCH_FIRST if name in spec.search_space][:room]
    if not first or spec.task == "script":
        return Remedy(words=f"search {room} of them")
    others = [f"search_space.{name}" for name in spec.search_space if name not in first]
    return drop(*others, words=f"search only {', '.join(first)}")


def _startup(spec: StudySpec) -> Iterator[Finding]:
    match spec.sampler:
        case samplers.TpeSampler(options=options) | samplers.GpSampler(options=options):
            field, n_random, least = "n_startup_trials", options.n_startup_trials, 1
        case samplers.CmaEsSampler(options=options):
            field, n_random, least = "n_startup_trials", options.n_startup_trials, 1
        case samplers.Nsga2Sampler(options=options) | samplers.Nsga3Sampler(options=options):
            field, n_random, least = "population_size", options.population_size, 2
        case _:
            return
    if n_random >= spec.n_trials > 1 and n_searched(spec) > 0:
        name = spec.sampler.name
        fewer = max(least, spec.n_trials // 3)
        yield Finding(
            field=f"sampler.options.{field}",
            message=f"{name} draws its first {plural(n_random, 'trial')} by chance and {spec.n_trials} run: it learns "
            "nothing",
            gain=Gain.EFFECT,
            remedies=some(
                lower_field(spec, f"sampler.options.{field}", fewer, f"lower {field} to {fewer}"),
                Remedy(words="raise n_trials"),
            ),
        )


def _cmaes(spec: StudySpec) -> Iterator[Finding]:
    if not isinstance(spec.sampler, samplers.CmaEsSampler):
        return
    by_chance = [name for name in spec.search_space if any(isinstance(one, Choices) for one in ranges_of(spec, name))]
    if by_chance:
        yield Finding(
            field="sampler.name",
            message=f"cmaes models numbers only and draws {listed(by_chance)} by chance",
            gain=Gain.EFFECT,
            remedies=(_use_sampler("tpe"), Remedy(words="give them ranges")),
        )


def _use_sampler(name: str) -> Remedy:
    return set_field("sampler", {"name": name}, f"use sampler {name}")


def _learns(spec: StudySpec) -> bool:
    return not isinstance(spec.sampler, samplers.RandomSampler | samplers.GridSampler | samplers.QmcSampler)
