"""How pages write numbers, times and sizes."""

from datetime import UTC, datetime, timedelta

import pytest

from service.web.filters import age, counted, duration, number, size


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (0.0, "0"), (12345.0, "12\u202f345"), (0.123456, "0.1235"), (3e-05, "3e-05"), (float("inf"), "inf")],
)
def test_numbers_have_four_digits(value: float | None, shown: str) -> None:
    assert number(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "–"), (1.24, "1.2 s"), (59.4, "59 s"), (60, "1 min"), (3725, "1 h 2 min"), (90000, "1 d 1 h")],
)
def test_durations_have_two_units(seconds: float | None, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("n_bytes", "shown"), [(None, "–"), (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (80 << 30, "80 GiB")]
)
def test_sizes_have_the_largest_unit(n_bytes: float | None, shown: str) -> None:
    assert size(n_bytes) == shown


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0 epochs"), (1, "1 epoch"), (1.0, "1 epoch"), (1.5, "1.5 epochs"), (2, "2 epochs")]
)
def test_a_number_agrees_with_its_noun(count: float, shown: str) -> None:
    assert counted(count, "epoch") == shown


def test_ages_say_the_instant_too() -> None:
    assert age(None) == "–"
    assert "just now" in age(datetime.now(UTC) + timedelta(seconds=30))
    assert ">3 h ago<" in age(datetime.now(UTC) - timedelta(hours=3, minutes=50))
