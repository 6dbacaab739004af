"""What is odd about the learning rate, the parameter that decides most."""

from collections.abc import Iterator

from service.search.edits import cut, set_log
from service.search.finding import Finding, Gain, Remedy, some
from service.search.space.allowed import choices_of, edges_of
from spezia.contract.ranges import Distribution, FloatRange
from spezia.contract.space import Dimension, each_dimension, values_of
from spezia.contract.study_spec import StudySpec

FIELD = "search_space.learning_rate"
"""Field of the spec that holds the range of the learning rate."""
KNOWN = {"full": (1e-6, 1e-3), "lora": (1e-5, 5e-3), "head_only": (1e-5, 1e-1)}
"""Where good rates of AdamW have been found for each method: the grids of the papers in `presets`, and a factor of
about four around them for smaller and larger models."""

WIDEST = 1000.0
"""Factor between the ends of a range up to which a search can make use of all of it."""
_NARROWEST = 2.0
_LINEAR_UP_TO = 3.0
"""Factor between the ends of a range up to which a linear scale does no harm."""


def rate_findings(spec: StudySpec) -> Iterator[Finding]:
    """Yield what is odd about scale, width and place of the range of the learning rate."""
    ranges = list(each_dimension(spec.search_space, "learning_rate"))
    for each in ranges:
        yield from _scale_and_width(each)
    methods = sorted(map(str, choices_of(spec, "method")))
    if len(methods) > 1 and len(ranges) == 1 and not ranges[0].distribution.when:
        yield _shared(methods)
        return
    if not ranges and "learning_rate" in spec.fixed:
        rate = spec.fixed["learning_rate"]
        assert isinstance(rate, int | float)
        yield from _place("fixed.learning_rate", methods, [rate], None)
    for each in ranges:
        yield from _place(FIELD, _methods_of(each.distribution, methods), edges_of(each.distribution), each)


def _scale_and_width(dimension: Dimension) -> Iterator[Finding]:
    distribution = dimension.distribution
    if not isinstance(distribution, FloatRange) or distribution.low == distribution.high:
        return
    low, high = distribution.low, distribution.high
    if not distribution.log and high > _LINEAR_UP_TO * low:
        yield Finding(
            field=f"{FIELD}.log",
            message=f"on a linear scale nine in ten trials have a rate above {low + (high - low) / 10:g}",
            gain=Gain.VALUE,
            remedies=(set_log(dimension, "set log: true, as what matters about a rate is its order of magnitude"),),
        )
    elif high > WIDEST * low * (1 + 1e-9):
        yield Finding(
            field=FIELD,
            message=f"{low:g} to {high:g} is more than a factor of {WIDEST:g}: most of it trains nothing or diverges",
            gain=Gain.VALUE,
            remedies=(
                Remedy(words="take two orders of magnitude around a rate that works, such as those of GET /v1/presets"),
            ),
        )
    elif high < _NARROWEST * low:
        yield Finding(
            field=FIELD,
            message=f"{low:g} to {high:g} is less than a factor of {_NARROWEST:g}: seeds make more of a difference",
            gain=Gain.VALUE,
            remedies=(
                Remedy(words="widen it"),
                Remedy(words="fix the rate and spend the trials on something else"),
            ),
        )


def _shared(methods: list[str]) -> Finding:
    return Finding(
        field=FIELD,
        message=f"the methods {', '.join(methods)} share one range, and their best rates lie 10 to 100 times apart",
        gain=Gain.VALUE,
        remedies=(
            Remedy(words="give learning_rate a list of ranges, each with its `when: {method: …}`"),
            Remedy(words="run a study for each method"),
        ),
    )


def _methods_of(distribution: Distribution, methods: list[str]) -> list[str]:
    when = distribution.when.get("method")
    return methods if when is None else [str(method) for method in values_of(when)]


def _place(field: str, methods: list[str], rates: list[float], dimension: Dimension | None) -> Iterator[Finding]:
    bottom = min(KNOWN[method][0] for method in methods)
    top = max(KNOWN[method][1] for method in methods)
    if not rates or (min(rates) >= bottom and max(rates) <= top):
        return
    reach = f"{min(rates):g} to {max(rates):g}" if len(rates) > 1 else f"{rates[0]:g}"
    inside = Remedy(words=f"stay inside {bottom:g} to {top:g} unless you know this model to be different")
    is_continuous = dimension is not None and isinstance(dimension.distribution, FloatRange)
    yield Finding(
        field=field,
        message=f"{reach} leaves {bottom:g} to {top:g}, where good rates of {' and '.join(methods)} have been found",
        gain=Gain.VALUE,
        remedies=some(cut(dimension, bottom, top, inside.words) if dimension and is_continuous else None, inside),
    )
