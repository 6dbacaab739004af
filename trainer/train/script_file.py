"""Finds and loads the ``train`` function of a ``script`` study. Loading a script is running it."""

import contextlib
import hashlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spezia.contract.facts import Facts
from trainer.data.allowed_paths import describe_search, find_allowed
from trainer.errors import ConfigError

Train = Callable[[dict[str, Any], Callable[..., None]], object]
"""A script's function ``train(params, report)``."""


@dataclass(frozen=True, kw_only=True)
class Script:
    """A script that this worker's operator allows."""

    train: Train
    """The function ``train(params, report)`` in it."""
    facts: Facts
    """What is known about it: its hash."""


@contextmanager
def open_script(name: str, folders: Sequence[Path], facts: Facts | None = None) -> Iterator[Script]:
    """Run the file ``name``, absolute or relative to one of ``folders``, and give its function ``train``.

    In the meantime it is a module like any other: it can be imported by the name of its file, its folder is the working
    directory and the first place where modules are looked for. Afterwards all modules of that folder are forgotten, so
    that the next study, or the next trial, loads its own.

    Args:
        folders: folders that the worker's ``--allow-scripts`` names.
        facts: what the study's first worker found; the file must still be that one.

    Raises:
        ConfigError: the file is not allowed, not found, changed, broken, or without a function
            ``train(params, report)``.
    """
    path = _find(name, folders)
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if facts is not None and facts.data_sha256 != sha256:
        raise ConfigError(
            f"script: {name} changed since the study was prepared, so its trials could not be compared; restore it, "
            "or create a new study"
        )
    with _at_home(path):
        yield Script(train=_train_function(name, path), facts=facts or _facts(sha256))


@contextmanager
def _at_home(path: Path) -> Iterator[None]:
    folder = str(path.parent)
    sys.path.insert(0, folder)
    try:
        with contextlib.chdir(folder):
            yield
    finally:
        sys.path.remove(folder)
        for name, module in list(sys.modules.items()):
            if Path(getattr(module, "__file__", None) or "").is_relative_to(folder):
                del sys.modules[name]


def _find(name: str, folders: Sequence[Path]) -> Path:
    if not folders:
        raise ConfigError(
            "script: this worker runs no scripts; start it with --allow-scripts and the folder of those that it may run"
        )
    try:
        path = find_allowed(name, folders, option="--allow-scripts")
    except PermissionError as refused:
        raise ConfigError(f"script: {refused}") from None
    if path is None or not path.is_file():
        raise ConfigError(f"script: {describe_search(name, folders)} is no file; correct the path")
    return path


def _train_function(name: str, path: Path) -> Train:
    if path.stem in sys.modules or path.stem in sys.stdlib_module_names:
        raise ConfigError(f"script: {name} has the name of another Python module, {path.stem}; rename it")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"script: {name} is no Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except (SyntaxError, ImportError) as error:
        hint = "; import the files beside it by their names, without a dot" if "relative import" in str(error) else ""
        raise ConfigError(f"script: {name} cannot be loaded: {error}{hint}") from error
    except SystemExit as error:
        raise ConfigError(
            f"script: {name} ends itself while it is loaded ({error!r}), as argparse and sys.exit do; put that below "
            'if __name__ == "__main__", and take what you need from params'
        ) from error
    except (
        Exception
    ) as error:  # a file may raise anything; what passes with time, such as short memory, does so in train
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        where = f", line {lines[-1]}" if lines else ""
        raise ConfigError(f"script: {name}{where} cannot be loaded: {type(error).__name__}: {error}") from error
    train = getattr(module, "train", None)
    if not callable(train):
        raise ConfigError(f"script: {name} defines no function train(params, report); add it")
    try:
        inspect.signature(train).bind({}, print)
    except TypeError as error:
        raise ConfigError(f"script: train in {name} must take (params, report): {error}") from error
    if inspect.iscoroutinefunction(train) or inspect.isgeneratorfunction(train) or inspect.isasyncgenfunction(train):
        raise ConfigError(
            f"script: train in {name} is called and does nothing, since it has async or yield in it; make it a plain "
            "function, which calls report"
        )
    function: Train = train
    return function


def _facts(sha256: str) -> Facts:
    """Return facts that say nothing about a script but its content."""
    return Facts(
        train_rows=0,
        validation_rows=0,
        test_rows=None,
        classes=[],
        max_tokens=0,
        truncated_rows=0,
        blocks=None,
        parameters=0,
        checkpoint_dropout=None,
        model_commit=None,
        model_sha256="",
        data_sha256=sha256,
        precision="fp32",
    )
