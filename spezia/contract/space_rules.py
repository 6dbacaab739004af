"""The rules of a search space."""

from collections.abc import Iterator, Mapping

from spezia.contract.hyperparameters import HYPERPARAMETERS, METHODS, ParamValue
from spezia.contract.ranges import Choices, Condition, Distribution, FloatRange, SearchSpace, value_problem
from spezia.contract.space import MAX_DEPTH, Dimension, active_dimension, depth_of, each_dimension, values_of
from spezia.contract.wire import FieldError, nearest_name_hint

_Params = Mapping[str, ParamValue]


def range_errors(space: SearchSpace) -> list[FieldError]:
    """What is wrong with single ranges."""
    errors: list[FieldError] = []
    for name in space:
        if name not in HYPERPARAMETERS:
            errors.append((("search_space", name), unknown_hyperparameter(name), name))
    for dimension in each_dimension(space):
        if dimension.name in HYPERPARAMETERS:
            errors += _range_errors(dimension)
    return errors


def condition_errors(space: SearchSpace, fixed: _Params) -> list[FieldError]:
    """What is wrong with how ranges hang on each other."""
    errors = [error for dimension in each_dimension(space) for error in _when_errors(dimension, space, fixed)]
    for name in space:
        if depth_of(space, name) > MAX_DEPTH:
            errors.append((("search_space", name), f"hangs on itself, or on more than {MAX_DEPTH} others", None))
    return errors or list(_branch_errors(space))


def method_errors(space: SearchSpace, fixed: _Params) -> list[FieldError]:
    """What some ``method`` cannot have, of a space without `condition_errors`."""
    return [*_method_errors(space, fixed), *_frozen_errors(space, fixed)]


def free_name_errors(fixed: _Params, space: SearchSpace) -> list[FieldError]:
    """A script's params are its own: names of Python, each in one place."""
    named = [("search_space", name) for name in space] + [("fixed", name) for name in fixed]
    errors: list[FieldError] = [
        (path, "must be a Python name of at most 64 characters", path[1])
        for path in named
        if not path[1].isidentifier() or len(path[1]) > 64
    ]
    return errors + [
        (("fixed", name), f"{name} is also in search_space; keep it in one place", fixed[name])
        for name in fixed.keys() & space.keys()
    ]


def fixed_errors(fixed: _Params, space: SearchSpace) -> list[FieldError]:
    errors: list[FieldError] = []
    for name, value in fixed.items():
        known = HYPERPARAMETERS.get(name)
        if known is None:
            errors.append((("fixed", name), unknown_hyperparameter(name), name))
        elif name in space:
            errors.append((("fixed", name), f"{name} is also in search_space; keep it in one place", value))
        elif problem := known.problem(value):
            errors.append((("fixed", name), f"{name} {problem}", value))
    return errors


def unknown_hyperparameter(name: str) -> str:
    """Say what to do about a name that no hyperparameter has."""
    if "seed" in name or name == "random_state":
        return (
            "the seed is no hyperparameter: a search over it picks the luckiest seed for the validation split "
            "(Dodge et al. 2020); the study's own `seed` decides all randomness"
        )
    return f"unknown hyperparameter{nearest_name_hint(name, HYPERPARAMETERS)}"


def enqueued_problem(space: SearchSpace, name: str, params: _Params, fixed: _Params) -> str | None:
    """Say why ``params``, which a person enqueues, cannot have this ``name``; ``None`` if they can."""
    if name not in space:
        return f"not in search_space{nearest_name_hint(name, space)}"
    dimension = active_dimension(space, name, {**fixed, **params})
    if dimension is None:
        needed = " or ".join(_words(one.distribution.when) for one in each_dimension(space, name))
        return f"{name} needs {needed} beside it; add that, or drop {name}"
    problem = value_problem(dimension.distribution, params[name])
    return problem and f"{name} {problem}"


def _words(when: Mapping[str, Condition]) -> str:
    return ", ".join(f"{name} = {' or '.join(map(str, values_of(condition)))}" for name, condition in when.items())


def _range_errors(dimension: Dimension) -> list[FieldError]:
    known, distribution = HYPERPARAMETERS[dimension.name], dimension.distribution
    if known.type in ("name", "bool") and not isinstance(distribution, Choices):
        what = "names" if known.type == "name" else "true or false"
        return [(dimension.path, f"{known.name} takes {what}; use type categorical", distribution.type)]
    if known.type == "int" and isinstance(distribution, FloatRange):
        return [(dimension.path, f"{known.name} is a whole number; use type int", distribution.type)]
    problems = [(field, known.problem(value), value) for field, value in _edges(distribution)]
    return [((*dimension.path, *field), f"{known.name} {why}", value) for field, why, value in problems if why]


def _edges(distribution: Distribution) -> list[tuple[tuple[str | int, ...], object]]:
    if isinstance(distribution, Choices):
        return [(("choices", index), choice) for index, choice in enumerate(distribution.choices)]
    return [(("low",), distribution.low), (("high",), distribution.high)]


def _when_errors(dimension: Dimension, space: SearchSpace, fixed: _Params) -> Iterator[FieldError]:
    for parent, condition in dimension.distribution.when.items():
        path = (*dimension.path, "when", parent)
        if parent in fixed:
            allowed: list[ParamValue] = [fixed[parent]]
        elif parent in space:
            ranges = [one.distribution for one in each_dimension(space, parent)]
            allowed = [choice for one in ranges if isinstance(one, Choices) for choice in one.choices]
        else:
            hint = nearest_name_hint(parent, HYPERPARAMETERS) if parent not in HYPERPARAMETERS else ""
            yield path, f"{parent} is neither in search_space nor in fixed; put it there{hint}", parent
            continue
        if not allowed:
            yield path, f"only a categorical can be hung on, and {parent} is a range", parent
        for value in values_of(condition):
            if allowed and not any(type(value) is type(one) and value == one for one in allowed):
                yield path, f"{parent} is never {value}; it can be {', '.join(map(str, allowed))}", value


def _branch_errors(space: SearchSpace) -> Iterator[FieldError]:
    """At most one range of a parameter may be active."""
    for name in space:
        ranges = list(each_dimension(space, name))
        for index, later in enumerate(ranges):
            if any(not _exclude(earlier, later) for earlier in ranges[:index]):
                message = f"two ranges of {name} could be active at once; give each a `when` that excludes the others"
                yield later.path, message, None


def _exclude(one: Dimension, other: Dimension) -> bool:
    theirs = other.distribution.when
    return any(
        name in theirs and not set(values_of(condition)) & set(values_of(theirs[name]))
        for name, condition in one.distribution.when.items()
    )


def _method_errors(space: SearchSpace, fixed: _Params) -> Iterator[FieldError]:
    for dimension in each_dimension(space):
        allowed = _allowed_methods(dimension.name)
        if extra := _methods(dimension, space, fixed) - set(allowed):
            wanted = f"[{', '.join(allowed)}]" if len(allowed) > 1 else allowed[0]
            without = " and ".join(sorted(map(str, extra)))
            message = f"method {without} has no {dimension.name}; add when: {{method: {wanted}}}"
            yield dimension.path, message, None
    for name in fixed:
        allowed = _allowed_methods(name)
        if not _all_methods(space, fixed) & set(allowed):
            yield ("fixed", name), f"only method {' and '.join(allowed)} has {name}; fix or search method", fixed[name]


def _allowed_methods(name: str) -> tuple[str, ...]:
    return HYPERPARAMETERS[name].methods if name in HYPERPARAMETERS else METHODS


def _all_methods(space: SearchSpace, fixed: _Params) -> set[ParamValue]:
    searched = [one.distribution for one in each_dimension(space, "method")]
    found = {choice for one in searched if isinstance(one, Choices) for choice in one.choices}
    default = HYPERPARAMETERS["method"].default
    assert default is not None
    return found or {fixed.get("method", default)}


def _methods(dimension: Dimension, space: SearchSpace, fixed: _Params) -> set[ParamValue]:
    """The methods of the trials in which ``dimension`` is active."""
    methods = _all_methods(space, fixed)
    for parent, condition in dimension.distribution.when.items():
        if parent == "method":
            methods &= set(values_of(condition))
        elif parent in space:
            methods &= set().union(*(_methods(one, space, fixed) for one in each_dimension(space, parent)))
    return methods


def _frozen_errors(space: SearchSpace, fixed: _Params) -> Iterator[FieldError]:
    """Two names of one thing."""
    layers, fractions = (list(each_dimension(space, name)) for name in ("frozen_layers", "frozen_fraction"))
    message = "frozen_layers and frozen_fraction say the same in two ways; keep one, or give them excluding `when`s"
    for fraction in fractions:
        if "frozen_layers" in fixed or any(not _exclude(fraction, layer) for layer in layers):
            yield fraction.path, message, None
    if "frozen_fraction" in fixed and (layers or "frozen_layers" in fixed):
        yield ("fixed", "frozen_fraction"), message, fixed["frozen_fraction"]
