"""Plots of a study, as Plotly's figures."""

from typing import Any, Literal

from spezia.contract.wire import Reply

PlotKind = Literal["history", "parallel-coordinates", "importances", "slice", "timeline", "pareto-front"]
"""What a plot shows, in Optuna's words."""

MAX_DRAWN = 2_000
"""Largest number of trials that a plot shows."""

MAX_LINES = 300
"""Largest number of trials in a plot of parallel coordinates, whose every line is a trace, of which browsers draw some
hundred in a second."""


class Figure(Reply):
    """A figure of Plotly's, for ``Plotly.newPlot`` or ``plotly.graph_objects.Figure``."""

    data: list[dict[str, Any]]
    """Traces of the figure."""
    layout: dict[str, Any]
    """Layout of the figure; its colours are Plotly's own, without a template."""
