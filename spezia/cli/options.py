"""Arguments and options that several commands take."""

from pathlib import Path
from typing import Annotated

import typer

StudyFile = Annotated[Path, typer.Argument(help="The study: YAML or JSON.", show_default=False)]
Name = Annotated[str, typer.Argument(help="Name of the study.", show_default=False)]
Server = Annotated[
    str | None, typer.Option(envvar="SPEZIA_SERVER", help="Address of the service; absent: the local one.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON, and nothing else.")]
