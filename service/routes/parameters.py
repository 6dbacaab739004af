"""Parameters that several routes take."""

from typing import Annotated

from fastapi import Path, Query

from spezia.contract.model_files import FILE_PATTERN, MAX_FILE_LENGTH

StudyName = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="Name of the study.")]
Number = Annotated[int, Path(ge=0, lt=2**31, description="Number of the trial within its study, from 0.")]
Sha256 = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the content.")]
LeaseId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="Id of the lease, as it came with it.")]
ModelFile = Annotated[
    str,
    Path(
        pattern=FILE_PATTERN,
        max_length=MAX_FILE_LENGTH,
        description="Path of the file inside the model's directory, such as `model.safetensors`.",
    ),
]
ObjectiveMetric = Annotated[
    str | None, Query(description="Metric of one of the study's objectives; when absent, that of the first.")
]
Limit = Annotated[int, Query(ge=1, le=1000, description="Largest number of entries on a page.")]
PageToken = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=200,
        pattern=r"^[^\x00]*$",
        description="The `next_page_token` of the previous page; when absent, the first page is answered.",
    ),
]
