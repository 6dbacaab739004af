"""`spezia-worker`: joins this machine to a service."""

import contextlib
import os
import secrets
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from spezia.common.extras import MISSING_EXTRA, MissingExtra, require_trainer
from spezia.common.logs import LogFormat, LogLevel, set_up_logging
from spezia.common.parent import end_with_parent
from spezia.contract.key import KEY_VARIABLE
from trainer.supervisor.client import ServiceClient
from trainer.supervisor.dataset_downloads import cache_folder
from trainer.supervisor.end_on_signals import PARENT_GONE, end_on_signals
from trainer.supervisor.supervisor import Supervisor
from trainer.user_cache import user_cache

_ENGINE = shlex.join([sys.executable, "-P", "-m", "trainer.engine"])

_app = typer.Typer(add_completion=False)


@_app.command()
def work(
    server: Annotated[str, typer.Option(help="Address of the service.")],
    data_root: Annotated[list[Path], typer.Option(help="Folder under which data and models may lie.")] = [],  # noqa: B006 - typer's way
    allow_scripts: Annotated[
        list[Path], typer.Option(help="Folder of Python files that studies of the task script may run, as you.")
    ] = [],  # noqa: B006 - typer's way
    worker_id: Annotated[str | None, typer.Option(help="32 hexadecimal digits; drawn when absent.")] = None,
    checkpoint_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder where trials that are interrupted or paused wait to go on; a shared disk lets workers resume "
            "each other's. Absent: in the user's cache."
        ),
    ] = None,
    checkpoint_bytes: Annotated[
        int | None,
        typer.Option(min=0, help="What that folder may hold. Absent: half of the disk that is free without it."),
    ] = None,
    cache_dir: Annotated[
        Path | None,
        typer.Option(help="Folder of frozen blocks' outputs, for all workers here. Absent: in the user's cache."),
    ] = None,
    cache_bytes: Annotated[int | None, typer.Option(min=0, help="What that folder may hold. Absent: 20 GiB.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of torch.")] = None,
    exit_with_parent: Annotated[
        bool, typer.Option("--exit-with-parent", help="End when stdin closes or the parent process ends.")
    ] = False,
    log_format: Annotated[
        LogFormat, typer.Option(envvar="SPEZIA_LOG_FORMAT", help="auto: text on a terminal, else JSON.")
    ] = "auto",
    log_level: Annotated[LogLevel, typer.Option(envvar="SPEZIA_LOG_LEVEL", help="The least that is logged.")] = "info",
    engine: Annotated[str, typer.Option(hidden=True)] = _ENGINE,
) -> None:
    """Fine-tune what the service asks for, one trial at a time, until told to end.

    A service that needs an API key gets the one in SPEZIA_API_KEY, or in the file that SPEZIA_API_KEY_FILE names.
    """
    try:
        require_trainer("training")
    except MissingExtra as missing:
        typer.echo(f"spezia-worker: {missing}", err=True)
        raise typer.Exit(MISSING_EXTRA) from None
    set_up_logging(log_format, log_level)
    client = ServiceClient(server, read_api_key(os.environ))
    folder = checkpoint_dir or user_cache() / "checkpoints"
    supervisor = Supervisor(
        client,
        engine_command(
            engine,
            data_roots=[*data_root, cache_folder()],
            allow_scripts=allow_scripts,
            threads=threads,
            checkpoint_dir=folder,
            checkpoint_bytes=checkpoint_bytes,
            cache_dir=cache_dir or user_cache() / "trunks",
            cache_bytes=cache_bytes,
        ),
        worker_id=worker_id or secrets.token_hex(16),
        checkpoint_dir=folder,
    )
    with contextlib.closing(client), end_on_signals(supervisor):
        if exit_with_parent:
            end_with_parent(PARENT_GONE)
        raise typer.Exit(supervisor.run())


def read_api_key(environment: Mapping[str, str]) -> str | None:
    """Return the API key that the environment holds, or that a file holds which it names; the engine gets neither."""
    file = environment.get(f"{KEY_VARIABLE}_FILE")
    return environment.get(KEY_VARIABLE) or (Path(file).read_text().strip() if file else None)


def engine_command(
    engine: str,
    *,
    data_roots: list[Path],
    threads: int | None,
    allow_scripts: Sequence[Path] = (),
    checkpoint_dir: Path | None = None,
    checkpoint_bytes: int | None = None,
    cache_dir: Path | None = None,
    cache_bytes: int | None = None,
) -> list[str]:
    """Return the command line by which a supervisor starts its engine."""
    command = [*shlex.split(engine), "--parent", str(os.getpid())]
    if threads:
        command += ["--threads", str(threads)]
    for root in data_roots:
        command += ["--data-root", str(root.absolute())]
    for folder in allow_scripts:
        command += ["--allow-scripts", str(folder.absolute())]
    if checkpoint_dir:
        command += ["--checkpoint-dir", str(checkpoint_dir.absolute())]
    if checkpoint_bytes is not None:
        command += ["--checkpoint-bytes", str(checkpoint_bytes)]
    if cache_dir:
        command += ["--cache-dir", str(cache_dir.absolute())]
    if cache_bytes is not None:
        command += ["--cache-bytes", str(cache_bytes)]
    return command


def main() -> None:
    """Run the command line."""
    _app()


if __name__ == "__main__":
    main()
