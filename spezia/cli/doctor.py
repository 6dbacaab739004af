"""`spezia doctor`: what is wrong with this machine's installation and its service, and how to mend it."""

import os
import platform
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable

import typer

from spezia.cli.joined_commands import joined_check
from spezia.cli.options import AsJson, Server
from spezia.cli.plain_errors import plain_errors
from spezia.client import Client, ClientError, SpeziaError
from spezia.client.address import address, known_address
from spezia.common.extras import MissingExtra, require_trainer
from spezia.common.findings import Finding, Findings, noted, well, wrong
from spezia.contract.key import KEY_VARIABLE
from spezia.contract.problem import Code
from spezia.terminal.screen import Screen, print_json

TORCH = (sys.executable, "-P", "-m", "trainer.show_device")
"""Command that says which torch and which device a worker here would train with."""

HUB = "https://huggingface.co"
SECONDS = 30.0
"""Seconds that one group of checks may take."""

Check = Callable[[], Iterable[Finding]]

_STYLES = {"well": "green", "noted": "yellow", "wrong": "red"}


def doctor(server: Server = None, as_json: AsJson = False) -> None:
    """Check Python, torch and its device, the service, its database and folders, keys and the hub.

    The exit code is 1 if something is wrong. Nothing is changed.
    """
    with plain_errors():
        checks: dict[str, Check] = {
            "python": check_python,
            "training": check_training,
            "hub": check_hub,
            "service": lambda: check_service(server),
        }
        if server is None:
            checks["machine"] = joined_check("doctor") or _no_service_here
        found = Findings(findings=[finding for name, check in checks.items() for finding in bounded(name, check)])
        if as_json:
            print_json(found)
        else:
            show_findings(found, Screen())
    if found.is_wrong:
        raise typer.Exit(1)


def bounded(name: str, check: Check, seconds: float = SECONDS) -> list[Finding]:
    """Return what a group of checks finds; where it takes too long or breaks, that is what is wrong."""
    found: list[Finding] = []

    def run() -> None:
        try:
            found.extend(check())
        except Exception as error:
            found.append(wrong(name, f"the check broke: {type(error).__name__}: {error}", "report this"))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        return [*found, wrong(name, f"no answer within {seconds:g} s", "something of it hangs: a disk or a network")]
    return found


def check_python() -> list[Finding]:
    """Say which Python this is."""
    return [well("Python", f"{platform.python_version()} in {sys.prefix}")]


def check_training() -> list[Finding]:
    """Say whether a worker here could train, and on which device."""
    try:
        require_trainer("training here")
    except MissingExtra as missing:
        return [noted("torch", str(missing), "none is needed where workers are elsewhere")]
    ended = subprocess.run(TORCH, capture_output=True, text=True, check=False, timeout=SECONDS - 1)
    if ended.returncode != 0:
        reason = (ended.stderr.strip().splitlines() or ["no reason given"])[-1]
        return [wrong("torch", f"it cannot be loaded: {reason}", "install it again: pip install 'spezia[trainer]'")]
    return [well("torch", ended.stdout.strip())]


def check_hub() -> list[Finding]:
    """Say whether models and data can come from the Hugging Face hub."""
    if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "ON", "YES", "TRUE"):
        return [noted("hub", "HF_HUB_OFFLINE is set", "models and data come from folders and caches alone; unset it")]
    url = os.environ.get("HF_ENDPOINT", HUB)
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=5):
            return [well("hub", f"{url} answers")]
    except urllib.error.HTTPError:
        return [well("hub", f"{url} answers")]
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return [noted("hub", f"{url} does not answer ({reason})", "models and data must be on this machine")]


def check_service(server: str | None) -> list[Finding]:
    """Say whether a service answers, and whether it takes the key of this environment."""
    if known_address(server) is None:
        return [noted("service", "none runs on this home folder", "start one: spezia serve")]
    url = address(server)
    try:
        with Client(url, is_patient=False) as client:
            client.presets()
    except SpeziaError as refused:
        if refused.problem.code != Code.UNAUTHORIZED:
            return [wrong("service", f"{url} refuses: {refused}", "its log says more")]
        key = f"{KEY_VARIABLE} holds no good key" if os.environ.get(KEY_VARIABLE) else f"{KEY_VARIABLE} is not set"
        return [well("service", f"{url} answers"), wrong("key", key, "spezia key create NAME makes one")]
    except ClientError as error:
        return [wrong("service", str(error), "start it again, or give --server another address")]
    return [well("service", f"{url} answers")]


def _no_service_here() -> list[Finding]:
    return [noted("database", "spezia[service] is not installed", "none is needed where the service is elsewhere")]


def show_findings(found: Findings, screen: Screen) -> None:
    """Print a line for each finding, with what to do about it."""
    width = max(len(one.check) for one in found.findings)
    for one in found.findings:
        remedy = f"; {one.remedy}" if one.remedy else ""
        screen.print_line(f"{one.state:<5}  {one.check:<{width}}  {one.message}{remedy}", style=_STYLES[one.state])
