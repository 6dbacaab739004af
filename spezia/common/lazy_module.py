"""Libraries that take long to load and are seldom needed, loaded when something of them is first used."""

from importlib import import_module
from typing import Any


class LazyModule:
    """A module that is loaded with the first attribute that is read of it, from whichever thread.

    It stands at the top of a file, where imports stand; tests/test_architecture.py counts it as one.
    """

    def __init__(self, name: str) -> None:
        """Name the module, such as ``sklearn.metrics``; nothing is loaded yet."""
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module(self._name), attribute)
