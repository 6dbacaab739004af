"""Commands about the model that won: fetching it."""

from pathlib import Path
from typing import Annotated

import typer

from spezia.cli.options import Name, Server
from spezia.cli.plain_errors import plain_errors
from spezia.client import Client
from spezia.client.address import address
from spezia.terminal.screen import say

app = typer.Typer()


@app.command()
def pull(
    name: Name,
    folder: Annotated[
        Path | None, typer.Argument(help="New folder for the model; absent: the study's name.", show_default=False)
    ] = None,
    server: Server = None,
) -> None:
    """Fetch the best model into a folder that `from_pretrained` opens, and print the folder."""
    with plain_errors(), Client(address(server)) as client:
        say(str(client.best_model(name, folder or Path(name))))
