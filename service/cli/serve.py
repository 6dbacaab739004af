"""`spezia serve`: the HTTP service in the foreground, until a signal ends it."""

import signal
from typing import Annotated, Literal

import typer

from service.cli.options import AllowScripts, Database, DataRoots, Workers, settings_with
from service.errors import ServiceError
from service.launch.ray_cluster import ClusterUnavailable
from service.launch.ray_plan import BadRaySettings
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
    processes: Annotated[
        int | None, typer.Option(min=1, max=64, help="Processes that answer; more than one only on PostgreSQL.")
    ] = None,
    database: Database = None,
    data_root: DataRoots = None,
    allow_scripts: AllowScripts = None,
    workers: Workers = None,
    launcher: Annotated[
        Literal["local", "ray"] | None, typer.Option(help="Start workers on this machine, or on a Ray cluster.")
    ] = None,
    ray_address: Annotated[str | None, typer.Option(help="HOST:PORT of the cluster's head.")] = None,
    restored: Annotated[
        bool, typer.Option("--restored", help="The database comes from a backup: no lease in it is good any more.")
    ] = False,
    exit_with_parent: Annotated[bool, typer.Option("--exit-with-parent", hidden=True)] = False,
) -> None:
    """Run the service, with workers of this machine beside it, or on a Ray cluster."""
    with plain_errors(AlreadyRunning, NoKeys, BadRaySettings, ClusterUnavailable, ValueError, ServiceError):
        settings = settings_with(
            host=host,
            port=port,
            processes=processes,
            database_url=database,
            n_workers=workers,
            launcher=launcher,
            ray_address=ray_address,
            data_roots=data_root,
            allow_scripts=allow_scripts,
        )
        if settings.launcher == "local" and settings.n_workers != 0:
            require_trainer("serve without --workers 0")
        if exit_with_parent:
            end_with_parent(signal.SIGTERM)
        code = serve_until_ended(settings, is_restored=restored)
    raise typer.Exit(code)
