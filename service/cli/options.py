"""Options that several commands take, and the settings that they make."""

from pathlib import Path
from typing import Annotated, Any

import typer

from service.settings import Settings

Database = Annotated[str | None, typer.Option(help="SQLAlchemy URL; absent: SPEZIA_DATABASE_URL, else in .spezia.")]
Workers = Annotated[
    int | None,
    typer.Option(
        min=0, help="Local workers; absent: one per GPU, else one per core, at most 4. On a cluster: at most so many."
    ),
]
DataRoots = Annotated[list[Path] | None, typer.Option(help="Folder that workers may read data and models from.")]
AllowScripts = Annotated[
    list[Path] | None, typer.Option(help="Folder of Python files that studies of the task script may run.")
]


def settings_with(**given: Any) -> Settings:
    """Return the settings of the environment, overridden by the options that are not ``None``.

    Raises:
        ValidationError: A setting has a value that it cannot have.
    """
    return Settings(**{name: value for name, value in given.items() if value is not None})
