"""Plots of a study as figures of Plotly, which a notebook draws."""

from importlib.util import find_spec
from typing import Any

from spezia.common.extras import MissingExtra
from spezia.common.lazy_module import LazyModule
from spezia.contract.plot import Figure

graph_objects = LazyModule("plotly.graph_objects")


def plotly_figure(figure: Figure) -> Any:
    """Return a plot of the service as a ``plotly.graph_objects.Figure``.

    Raises:
        MissingExtra: plotly is not installed.
    """
    if find_spec("plotly") is None:
        raise MissingExtra("a plot", "plotly", "notebook")
    return graph_objects.Figure(data=figure.data, layout=figure.layout)
