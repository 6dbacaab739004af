"""What an evaluation of a trial is known by, and what it measures."""

from typing import Annotated

from pydantic import Field

Step = Annotated[int, Field(ge=1, le=2**31 - 1)]
"""Number of an evaluation within its trial, from 1."""

Metrics = Annotated[dict[str, float], Field(max_length=64)]
"""Metrics of an evaluation, by name."""
