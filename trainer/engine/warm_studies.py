"""The data and models of the last studies, which stay in memory between assignments."""

import contextlib
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import torch

from spezia.contract.assignments import Assignment, PrepareAssignment, TrialAssignment
from trainer.train.prepare import Prepared, prepare

_MOST_STUDIES = 2
"""Number of studies whose data and model are kept."""


class WarmStudies:
    """What the last assignments have prepared, by the id of their study."""

    def __init__(self, roots: Sequence[Path], device: torch.device) -> None:
        """Know no study yet.

        Args:
            roots: folders that data and models must lie in.
        """
        self._roots = roots
        self._device = device
        self._prepared: OrderedDict[str, Prepared] = OrderedDict()

    def prepared_for(self, assignment: Assignment) -> Prepared:
        """Return the data and model of an assignment's study, and forget those of the study used least lately."""
        key = assignment.study_id
        if key not in self._prepared:
            facts = None if isinstance(assignment, PrepareAssignment) else assignment.facts
            self._prepared[key] = prepare(assignment.spec, roots=self._roots, device=self._device, facts=facts)
        self._prepared.move_to_end(key)
        while len(self._prepared) > _MOST_STUDIES:
            self._prepared.popitem(last=False)
        return self._prepared[key]

    def copy_ahead(self, done: Assignment) -> None:
        """After a trial, copy the model for the next one of its study while the supervisor asks for work."""
        if isinstance(done, TrialAssignment) and done.study_id in self._prepared:
            with contextlib.suppress(MemoryError, RuntimeError):  # the next trial says so if memory is short
                self._prepared[done.study_id].pretrained.copy_ahead()

    def drop_copies(self, given: Assignment) -> None:
        """Free the copies that are not for ``given``, before it takes memory itself."""
        for study_id, prepared in self._prepared.items():
            if study_id != given.study_id or not isinstance(given, TrialAssignment):
                prepared.pretrained.drop_copy()
