"""Proposals for the service's process, which must never import torch: sampler ``gp`` runs in a helper."""

import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from weakref import WeakValueDictionary

from service.search.propose import Proposal, ProposalRequest, propose
from service.search.samplers import needs_torch


class Proposer:
    """`propose` for any sampler, from any thread. Whoever makes one closes it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._helper: ProcessPoolExecutor | None = None
        self._turns: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()

    @contextmanager
    def turn(self, study: str) -> Iterator[None]:
        """Let one thread at a time propose for a study: two would propose the same trial."""
        with self._lock:
            turn = self._turns.setdefault(study, threading.Lock())
        with turn:
            yield

    def propose(self, request: ProposalRequest) -> Proposal | None:
        """Return the next trial, or ``None`` when a grid is exhausted.

        A helper process that crashes is replaced once; if the next one crashes too, `BrokenProcessPool`.
        """
        if not needs_torch(request.spec, request.trials):
            return propose(request)
        helper = self._running_helper()
        try:
            return helper.submit(propose, request).result()
        except BrokenProcessPool:
            return self._replace(helper).submit(propose, request).result()

    def close(self) -> None:
        """End the helper process. The next proposal of ``gp`` would start another."""
        with self._lock:
            helper, self._helper = self._helper, None
        if helper is not None:
            helper.shutdown(cancel_futures=True)

    def _running_helper(self) -> ProcessPoolExecutor:
        with self._lock:
            if self._helper is None:
                self._helper = _start_helper()
            return self._helper

    def _replace(self, broken: ProcessPoolExecutor) -> ProcessPoolExecutor:
        with self._lock:
            # another thread may have seen the same crash first
            if self._helper is broken or self._helper is None:
                self._helper = _start_helper()
            return self._helper


def _start_helper() -> ProcessPoolExecutor:
    # spawned, not forked: the service has threads, and a fork would inherit their locks
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(max_workers=1, mp_context=context, initializer=_end_with_parent)


def _end_with_parent() -> None:
    """Let the helper end when the service dies, even by SIGKILL: an executor's own pipe would not tell it."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
