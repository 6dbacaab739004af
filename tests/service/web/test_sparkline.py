"""How small pictures are drawn."""

import pytest

from service.web.sparkline import sparkline


def test_the_greatest_value_is_on_top_and_the_line_goes_from_edge_to_edge() -> None:
    line = sparkline([0.0, 0.5, 1.0], baseline=0.0)
    assert line is not None
    assert line.path == "M0.0 26.0L55.0 14.0L110.0 2.0"
    assert line.baseline == 26.0


@pytest.mark.parametrize("values", [[], [1.0]])
def test_too_few_values_are_no_picture(values: list[float]) -> None:
    assert sparkline(values, baseline=0.5) is None


def test_equal_values_are_a_line_in_the_middle() -> None:
    line = sparkline([2.0, 2.0], baseline=None)
    assert line is not None
    assert (line.path, line.baseline) == ("M0.0 14.0L110.0 14.0", None)
