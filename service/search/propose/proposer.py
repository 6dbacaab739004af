"""Proposals for the service's process, which must never import torch: sampler ``gp`` runs in a helper."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from time import perf_counter
from weakref import WeakValueDictionary

from service.metrics import Metrics
from service.search.propose.helper import start_helper
from service.search.propose.propose import Proposal, ProposalRequest, propose
from service.search.propose.samplers import needs_torch

_MAX_AHEAD = 4096
"""Number of studies for which a proposal is kept."""


class Proposer:
    """What makes proposals for any sampler and any thread: `propose`, ahead of time or in a helper process where
    needed.

    Whoever makes one closes it.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._lock = threading.Lock()
        self._helper: ProcessPoolExecutor | None = None
        self._background = ThreadPoolExecutor(max_workers=1, thread_name_prefix="propose-ahead")
        self._for_helper = ThreadPoolExecutor(max_workers=1, thread_name_prefix="propose-in-helper")
        self._ahead: OrderedDict[str, tuple[int, Future[Proposal | None]]] = OrderedDict()
        """By study, the number and the proposal of its next trial."""
        self._turns: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()

    @contextmanager
    def turn(self, study: str) -> Iterator[None]:
        """Let one thread at a time propose for a study: two would propose the same trial."""
        with self._lock:
            turn = self._turns.setdefault(study, threading.Lock())
        with turn:
            yield

    def propose(self, request: ProposalRequest) -> Proposal | None:
        """Return the next trial of a study, or ``None`` when a grid is exhausted.

        A helper process that crashes is replaced once.

        Raises:
            BrokenProcessPool: The process that replaced a crashed one has crashed, too.
        """
        in_helper = needs_torch(request.spec, request.trials)
        proposal, seconds = self._propose_in_helper(request) if in_helper else _propose(request)
        self._metrics.proposal_seconds.labels(request.spec.sampler.name).observe(seconds)
        return proposal

    def prepare(self, study: str, request: ProposalRequest) -> None:
        """Begin to propose a study's next trial in the background; `prepared` hands it out."""
        with self._lock:
            self._keep(study, request.number, self._background.submit(self.propose, request))

    def prepare_in_helper(self, study: str, request: ProposalRequest, on_ready: Callable[[], None]) -> bool:
        """Begin to propose a study's next trial in the helper process, unless that goes on already.

        Args:
            on_ready: Called when `prepared` can hand it out, in whatever thread; not if that goes on already.

        Returns:
            Whether `prepared` can hand it out now.
        """
        with self._lock:
            number, begun = self._ahead.get(study, (None, None))
            if begun is not None and number == request.number:
                return begun.done()
            proposal = self._for_helper.submit(self.propose, request)
            self._keep(study, request.number, proposal)
        proposal.add_done_callback(lambda _: on_ready())
        return proposal.done()

    def prepared(self, study: str, number: int) -> Future[Proposal | None] | None:
        """Take the proposal that was begun for trial ``number`` of a study; ``None`` if there is none."""
        with self._lock:
            ahead, proposal = self._ahead.pop(study, (None, None))
        return proposal if ahead == number else None

    def close(self) -> None:
        """End the background threads and the helper process. The next proposal of ``gp`` would start another."""
        for threads in (self._background, self._for_helper):
            threads.shutdown(cancel_futures=True)
        with self._lock:
            helper, self._helper = self._helper, None
        if helper is not None:
            helper.shutdown(cancel_futures=True)

    def _keep(self, study: str, number: int, proposal: Future[Proposal | None]) -> None:
        _, earlier = self._ahead.pop(study, (None, None))
        if earlier is not None:
            earlier.cancel()  # if nobody has begun it
        self._ahead[study] = (number, proposal)
        if len(self._ahead) > _MAX_AHEAD:
            self._ahead.popitem(last=False)

    def _propose_in_helper(self, request: ProposalRequest) -> tuple[Proposal | None, float]:
        helper = self._running_helper()
        try:
            return helper.submit(_propose, request).result()
        except BrokenProcessPool:
            return self._replace(helper).submit(_propose, request).result()

    def _running_helper(self) -> ProcessPoolExecutor:
        with self._lock:
            if self._helper is None:
                self._helper = start_helper()
            return self._helper

    def _replace(self, broken: ProcessPoolExecutor) -> ProcessPoolExecutor:
        with self._lock:
            # another thread may have seen the same crash first
            if self._helper is broken or self._helper is None:
                self._helper = start_helper()
            return self._helper


def _propose(request: ProposalRequest) -> tuple[Proposal | None, float]:
    """The proposal and the seconds that it took."""
    began = perf_counter()
    proposal = propose(request)
    return proposal, perf_counter() - began
