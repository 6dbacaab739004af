"""The rules of a search space and of fixed and enqueued params: what is refused, with the reason.

A function ``…_errors`` returns one error for each violation, with the path of the field in the spec.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from spezia.contract.hyperparameters import HYPERPARAMETERS, METHODS, ParamValue
from spezia.contract.other_names import HYPERPARAMETER_NAMES, HYPERPARAMETER_NOTES
from spezia.contract.ranges import Choices, Condition, Distribution, FloatRange, SearchSpace, value_problem
from spezia.contract.space import MAX_DEPTH, Dimension, depths_of, each_dimension, in_order, values_of
from spezia.contract.wire import MAX_EXACT, FieldError, first_errors, first_found, listed, nearest_name_hint

_Params = Mapping[str, ParamValue]
_Conditions = Mapping[str, frozenset[ParamValue]]


@first_found
def range_errors(space: SearchSpace) -> Iterator[FieldError]:
    """Find what is wrong with single ranges: unknown names, wrong types, values outside the hyperparameter's bounds."""
    for name in space:
        if name not in HYPERPARAMETERS:
            yield ("search_space", name), unknown_hyperparameter(name), name
    for dimension in each_dimension(space):
        if dimension.name in HYPERPARAMETERS:
            yield from _range_errors(dimension)


def condition_errors(space: SearchSpace, fixed: _Params) -> list[FieldError]:
    """Find what is wrong with the conditions of ranges (``when``)."""
    errors = first_errors(chain(_when_errors(space, fixed), _depth_errors(space)))
    return errors or first_errors(_branch_errors(space))


def method_errors(space: SearchSpace, fixed: _Params) -> list[FieldError]:
    """Find parameters that a trial would have in spite of its ``method``, in a space without `condition_errors`."""
    return first_errors(chain(_method_errors(space, fixed), _frozen_errors(space, fixed)))


@first_found
def free_name_errors(fixed: _Params, space: SearchSpace) -> Iterator[FieldError]:
    """Find params of a script whose name is no Python name, or that are both searched and fixed."""
    for path in chain((("search_space", name) for name in space), (("fixed", name) for name in fixed)):
        if not path[1].isidentifier() or len(path[1]) > 64:
            yield path, f"{path[1][:64]} must be a Python name of at most 64 characters; rename it", path[1]
    yield from (_in_both(name, fixed[name]) for name in fixed.keys() & space.keys())


@first_found
def large_number_errors(fixed: _Params, space: SearchSpace) -> Iterator[FieldError]:
    """Find whole numbers of params that JSON's readers do not keep exactly; only a script may have such params."""
    values: list[tuple[tuple[str | int, ...], ParamValue]] = [(("fixed", name), value) for name, value in fixed.items()]
    for dimension in each_dimension(space):
        if isinstance(dimension.distribution, Choices):
            choices = enumerate(dimension.distribution.choices)
            values += [((*dimension.path, "choices", index), choice) for index, choice in choices]
    for path, value in values:
        if isinstance(value, int) and abs(value) > MAX_EXACT:
            message = "must lie within 2**53 of 0, the whole numbers that JSON keeps exactly; hand it over as a string"
            yield path, message, None


@first_found
def fixed_errors(fixed: _Params, space: SearchSpace) -> Iterator[FieldError]:
    """Find fixed params that are unknown, that are searched too, or whose value is not allowed."""
    for name, value in fixed.items():
        known = HYPERPARAMETERS.get(name)
        if known is None:
            yield ("fixed", name), unknown_hyperparameter(name), name
        elif name in space:
            yield _in_both(name, value)
        elif problem := known.problem(value):
            yield ("fixed", name), f"{name} {problem}", value


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


@first_found
def enqueued_errors(space: SearchSpace, enqueued: Sequence[_Params], fixed: _Params) -> Iterator[FieldError]:
    """Find what keeps enqueued params from being tried; each error's path is the index of the params and a name."""
    # worked out once: there may be 1,000 params of 64 names, and a name may have many ranges
    branches = {name: _Branches(list(each_dimension(space, name))) for name in space}
    for index, params in enumerate(enqueued):
        known = {**fixed, **params}
        for name, value in params.items():
            if name not in branches:
                yield (index, name), f"{name} is not in search_space{nearest_name_hint(name, space)}", value
            elif (active := branches[name].active(known)) is None:
                needed = listed([_words(one.distribution.when) for one in each_dimension(space, name)], " or ")
                yield (index, name), f"a trial has {name} only with {needed}; add that, or drop {name}", value
            elif problem := value_problem(active, value):
                yield (index, name), f"{name} {problem}", value


class _Branches:
    """The ranges of one parameter, as sets of bits: one bit for each range."""

    def __init__(self, ranges: Sequence[Dimension]) -> None:
        self._ranges = [one.distribution for one in ranges]
        self._all = (1 << len(ranges)) - 1
        conditions = [_conditions(one) for one in ranges]
        # for each parent the ranges without a condition on it, and those that each value of it allows
        self._parents: list[tuple[str, int, dict[ParamValue, int]]] = []
        for parent in dict.fromkeys(name for each in conditions for name in each):
            free = sum(1 << bit for bit, each in enumerate(conditions) if parent not in each)
            allowed: dict[ParamValue, int] = {}
            for bit, each in enumerate(conditions):
                for value in each.get(parent, ()):
                    allowed[value] = allowed.get(value, free) | 1 << bit
            self._parents.append((parent, free, allowed))

    def active(self, known: _Params) -> Distribution | None:
        """Return the range that a trial with the ``known`` params has, as `active_dimension` finds it."""
        left = self._all
        for parent, free, allowed in self._parents:
            left &= allowed.get(known[parent], free) if parent in known else free
        return self._ranges[(left & -left).bit_length() - 1] if left else None


def _in_both(name: str, value: ParamValue) -> FieldError:
    return ("fixed", name), f"{name} is also in search_space; keep it in one place", value


def _words(when: Mapping[str, Condition]) -> str:
    return ", ".join(f"{name} = {listed(values_of(condition), ' or ')}" for name, condition in when.items())


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


def _when_errors(space: SearchSpace, fixed: _Params) -> Iterator[FieldError]:
    """Find conditions on parameters that do not exist, that have no choices, or that never have the value."""
    choices = {name: [fixed[name]] if name in fixed else _choices(space, name) for name in (*space, *fixed)}
    # in Python 1, 1.0 and True are equal
    allowed = {name: {(type(value), value) for value in values} for name, values in choices.items()}
    for dimension in each_dimension(space):
        for parent, condition in dimension.distribution.when.items():
            path = (*dimension.path, "when", parent)
            if parent not in choices:
                hint = nearest_name_hint(parent, HYPERPARAMETERS) if parent not in HYPERPARAMETERS else ""
                yield path, f"{parent} is neither in search_space nor in fixed; add it to one of them{hint}", parent
            elif not choices[parent]:
                message = f"a condition needs a categorical parameter, and {parent} is a range of numbers"
                yield path, f"{message}; make it categorical", parent
            else:
                for value in values_of(condition):
                    if (type(value), value) not in allowed[parent]:
                        yield path, f"{parent} is never {value}; it may be {listed(choices[parent])}", value


def _choices(space: SearchSpace, name: str) -> list[ParamValue]:
    ranges = [one.distribution for one in each_dimension(space, name)]
    return [choice for one in ranges if isinstance(one, Choices) for choice in one.choices]


def _depth_errors(space: SearchSpace) -> Iterator[FieldError]:
    for name, depth in depths_of(space).items():
        if depth > MAX_DEPTH:
            message = f"{name} depends on itself, or on a chain of more than {MAX_DEPTH} others; shorten its conditions"
            yield ("search_space", name), message, None


def _branch_errors(space: SearchSpace) -> Iterator[FieldError]:
    """Find ranges of one parameter of which two could be active in a trial."""
    for name in space:
        ranges = list(each_dimension(space, name))
        conditions = [_conditions(one) for one in ranges]
        for index, later in enumerate(ranges):
            if any(not _exclude(earlier, conditions[index]) for earlier in conditions[:index]):
                message = (
                    f"two ranges of {name} could apply to the same trial; give each a `when` that excludes the others"
                )
                yield later.path, message, None


def _conditions(dimension: Dimension) -> _Conditions:
    return {name: frozenset(values_of(condition)) for name, condition in dimension.distribution.when.items()}


def _exclude(one: _Conditions, other: _Conditions) -> bool:
    return any(name in other and values.isdisjoint(other[name]) for name, values in one.items())


def _method_errors(space: SearchSpace, fixed: _Params) -> Iterator[FieldError]:
    methods = _methods(space, fixed)
    for dimension in each_dimension(space):
        allowed = _allowed_methods(dimension.name)
        if extra := methods[dimension.path] - set(allowed):
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


def _methods(space: SearchSpace, fixed: _Params) -> Mapping[tuple[str | int, ...], set[ParamValue]]:
    """Return for each range, by its path, the methods of the trials in which it is active."""
    found: dict[tuple[str | int, ...], set[ParamValue]] = {}
    of_parameters: dict[str, set[ParamValue]] = {}
    for dimension in in_order(space):  # each after those that it depends on
        methods = _all_methods(space, fixed)
        for parent, condition in dimension.distribution.when.items():
            if parent == "method":
                methods &= set(values_of(condition))
            elif parent in space:
                methods &= of_parameters[parent]
        found[dimension.path] = methods
        of_parameters[dimension.name] = of_parameters.get(dimension.name, set()) | methods
    return found


def _frozen_errors(space: SearchSpace, fixed: _Params) -> Iterator[FieldError]:
    """Find trials that would have both names of the number of frozen blocks."""
    fractions = list(each_dimension(space, "frozen_fraction"))
    layers = [_conditions(one) for one in each_dimension(space, "frozen_layers")]
    message = (
        "frozen_layers and frozen_fraction both set the number of frozen blocks; keep one, or give each a `when` that "
        "excludes the other"
    )
    for fraction in fractions:
        if "frozen_layers" in fixed or any(not _exclude(_conditions(fraction), layer) for layer in layers):
            yield fraction.path, message, None
    if "frozen_fraction" in fixed and (layers or "frozen_layers" in fixed):
        yield ("fixed", "frozen_fraction"), message, fixed["frozen_fraction"]
