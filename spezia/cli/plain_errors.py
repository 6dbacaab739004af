"""Errors that a person can mend, told in a line or two instead of a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from pydantic import ValidationError

from spezia.cli.follow import StudyUnsuccessful
from spezia.cli.study_file import StudyFileError
from spezia.client import ClientError
from spezia.common.extras import MISSING_EXTRA, MissingExtra
from spezia.contract.plain_words import plain_errors as plain_errors_of


@contextmanager
def plain_errors(*kinds: type[Exception]) -> Iterator[None]:
    """End a command with one clear message and exit code 1 where a person, a study or the machine is the cause.

    Where packages are missing the exit code is 2.

    Args:
        kinds: What this command expects to go wrong besides a client's errors, bad study files and the system's errors.
    """
    foreseen: tuple[type[Exception], ...] = (ClientError, StudyFileError, StudyUnsuccessful, OSError, *kinds)
    try:
        yield
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, loc))}: {message}" for loc, message, _ in plain_errors_of(error.errors())]
        typer.echo("spezia: " + "\n".join(problems), err=True)
    except foreseen as error:
        typer.echo(f"spezia: {error}", err=True)
    except MissingExtra as error:
        typer.echo(f"spezia: {error}", err=True)
        raise typer.Exit(MISSING_EXTRA) from None
    else:
        return
    raise typer.Exit(1)
