"""The warnings of Optuna's that a study's spec has chosen on purpose, and that are therefore not shown."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from optuna.exceptions import ExperimentalWarning

_lock = threading.Lock()


@contextmanager
def ignore_optuna_warnings() -> Iterator[None]:
    """Let samplers and pruners be built without Optuna's warnings about experimental classes and the option ``sigma0``.

    There is a lock because `warnings.catch_warnings` saves and restores one list for all threads. Optuna does so, too,
    without this lock: now and then one of these warnings is shown after all.
    """
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.filterwarnings("ignore", message="`sigma0` has been deprecated", category=FutureWarning)
        yield
