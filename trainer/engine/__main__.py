"""Starts the process that trains.

Libraries make half a million objects that stay. Looking for garbage among them would take a quarter of the time of
importing them, and hold up training again and again later.
"""

import gc

from spezia.common.lazy_module import LazyModule

process = LazyModule("trainer.engine.process")


def main() -> None:
    """Import what trains while Python looks for no garbage, and work until the supervisor is gone."""
    gc.disable()
    work = process.main
    gc.freeze()
    gc.enable()
    work()


if __name__ == "__main__":
    main()
