"""Commands that other packages join to `spezia`, each imported only when it is asked for."""

from collections import UserDict
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer
from rich.markup import escape
from typer.core import TyperGroup
from typer.main import get_command

from spezia.cli.plain_errors import plain_errors
from spezia.common.extras import MissingExtra

GROUP = "spezia.commands"
"""Group of the entry points that are joined; each is a Typer app."""

_OURS = ("spezia", "service", "trainer", "migrations")


CHECKS = "spezia.checks"
"""Group of the entry points of checks that a service's packages make, each a function.

``validate`` takes a spec and returns what a service would say of it, or raises `StudyFileError` where one would refuse
it; ``doctor`` yields what it finds on the machine of a service.
"""


def joined_check(name: str) -> Callable[..., Any] | None:
    """Return a check by its name; ``None`` where the packages of a service are not installed."""
    for entry in entry_points(group=CHECKS, name=name):
        try:
            check: Callable[..., Any] = entry.load()
        except ModuleNotFoundError as error:
            if str(error.name).split(".")[0] in _OURS:
                raise
        else:
            return check
    return None


class WithJoinedCommands(TyperGroup):
    """A group of commands that has, besides its own, those of the entry points of `GROUP`."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Commands({entry.name: entry for entry in entry_points(group=GROUP)} | dict(self.commands))


class _Commands(UserDict[str, Any]):
    """Commands by name; an entry point becomes its command when it is looked up."""

    def __getitem__(self, name: str) -> Any:
        if isinstance(known := super().__getitem__(name), EntryPoint):
            command = self.data[name] = get_command(_load(known))
            command.name = name
        return self.data[name]


def _load(entry: EntryPoint) -> typer.Typer:
    try:
        app: typer.Typer = entry.load()
    except ModuleNotFoundError as error:
        missing, extra = str(error.name).split(".")[0], entry.module.split(".")[0]
        if missing in _OURS:
            raise
        return _stand_in(MissingExtra(entry.name, missing, extra))
    return app


def _stand_in(missing: MissingExtra) -> typer.Typer:
    """Return a command that takes any arguments and says only what it needs."""
    app = typer.Typer(add_completion=False)

    @app.command(
        help=f"{escape(str(missing))}.", context_settings={"allow_extra_args": True, "ignore_unknown_options": True}
    )
    def say() -> None:
        with plain_errors():
            raise missing

    return app
