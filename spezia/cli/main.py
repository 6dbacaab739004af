"""`spezia`: commands that speak HTTP to a service, here or elsewhere."""

import typer

from spezia.cli import model_commands, study_commands, trial_commands
from spezia.cli.doctor import doctor
from spezia.cli.init import init
from spezia.cli.joined_commands import WithJoinedCommands

app = typer.Typer(
    cls=WithJoinedCommands,
    help="Hyperparameter search for fine-tuning.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(init)
app.command()(doctor)
for commands in (study_commands, trial_commands, model_commands):
    app.add_typer(commands.app)


def main() -> None:
    """Run the command that the process was started with."""
    app()
