"""Compare a replay with the trial on the record: every number of every evaluation, at equal steps."""

from collections.abc import Iterator, Sequence
from typing import Any

from service.lifecycle.replays.recorded_run import RecordedRun
from spezia.common.plural import plural
from spezia.contract.failure import Failure
from spezia.contract.objectives import CACHED_ROWS
from spezia.contract.outcomes import ReplayedEvaluation
from spezia.contract.replay import Comparison, Difference, Machine, Verdict

CLOSE = 1e-4
"""Relative difference within which fp32 on the same kind of device counts as the same. Single sums differ by 1e-7 when
they are taken in another order, and training lets that grow. Our judgement."""

ROUGH = 0.02
"""Relative difference within which bf16, whose numbers have three digits, or another kind of device counts as the
same. Our judgement."""

_FLOOR = 1e-3
"""Numbers below are compared as if they were this large: what is left of a loss near 0 is mostly rounding."""


def compare_replay(
    recorded: RecordedRun,
    evaluations: Sequence[ReplayedEvaluation],
    failure: Failure | None,
    machine: Machine | None,
) -> Comparison:
    """Return how the numbers of a replay differ from those on the record.

    Args:
        evaluations: What the replay has measured.
        failure: How it failed; ``None``: it did not.
        machine: What it ran on; ``None``: no worker ran it.
    """
    tolerance = _tolerance(recorded, machine)
    by_step = {one.step: one for one in evaluations}
    pairs = [(row, by_step[row.step]) for row in recorded.evaluations if row.step in by_step]
    differences = [one for row, replayed in pairs for one in _differences(recorded.metric, row, replayed)]
    first = next((one for one in differences if one.relative > tolerance), None)
    is_whole = len(pairs) == len(recorded.evaluations)
    verdict = _verdict(recorded, failure, differences, first, is_whole=is_whole)
    largest = max(differences, key=lambda one: one.relative, default=None)
    return Comparison(
        verdict=verdict,
        sentence=_sentence(recorded, verdict, failure, len(pairs), first, largest, tolerance),
        reasons=_reasons(recorded, verdict, failure, machine),
        tolerance=tolerance,
        n_recorded=len(recorded.evaluations),
        n_compared=len(pairs),
        first_difference=first,
        largest_difference=largest,
        failure=failure,
        replayed_on=machine,
    )


def _tolerance(recorded: RecordedRun, machine: Machine | None) -> float:
    is_same_kind = machine is None or recorded.machine.device_kind in (None, machine.device_kind)
    return CLOSE if is_same_kind and recorded.manifest.precision == "fp32" else ROUGH


def _differences(metric: str, recorded: Any, replayed: ReplayedEvaluation) -> Iterator[Difference]:
    """Yield the numbers of one evaluation that are not equal, the objective's first."""
    then, now = {metric: recorded.value} | recorded.metrics, {metric: replayed.value} | replayed.metrics
    for name, before in then.items():
        after = now.get(name, before)
        if before != after and name != CACHED_ROWS:
            relative = abs(before - after) / max(abs(before), abs(after), _FLOOR)
            yield Difference(step=recorded.step, metric=name, recorded=before, replayed=after, relative=relative)


def _verdict(
    recorded: RecordedRun,
    failure: Failure | None,
    differences: Sequence[Difference],
    first: Difference | None,
    *,
    is_whole: bool,
) -> Verdict:
    failed_as = None if failure is None else failure.failure_class
    if failed_as not in (None, "diverged", recorded.failure_class):
        return "not_comparable"
    if first is not None or not is_whole or failed_as != recorded.failure_class:
        return "different"
    return "within_tolerance" if differences else "equal"


def _sentence(
    recorded: RecordedRun,
    verdict: Verdict,
    failure: Failure | None,
    n_compared: int,
    first: Difference | None,
    largest: Difference | None,
    tolerance: float,
) -> str:
    name, failed_as = recorded.name, recorded.failure_class
    again = "" if failed_as is None else f", and it failed again as {failed_as}"
    allowed = f"{tolerance * 100:g} %"
    evaluations = plural(n_compared, "evaluation")
    if verdict == "not_comparable":
        assert failure is not None
        return f"{name} could not be compared: {failure.failure_class}: {failure.message}"
    if verdict == "equal":
        return f"{name} came out the same to the last bit ({evaluations}){again}"
    if first is not None:
        return f"{name} came out otherwise from step {first.step} on: {_words(first)}, where {allowed} is allowed"
    if verdict == "within_tolerance":
        assert largest is not None
        return f"{name} came out the same within {allowed} ({evaluations}){again}; at most, {_words(largest)}"
    if failure is not None and failure.failure_class != failed_as:
        return f"{name} did not diverge, and its replay did: {failure.message}"
    if failure is None and failed_as is not None:
        return f"{name} failed as {failed_as}, and its replay did not"
    return f"{name} has {plural(len(recorded.evaluations), 'evaluation')}, and its replay ended after {n_compared}"


def _words(one: Difference) -> str:
    then, now = f"{one.recorded:.9g}", f"{one.replayed:.9g}"
    return f"{one.metric} at step {one.step} was {then} and is {now} now, {one.relative * 100:.2g} % apart"


def _reasons(recorded: RecordedRun, verdict: Verdict, failure: Failure | None, machine: Machine | None) -> list[str]:
    if verdict == "equal":
        return []
    failed = [] if failure is None else [f"{failure.failure_class}: {failure.message}"]
    if machine is None:
        return failed
    then, reasons = recorded.machine, []
    if then.device != machine.device:
        reasons.append(f"the trial ran on {then.device}, and its replay on {machine.device}")
    if not then.versions:
        reasons.append("the versions of the libraries that the trial ran with are not on its record")
    for library in sorted(then.versions.keys() & machine.versions.keys()):
        before, after = then.versions[library], machine.versions[library]
        if before != after:
            reasons.append(f"{library} was {before}, and is {after} now")
    if recorded.manifest.precision == "bf16":
        reasons.append("bf16 rounds to three digits, so that the order of sums shows")
    if verdict != "not_comparable" and not reasons:
        reasons.append("sums on several threads or on a GPU are not always taken in the same order")
    return [*failed, *reasons]
