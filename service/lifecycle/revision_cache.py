"""Answers about studies that take long to work out, kept until something happens in the study."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock


class RevisionCache:
    """The last answer to each question about a study, as far as ``max_bytes`` of memory reach; shared by threads.

    Whoever asks what another thread is working out waits for it.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = Lock()
        self._answers: OrderedDict[Hashable, tuple[int, bytes]] = OrderedDict()
        self._n_bytes = 0
        self._in_work: dict[Hashable, tuple[Lock, int]] = {}
        """By question, the lock that is held while it is worked out, and how many threads hold it or wait for it."""

    def get(self, question: Hashable, revision: int, work_out: Callable[[], bytes]) -> bytes:
        """Return the answer to a question at a revision of its study, by ``work_out`` where it is not known.

        Args:
            revision: Number of the last event of the study that the answer must know of; an answer that knows of
                later ones will do.
        """
        if (known := self._known(question, revision)) is not None:
            return known
        with self._lock:
            lock, n = self._in_work.get(question, (Lock(), 0))
            self._in_work[question] = lock, n + 1
        try:
            with lock:
                if (known := self._known(question, revision)) is not None:
                    return known
                answer = work_out()
                self._keep(question, revision, answer)
                return answer
        finally:
            with self._lock:
                _, n = self._in_work.pop(question)
                if n > 1:
                    self._in_work[question] = lock, n - 1

    def _known(self, question: Hashable, revision: int) -> bytes | None:
        with self._lock:
            at, answer = self._answers.get(question, (-1, b""))
            if at < revision:
                return None
            self._answers.move_to_end(question)
            return answer

    def _keep(self, question: Hashable, revision: int, answer: bytes) -> None:
        with self._lock:
            _, before = self._answers.pop(question, (0, b""))
            self._answers[question] = revision, answer
            self._n_bytes += len(answer) - len(before)
            while self._n_bytes > self._max_bytes:
                _, (_, dropped) = self._answers.popitem(last=False)
                self._n_bytes -= len(dropped)
