"""Commands that a message names as the next one: they can be copied into a shell as they stand."""

import shlex
from pathlib import Path


def next_command(*words: str | Path, server: str | None = None) -> str:
    """Return a command of `spezia`, its words quoted where a shell would split them.

    Args:
        words: The command and its arguments.
        server: The service that the command before was told to speak to, and the next one has to be told as well;
            ``None``: it was told none.
    """
    return shlex.join(["spezia", *map(str, words), *(["--server", server] if server else [])])
