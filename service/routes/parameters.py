"""Parameters that several routes take."""

from typing import Annotated

from fastapi import Path, Query

StudyName = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="The study's name.")]
Number = Annotated[int, Path(ge=0, lt=2**31, description="The trial's number, from 0.")]
Limit = Annotated[int, Query(ge=1, le=1000, description="Entries of a page.")]
PageToken = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=200,
        pattern=r"^[^\x00]*$",
        description="`next_page_token` of the page before; absent: the first page.",
    ),
]
