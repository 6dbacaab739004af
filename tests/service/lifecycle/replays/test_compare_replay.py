"""Numbers on the record and numbers of a replay, and what is said of them."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.lifecycle.replays.compare_replay import CLOSE, ROUGH, compare_replay
from service.lifecycle.replays.recorded_run import RecordedRun
from spezia.contract.failure import Failure
from spezia.contract.outcomes import ReplayedEvaluation
from spezia.contract.replay import Comparison, Machine, Manifest

HERE = Machine(device="a device", device_kind="cpu", versions={"torch": "1"})
DIVERGED = Failure(failure_class="diverged", message="the loss is nan")
FULL = Failure(failure_class="out_of_memory", message="it does not fit")


def recorded(*values: float, precision: Any = "fp32", **changes: Any) -> RecordedRun:
    """The record of a trial with these values, and a training loss of twice as much."""
    rows: list[Any] = [
        SimpleNamespace(step=step, value=value, metrics={"loss": value, "train_loss": 2 * value, "cached_rows": 0.0})
        for step, value in enumerate(values, start=1)
    ]
    manifest = Manifest(params={}, seed=0, precision=precision, model_sha256="0", model_commit=None, data_sha256="1")
    fields: dict[str, Any] = {
        "name": "trial 3 of toy",
        "manifest": manifest,
        "machine": HERE,
        "metric": "loss",
        "evaluations": rows,
        "evaluate_at": None,
        "partial_at": {},
        "last_step": len(values),
        "failure_class": None,
    }
    return RecordedRun(**(fields | changes))


def again(*values: float) -> list[ReplayedEvaluation]:
    """What a replay with these values tells; it has read the cache, as the trial had not."""
    return [
        ReplayedEvaluation(step=step, value=value, metrics={"loss": value, "train_loss": 2 * value, "cached_rows": 9.0})
        for step, value in enumerate(values, start=1)
    ]


def compared(
    then: RecordedRun, now: list[ReplayedEvaluation], failure: Failure | None = None, machine: Machine = HERE
) -> Comparison:
    return compare_replay(then, now, failure, machine)


@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=4))
def test_equal_numbers_are_equal_whatever_they_are(values: list[float]) -> None:
    found = compared(recorded(*values), again(*values))
    assert (found.verdict, found.reasons, found.largest_difference) == ("equal", [], None)


@given(
    value=st.floats(min_value=1e-2, max_value=1e6),
    share=st.floats(min_value=1e-6, max_value=0.9),
    precision=st.sampled_from(["fp32", "bf16"]),
    kind=st.sampled_from(["cpu", "cuda"]),
)
def test_a_difference_counts_by_its_share_the_format_and_the_kind_of_device(
    value: float, share: float, precision: str, kind: Any
) -> None:
    other = HERE.model_copy(update={"device_kind": kind})
    found = compared(recorded(value, precision=precision), again(value * (1 - share)), machine=other)
    tolerance = CLOSE if (precision, kind) == ("fp32", "cpu") else ROUGH
    assert found.tolerance == tolerance
    largest = found.largest_difference
    assert largest is not None
    assert largest.relative == pytest.approx(share, rel=1e-6)
    assert found.verdict == ("within_tolerance" if largest.relative <= tolerance else "different")
    assert found.reasons


def test_the_first_step_outside_the_tolerance_is_named_and_the_largest_difference() -> None:
    found = compared(recorded(1.0, 1.0, 1.0), again(1.00001, 1.1, 1.2))
    assert found.first_difference is not None
    assert found.largest_difference is not None
    assert (found.first_difference.step, found.first_difference.metric) == (2, "loss")
    assert found.largest_difference.step == 3
    assert found.sentence == (
        "trial 3 of toy came out otherwise from step 2 on: "
        "loss at step 2 was 1 and is 1.1 now, 9.1 % apart, where 0.01 % is allowed"
    )


def test_what_is_left_of_a_loss_near_zero_is_no_difference() -> None:
    assert compared(recorded(1e-9), again(3e-9)).verdict == "within_tolerance"


@pytest.mark.parametrize(
    ("failed_as", "now", "failure", "verdict", "words"),
    [
        (None, (1.0,), None, "different", "has 2 evaluations, and its replay ended after 1"),
        (None, (1.0,), DIVERGED, "different", "did not diverge, and its replay did: the loss is nan"),
        (None, (1.0, 1.0), FULL, "not_comparable", "could not be compared: out_of_memory: it does not fit"),
        ("diverged", (1.0, 1.0), DIVERGED, "equal", "(2 evaluations), and it failed again as diverged"),
        ("diverged", (1.0, 1.0), FULL, "not_comparable", "could not be compared: out_of_memory"),
        ("out_of_memory", (1.0, 1.0), FULL, "equal", "failed again as out_of_memory"),
        ("out_of_memory", (1.0, 1.0), DIVERGED, "different", "did not diverge, and its replay did"),
        ("exception", (1.0, 1.0, 1.0), None, "different", "failed as exception, and its replay did not"),
        ("diverged", (1.0, 1.00001), DIVERGED, "within_tolerance", "and it failed again as diverged; at most, loss"),
    ],
)
def test_how_the_two_ended_is_compared_too(
    failed_as: Any, now: tuple[float, ...], failure: Failure | None, verdict: str, words: str
) -> None:
    found = compared(recorded(1.0, 1.0, failure_class=failed_as), again(*now), failure)
    assert found.verdict == verdict
    assert words in found.sentence
    assert (verdict == "equal") == (found.reasons == [])


def test_reasons_name_device_and_versions_and_what_is_not_recorded() -> None:
    there = Machine(device="another device", device_kind="cuda", versions={"torch": "2"})
    found = compared(recorded(1.0), again(2.0), machine=there)
    assert found.reasons == ["the trial ran on a device, and its replay on another device", "torch was 1, and is 2 now"]
    old = Machine(device="a device", device_kind=None, versions={})
    [reason] = compared(recorded(1.0, machine=old), again(2.0)).reasons
    assert "not on its record" in reason
