"""`spezia-worker`: joins this machine to a service."""

import contextlib
import os
import secrets
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from spezia.common.address_and_key import BadAddress, BadKey, check_address
from spezia.common.extras import MISSING_EXTRA, MissingExtra, require_trainer
from spezia.common.logs import LogFormat, LogLevel, set_up_logging
from spezia.common.parent import end_with_parent
from spezia.contract.key import KEY_VARIABLE
from trainer.api_key import BadKeyFile, find_api_key
from trainer.several_devices import BadDevices, DevicePlan, parse_devices, work_on_devices
from trainer.supervisor.client import ServiceClient
from trainer.supervisor.download_cache import DownloadCache, downloads_folder
from trainer.supervisor.end_on_signals import PARENT_GONE, end_on_signals
from trainer.supervisor.supervisor import Limits, Supervisor
from trainer.trial.checkpoint_folder import CheckpointFolder
from trainer.user_cache import user_cache

_ENGINE = shlex.join([sys.executable, "-P", "-m", "trainer.engine"])

app = typer.Typer(add_completion=False)


@app.command()
def work(
    context: typer.Context,
    server: Annotated[str, typer.Option(help="Address of the service.")],
    key_file: Annotated[
        Path | None,
        typer.Option(help="File of the API key, closed to others. Absent: SPEZIA_API_KEY, or SPEZIA_API_KEY_FILE."),
    ] = None,
    devices: Annotated[
        str | None,
        typer.Option(
            help="One worker for each, such as 0,1 or cpu,cpu. Absent: one, on the first GPU or else the CPU."
        ),
    ] = None,
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
    download_bytes: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="What data sets and models from the service may take here, but for those in use. Absent: half of the "
            "disk that is free without them.",
        ),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of torch.")] = None,
    gpu_memory: Annotated[
        float | None, typer.Option(min=0.01, max=1.0, help="Share of a GPU's memory that it may use. Absent: all.")
    ] = None,
    idle_seconds: Annotated[
        float | None, typer.Option(min=0, help="End after so long without work. Absent: wait for ever.")
    ] = None,
    exit_with_parent: Annotated[
        bool, typer.Option("--exit-with-parent", help="End when stdin closes or the parent process ends.")
    ] = False,
    log_format: Annotated[
        LogFormat, typer.Option(envvar="SPEZIA_LOG_FORMAT", help="auto: text on a terminal, else JSON.")
    ] = "auto",
    log_level: Annotated[LogLevel, typer.Option(envvar="SPEZIA_LOG_LEVEL", help="The least that is logged.")] = "info",
    engine: Annotated[str, typer.Option(hidden=True)] = _ENGINE,
) -> None:
    """Fine-tune what the service asks for, one trial at a time on each device, until told to end.

    SIGTERM has trials saved and given back within 25 s. Exit codes: 0 told to end, 1 this machine cannot do the work or
    the service was away for 30 minutes, 2 called wrongly, 3 the service refuses the key or the version.
    """
    _require_trainer()
    _check_address(server)
    api_key = _api_key(key_file)
    named = _devices(devices, worker_id, idle_seconds)
    set_up_logging(log_format, log_level)
    if named:
        plan = DevicePlan(devices=named, options=_options_of_each(context, len(named)))
        raise typer.Exit(work_on_devices(plan, api_key, exit_with_parent=exit_with_parent))
    client = ServiceClient(server, api_key)
    folder = checkpoint_dir or user_cache() / "checkpoints"
    supervisor = Supervisor(
        client,
        engine_command(
            engine,
            data_roots=[*data_root, downloads_folder()],
            allow_scripts=allow_scripts,
            threads=threads,
            gpu_memory=gpu_memory,
            checkpoint_dir=folder,
            checkpoint_bytes=checkpoint_bytes,
            cache_dir=cache_dir or user_cache() / "trunks",
            cache_bytes=cache_bytes,
        ),
        worker_id=worker_id or secrets.token_hex(16),
        checkpoints=CheckpointFolder(folder, checkpoint_bytes),
        limits=Limits(idle_seconds=idle_seconds),
        downloads=DownloadCache(downloads_folder(), download_bytes),
    )
    with contextlib.closing(client), end_on_signals(supervisor):
        if exit_with_parent:
            end_with_parent(PARENT_GONE)
        raise typer.Exit(supervisor.run())


def _require_trainer() -> None:
    try:
        require_trainer("training")
    except MissingExtra as missing:
        typer.echo(f"spezia-worker: {missing}", err=True)
        raise typer.Exit(MISSING_EXTRA) from None


def _check_address(server: str) -> None:
    try:
        check_address(server)
    except BadAddress as bad:
        raise typer.BadParameter(str(bad), param_hint="--server") from None


def _api_key(key_file: Path | None) -> str | None:
    try:
        return find_api_key(key_file, os.environ)
    except BadKeyFile as bad:
        raise typer.BadParameter(str(bad), param_hint="--key-file") from None
    except BadKey as bad:
        raise typer.BadParameter(str(bad), param_hint=KEY_VARIABLE) from None


def _devices(text: str | None, worker_id: str | None, idle_seconds: float | None) -> list[str]:
    """Return the devices that are named, and see that no option is given that only one worker can have."""
    if text is None:
        return []
    if worker_id:
        raise typer.BadParameter("several workers have several ids; drop it", param_hint="--worker-id")
    if idle_seconds is not None:
        raise typer.BadParameter(
            "a worker that has ended is replaced on its device; drop it", param_hint="--idle-seconds"
        )
    try:
        return parse_devices(text)
    except BadDevices as bad:
        raise typer.BadParameter(str(bad), param_hint="--devices") from None


def _options_of_each(context: typer.Context, n_workers: int) -> list[str]:
    """Return what was given on the command line, but for what each of several workers has of its own."""
    options: list[str] = []
    for parameter in context.command.params:
        given = context.params.get(parameter.name or "")
        if parameter.name in ("devices", "key_file", "worker_id", "exit_with_parent") or given is None:
            continue
        for value in given if isinstance(given, list | tuple) else [given]:
            options += [parameter.opts[0], str(value)]
    if context.params["threads"] is None:
        options += ["--threads", str(max(1, (os.cpu_count() or 1) // n_workers))]
    return options


def engine_command(
    engine: str,
    *,
    data_roots: list[Path],
    threads: int | None,
    gpu_memory: float | None = None,
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
    if gpu_memory is not None:
        command += ["--gpu-memory", str(gpu_memory)]
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
    app()


if __name__ == "__main__":
    main()
