"""Commands about the trials of a study: the best, all of them, the log of one, and running one again."""

from typing import Annotated

import typer

from spezia.cli.answers import LogPiece
from spezia.cli.follow import INTERRUPTED
from spezia.cli.next_command import next_command
from spezia.cli.options import AsJson, AsJsonLines, Name, Number, Server, Verbose
from spezia.cli.plain_errors import plain_errors
from spezia.cli.result import show_result
from spezia.cli.tables import trials_table
from spezia.client import Client
from spezia.client.address import address
from spezia.contract.replay import Verdict
from spezia.contract.trial import TrialList
from spezia.terminal.screen import Screen, print_json, say
from spezia.terminal.words import replay_words

REPLAY_EXITS: dict[Verdict, int] = {"equal": 0, "within_tolerance": 0, "different": 1, "not_comparable": 2}
"""Exit codes of `spezia replay`."""

app = typer.Typer()


@app.command()
def best(name: Name, server: Server = None, as_json: AsJson = False, verbose: Verbose = False) -> None:
    """Print the best trial so far."""
    with plain_errors(), Client(address(server)) as client:
        found = client.best(name)
        if as_json:
            print_json(found)
        else:
            show_result(found, client.get_study(name), Screen(), is_verbose=verbose)


@app.command()
def trials(
    name: Name,
    server: Server = None,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print them as CSV, for a spreadsheet.")] = False,
) -> None:
    """List the trials of a study."""
    if as_json and as_csv:
        raise typer.BadParameter("give --json or --csv, not both", param_hint="--csv")
    with plain_errors(), Client(address(server)) as client:
        if as_csv:
            say(client.trials_csv(name), end="")
            return
        found = list(client.list_trials(name))
        if as_json:
            print_json(TrialList(trials=list(found), next_page_token=None))
        elif found:
            Screen().print(trials_table(found))
        else:
            say(f"{name} has no trials yet; follow it: {next_command('watch', name, server=server)}")


@app.command()
def log(
    name: Name,
    number: Number,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the trial ends.")] = False,
    server: Server = None,
    as_json: AsJsonLines = False,
) -> None:
    """Print what a trial has printed."""
    with plain_errors(), Client(address(server)) as client:
        pieces = client.follow_log(name, number) if follow else [client.log(name, number)]
        try:
            for text in pieces:
                if as_json:
                    print_json(LogPiece(text=text), is_line=True)
                else:
                    say(text, end="")
        except KeyboardInterrupt:
            say(f"\nstopped following; trial {number} of {name} runs on", is_error=True)
            raise typer.Exit(INTERRUPTED) from None


@app.command()
def replay(name: Name, number: Number, server: Server = None, as_json: AsJson = False) -> None:
    """Run a trial again, and say whether its numbers come out the same.

    The exit code is 0 where they do, 1 where they do not, and 2 where they could not be compared.
    """
    with plain_errors(), Client(address(server)) as client:
        client.replay(name, number)
        try:
            result = client.wait_for_replay(name, number)
        except KeyboardInterrupt:
            again = next_command("replay", name, str(number), server=server)
            say(f"the replay goes on; see it again: {again}", is_error=True)
            raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print_json(result)
    else:
        say(replay_words(result))
    raise typer.Exit(REPLAY_EXITS[result.verdict])
