"""Warnings about the learning rate, the parameter that decides most."""

from collections.abc import Iterator

from service.search.space.allowed import choices_of, edges_of, ranges_of
from spezia.contract.ranges import Distribution, FloatRange
from spezia.contract.space import values_of
from spezia.contract.study_spec import StudySpec
from spezia.contract.validation import SpecWarning

FIELD = "search_space.learning_rate"
"""Field of the spec that holds the range of the learning rate."""
KNOWN = {"full": (1e-6, 1e-3), "lora": (1e-5, 5e-3), "head_only": (1e-5, 1e-1)}
"""Where good rates of AdamW have been found for each method: the grids of the papers in `presets`, and a factor of
about four around them for smaller and larger models."""

_WIDEST = 1000.0
_NARROWEST = 2.0
_LINEAR_UP_TO = 3.0
"""Factor between the ends of a range up to which a linear scale does no harm."""


def rate_warnings(spec: StudySpec) -> Iterator[SpecWarning]:
    """Yield the warnings about scale, width and place of the range of the learning rate."""
    ranges = ranges_of(spec, "learning_rate")
    for each in ranges:
        yield from _scale_and_width(each)
    methods = sorted(map(str, choices_of(spec, "method")))
    if len(methods) > 1 and len(ranges) == 1 and not ranges[0].when:
        yield _shared(methods)
        return
    if not ranges and "learning_rate" in spec.fixed:
        rate = spec.fixed["learning_rate"]
        assert isinstance(rate, int | float)
        yield from _place("fixed.learning_rate", methods, [rate])
    for each in ranges:
        yield from _place(FIELD, _methods_of(each, methods), edges_of(each))


def _scale_and_width(distribution: Distribution) -> Iterator[SpecWarning]:
    if not isinstance(distribution, FloatRange) or distribution.low == distribution.high:
        return
    low, high = distribution.low, distribution.high
    if not distribution.log and high > _LINEAR_UP_TO * low:
        yield SpecWarning(
            field=f"{FIELD}.log",
            message=f"on a linear scale nine in ten trials have a rate above {low + (high - low) / 10:g}",
            advice="set log: true; what matters about a rate is its order of magnitude",
        )
    elif high > _WIDEST * low * (1 + 1e-9):
        yield SpecWarning(
            field=FIELD,
            message=f"{low:g} to {high:g} is more than a factor of {_WIDEST:g}: most of it trains nothing or diverges",
            advice="take two orders of magnitude around a rate that is known to work; GET /v1/presets lists some",
        )
    elif high < _NARROWEST * low:
        yield SpecWarning(
            field=FIELD,
            message=f"{low:g} to {high:g} is less than a factor of {_NARROWEST:g}: seeds make more of a difference",
            advice="widen it, or fix the rate and spend the trials on something else",
        )


def _shared(methods: list[str]) -> SpecWarning:
    return SpecWarning(
        field=FIELD,
        message=f"the methods {', '.join(methods)} share one range, and their best rates lie 10 to 100 times apart",
        advice="give learning_rate a list of ranges, each with its `when: {method: …}`, or run a study for each method",
    )


def _methods_of(distribution: Distribution, methods: list[str]) -> list[str]:
    when = distribution.when.get("method")
    return methods if when is None else [str(method) for method in values_of(when)]


def _place(field: str, methods: list[str], rates: list[float]) -> Iterator[SpecWarning]:
    bottom = min(KNOWN[method][0] for method in methods)
    top = max(KNOWN[method][1] for method in methods)
    if not rates or (min(rates) >= bottom and max(rates) <= top):
        return
    reach = f"{min(rates):g} to {max(rates):g}" if len(rates) > 1 else f"{rates[0]:g}"
    yield SpecWarning(
        field=field,
        message=f"{reach} leaves {bottom:g} to {top:g}, where good rates of {' and '.join(methods)} have been found",
        advice=f"stay inside {bottom:g} to {top:g} unless you know this model to be different",
    )
