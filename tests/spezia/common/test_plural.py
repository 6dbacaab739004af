"""A number agrees with its noun."""

import pytest

from spezia.common.plural import plural


@pytest.mark.parametrize(("count", "shown"), [(0, "0 trials"), (1, "1 trial"), (2, "2 trials"), (1200, "1,200 trials")])
def test_a_number_agrees_with_its_noun(count: int, shown: str) -> None:
    assert plural(count, "trial") == shown
