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
from spezia.contract.study_spec import StudySpec
from spezia.contract.validation import Validation

GROUP = "spezia.commands"
"""Group of the entry points that are joined; each is a Typer app."""

_OURS = ("spezia", "service", "trainer", "migrations")


CHECKS = "spezia.checks"
"""Group of the entry point ``validate``: the check of a spec that a service makes, as a function."""


def local_check() -> Callable[[StudySpec], Validation] | None:
    """Return the check of a spec that a service would make; ``None`` where packages of a service are not installed.

    The check raises `StudyFileError` where a service would refuse the spec.
    """
    for entry in entry_points(group=CHECKS, name="validate"):
        try:
            check: Callable[[StudySpec], Validation] = entry.load()
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
