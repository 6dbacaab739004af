"""How a part says what it finds."""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

Tell = Callable[[dict[str, Any]], None]


def take_stdout() -> Tell:
    """Return what writes one line of findings to stdout; whatever else prints there goes to stderr from now on."""
    sys.stdout.flush()
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def tell(found: dict[str, Any]) -> None:
        out.write(json.dumps(found) + "\n")

    return tell
