"""The program of a further process of a service, which its first process starts (`service/further_processes.py`)."""

import os
import signal
import socket
import sys

from service.further_processes import SETTINGS_VARIABLE
from service.http_server import run_further
from service.settings import Settings
from spezia.common.logs import set_up_logging
from spezia.common.parent import end_with_parent


def main() -> int:
    """Answer at the socket whose file descriptor is the argument, until told to end; return the exit code."""
    settings = Settings.model_validate_json(os.environ.pop(SETTINGS_VARIABLE))
    set_up_logging(settings.log_format, settings.log_level)
    end_with_parent(signal.SIGTERM)
    with socket.socket(fileno=int(sys.argv[1])) as listener:
        return run_further(settings, listener)


if __name__ == "__main__":
    sys.exit(main())
