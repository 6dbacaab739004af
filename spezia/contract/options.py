"""What the options of samplers and pruners share."""

from typing import Annotated

from pydantic import Field

from spezia.contract.wire import Wire

CountInt = Annotated[int, Field(ge=0, le=100_000)]


class NoOptions(Wire):
    pass
