"""Extras: what ``pip install spezia`` leaves out, and what to say where it is needed.

An extra is named after the package of ours that needs it: ``service`` or ``trainer``.
"""

from importlib.util import find_spec

MISSING_EXTRA = 2
"""Exit code of a command that needs packages which are not installed."""

TRAINER_MODULES = (
    "torch",
    "transformers",
    "datasets",
    "huggingface_hub",
    "jinja2",
    "numpy",
    "peft",
    "PIL",
    "pyarrow",
    "safetensors",
    "scipy",
)
"""Modules of the extra ``trainer``. Only a worker's engine imports them, which is too late to say what is missing."""


class MissingExtra(RuntimeError):
    """A command needs packages that are not installed; the message says how to install them."""

    def __init__(self, what: str, module: str, extra: str) -> None:
        super().__init__(f"{what} needs {module}, which is not installed: pip install 'spezia[{extra}]'")


def require_trainer(what: str) -> None:
    """Check, without importing anything, that ``what`` could train with the packages of this Python.

    Raises:
        MissingExtra: Something of the extra ``trainer`` is not installed.
    """
    for module in TRAINER_MODULES:
        if find_spec(module) is None:
            raise MissingExtra(what, module, "trainer")
