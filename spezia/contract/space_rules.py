"""The rules of a search space and of fixed and enqueued params: what is refused, with the reason.

A function ``…_errors`` returns one error for each violation, with the path of the field in the spec.
"""

from collections.abc import Iterator, Mapping

from spezia.contract.hyperparameters import HYPERPARAMETERS, METHODS, ParamValue
from spezia.contract.other_names import HYPERPARAMETER_NAMES, HYPERPARAMETER_NOTES
from spezia.contract.ranges import Choices, Condition, Distribution, FloatRange, SearchSpace, value_problem
from spezia.contract.space import MAX_DEPTH, Dimension, active_dimension, depth_of, each_dimension, values_of
from spezia.contract.wire import MAX_EXACT, FieldError, nearest_name_hint

_Params = Mapping[str, ParamValue]


def range_errors(space: SearchSpace) -> list[FieldError]:
    """Find what is wrong with single ranges: unknown names, wrong types, values outside the hyperparameter's bounds."""
    errors: list[FieldError] = []
    for name in space:
        if name not in HYPERPARAMETERS:
            errors.append((("search_space", name), unknown_hyperparameter(name), name))
    for dimension in each_dimension(space):
        if dimension.name in HYPERPARAMETERS:
            errors += _range_errors(dimension)
    return errors


def condition_errors(space: SearchSpace, fixed: _Params) -> list[FieldError]:
    """Find what is wrong with the conditions of ranges (``when``)."""
    errors = [error for dimension in each_dimension(space) for error in _when_errors(dimension, space, fixed)]
    for name in space:
        if depth_of(space, name) > MAX_DEPTH:
            message = f"{name} depends on itself, or on a chain of more than {MAX_DEPTH} others; shorten its conditions"
            errors.append((("search_space", name), message, None))
    return errors or list(_branch_errors(space))


def method_errors(space: SearchSpace, fixed: _Params) -> list[FieldError]:
    """Find parameters that a trial would have in spite of its ``method``, in a space without `condition_errors`."""
    return [*_method_errors(space, fixed), *_frozen_errors(space, fixed)]


def free_name_errors(fixed: _Params, space: SearchSpace) -> list[FieldError]:
    """Find params of a script whose name is no Python name, or that are both searched and fixed."""
    named = [("search_space", name) for name in space] + [("fixed", name) for name in fixed]
    errors: list[FieldError] = [
        (path, f"{path[1][:64]} must be a Python name of at most 64 characters; rename it", path[1])
        for path in named
        if not path[1].isidentifier() or len(path[1]) > 64
    ]
    return errors + [_in_both(name, fixed[name]) for name in fixed.keys() & space.keys()]


def large_number_errors(fixed: _Params, space: SearchSpace) -> list[FieldError]:
    """Find whole numbers of params that JSON's readers do not keep exactly; only a script may have such params."""
    values: list[tuple[tuple[str | int, ...], ParamValue]] = [(("fixed", name), value) for name, value in fixed.items()]
    for dimension in each_dimension(space):
        if isinstance(dimension.distribution, Choices):
            choices = enumerate(dimension.distribution.choices)
            values += [((*dimension.path, "choices", index), choice) for index, choice in choices]
    return [
        (path, "must lie within 2**53 of 0, the whole numbers that JSON keeps exactly; hand it over as a string", None)
        for path, value in values
        if isinstance(value, int) and abs(value) > MAX_EXACT
    ]


def fixed_errors(fixed: _Params, space: SearchSpace) -> list[FieldError]:
    """Find fixed params that are unknown, that are searched too, or whose value is not allowed."""
    errors: list[FieldError] = []
    for name, value in fixed.items():
        known = HYPERPARAMETERS.get(name)
        if known is None:
            errors.append((("fixed", name), unknown_hyperparameter(name), name))
        elif name in space:
            errors.append(_in_both(name, value))
        elif problem := known.problem(value):
            errors.append((("fixed", name), f"{name} {problem}", value))
    return errors


def unknown_hyperparameter(name: str) -> str:
    """Say what to do about a name that no hyperparameter has."""
    if "seed" in name or name == "random_state":
        return (
            "a seed is no hyperparameter: a search over it picks the luckiest seed for the validation split "
            "(Dodge et al. 2020); set the study's own `seed`, which decides all randomness"
        )
    if (lower := name.lower()) in HYPERPARAMETER_NAMES:
        note = f", {HYPERPARAMETER_NOTES[lower]}" if lower in HYPERPARAMETER_NOTES else ""
        return f"unknown hyperparameter; here it is {HYPERPARAMETER_NAMES[lower]!r}{note}"
    return f"unknown hyperparameter{nearest_name_hint(name, HYPERPARAMETERS)}"


def enqueued_problem(space: SearchSpace, name: str, params: _Params, fixed: _Params) -> str | None:
    """Say why enqueued ``params`` cannot have their value of ``name``; ``None`` if they can."""
    if name not in space:
        return f"{name} is not in search_space{nearest_name_hint(name, space)}"
    dimension = active_dimension(space, name, {**fixed, **params})
    if dimension is None:
        needed = " or ".join(_words(one.distribution.when) for one in each_dimension(space, name))
        return f"a trial has {name} only with {needed}; add that, or drop {name}"
    problem = value_problem(dimension.distribution, params[name])
    return problem and f"{name} {problem}"


def _in_both(name: str, value: ParamValue) -> FieldError:
    return ("fixed", name), f"{name} is also in search_space; keep it in one place", value


def _words(when: Mapping[str, Condition]) -> str:
    return ", ".join(f"{name} = {' or '.join(map(str, values_of(condition)))}" for name, condition in when.items())


def _range_errors(dimension: Dimension) -> list[FieldError]:
    known, distribution = HYPERPARAMETERS[dimension.name], dimension.distribution
    if known.type in ("name", "bool") and not isinstance(distribution, Choices):
        what = "names" if known.type == "name" else "true or false"
        return [(dimension.path, f"the values of {known.name} are {what}; use type categorical", distribution.type)]
    if known.type == "int" and isinstance(distribution, FloatRange):
        return [(dimension.path, f"{known.name} must be a whole number; use type int", distribution.type)]
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
            yield path, f"{parent} is neither in search_space nor in fixed; add it to one of them{hint}", parent
            continue
        if not allowed:
            yield (
                path,
                f"a condition needs a categorical parameter, and {parent} is a range of numbers; make it categorical",
                parent,
            )
        for value in values_of(condition):
            if allowed and not any(type(value) is type(one) and value == one for one in allowed):
                yield path, f"{parent} is never {value}; it may be {', '.join(map(str, allowed))}", value


def _branch_errors(space: SearchSpace) -> Iterator[FieldError]:
    """Find ranges of one parameter of which two could be active in a trial."""
    for name in space:
        ranges = list(each_dimension(space, name))
        for index, later in enumerate(ranges):
            if any(not _exclude(earlier, later) for earlier in ranges[:index]):
                message = (
                    f"two ranges of {name} could apply to the same trial; give each a `when` that excludes the others"
                )
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
            yield (
                ("fixed", name),
                f"{name} exists only with method {' or '.join(allowed)}; drop it, or change method",
                fixed[name],
            )


def _allowed_methods(name: str) -> tuple[str, ...]:
    return HYPERPARAMETERS[name].methods if name in HYPERPARAMETERS else METHODS


def _all_methods(space: SearchSpace, fixed: _Params) -> set[ParamValue]:
    searched = [one.distribution for one in each_dimension(space, "method")]
    found = {choice for one in searched if isinstance(one, Choices) for choice in one.choices}
    default = HYPERPARAMETERS["method"].default
    assert default is not None
    return found or {fixed.get("method", default)}


def _methods(dimension: Dimension, space: SearchSpace, fixed: _Params) -> set[ParamValue]:
    """Return the methods of the trials in which ``dimension`` is active."""
    methods = _all_methods(space, fixed)
    for parent, condition in dimension.distribution.when.items():
        if parent == "method":
            methods &= set(values_of(condition))
        elif parent in space:
            methods &= set().union(*(_methods(one, space, fixed) for one in each_dimension(space, parent)))
    return methods


def _frozen_errors(space: SearchSpace, fixed: _Params) -> Iterator[FieldError]:
    """Find trials that would have both names of the number of frozen blocks."""
    layers, fractions = (list(each_dimension(space, name)) for name in ("frozen_layers", "frozen_fraction"))
    message = (
        "frozen_layers and frozen_fraction both set the number of frozen blocks; keep one, or give each a `when` that "
        "excludes the other"
    )
    for fraction in fractions:
        if "frozen_layers" in fixed or any(not _exclude(fraction, layer) for layer in layers):
            yield fraction.path, message, None
    if "frozen_fraction" in fixed and (layers or "frozen_layers" in fixed):
        yield ("fixed", "frozen_fraction"), message, fixed["frozen_fraction"]
