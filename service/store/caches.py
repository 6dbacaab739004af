"""What one service process remembers of its database, so that a transaction reads only what it cannot know."""

from dataclasses import dataclass, field

from service.store.event_gaps import EventGaps
from service.store.lease_cache import LeaseCache
from service.store.optuna.trial_cache import TrialCache
from service.store.study_cache import StudyCache


@dataclass(frozen=True)
class Caches:
    """The caches of one process, shared by its transactions. None of them is believed without a look at the database:
    each holds what never changes, or tells by a revision whether it has changed."""

    trials: TrialCache = field(default_factory=TrialCache)
    leases: LeaseCache = field(default_factory=LeaseCache)
    studies: StudyCache = field(default_factory=StudyCache)
    event_gaps: EventGaps = field(default_factory=EventGaps)
