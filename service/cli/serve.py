"""`spezia serve`: the HTTP service in the foreground, until a signal ends it."""

import signal
from typing import Annotated

import typer

from service.cli.options import AllowScripts, Database, DataRoots, Workers, settings_with
from service.errors import ServiceError
from service.loopback import NoKeys
from service.serve import serve as serve_until_ended
from spezia.cli.plain_errors import plain_errors
from spezia.common.extras import require_trainer
from spezia.common.home_lock import AlreadyRunning
from spezia.common.parent import end_with_parent

app = typer.Typer(add_completion=False)


@app.command()
def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; other than loopback only with API keys.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="0: any free port.")] = None,
    database: Database = None,
    data_root: DataRoots = None,
    allow_scripts: AllowScripts = None,
    workers: Workers = None,
    restored: Annotated[
        bool, typer.Option("--restored", help="The database comes from a backup: no lease in it is good any more.")
    ] = False,
    exit_with_parent: Annotated[bool, typer.Option("--exit-with-parent", hidden=True)] = False,
) -> None:
    """Run the service, with workers of this machine beside it."""
    with plain_errors(AlreadyRunning, NoKeys, ValueError, ServiceError):
        settings = settings_with(
            host=host,
            port=port,
            database_url=database,
            n_workers=workers,
            data_roots=data_root,
            allow_scripts=allow_scripts,
        )
        if settings.n_workers != 0:
            require_trainer("serve without --workers 0")
        if exit_with_parent:
            end_with_parent(signal.SIGTERM)
        code = serve_until_ended(settings, is_restored=restored)
    raise typer.Exit(code)
