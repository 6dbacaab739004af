"""Silence for what a study's spec has chosen on purpose."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from optuna.exceptions import ExperimentalWarning

_lock = threading.Lock()


@contextmanager
def ignore_optuna_warnings() -> Iterator[None]:
    """Build a sampler or pruner without Optuna's notes on experimental classes and the option ``sigma0``.

    The lock is there because `warnings.catch_warnings` saves and restores one list for all threads.
    """
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.filterwarnings("ignore", message="`sigma0` has been deprecated", category=FutureWarning)
        yield
