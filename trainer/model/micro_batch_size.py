"""How large a micro-batch is: what goes through the model at once, less of it after running out of memory.

Micro-batches are a matter of memory, never of the result: gradients add up over the effective batch, and a dropout mask
belongs to an example. The three architectures of which that is not so have the losses of a trial that had micro-batches
of this size from the start, since each step restarts from its own seed (docs/decisions/0027).

N = rows of a split.
"""

import logging
import math
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from trainer.model.device_memory import is_out_of_memory, release_memory
from trainer.model.memory_hints import MemoryHints

_LOG = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class MicroBatchSize:
    """Number of padded tokens that go through a model at once, halved whenever that turns out to be too many."""

    def __init__(self, tokens: int, hints: MemoryHints | None = None, key: str = "") -> None:
        """Begin with ``tokens``, or what ``hints`` know to fit of it.

        Args:
            key: what decides how much fits, for ``hints``.
        """
        self.tokens = hints.recall(key, tokens) if hints else tokens
        self._hints = hints
        self._key = key

    def rows(self, n_rows: int, longest: int) -> int:
        """Return how many of ``n_rows`` rows, the longest of which has ``longest`` tokens, make a micro-batch; at least
        1.

        All micro-batches are of about one size, since a small rest would take as long as a whole one on a GPU.
        """
        most = max(1, self.tokens // longest)
        n_pieces = math.ceil(n_rows / most)
        return math.ceil(n_rows / n_pieces)

    def run(self, work: Callable[[int], _Result], *, n_rows: int, longest: int) -> _Result:
        """Call ``work`` with the rows of a micro-batch, and again with half as many while it runs out of memory.

        Args:
            work: must leave nothing of a failed call behind, or undo it in the next.
            n_rows: rows of the whole batch.
            longest: tokens of its longest row.

        Raises:
            torch.OutOfMemoryError, RuntimeError: even a single row does not fit.
        """
        while True:
            n_together = self.rows(n_rows, longest)
            try:
                return work(n_together)
            except RuntimeError as error:
                if n_together == 1 or not is_out_of_memory(error):
                    raise
                message = str(error).partition("\n")[0]
            # Not in the handler: the error's traceback holds the tensors of the failed pass
            n_together //= 2
            _LOG.warning("%s; going on with %d rows of %d tokens at once", message, n_together, longest)
            self.tokens = n_together * longest
            if self._hints:
                self._hints.remember(self._key, self.tokens)
            release_memory()

    def run_longest_first(
        self, work: Callable[[NDArray[np.int64]], _Result], lengths_N: NDArray[np.int64]
    ) -> Iterator[_Result]:
        """Yield what ``work`` returns for the rows of one micro-batch after the other, until all rows are done.

        The longest rows come first: there is no padding to speak of, and running out of memory shows at once.

        Args:
            work: as for ``run``, but given the rows, counted from 0.
            lengths_N: tokens of each row.
        """
        left_N = np.argsort(-lengths_N, kind="stable")
        while len(left_N):
            longest = int(lengths_N[left_N[0]])

            def work_on_first(n_rows: int, rows_N: NDArray[np.int64] = left_N) -> _Result:
                return work(rows_N[:n_rows])

            yield self.run(work_on_first, n_rows=len(left_N), longest=longest)
            left_N = left_N[self.rows(len(left_N), longest) :]
