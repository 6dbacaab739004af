"""Arguments and options that several commands take."""

from pathlib import Path
from typing import Annotated

import typer

from spezia.cli.complete import study_names

StudyFile = Annotated[Path, typer.Argument(help="The study: YAML or JSON.", show_default=False)]
Name = Annotated[str, typer.Argument(help="Name of the study.", show_default=False, autocompletion=study_names)]
Number = Annotated[int, typer.Argument(min=0, help="Number of the trial, from 0.")]
Server = Annotated[
    str | None, typer.Option(envvar="SPEZIA_SERVER", help="Address of the service; absent: the local one.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON, and nothing else.")]
AsJsonLines = Annotated[bool, typer.Option("--json", help="Print a line of JSON for each piece, and nothing else.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Print all advice and metrics, not the first alone.")]
