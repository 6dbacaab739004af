"""What the options of samplers and pruners have in common."""

from typing import Annotated

from pydantic import Field

from spezia.contract.wire import Wire

CountInt = Annotated[int, Field(ge=0, le=100_000)]
"""A number of trials or steps, at most 100,000."""


class NoOptions(Wire):
    """The options of a sampler or pruner that has none."""
